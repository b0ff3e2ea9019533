//! The audit: whether every call of a hook is accounted for. See docs/audit.md.

mod account;

use aya::{
    Ebpf,
    maps::{Array, PerCpuArray},
    programs::Program,
};
use log::debug;
use tracer_common::audit::{Audited, PLACES, RingTaken, TERMS, place};

use super::{
    KernelError,
    backend::Choice,
    cost,
    hooks::{Attach, Backend, Hook, SYS_EXIT, Watch, chain},
    probes,
};
pub use account::{Account, Accounts, Received};
use account::{Missed, reconcile};

impl Watch {
    fn is_system_call(self) -> bool {
        self.counter == SYS_EXIT
    }

    /// The traced program, if `backend` serves `hook`.
    fn traced(self, hook: Hook, backend: Backend) -> Option<&'static str> {
        let link = chain(hook).iter().find(|link| link.backend == backend)?;
        let here = |attach| matches!(attach, Attach::TpBtf(name) | Attach::RawTp(name) | Attach::Tracepoint(_, name) if name == self.name);
        // A stand-in is optional, and has no account of its own.
        link.programs.iter().find(|spec| here(spec.attach) && !spec.optional).map(|spec| spec.program)
    }
}

/// How often, at one moment, the kernel had skipped the traced program and the counting one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Skipped {
    traced: u64,
    counter: u64,
}

/// A watch whose programs are attached.
#[derive(Debug)]
struct Watched {
    hook: Hook,
    watch: Watch,
    traced: &'static str,
    /// Before and after the audit began, and before and after it ended.
    skipped: [Skipped; 4],
}

/// A running or finished audit.
#[derive(Debug, Default)]
pub struct Audit {
    /// Attached counting programs.
    counters: Vec<&'static str>,
    watched: Vec<Watched>,
    /// Hooks without a counting program, and the reasons.
    unaudited: Vec<(String, String)>,
}

impl Audit {
    /// Attaches the counting programs for those of `hooks` whose traced program has yet to be attached.
    pub fn begin(ebpf: &mut Ebpf, hooks: impl Iterator<Item = Hook>) -> Self {
        let mut audit = Self::default();
        for watch in hooks.flat_map(|hook| hook.descriptor().audit).filter(|watch| !watch.is_system_call()) {
            audit.attach(ebpf, watch.counter, watch.name);
        }
        audit
    }

    fn attach(&mut self, ebpf: &mut Ebpf, program: &'static str, tracepoint: &str) {
        let attached = match ebpf.program_mut(program) {
            Some(Program::RawTracePoint(raw)) => raw.load().and_then(|()| raw.attach(tracepoint).map(drop)),
            _ => return,
        };
        match attached {
            Ok(()) => self.counters.push(program),
            Err(error) => debug!("{program}: {}", super::reason(&error)),
        }
    }

    /// Begins the count: the traced programs are attached according to `choices`.
    ///
    /// # Errors
    /// If a map has another type.
    pub fn open(&mut self, ebpf: &mut Ebpf, choices: &[Choice], knows_numbers: bool) -> Result<(), KernelError> {
        let by_system_call = |choice: &Choice| choice.backend == Some(Backend::Syscall);
        if knows_numbers && choices.iter().any(by_system_call) {
            self.attach(ebpf, SYS_EXIT, "sys_exit");
        }
        for choice in choices {
            let Some(backend) = choice.backend else { continue };
            let hook = choice.hook;
            let watches = hook.descriptor().audit;
            let (can, cannot): (Vec<_>, Vec<_>) = watches
                .iter()
                .map(|watch| (*watch, watch.traced(hook, backend)))
                .partition(|(watch, traced)| traced.is_some() && self.counters.contains(&watch.counter));
            self.watched.extend(can.into_iter().filter_map(|(watch, traced)| {
                Some(Watched { hook, watch, traced: traced?, skipped: Default::default() })
            }));
            for (watch, traced) in &cannot {
                let why = if traced.is_some() {
                    "the program that counts cannot be attached".to_owned()
                } else {
                    nothing_counts(backend)
                };
                let name = if traced.is_some() { watch.name } else { choice.hook.name() };
                self.unaudited.push((name.to_owned(), why));
            }
            if watches.is_empty() {
                self.unaudited.push((choice.hook.name().to_owned(), nothing_counts(backend)));
            }
        }
        self.read_skipped(ebpf, 0);
        set_open(ebpf, 1)?;
        self.read_skipped(ebpf, 1);
        Ok(())
    }

    /// Ends the count. The traced programs have to be still attached.
    ///
    /// # Errors
    /// Like [`Audit::open`].
    pub fn close(&mut self, ebpf: &mut Ebpf) -> Result<(), KernelError> {
        self.read_skipped(ebpf, 2);
        set_open(ebpf, 0)?;
        self.read_skipped(ebpf, 3);
        Ok(())
    }

    fn read_skipped(&mut self, ebpf: &Ebpf, moment: usize) {
        for watched in &mut self.watched {
            watched.skipped[moment] =
                Skipped { traced: skipped(ebpf, watched.traced), counter: skipped(ebpf, watched.watch.counter) };
        }
    }

