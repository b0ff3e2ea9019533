//! Loads the object and attaches the best link of every chain.

use std::{collections::HashSet, path::Path};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, PerCpuArray, RingBuf, StackTraceMap},
    programs::ProgramFd,
};
use log::{debug, warn};
use tracer_common::{
    audit::NOTES,
    counter::{COUNTERS, Counter},
    drops::{FOLDS, REASON_PLACES, STACKS},
    record::{AcceptFailures, SocketRecord, SocketState},
    settings::{ABSENT, CALLS, WANT_ACCEPT, WANT_CONNECT_EXIT, WANT_SOME_REASONS, WANT_STACKS},
};

use super::{
    KernelError,
    attach::{NO_BTF, Preemption, attach_link, likely_for_functions, load_in_advance, load_link},
    audit::{Accounts, Audit, Received},
    backend::{Choice, choose, needs_io_uring},
    compat,
    cost::{self, AUDIT, ProgramCost},
    debug_log::{self, DebugLog},
    detach::side_by_side,
    folds::Folds,
    grace,
    hooks::{ACCEPT_OF_4, Backend, Hook, Lanes, Link, blind, chain},
    object::{MapForms, object},
    plan::Plan,
    probes,
    ring::Ring,
    stacks::{self, Stacks},
    tasks,
    types::KernelTypes,
};
use crate::descriptors;
use tracer_host::clock;

/// The most sockets whose map is allocated beforehand: ten megabytes.
const PREALLOCATED_SOCKETS: u32 = 1 << 16;

/// The directory of the limit of a stack's depth.
const SYSCTLS: &str = "/proc/sys/kernel";

/// Size of the ring of drops, retransmissions and resets; see `WAKE_BYTES` in the kernel side.
const DROPS_RING_BYTES: u32 = 1 << 20;
/// The smallest size of a ring, for one that no hook fills: the object always has both.
const LEAST_RING_BYTES: u32 = 4096;

/// The loaded programs. Dropping it detaches them all; so does the kernel when the process dies.
pub struct Kernel {
    ebpf: Ebpf,
    /// With `--audit`.
    audit: Option<Audit>,
    /// Sizes of the two rings.
    ring_bytes: [u32; 2],
    /// The outcome of each hook.
    pub choices: Vec<Choice>,
    /// When the last hook was attached, `CLOCK_BOOTTIME` ns.
    pub started_ns: u64,
    preemption: Preemption,
    /// Calls that the kernel had kept from the programs at the start, when there was nothing to see yet.
    pub missed_before: u64,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").field("choices", &self.choices).finish_non_exhaustive()
    }
}

impl Kernel {
    /// Loads the object according to `plan`, fills the filter maps and attaches every hook.
    ///
    /// `WANT_CONNECT_EXIT` and `WANT_ACCEPT` are constants in the program, but only attaching shows whether those hooks
    /// work. So the object is loaded with both as wanted, and once more without a hook that failed.
    ///
    /// # Errors
    /// If the kernel refuses the maps, or the hook that every trace needs.
    pub fn load(plan: &Plan, types: &KernelTypes) -> Result<Self, KernelError> {
        if let Some(limit) = descriptors::too_few() {
            return Err(KernelError::FewDescriptors(limit));
        }
        let mut plan = plan.clone();
        plan.settings.wants |= WANT_CONNECT_EXIT | WANT_ACCEPT;
        let kernel = Self::load_once(&plan, types)?;
        let mut wants = plan.settings.wants;
        if kernel.backend(Hook::Connect).is_none() {
            wants &= !WANT_CONNECT_EXIT;
        }
        if kernel.backend(Hook::Accept).is_none() {
            wants &= !WANT_ACCEPT;
        }
        if wants == plan.settings.wants {
            return Ok(kernel);
        }
        drop(kernel);
        plan.settings.wants = wants;
        Self::load_once(&plan, types)
    }

