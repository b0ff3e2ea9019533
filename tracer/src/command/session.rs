//! Shared by `live`, `run` and `doctor`: from the command line to a loaded kernel side.

use std::path::Path;

use anyhow::{Context as _, bail};
use log::{debug, warn};
use rustix::rand::{GetRandomFlags, getrandom};
use tracer_common::settings::{
    ABSENT, FILTER_NETNS, Offsets, Settings, WANT_LISTED_REASONS, WANT_PROCESSES, WANT_SOME_REASONS, WANT_STACKS,
    WANT_STATES,
};
use tracer_tables::reasons::Reasons;

use crate::{
    allocator,
    cli::{KernelArgs, OutputArgs, Types},
    clock,
    filter::{self, Filter, FilterArgs, FilterError, LeftOut, kernel::KernelFilter},
    kernel::{
        self,
        backend::{Backend, Degradation, Hook, degradations, gives_drop_reasons, gives_reset_reasons},
        btf::{Btf, BtfError},
        format::{Tracefs, mount_tracefs},
        load::Kernel,
        memory,
        offsets::{self, Resolved},
        plan::{Packets, Plan},
        reasons,
        selection::Selection,
        symbols::KernelSymbols,
        types::KernelTypes,
    },
    privilege::{self, Sandbox, missing::Optional},
    proc::{pidns::Numbers, root::ProcRoot},
    trace::{Opened, PacketSession},
};

/// Default size of the ring: at 20 MB of records a second (20,000 connections) almost half a second.
const RING_BYTES: u32 = 8 << 20;

/// The file with the running kernel's type information.
const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// The running kernel's description of itself.
#[derive(Debug)]
pub struct Host {
    /// Type information for attaching.
    pub types: KernelTypes,
    /// Why there is no BTF.
    pub no_btf: Option<BtfError>,
    /// Offsets.
    pub resolved: Resolved,
    /// Names of drop and reset reasons.
    pub reasons: Reasons,
    /// tracefs; tracer mounts it if it is not mounted.
    pub tracefs: Option<Tracefs>,
}

impl Host {
    /// Reads it; `from`: the type information to use instead of the kernel's.
    ///
    /// # Errors
    /// If no thread can be started, or the file is not this kernel's type information.
    pub fn look(from: Option<&Types>) -> anyhow::Result<Self> {
        allocator::keep_to_few_places();
        let (types, found) = match from {
            Some(Types::None) => (KernelTypes::none().context("cannot start a thread")?, Err(BtfError::NotWanted)),
            None => {
                // Three readers read the same 5 MB: for attaching, for the loader, and ours for members.
                let types = KernelTypes::start().context("cannot start a thread")?;
                (types, Btf::read(Path::new(BTF_PATH), &offsets::wanted()))
            }
            Some(Types::File(path)) => {
                // The kernel attaches only by its own type information.
                let types = KernelTypes::start().context("cannot start a thread")?;
                (types, Ok(read_for_this_kernel(path)?))
            }
        };
        let (ours, no_btf) = match found {
            Ok(btf) => (Some(btf), None),
            Err(error) => (None, Some(error)),
        };
        let tracefs = Tracefs::find(Path::new("/")).or_else(|| {
            if Tracefs::is_closed(Path::new("/")) {
                return None;
            }
            if let Err(error) = mount_tracefs() {
                debug!("cannot mount tracefs: {error}");
            }
            Tracefs::find(Path::new("/"))
        });
        let resolved = offsets::resolve(ours.as_ref(), tracefs.as_ref());
        let reasons = ours.as_ref().map(reasons::read).unwrap_or_default();
        Ok(Self { types, no_btf, resolved, reasons, tracefs })
    }
}

