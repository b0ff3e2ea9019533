//! The audit: whether every call of a hook is accounted for. See ARCHITECTURE.md, "Audit".

use aya::{
    Ebpf,
    maps::{Array, PerCpuArray},
    programs::Program,
};
use log::debug;
use tracer_common::audit::{Audited, PLACES, RingTaken, TERMS, Term, place};

use super::{
    KernelError,
    backend::{Attach, Backend, Choice, Hook, chain},
    cost, probes,
};

/// A tracepoint whose calls are counted by a program of its own.
#[derive(Clone, Copy, Debug)]
struct Watch {
    audited: Audited,
    hook: Hook,
    /// As the stream names it; also where the program that counts is attached, unless it is a system call.
    name: &'static str,
    /// The program that counts.
    counter: &'static str,
}

/// The program that counts the returns of system calls.
const SYS_EXIT: &str = "audit_sys_exit";

const fn watch(audited: Audited) -> Watch {
    let (hook, name, counter) = match audited {
        Audited::SetState => (Hook::SetState, "inet_sock_set_state", "audit_set_state"),
        Audited::Destroy => (Hook::Destroy, "tcp_destroy_sock", "audit_destroy"),
        Audited::ErrorReport => (Hook::ErrorReport, "inet_sk_error_report", "audit_error"),
        Audited::Drop => (Hook::Drop, "kfree_skb", "audit_drop"),
        Audited::Retransmit => (Hook::Retransmit, "tcp_retransmit_skb", "audit_retrans"),
        Audited::RetransmitSynAck => (Hook::RetransmitSynAck, "tcp_retransmit_synack", "audit_synack"),
        Audited::SendReset => (Hook::SendReset, "tcp_send_reset", "audit_reset_out"),
        Audited::ReceiveReset => (Hook::ReceiveReset, "tcp_receive_reset", "audit_reset_in"),
        Audited::Fork => (Hook::Processes, "sched_process_fork", "audit_fork"),
        Audited::Exec => (Hook::Processes, "sched_process_exec", "audit_exec"),
        Audited::Exit => (Hook::Processes, "sched_process_exit", "audit_exit"),
        Audited::ConnectReturn => (Hook::Connect, "sys_exit_connect", SYS_EXIT),
        Audited::AcceptReturn => (Hook::Accept, "sys_exit_accept", SYS_EXIT),
        Audited::IoUring => (Hook::IoUring, "io_uring_complete", "audit_io_uring"),
    };
    Watch { audited, hook, name, counter }
}

impl Watch {
    fn is_system_call(self) -> bool {
        self.counter == SYS_EXIT
    }

    /// The traced program, where `backend` serves the hook.
    fn traced(self, backend: Backend) -> Option<&'static str> {
        let link = chain(self.hook).iter().find(|link| link.backend == backend)?;
        let here = |attach| matches!(attach, Attach::TpBtf(name) | Attach::RawTp(name) | Attach::Tracepoint(_, name) if name == self.name);
        link.programs.iter().find(|spec| here(spec.attach)).map(|spec| spec.program)
    }

    /// Packets have a ring of their own.
    const fn is_of_packets(self) -> bool {
        matches!(
            self.audited,
            Audited::Drop
                | Audited::Retransmit
                | Audited::RetransmitSynAck
                | Audited::SendReset
                | Audited::ReceiveReset
        )
    }
}

/// How often the kernel had not run two programs, at one moment: the traced one and the one that counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Skipped {
    traced: u64,
    counter: u64,
}

/// A watch whose programs are attached.
#[derive(Debug)]
struct Watched {
    watch: Watch,
    traced: &'static str,
    /// Before and after the audit began, and before and after it ended.
    skipped: [Skipped; 4],
}

/// An audit that goes on, or is over.
#[derive(Debug, Default)]
pub struct Audit {
    /// Programs that count and are attached.
    counters: Vec<&'static str>,
    watched: Vec<Watched>,
    /// Hooks that nothing counts a second time, and why.
    unaudited: Vec<(&'static str, String)>,
}

/// What user space has taken over, to be held against what the kernel side handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Records from `EVENTS`.
    pub events: u64,
    /// Records from `DROPS`.
    pub drops: u64,
    /// Packets of folds.
    pub folded: u64,
}

/// What became of all calls of one hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The hook.
    pub hook: &'static str,
    /// Its calls, as the program counted that does nothing else.
    pub happened: u64,
    /// Those that were told.
    pub delivered: u64,
    /// Those that were not wanted: by the user's filter, or because there was nothing to tell.
    pub filtered: u64,
    /// Of `filtered`, those of which there was nothing to tell: no TCP socket, a transition that nobody asked
    /// for, one that another hook tells.
    pub aside: u64,
    /// Those that were counted with others like them, and told together.
    pub folded: u64,
    /// Those for which there was no room.
    pub lost: u64,
    /// Those that the kernel kept from the programs.
    pub missed: u64,
    /// Those that may or may not be part of the audit: the kernel kept them from a program when it began or
    /// ended.
    pub edges: u64,
    /// Every call is accounted for.
    pub exact: bool,
}