    fn load_once(plan: &Plan, types: &KernelTypes) -> Result<Self, KernelError> {
        let stacks = plan.settings.wants & WANT_STACKS != 0;
        let frames = stacks.then(|| stacks::frames(Path::new(SYSCTLS)));
        let audited = plan.settings.audit != 0;
        let preemption =
            if plan.settings.tracepoints_preemptible != 0 { Preemption::Possible } else { Preemption::Never };
        let wants = |program: &str| {
            preemption.wants(program)
                && (audited || !program.starts_with(AUDIT))
                && (plan.offsets.accept_args == 4 || program != ACCEPT_OF_4)
        };
        let object = object(MapForms { on_demand: plan.maps_on_demand, frames }, wants)?;
        let ring_bytes = [plan.ring_bytes, if plan.packets.any() { DROPS_RING_BYTES } else { LEAST_RING_BYTES }];
        let mut loader: EbpfLoader<'_> = types.loader();
        if !plan.maps_on_demand {
            loader.map_max_entries("SOCKETS", PREALLOCATED_SOCKETS).map_max_entries("PIDS", PREALLOCATED_SOCKETS / 4);
        }
        if plan.maps_on_demand {
            loader.map_max_entries("CONNECTING", tasks::room(Path::new(SYSCTLS)));
        }
        if let Some(sockets) = plan.sockets {
            loader.map_max_entries("SOCKETS", sockets);
        }
        let level = debug_log::level();
        // No BTF for the loader itself: the object has no relocations that need it.
        let mut ebpf = loader
            .btf(None)
            .override_global(aya_log::LEVEL, &level, false)
            .override_global("OFFSETS", &plan.offsets, true)
            .override_global("SETTINGS", &plan.settings, true)
            .map_max_entries("EVENTS", ring_bytes[0])
            .map_max_entries("DROPS", ring_bytes[1])
            .map_max_entries("CALLS", if plan.settings.tracepoints_preemptible != 0 { CALLS } else { 1 })
            .map_max_entries("AUDIT_NOTES", if audited { NOTES } else { 1 })
            .map_max_entries("FOLDS", if plan.packets.drops { FOLDS } else { 1 })
            .map_max_entries("REASONS", if plan.settings.wants & WANT_SOME_REASONS != 0 { REASON_PLACES } else { 1 })
            .map_max_entries("STACKS", if stacks { STACKS } else { 1 })
            .load(&object)
            .map_err(KernelError::load)?;
        plan.selection.write(&mut ebpf)?;
        let btf = types.get();
        let for_functions = likely_for_functions(&mut ebpf, btf);
        load_in_advance(&mut ebpf, &likely_links(plan, btf.is_some(), for_functions), btf);
        // First, because the kernel calls the first attached program first.
        let wanted = Hook::ALL.into_iter().filter(|hook| plan.packets.want(*hook, &plan.offsets));
        let mut audit = audited.then(|| Audit::begin(&mut ebpf, wanted));
        let mut choices = Vec::new();
        let mut trampolines = None;
        for hook in Hook::IN_ORDER_OF_ATTACHMENT {
            if hook.descriptor().beside_system_calls && !needs_io_uring(&choices)
                || !plan.packets.want(hook, &plan.offsets)
            {
                continue;
            }
            let forced = plan.forced.iter().find(|(forced, _)| *forced == hook).map(|(_, backend)| *backend);
            let rests = hook == Hook::Compat && forced.is_none() && compat::may_rest(&choices, btf, &plan.offsets);
            let mut choice = choose(hook, forced, |link| {
                if btf.is_none() && matches!(link.backend, Backend::TpBtf | Backend::Fentry) {
                    return Err(NO_BTF.to_owned());
                }
                if let Some(why) = blind(hook, link.backend, &plan.offsets) {
                    return Err(why);
                }
                // A kernel that refuses one trampoline refuses all: this saves a millisecond for each hook.
                if let (Backend::Fentry, Some(why)) = (link.backend, &trampolines) {
                    return Err(String::clone(why));
                }
                if rests {
                    return load_link(&mut ebpf, link, btf);
                }
                let attached = attach_link(&mut ebpf, link, btf, preemption);
                if link.backend == Backend::Fentry {
                    trampolines = attached.clone().err().filter(|why| why.contains("Operation not permitted"));
                }
                attached
            });
            choice.rests = rests && choice.backend.is_some();
            debug!("{}: {:?}, refused {:?}", hook.name(), choice.backend, choice.refused);
            if let (Some(backend), None) = (forced, choice.backend) {
                return Err(KernelError::forced(hook, backend, &choice.refused));
            }
            if choice.backend.is_none() && hook.is_required() {
                return Err(KernelError::required(hook, &choice.refused));
            }
            choices.push(choice);
        }
        if let Some(audit) = &mut audit {
            audit.open(&mut ebpf, &choices, plan.offsets.regs_syscall != ABSENT)?;
        }
        let mut kernel = Self { ebpf, audit, ring_bytes, choices, started_ns: 0, preemption, missed_before: 0 };
        kernel.start()?;
        Ok(kernel)
    }