/// Reads type information from the file at `path`; fails if the running kernel's own contradicts it. A
/// kernel without BTF allows no comparison.
fn read_for_this_kernel(path: &Path) -> anyhow::Result<Btf> {
    let file = match Btf::read(path, &offsets::wanted()) {
        Ok(file) => file,
        Err(BtfError::Read { source, .. }) => bail!("cannot read --btf {}: {source}", path.display()),
        Err(error) => bail!("--btf {} cannot be used: {error}", path.display()),
    };
    let kernel = Btf::read(Path::new(BTF_PATH), &offsets::wanted());
    if let Some((name, there, here)) = kernel.ok().and_then(|kernel| offsets::contradiction(&file, &kernel)) {
        let here = if here == ABSENT { "not there".to_owned() } else { here.to_string() };
        bail!(
            "--btf {} is not of the running kernel: {name} is {there} there, and {here} in the kernel's own; \
             leave --btf away",
            path.display()
        );
    }
    Ok(file)
}

/// Builds the filter of `args`.
///
/// # Errors
/// If a name cannot be looked up, or the running kernel lacks the reason.
pub fn filter(args: &FilterArgs, kernel: &KernelArgs) -> Result<Filter, FilterError> {
    if !args.reason.is_empty() {
        let path = match &kernel.btf {
            Some(Types::File(path)) => Some(path.as_path()),
            Some(Types::None) => None,
            None => Some(Path::new(BTF_PATH)),
        };
        // Without type information there are no names; a later check reports that.
        if let Some(btf) = path.and_then(|path| Btf::read(path, &offsets::wanted()).ok()) {
            filter::check_reasons(&args.reason, &reasons::read(&btf))?;
        }
    }
    args.resolve(&filter::Host::default())
}

/// The most drop events a second, all CPUs together; beyond them the kernel side counts drops by reason
/// and call site.
const DROPS_TOLD: u32 = 20_000;
/// The most events that a CPU takes from that budget at once.
const DROPS_DRAWN: u32 = 32;

/// Settings of the kernel side beyond the filter.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    /// The process whose children the filter follows from now on.
    pub follow_from: Option<u32>,
    /// Hooks restricted to one backend.
    pub forced: Vec<(Hook, Backend)>,
    /// The type information to use instead of the kernel's.
    pub types: Option<Types>,
    /// Whether harmless drops are shown; `None`: as for text.
    pub quiet_drops: Option<bool>,
    /// The most sockets to follow.
    pub sockets: Option<u32>,
    /// Whether threads give up unneeded privileges.
    pub sandbox: Sandbox,
}

impl From<&KernelArgs> for Extra {
    fn from(args: &KernelArgs) -> Self {
        Self {
            follow_from: None,
            quiet_drops: None,
            forced: args.backend.clone(),
            types: args.btf.clone(),
            sockets: args.sockets,
            sandbox: args.sandbox(),
        }
    }
}

impl Extra {
    /// Whether the output has no use for harmless drops. Only JSON has `drops` of a `close`, which counts them, too.
    fn hides_quiet(&self, filter: &Filter, output: &OutputArgs) -> bool {
        if output.json {
            !filter.shows_kind("drop") && !filter.shows_kind("close")
        } else {
            !self.quiet_drops.unwrap_or_else(|| output.text_options(filter, false).quiet_drops)
        }
    }
}