/// The result of an audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// One for each hook that is counted twice.
    pub hooks: Vec<Account>,
    /// The others, and why.
    pub unaudited: Vec<(&'static str, String)>,
    /// Records that the kernel side handed to `EVENTS` and to `DROPS`.
    pub taken: [u64; 2],
}

impl Accounts {
    /// Whether every call of every audited hook is accounted for.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.hooks.iter().all(|account| account.exact)
    }
}

/// Calls that the kernel kept from one program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Missed {
    /// Certainly during the audit.
    within: u64,
    /// About its beginning or end.
    edges: u64,
}

/// Adds it up: `terms` are the kernel side's, `traced` and `counter` what the kernel kept from the two
/// programs; `complete`: what was handed out has arrived.
fn reconcile(
    hook: &'static str,
    terms: &[u64; TERMS as usize],
    traced: Missed,
    counter: Missed,
    complete: bool,
) -> Account {
    let term = |term: Term| terms[term as usize];
    let aside = term(Term::Aside);
    let mut account = Account {
        hook,
        // What the counting program was not run for the traced one takes for a part of the audit.
        happened: term(Term::Happened) + counter.within,
        delivered: term(Term::Told),
        filtered: term(Term::Filtered) + aside,
        aside,
        folded: term(Term::Folded),
        lost: term(Term::Lost),
        missed: traced.within.saturating_sub(term(Term::TakenOver)),
        edges: traced.edges + counter.edges + term(Term::Unnoted),
        exact: false,
    };
    let accounted = account.delivered + account.filtered + account.folded + account.lost + account.missed;
    account.exact =
        complete && account.edges == 0 && term(Term::TakenOver) <= traced.within && account.happened == accounted;
    account
}