    /// Attaches the hook of 32-bit system calls if it rests and a 32-bit program has started.
    pub fn wake_compat(&mut self) {
        if let Some(choice) = self.choices.iter_mut().find(|choice| choice.rests) {
            compat::wake(&mut self.ebpf, choice, self.preemption);
        }
    }

    /// Starts the recording of all attached hooks.
    fn start(&mut self) -> Result<(), KernelError> {
        // Reads the misses first: a miss between the two is counted rather than ignored. Probes miss calls for lack of
        // places, which takes longer than the start.
        self.missed_before = cost::missed(&cost::by_first_lane(self.costs_beside(&probes::Missed::new())), 0, 0);
        self.started_ns = clock::boot_ns();
        self.set_started(1)
    }

    /// Declares that all calls which were under way when the hooks were attached are over. Call it some time after
    /// that.
    ///
    /// # Errors
    /// If the map cannot be written.
    pub fn settle(&mut self) -> Result<(), KernelError> {
        self.set_started(2)
    }

    fn set_started(&mut self, stage: u32) -> Result<(), KernelError> {
        let map = self.ebpf.map_mut("STARTED").ok_or(KernelError::Object("STARTED"))?;
        Array::<_, u32>::try_from(map).and_then(|mut started| started.set(0, stage, 0)).map_err(KernelError::Map)
    }

    /// The backend that serves `hook`.
    #[must_use]
    pub fn backend(&self, hook: Hook) -> Option<Backend> {
        self.choices.iter().find(|choice| choice.hook == hook)?.backend
    }

    /// Takes the ring out, once. Call inside the runtime.
    ///
    /// # Errors
    /// If it cannot be mapped or polled.
    pub fn ring(&mut self) -> Result<Ring, KernelError> {
        let mut take = |name| self.ebpf.take_map(name).ok_or(KernelError::Object(name));
        let ring = RingBuf::try_from(take("EVENTS")?).map_err(KernelError::Map)?;
        let waiting = Array::try_from(take("WAITING")?).map_err(KernelError::Map)?;
        Ring::new(ring, waiting, self.ring_bytes[0]).map_err(KernelError::Poll)
    }

    /// Takes the kernel side's debug log out, once, if the object has one. Call inside the runtime.
    ///
    /// # Errors
    /// If it cannot be polled.
    pub fn debug_log(&mut self) -> Result<Option<DebugLog>, KernelError> {
        DebugLog::take(&mut self.ebpf)
    }

    /// Takes the ring of drops, retransmissions and resets out, once. Call inside the runtime.
    ///
    /// # Errors
    /// If it cannot be mapped or polled.
    pub fn drops_ring(&mut self) -> Result<Ring, KernelError> {
        let mut take = |name| self.ebpf.take_map(name).ok_or(KernelError::Object(name));
        let ring = RingBuf::try_from(take("DROPS")?).map_err(KernelError::Map)?;
        let waiting = Array::try_from(take("DROPS_WAITING")?).map_err(KernelError::Map)?;
        Ring::new(ring, waiting, self.ring_bytes[1]).map_err(KernelError::Poll)
    }

    /// Takes the folds out, once.
    ///
    /// # Errors
    /// If the map has another type.
    pub fn folds(&mut self) -> Result<Folds, KernelError> {
        let map = self.ebpf.take_map("FOLDS").ok_or(KernelError::Object("FOLDS"))?;
        Ok(Folds::new(PerCpuArray::try_from(map).map_err(KernelError::Map)?))
    }

