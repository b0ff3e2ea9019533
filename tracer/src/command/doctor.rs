//! `tracer doctor`: reports what this kernel and these privileges allow, hook by hook.
//!
//! It tries the links of every chain, as `live` does, and infers nothing from versions.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use super::traced;
use crate::{
    cli::DoctorArgs,
    filter::Filter,
    kernel::{
        KernelError,
        backend::{Choice, Degradation, needs_io_uring},
        hooks::{Hook, Wanted, chain},
        load::Kernel,
        offsets,
    },
    privilege::{
        self, Sandbox, capabilities,
        missing::{OPTIONAL, REQUIRED},
    },
    proc::{netns, pidns::Numbers, root::ProcRoot},
    sockets::diag::drops,
    trace::{
        Asks,
        open::open,
        running::{Running, no_tracefs},
    },
    view::{
        doctor::{Finding, json, text},
        terminal::Columns,
    },
};

/// The finding on whether a trace is possible at all.
const LOAD: &str = "load";

/// Looks, and reports the findings: status 1 if no trace is possible.
///
/// # Errors
/// If stdout cannot be written, or a link that the user forces does not work.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let findings = look(&traced::asks(&args.kernel))?;
    let out = if args.json { json(&findings) } else { text(&findings, Columns::of_terminal(&io::stdout())) };
    match io::stdout().write_all(out.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(super::unwritable("report", error)),
        _ => Ok(if findings.iter().any(|finding| finding.name == LOAD && !finding.ok) {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }),
    }
}

fn look(asks: &Asks) -> anyhow::Result<Vec<Finding>> {
    let mut findings = vec![kernel()];
    let running = Running::look(asks.types.as_ref())?;
    findings.push(match &running.no_btf {
        None => Finding { why: Some(format!("{} members found", offsets_found(&running))), ..Finding::fine("btf") },
        Some(error) => Finding::missing("btf", error.to_string(), Degradation::NoBtf.cost()),
    });
    findings.extend(running.resolved.missing.iter().map(|member| {
        Finding::missing(format!("member:{member}"), "this kernel has no such member", offsets::cost_of(member))
    }));
    findings.push(match &running.tracefs {
        Some(_) => Finding::fine("tracefs"),
        None => Finding::missing("tracefs", no_tracefs(), "no classic and system call tracepoints"),
    });
    findings.extend(capabilities());
    findings.push(pid_namespace());
    let mut kernel = None;
    match open(&Filter::default(), asks) {
        Ok(opened) => {
            findings.push(Finding::fine(LOAD));
            findings.extend(hooks(&opened.kernel.choices, asks));
            kernel = Some(opened.kernel);
        }
        // A forced link that fails is no finding about the kernel.
        Err(error) if matches!(error.downcast_ref(), Some(KernelError::Forced(_))) => return Err(error),
        Err(error) => {
            let why = error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
            let permitted = !matches!(error.downcast_ref(), Some(KernelError::NotPermitted(..)));
            findings.push(Finding::missing(
                LOAD,
                if permitted || is_root() { why } else { format!("{why}; run `sudo tracer doctor` to try every hook") },
                "live and run cannot trace",
            ));
        }
    }
    findings.push(owners());
    findings.push(counters());
    findings.push(statistics());
    // Last, because this thread gives up privileges for it.
    findings.push(sandbox(asks.sandbox, kernel.as_ref()));
    Ok(findings)
}

/// Finds whether a trace can watch the kernel's counters, and name their sockets.
fn counters() -> Finding {
    let cost = "discards without a tracepoint are missing, or lack the socket";
    let found = netns::find(&ProcRoot::default());
    match drops::listeners() {
        _ if found.denied > 0 => {
            let why = match found.denied {
                1 => "this user may not see the namespaces of 1 process".to_owned(),
                denied => format!("this user may not see the namespaces of {denied} processes"),
            };
            Finding::missing("counters", why, cost)
        }
        Err(error) => Finding::missing("counters", format!("sock_diag: {error}"), cost),
        Ok(_) => {
            let count = found.namespaces.len();
            let some = if count == 1 { "" } else { "s" };
            Finding { why: Some(format!("of {count} network namespace{some}")), ..Finding::fine("counters") }
        }
    }
}

fn offsets_found(running: &Running) -> usize {
    let total = size_of_val(&running.resolved.offsets) / 4;
    total - running.resolved.missing.len()
}

fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let mode = lockdown.split(['[', ']']).nth(1).unwrap_or("not visible");
    Finding { why: Some(format!("{}, lockdown {mode}", release.trim())), ..Finding::fine("kernel") }
}

