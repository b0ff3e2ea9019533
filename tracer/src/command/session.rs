//! What `live`, `run` and `doctor` share: from the command line to a loaded kernel side.

use std::path::Path;

use anyhow::{Context as _, bail};
use log::{debug, warn};
use rustix::rand::{GetRandomFlags, getrandom};
use tracer_common::settings::{
    ABSENT, FILTER_NETNS, Offsets, Settings, WANT_LISTED_REASONS, WANT_PROCESSES, WANT_SOME_REASONS, WANT_STACKS,
    WANT_STATES,
};

use crate::{
    allocator,
    cli::{KernelArgs, OutputArgs, Types},
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
        reasons::Reasons,
        selection::Selection,
        symbols::KernelSymbols,
        types::KernelTypes,
    },
    privilege::{self, Sandbox, missing::Optional},
    proc::{pidns::Numbers, root::ProcRoot},
};

/// Default size of the ring: at 20 MB of records a second (20,000 connections) almost half a second.
const RING_BYTES: u32 = 8 << 20;

/// Where the running kernel's type information is.
const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// What the running kernel tells of itself.
#[derive(Debug)]
pub struct Host {
    /// For attaching.
    pub types: KernelTypes,
    /// Why there is none.
    pub no_btf: Option<BtfError>,
    /// Offsets.
    pub resolved: Resolved,
    /// Names of drop and reset reasons.
    pub reasons: Reasons,
    /// tracefs, mounted by us if nobody had.
    pub tracefs: Option<Tracefs>,
}

impl Host {
    /// Looks; `from`: where the type information is, if not in the kernel.
    ///
    /// # Errors
    /// If no thread can be started, or the file is not this kernel's type information.
    pub fn look(from: Option<&Types>) -> anyhow::Result<Self> {
        allocator::keep_to_few_places();
        let (types, found) = match from {
            Some(Types::None) => (KernelTypes::none().context("cannot start a thread")?, Err(BtfError::NotWanted)),
            None => {
                // Three readers of the same five megabytes: for attaching, for the loader, and ours for members.
                let types = KernelTypes::start().context("cannot start a thread")?;
                (types, Btf::read(Path::new(BTF_PATH), offsets::WANTED))
            }
            Some(Types::File(path)) => {
                // To attach by it the kernel needs its own.
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
        let reasons = ours.as_ref().map(Reasons::read).unwrap_or_default();
        Ok(Self { types, no_btf, resolved, reasons, tracefs })
    }
}

/// The type information in the file at `path`, unless the running kernel's own says otherwise. Where
/// the kernel has none, nobody can tell.
fn read_for_this_kernel(path: &Path) -> anyhow::Result<Btf> {
    let file = match Btf::read(path, offsets::WANTED) {
        Ok(file) => file,
        Err(BtfError::Read { source, .. }) => bail!("cannot read --btf {}: {source}", path.display()),
        Err(error) => bail!("--btf {} cannot be used: {error}", path.display()),
    };
    let kernel = Btf::read(Path::new(BTF_PATH), offsets::WANTED);
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

/// The filter that `args` ask for.
///
/// # Errors
/// If a name cannot be looked up, or the running kernel has not the reason.
pub fn filter(args: &FilterArgs, kernel: &KernelArgs) -> Result<Filter, FilterError> {
    if !args.reason.is_empty() {
        let path = match &kernel.btf {
            Some(Types::File(path)) => Some(path.as_path()),
            Some(Types::None) => None,
            None => Some(Path::new(BTF_PATH)),
        };
        // Without type information there are no names, which is said later.
        if let Some(btf) = path.and_then(|path| Btf::read(path, offsets::WANTED).ok()) {
            filter::check_reasons(&args.reason, &Reasons::read(&btf))?;
        }
    }
    args.resolve(&filter::Host::default())
}

/// A loaded kernel side, and what it cannot do.
#[derive(Debug)]
pub struct Session {
    /// The programs.
    pub kernel: Kernel,
    /// What is missing.
    pub degradations: Vec<Degradation>,
    /// What of packets is traced.
    pub packets: Option<PacketSession>,
}

/// What is needed to tell of packets.
#[derive(Debug)]
pub struct PacketSession {
    /// Names of reasons.
    pub reasons: Reasons,
    /// Names of call sites.
    pub symbols: KernelSymbols,
    /// The kernel's stacks are recorded.
    pub stacks: bool,
}

/// Dropped packets that are told one by one in a second, at the most, all CPUs together; beyond
/// that they are counted by reason and call site.
const DROPS_TOLD: u32 = 20_000;
/// A CPU draws for so many at once at the most.
const DROPS_DRAWN: u32 = 32;

/// More that goes into the kernel than the filter says.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    /// The filter is on this process and what it forks from now on.
    pub follow_from: Option<u32>,
    /// Restricts hooks to one backend.
    pub forced: Vec<(Hook, Backend)>,
    /// Where the kernel's type information is, if not in the kernel.
    pub types: Option<Types>,
    /// Whether drops that nobody misses are shown; `None`: as lines of text do.
    pub quiet_drops: Option<bool>,
    /// Sockets followed at the most.
    pub sockets: Option<u32>,
    /// Whether threads give up what they do not need.
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
    /// Whether drops that nobody misses are of no use. `drops` of a `close` counts them, too, which only JSON has.
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
pub fn open(filter: &Filter, output: &OutputArgs, extra: &Extra) -> anyhow::Result<Session> {
    kernel::memlock::lift();
    let host = Host::look(extra.types.as_ref())?;
    let compiled = KernelFilter::compile(filter, |path| filter::cgroup::find(Path::new("/sys/fs/cgroup"), path));
    let plan = plan(&compiled, filter, output, extra, &host)?;
    let symbols = plan.packets.any().then(KernelSymbols::open);
    let mut kernel = Kernel::load(&plan, &host.types)?;
    if filter.follows() && extra.follow_from.is_none() {
        // Children born between the first look and the attachment.
        filter.add_descendants(&filter::Host::default())?;
        let now = KernelFilter::compile(filter, |_| None);
        for pid in now.pids.iter().filter(|pid| !plan.selection.pids.contains(pid)) {
            kernel.add_pid(*pid)?;
        }
    }
    let mut degradations =
        degradations(&kernel.choices, host.no_btf.is_none(), &host.resolved.offsets, &host.resolved.missing);
    // Who wants no drops misses no rules.
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
    Ok(Session { kernel, degradations, packets })
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
    // What CPUs have drawn and not used when the tenth of a second is over is a tenth of all at the most, on up to two
    // hundred of them.
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
    settings.tick_ns = crate::clock::tick_ns().unwrap_or(0);
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
            // Lines leave them out unless they are asked for: the verdict says it.
            // Where drops have no reasons a reset tells that nobody listens.
            resets: filter.shows_kind("reset") && (output.json || output.text_options(filter, false).resets)
                || drops && !drop_reasons,
        },
    })
}

/// Instead of a pid namespace: no process has a number.
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

/// Why there is no tracefs, and what to do.
pub fn no_tracefs() -> &'static str {
    if Tracefs::is_closed(Path::new("/")) {
        "tracefs may not be read without CAP_DAC_READ_SEARCH"
    } else {
        "tracefs is not mounted (mount -t tracefs tracefs /sys/kernel/tracing)"
    }
}

/// Eight bytes that nobody else knows.
fn seed() -> u64 {
    let mut seed = [0; 8];
    // Should the kernel have none to give yet, a fixed seed does.
    let _ = getrandom(&mut seed, GetRandomFlags::NONBLOCK);
    u64::from_ne_bytes(seed)
}