    /// Takes the kernel's stacks out, once, if they are recorded.
    ///
    /// # Errors
    /// If the map has another type.
    pub fn stacks(&mut self) -> Result<Stacks, KernelError> {
        let map = self.ebpf.take_map("STACKS").ok_or(KernelError::Object("STACKS"))?;
        Ok(Stacks::new(StackTraceMap::try_from(map).map_err(KernelError::Map)?))
    }

    /// Detaches the packet hooks, so that their counters stand still while the rest is read; with an audit all hooks,
    /// because every record has to arrive. Returns the cost of those programs up to the last packet, including the runs
    /// that the kernel skipped.
    pub fn detach_packets(&mut self) -> Vec<ProgramCost> {
        let Self { audit, ebpf, .. } = self;
        if let Some(Err(error)) = audit.as_mut().map(|audit| audit.close(ebpf)) {
            warn!("{error}");
        }
        let probes = probes::missed();
        let mut of_packets = HashSet::new();
        for choice in &self.choices {
            let packets = self.audit.is_some() || choice.hook.is_of_packets();
            let attached = chain(choice.hook).iter().find(|link| Some(link.backend) == choice.backend);
            let programs = attached.filter(|_| packets).into_iter().flat_map(|link| link.programs);
            of_packets.extend(programs.map(|spec| spec.program));
        }
        // The kernel reports the cost of a program as long as a descriptor of it is open.
        let programs: Vec<(String, ProgramFd)> = self
            .ebpf
            .programs()
            .filter(|(name, _)| of_packets.contains(Lanes::with(name).map_or(*name, |lanes| lanes.first)))
            .filter_map(|(name, program)| Some((name.to_owned(), program.fd().ok()?.try_clone().ok()?)))
            .collect();
        side_by_side(&mut self.ebpf, |name| of_packets.contains(name));
        let ended = programs.iter().filter_map(|(name, program)| cost::of(name, program, &probes)).collect();
        // A record that is not whole yet would keep those behind it in the ring, and a call that has not come to
        // anything would be missing in the audit. Where programs are not preempted they have ended long before the
        // rings are read.
        if self.audit.is_some() || self.preemption == Preemption::Possible {
            grace::wait();
        }
        ended
    }

    /// Whether there is an audit: then [`Kernel::detach_packets`] detaches all hooks.
    #[must_use]
    pub const fn is_audited(&self) -> bool {
        self.audit.is_some()
    }