    /// The outcome of all calls. Call it when the traced programs are detached and have finished; `folded` is the
    /// number of packets that the kernel side has folded.
    ///
    /// # Errors
    /// Like [`Audit::open`].
    pub fn accounts(&self, ebpf: &Ebpf, folded: u64, received: Received) -> Result<Accounts, KernelError> {
        let map = ebpf.map("AUDIT").ok_or(KernelError::Object("AUDIT"))?;
        let counts = PerCpuArray::<_, u64>::try_from(map).map_err(KernelError::Map)?;
        let mut sums = [0; PLACES as usize];
        for (index, sum) in (0..PLACES).zip(&mut sums) {
            *sum = counts.get(&index, 0).map_err(KernelError::Map)?.iter().sum();
        }
        let taken = [sums[RingTaken::Events as usize], sums[RingTaken::Drops as usize]];
        let hooks = self
            .watched
            .iter()
            .map(|watched| {
                let first = place(watched.watch.audited, 0) as usize;
                let mut terms = [0; TERMS as usize];
                terms.copy_from_slice(&sums[first..first + TERMS as usize]);
                let mut complete =
                    if watched.hook.is_of_packets() { taken[1] == received.drops } else { taken[0] == received.events };
                if watched.watch.audited == Audited::Drop {
                    complete &= folded == received.folded;
                }
                let [traced, counter] = watched.missed(skipped(ebpf, watched.watch.counter));
                reconcile(watched.watch.name, &terms, traced, counter, complete)
            })
            .collect();
        Ok(Accounts { hooks, unaudited: self.unaudited.clone(), taken })
    }
}

impl Watched {
    /// The misses of the traced program and of the counting one, which is still attached and has missed `now` calls in
    /// all.
    fn missed(&self, now: u64) -> [Missed; 2] {
        let [before, opened, closing, closed] = self.skipped;
        let traced = Missed {
            within: closing.traced - opened.traced,
            // The traced program's misses at other times are not counted.
            edges: opened.traced - before.traced + closed.traced - closing.traced,
        };
        // The counting program has not noted a call that it missed either.
        let (from, to) = if self.watch.is_system_call() { (before.counter, closed.counter) } else { (0, now) };
        let within = closing.counter - opened.counter;
        [traced, Missed { within, edges: to - from - within }]
    }
}

/// How often the kernel has skipped a program because it would have interrupted itself.
fn skipped(ebpf: &Ebpf, program: &str) -> u64 {
    let fd = ebpf.program(program).and_then(|program| program.fd().ok());
    fd.and_then(|fd| cost::of(program, fd, &probes::Missed::new())).map_or(0, |cost| cost.missed)
}

fn nothing_counts(backend: Backend) -> String {
    format!("served by {backend}, and nothing else counts its calls")
}

fn set_open(ebpf: &mut Ebpf, open: u32) -> Result<(), KernelError> {
    let map = ebpf.map_mut("AUDIT_OPEN").ok_or(KernelError::Object("AUDIT_OPEN"))?;
    Array::<_, u32>::try_from(map).and_then(|mut array| array.set(0, open, 0)).map_err(KernelError::Map)
}

#[cfg(test)]
mod tests {
    use super::{
        super::hooks::{SECOND_SET_STATE, SET_STATE_AHEAD},
        *,
    };

    #[test]
    fn what_was_missed_before_it_began_and_after_its_end_is_no_part_of_it() {
        let at = |traced, counter| Skipped { traced, counter };
        let watched = Watched {
            hook: Hook::SetState,
            watch: Hook::SetState.descriptor().audit[0],
            traced: "set_state__btf",
            skipped: [at(3, 0), at(3, 0), at(10, 1), at(11, 1)],
        };
        assert_eq!(watched.missed(1), [Missed { within: 7, edges: 1 }, Missed { within: 1, edges: 0 }]);
        // The last call came after the end, when the traced program was still attached.
        assert_eq!(watched.missed(2)[1], Missed { within: 1, edges: 1 });
        // A call that the counting program missed before the begin may have been reported as part of the audit.
        let watched = Watched { skipped: [at(0, 1); 4], ..watched };
        assert_eq!(watched.missed(1)[1], Missed { within: 0, edges: 1 });
    }

    #[test]
    fn every_tracepoint_has_its_traced_program_in_every_link_that_is_one() {
        for (hook, watch) in
            Hook::ALL.iter().flat_map(|hook| hook.descriptor().audit.iter().map(|watch| (*hook, watch)))
        {
            for link in chain(hook) {
                let traced = watch.traced(hook, link.backend);
                let function = matches!(link.backend, Backend::Fentry | Backend::Kprobe);
                assert_eq!(traced.is_none(), function, "{} by {}", watch.name, link.backend);
                assert!(![Some(SECOND_SET_STATE), Some(SET_STATE_AHEAD)].contains(&traced));
            }
        }
    }
}