impl Audit {
    /// Attaches the programs that count, for those of `hooks` whose traced program has yet to be attached.
    pub fn begin(ebpf: &mut Ebpf, hooks: impl Iterator<Item = Hook>) -> Self {
        let hooks: Vec<Hook> = hooks.collect();
        let mut audit = Self::default();
        for watch in Audited::ALL.map(watch) {
            if hooks.contains(&watch.hook) && !watch.is_system_call() {
                audit.attach(ebpf, watch.counter, watch.name);
            }
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

    /// The traced programs are attached as `choices` say: from now on their calls are counted.
    ///
    /// # Errors
    /// If a map is not what it should be.
    pub fn open(&mut self, ebpf: &mut Ebpf, choices: &[Choice], knows_numbers: bool) -> Result<(), KernelError> {
        let by_system_call = |choice: &Choice| choice.backend == Some(Backend::Syscall);
        if knows_numbers && choices.iter().any(by_system_call) {
            self.attach(ebpf, SYS_EXIT, "sys_exit");
        }
        for choice in choices {
            let Some(backend) = choice.backend else { continue };
            let watches: Vec<Watch> =
                Audited::ALL.into_iter().map(watch).filter(|watch| watch.hook == choice.hook).collect();
            let (can, cannot): (Vec<_>, Vec<_>) = watches
                .iter()
                .map(|watch| (*watch, watch.traced(backend)))
                .partition(|(watch, traced)| traced.is_some() && self.counters.contains(&watch.counter));
            self.watched.extend(
                can.into_iter().filter_map(|(watch, traced)| {
                    Some(Watched { watch, traced: traced?, skipped: Default::default() })
                }),
            );
            for (watch, traced) in &cannot {
                let why = if traced.is_some() {
                    "the program that counts cannot be attached".to_owned()
                } else {
                    nothing_counts(backend)
                };
                let name = if traced.is_some() { watch.name } else { choice.hook.name() };
                self.unaudited.push((name, why));
            }
            if watches.is_empty() {
                self.unaudited.push((choice.hook.name(), nothing_counts(backend)));
            }
        }
        self.read_skipped(ebpf, 0);
        set_open(ebpf, 1)?;
        self.read_skipped(ebpf, 1);
        Ok(())
    }

    /// The calls from now on are no part of it. The traced programs have to be attached still.
    ///
    /// # Errors
    /// As [`Audit::open`].
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

    /// What became of all calls. To be asked when the traced programs are detached and have done; `folded`
    /// is how many packets the kernel side has folded.
    ///
    /// # Errors
    /// As [`Audit::open`].
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
                let mut complete = if watched.watch.is_of_packets() {
                    taken[1] == received.drops
                } else {
                    taken[0] == received.events
                };
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
    /// Of the traced program and of the one that counts, which is attached still and has been kept from
    /// `now` calls in all.
    fn missed(&self, now: u64) -> [Missed; 2] {
        let [before, opened, closing, closed] = self.skipped;
        let traced = Missed {
            within: closing.traced - opened.traced,
            // What the traced one was not run for at other times nobody counts.
            edges: opened.traced - before.traced + closed.traced - closing.traced,
        };
        // What the counting one was not run for it has not noted either.
        let (from, to) = if self.watch.is_system_call() { (before.counter, closed.counter) } else { (0, now) };
        let within = closing.counter - opened.counter;
        [traced, Missed { within, edges: to - from - within }]
    }
}

/// How often the kernel has not run a program that it might have interrupted.
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
    use super::{super::backend::SECOND_SET_STATE, *};

    const NONE: Missed = Missed { within: 0, edges: 0 };

    /// In the order of [`Term`].
    const TERMS_OF_A_STORM: [u64; TERMS as usize] = [1000, 300, 500, 100, 60, 30, 0, 0];

    fn storm(traced: Missed, counter: Missed) -> Account {
        reconcile("kfree_skb", &TERMS_OF_A_STORM, traced, counter, true)
    }

    #[test]
    fn what_happened_is_told_folded_filtered_lost_or_missed() {
        let account = storm(Missed { within: 10, edges: 0 }, NONE);
        let expected = Account {
            hook: "kfree_skb",
            happened: 1000,
            delivered: 300,
            filtered: 160,
            aside: 60,
            folded: 500,
            lost: 30,
            missed: 10,
            edges: 0,
            exact: true,
        };
        assert_eq!(account, expected);
    }

    #[test]
    fn one_too_few_and_one_too_many_are_not_exact() {
        for within in [9, 11] {
            assert!(!storm(Missed { within, edges: 0 }, NONE).exact);
        }
        for term in Term::Told as usize..=Term::Lost as usize {
            let mut terms = TERMS_OF_A_STORM;
            terms[term] += 1;
            assert!(!reconcile("x", &terms, Missed { within: 10, edges: 0 }, NONE, true).exact);
        }
    }

    #[test]
    fn calls_that_the_counting_program_missed_happened() {
        let account = storm(Missed { within: 12, edges: 0 }, Missed { within: 2, edges: 0 });
        assert_eq!((account.happened, account.missed, account.exact), (1002, 12, true));
    }

    #[test]
    fn what_the_second_program_took_over_was_not_missed() {
        // Of 20 calls that the first one was not run for, 7 are among the outcomes.
        let terms = [1000, 900, 0, 80, 0, 7, 7, 0];
        let account = reconcile("x", &terms, Missed { within: 20, edges: 0 }, NONE, true);
        assert_eq!((account.missed, account.exact), (13, true));
        // Nobody can take over more than there was.
        let terms = [1000, 900, 0, 100, 0, 0, 7, 0];
        assert!(!reconcile("x", &terms, NONE, NONE, true).exact);
    }

    #[test]
    fn what_is_uncertain_is_said_and_not_exact() {
        let account = storm(Missed { within: 10, edges: 1 }, Missed { within: 0, edges: 2 });
        assert_eq!((account.edges, account.exact), (3, false));
        let unnoted = [1000, 300, 500, 100, 60, 40, 0, 4];
        let account = reconcile("x", &unnoted, NONE, NONE, true);
        assert_eq!((account.edges, account.exact), (4, false));
    }

    #[test]
    fn what_has_not_arrived_is_not_exact() {
        assert!(!reconcile("x", &TERMS_OF_A_STORM, Missed { within: 10, edges: 0 }, NONE, false).exact);
    }

    #[test]
    fn what_was_missed_before_it_began_and_after_its_end_is_no_part_of_it() {
        let at = |traced, counter| Skipped { traced, counter };
        let watched = Watched {
            watch: watch(Audited::SetState),
            traced: "set_state__btf",
            skipped: [at(3, 0), at(3, 0), at(10, 1), at(11, 1)],
        };
        assert_eq!(watched.missed(1), [Missed { within: 7, edges: 1 }, Missed { within: 1, edges: 0 }]);
        // The last one came when it was over, and the traced program was attached still.
        assert_eq!(watched.missed(2)[1], Missed { within: 1, edges: 1 });
        // One that the counting program missed before it began may have been told as part of it.
        let watched = Watched { skipped: [at(0, 1); 4], ..watched };
        assert_eq!(watched.missed(1)[1], Missed { within: 0, edges: 1 });
    }

    #[test]
    fn every_tracepoint_has_its_traced_program_in_every_link_that_is_one() {
        for watch in Audited::ALL.map(watch) {
            for link in chain(watch.hook) {
                let traced = watch.traced(link.backend);
                let function = matches!(link.backend, Backend::Fentry | Backend::Kprobe);
                assert_eq!(traced.is_none(), function, "{} by {}", watch.name, link.backend);
                assert_ne!(traced, Some(SECOND_SET_STATE));
            }
        }
    }
}