/// Loads and attaches.
///
/// # Errors
/// See [`kernel::KernelError`].
pub fn open(filter: &Filter, output: &OutputArgs, extra: &Extra) -> anyhow::Result<Opened> {
    kernel::memlock::lift();
    let host = Host::look(extra.types.as_ref())?;
    let compiled = KernelFilter::compile(filter, |path| filter::cgroup::find(Path::new("/sys/fs/cgroup"), path));
    let plan = plan(&compiled, filter, output, extra, &host)?;
    let symbols = plan.packets.any().then(KernelSymbols::open);
    let mut kernel = Kernel::load(&plan, &host.types)?;
    if filter.follows() && extra.follow_from.is_none() {
        // Adds children born between the first look and the attachment.
        filter.add_descendants(&filter::Host::default())?;
        let now = KernelFilter::compile(filter, |_| None);
        for pid in now.pids.iter().filter(|pid| !plan.selection.pids.contains(pid)) {
            kernel.add_pid(*pid)?;
        }
    }
    let mut degradations =
        degradations(&kernel.choices, host.no_btf.is_none(), &host.resolved.offsets, &host.resolved.missing);
    // A trace without drops needs no rules.
    let concerned = |lacks: &Optional| plan.packets.drops || !lacks.is_for_drops();
    degradations.extend(Optional::lacking().into_iter().filter(concerned).map(Degradation::NoCapability));
    if extra.sandbox == Sandbox::On && !privilege::has_seccomp() {
        degradations.push(Degradation::NoSeccomp);
    }
    if plan.settings.pid_ns != 0 {
        degradations.push(Degradation::PidNamespace { known: plan.settings.pid_ns != NO_NUMBERS });
    }
    let stacks = plan.settings.wants & WANT_STACKS != 0;
    let packets = symbols.map(|symbols| PacketSession { reasons: host.reasons, symbols, stacks });
    Ok(Opened { kernel, degradations, packets, opened_ns: clock::boot_ns() })
}

fn plan(
    compiled: &KernelFilter,
    filter: &Filter,
    output: &OutputArgs,
    extra: &Extra,
    host: &Host,
) -> anyhow::Result<Plan> {
    let ring_bytes = output.buffer.unwrap_or(RING_BYTES);
    if let Err(left) = memory::has_room(ring_bytes) {
        bail!(
            "there is not enough memory for a buffer of {} MiB: the control group's limit leaves {} MiB; raise it, or \
             ask for less with --buffer",
            ring_bytes >> 20,
            left >> 20
        );
    }
    let mut settings = Settings::NONE;
    settings.filters = compiled.filters;
    settings.family = compiled.family;
    settings.role = compiled.role;
    if let Some(cgroup) = compiled.cgroup {
        settings.cgroup_id = cgroup.id;
        settings.cgroup_level = cgroup.level;
    }
    settings.wake_bytes = u64::from(ring_bytes) / 4;
    settings.wants = WANT_PROCESSES;
    if output.states || filter.wants_states() {
        settings.wants |= WANT_STATES;
    }
    let drops = filter.needs_kind("drop");
    if output.stack && drops {
        settings.wants |= WANT_STACKS;
    }
    settings.drops_told = DROPS_TOLD / 10;
    // The CPUs' unused shares at the end of 100 ms are at most a tenth of the budget, on up to 200 CPUs.
    let cpus = aya::util::nr_cpus().map_or(1, |cpus| u32::try_from(cpus).unwrap_or(u32::MAX));
    settings.drops_drawn = (settings.drops_told / 10 / cpus).clamp(1, DROPS_DRAWN);
    let left_out = LeftOut::of(filter, extra.hides_quiet(filter, output), &host.reasons).filter(|_| drops);
    if let Some(left_out) = &left_out {
        settings.wants |= WANT_SOME_REASONS | if left_out.others { WANT_LISTED_REASONS } else { 0 };
    }
    settings.drops_seed = seed();
    settings.pid_ns = pid_ns(&host.resolved.offsets);
    if settings.pid_ns == NO_NUMBERS && (filter.names_processes() || extra.follow_from.is_some()) {
        bail!(
            "no process can be named here: tracer is in a pid namespace of its own, and cannot tell which numbers \
             processes have in it (without type information, or without the right to look at /proc/1/ns/pid); run it \
             in the host's pid namespace (docker run --pid=host)"
        );
    }
    settings.tick_ns = clock::tick_ns().unwrap_or(0);
    settings.tracepoints_preemptible = u32::from(host.resolved.tracepoints_preemptible);
    if output.audit {
        settings.audit = 1;
        // Numbers are small.
        let number = |number: libc::c_long| u32::try_from(number).unwrap_or(u32::MAX);
        settings.nr_connect = number(libc::SYS_connect);
        settings.nr_accept = number(libc::SYS_accept);
        settings.nr_accept4 = number(libc::SYS_accept4);
    }
    let mut pids = compiled.pids.clone();
    if filter.follows() {
        settings.filters |= tracer_common::settings::FILTER_FOLLOW;
    }
    if let Some(pid) = extra.follow_from {
        settings.filters |= tracer_common::settings::FILTER_PID | tracer_common::settings::FILTER_FOLLOW;
        pids = vec![pid];
    }
    let Offsets { skc_net, net_inum, .. } = host.resolved.offsets;
    if settings.filters & FILTER_NETNS != 0 && (skc_net == ABSENT || net_inum == ABSENT) {
        bail!("--netns cannot be decided here: without type information (BTF) the namespace of a socket is not known");
    }
    let drop_reasons = gives_drop_reasons(&host.resolved.offsets);
    if filter.asks_for_reason() && !drop_reasons && !gives_reset_reasons(&host.resolved.offsets) {
        bail!(
            "--reason cannot be decided here: this kernel gives no reasons (drops have them since Linux 5.17, resets \
             since 6.10); --event drop shows all drops with their call sites"
        );
    }
    if host.tracefs.is_none() {
        warn!("{}: hooks that need it are left out", no_tracefs());
    }
    Ok(Plan {
        offsets: host.resolved.offsets,
        settings,
        selection: Selection {
            pids,
            uids: compiled.uids.clone(),
            netns: compiled.netns.clone(),
            ports: compiled.port_words().collect(),
            reasons: left_out.map(|left_out| left_out.listed).unwrap_or_default(),
            prefixes4: compiled.prefixes4.iter().map(|(key, bits)| (key.bits, key.addr, *bits)).collect(),
            prefixes6: compiled.prefixes6.iter().map(|(key, bits)| (key.bits, key.addr, *bits)).collect(),
        },
        maps_on_demand: host.resolved.maps_on_demand,
        ring_bytes,
        sockets: extra.sockets,
        forced: extra.forced.clone(),
        packets: Packets {
            drops,
            retransmits: filter.needs_kind("retransmit"),
            // Text leaves resets out unless the user asks for them: the verdict implies them.
            // Where drops have no reasons, a reset shows that a port has no listener.
            resets: filter.shows_kind("reset") && (output.json || output.text_options(filter, false).resets)
                || drops && !drop_reasons,
        },
    })
}