    /// The audit's result, if there is one. Call it after [`Kernel::detach_packets`], when every available record was
    /// taken.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn accounts(&self, received: Received) -> Result<Option<Accounts>, KernelError> {
        let Some(audit) = &self.audit else { return Ok(None) };
        let folded = self.counters()?.get(Counter::FoldedDrop);
        audit.accounts(&self.ebpf, folded, received).map(Some)
    }

    /// The kernel side's counters, summed over all CPUs.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn counters(&self) -> Result<Counters, KernelError> {
        let map = self.ebpf.map("COUNTS").ok_or(KernelError::Object("COUNTS"))?;
        let array = PerCpuArray::<_, u64>::try_from(map).map_err(KernelError::Map)?;
        let mut sums = [0; COUNTERS as usize];
        for (index, sum) in (0..COUNTERS).zip(&mut sums) {
            *sum = array.get(&index, 0).map_err(KernelError::Map)?.iter().sum();
        }
        Ok(Counters(sums))
    }

    /// The numbers of all connections that the kernel side follows now.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn followed(&self) -> Result<HashSet<u64>, KernelError> {
        let map = self.ebpf.map("SOCKETS").ok_or(KernelError::Object("SOCKETS"))?;
        let sockets = HashMap::<_, u64, SocketState>::try_from(map).map_err(KernelError::Map)?;
        Ok(sockets
            .iter()
            .filter_map(Result::ok)
            .filter(|(_, state)| state.closed == 0)
            .map(|(_, state)| state.id)
            .collect())
    }

    /// Failures of accept() that are not emitted yet. Call it at the end.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn accept_failures(&self) -> Result<Vec<SocketRecord>, KernelError> {
        let map = self.ebpf.map("ACCEPT_FAILURES").ok_or(KernelError::Object("ACCEPT_FAILURES"))?;
        let failures = HashMap::<_, [u64; 3], Value>::try_from(map).map_err(KernelError::Map)?;
        Ok(failures.iter().filter_map(Result::ok).map(|(_, value)| value.0.record).filter(|r| r.detail > 0).collect())
    }

    /// Adds a process to the set of `FILTER_PID`.
    ///
    /// # Errors
    /// If the map is full.
    pub fn add_pid(&mut self, pid: u32) -> Result<(), KernelError> {
        let map = self.ebpf.map_mut("PIDS").ok_or(KernelError::Object("PIDS"))?;
        let mut pids = HashMap::<_, u32, u8>::try_from(map).map_err(KernelError::Map)?;
        pids.insert(pid, 1, 0).map_err(KernelError::Map)
    }

    /// Takes a process out of the set of `FILTER_PID`.
    ///
    /// # Errors
    /// If it is not in the set.
    pub fn remove_pid(&mut self, pid: u32) -> Result<(), KernelError> {
        let map = self.ebpf.map_mut("PIDS").ok_or(KernelError::Object("PIDS"))?;
        let mut pids = HashMap::<_, u32, u8>::try_from(map).map_err(KernelError::Map)?;
        pids.remove(&pid).map_err(KernelError::Map)
    }

    /// Adds a namespace to the set of `FILTER_NETNS`.
    ///
    /// # Errors
    /// If the map is full.
    pub fn add_netns(&mut self, inode: u32) -> Result<(), KernelError> {
        self.netns()?.insert(inode, 1, 0).map_err(KernelError::Map)
    }

    /// Takes a namespace out of the set of `FILTER_NETNS`.
    ///
    /// # Errors
    /// If it is not in the set.
    pub fn remove_netns(&mut self, inode: u32) -> Result<(), KernelError> {
        self.netns()?.remove(&inode).map_err(KernelError::Map)
    }

    fn netns(&mut self) -> Result<HashMap<&mut aya::maps::MapData, u32, u8>, KernelError> {
        HashMap::try_from(self.ebpf.map_mut("NETNS").ok_or(KernelError::Object("NETNS"))?).map_err(KernelError::Map)
    }

    /// The cost of each attached program so far.
    #[must_use]
    pub fn costs(&self) -> Vec<ProgramCost> {
        self.costs_beside(&probes::missed())
    }

    /// Like [`Kernel::costs`], with the misses of `probes`.
    fn costs_beside(&self, probes: &probes::Missed) -> Vec<ProgramCost> {
        self.ebpf.programs().filter_map(|(name, program)| cost::of(name, program.fd().ok()?, probes)).collect()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        side_by_side(&mut self.ebpf, |_| true);
    }
}

/// A value of `ACCEPT_FAILURES`.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Value(AcceptFailures);

// SAFETY: `repr(C)`, integers only, without padding (its size is asserted).
unsafe impl aya::Pod for Value {}

/// The links that this kernel most likely takes, the slowest for the verifier first; of functions those of
/// `for_functions`. A wrong guess costs time only: the attachment decides.
fn likely_links(plan: &Plan, has_btf: bool, for_functions: Backend) -> Vec<&'static Link> {
    let mut hooks = Hook::ALL;
    hooks.sort_by_key(|hook| hook.descriptor().verified);
    let likely = |hook: Hook| {
        let forced = plan.forced.iter().any(|(forced, _)| *forced == hook);
        // See `needs_io_uring`.
        let of_last_link = hook.descriptor().beside_system_calls;
        if forced || !plan.packets.want(hook, &plan.offsets) || of_last_link && for_functions != Backend::Syscall {
            return None;
        }
        chain(hook).iter().find(|link| {
            let loads = match link.backend {
                Backend::TpBtf => has_btf,
                Backend::RawTp => true,
                backend => backend == for_functions,
            };
            loads && blind(hook, link.backend, &plan.offsets).is_none()
        })
    };
    hooks.into_iter().filter_map(likely).collect()
}

/// A snapshot of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters([u64; COUNTERS as usize]);

impl Counters {
    /// One of them.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }
}