fn hooks(choices: &[Choice], asks: &Asks) -> Vec<Finding> {
    Hook::ALL
        .into_iter()
        .map(|hook| {
            let Some(choice) = choices.iter().find(|choice| choice.hook == hook) else {
                debug_assert!(!hook.descriptor().beside_system_calls || !needs_io_uring(choices));
                let why = match hook.descriptor().wanted {
                    Wanted::Resets | Wanted::ResetsForNobody => {
                        "not needed: only a trace that shows resets attaches it (--all, --json, --event reset)"
                    }
                    _ => "not needed: the functions behind it are hooked",
                };
                return Finding { why: Some(why.to_owned()), ..Finding::fine(hook.name()) };
            };
            let refused: Vec<String> =
                choice.refused.iter().map(|(backend, why)| format!("{backend} refused: {why}")).collect();
            let cost = crate::kernel::backend::cost_of(choice);
            let forced = asks.forced.iter().any(|(forced, _)| *forced == hook);
            let praise = if forced { "forced by --backend" } else { "the best link works" };
            Finding {
                name: hook.name().to_owned(),
                ok: choice.backend.is_some(),
                backend: choice.backend.map(|backend| backend.name()),
                why: Some(refused.join("; "))
                    .filter(|why| !why.is_empty())
                    .or_else(|| (chain(hook).len() > 1).then(|| praise.to_owned())),
                cost: cost.map(|degradation| degradation.cost()),
            }
        })
        .collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Checks the capabilities that a trace can use.
fn capabilities() -> Vec<Finding> {
    let optional = OPTIONAL.map(|optional| (optional.capability, optional.cost));
    let required = REQUIRED.iter().map(|one| (one, "live, run and drops cannot trace"));
    let all = required.chain(optional);
    all.map(|(capability, cost)| {
        let name = capabilities::names(capability).to_lowercase();
        if capabilities::missing(capability).is_empty() {
            Finding::fine(name)
        } else {
            Finding::missing(name, "this process lacks the capability", cost)
        }
    })
    .collect()
}

/// Reports the privileges that a trace keeps. Tries whether it can read maps without a capability.
fn sandbox(sandbox: Sandbox, kernel: Option<&Kernel>) -> Finding {
    if sandbox == Sandbox::Off {
        return Finding { why: Some("off: --no-sandbox keeps all privileges".into()), ..Finding::fine("sandbox") };
    }
    if !privilege::has_seccomp() {
        return Finding::missing(
            "sandbox",
            "this kernel cannot filter system calls (CONFIG_SECCOMP_FILTER)",
            Degradation::NoSeccomp.cost(),
        );
    }
    let own = capabilities::effective();
    let kept = kernel.map_or(capabilities::LOOK, |kernel| capabilities::for_agent(false, || kernel.counters().is_ok()));
    let list = |set| match capabilities::names(own & set) {
        names if names.is_empty() => "nothing".to_owned(),
        names => names,
    };
    Finding {
        why: Some(format!(
            "while a trace runs: seccomp, no_new_privs; the agent keeps {}, the thread that reads rules {}",
            list(kept),
            list(capabilities::ENTER_AND_READ),
        )),
        ..Finding::fine("sandbox")
    }
}

/// Finds whether /proc has every process, with the kernel's own numbers.
fn pid_namespace() -> Finding {
    let of = match Numbers::look(&ProcRoot::default()) {
        Numbers::Initial => return Finding::fine("pid_namespace"),
        Numbers::Of(inode) => format!("{inode}"),
        Numbers::Unknown => "unknown".to_owned(),
    };
    // A trace reports whether it can translate the numbers.
    let cost = Degradation::PidNamespace { known: of != "unknown" }.cost();
    Finding::missing("pid_namespace", format!("not the host's but {of}"), cost)
}

fn owners() -> Finding {
    if capabilities::missing(capabilities::LOOK).is_empty() {
        return Finding::fine("proc_fd");
    }
    Finding::missing(
        "proc_fd",
        "/proc/PID/fd of other users' processes cannot be read without CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
        "owners of their existing connections stay unknown",
    )
}

fn statistics() -> Finding {
    let path = Path::new("/proc/sys/kernel/bpf_stats_enabled");
    match fs::read_to_string(path) {
        Ok(text) if text.trim() == "1" => Finding::fine("bpf_stats"),
        Ok(_) => Finding {
            why: Some("off: with `sysctl kernel.bpf_stats_enabled=1` the summary has the cost of each program".into()),
            ..Finding::fine("bpf_stats")
        },
        Err(error) => Finding::missing("bpf_stats", error.to_string(), "no cost of the programs in the summary"),
    }
}