/// Stands for a pid namespace in which no process has a number.
const NO_NUMBERS: u32 = u32::MAX;

/// See `Settings::pid_ns`.
fn pid_ns(offsets: &Offsets) -> u32 {
    let Offsets { task_group_leader, task_thread_pid, pid_level, pid_number, pid_ns, pid_ns_inum, .. } = *offsets;
    let told = ![task_group_leader, task_thread_pid, pid_level, pid_number, pid_ns, pid_ns_inum].contains(&ABSENT);
    match Numbers::look(&ProcRoot::default()) {
        Numbers::Initial => 0,
        Numbers::Of(inode) if told => inode,
        Numbers::Of(_) | Numbers::Unknown => NO_NUMBERS,
    }
}

/// Returns why there is no tracefs, and a remedy.
pub fn no_tracefs() -> &'static str {
    if Tracefs::is_closed(Path::new("/")) {
        "tracefs may not be read without CAP_DAC_READ_SEARCH"
    } else {
        "tracefs is not mounted (mount -t tracefs tracefs /sys/kernel/tracing)"
    }
}

/// Returns 8 secret random bytes.
fn seed() -> u64 {
    let mut seed = [0; 8];
    // A fixed seed is fine if the kernel has no random bytes yet.
    let _ = getrandom(&mut seed, GetRandomFlags::NONBLOCK);
    u64::from_ne_bytes(seed)
}
