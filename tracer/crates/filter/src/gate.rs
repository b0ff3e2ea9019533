//! The user's filter as the core's gate.

use tracer_core::{Admission, Gate, NamespaceChange};
use tracer_stream::{Kind, Socket};

use crate::{Decision, Filter};

impl Gate for Filter {
    fn admit(&self, socket: &Socket<'_>) -> Admission {
        match self.decide_connection(socket) {
            Decision::Pass => Admission::Pass,
            Decision::Reject => Admission::Reject,
            Decision::Undecided => Admission::Undecided,
        }
    }

    fn admit_finally(&self, socket: &Socket<'_>) -> bool {
        self.decide_connection_final(socket)
    }

    fn shows(&self, kind: &Kind<'_>) -> bool {
        Self::shows(self, kind)
    }

    fn feeds_findings(&self, kind: &Kind<'_>) -> bool {
        Self::feeds_findings(self, kind)
    }

    fn shows_processes_only(&self) -> bool {
        self.wants_processes_only()
    }

    fn fork(&mut self, parent: u32, child: u32, child_start_ns: u64) {
        Self::fork(self, parent, child, Some(child_start_ns));
    }

    fn exit(&mut self, pid: u32) {
        Self::exit(self, pid);
    }

    fn namespace(&mut self, change: NamespaceChange) {
        let (NamespaceChange::Now(index, _) | NamespaceChange::Forget(index)) = change;
        let Some(named) = self.named_netns().into_iter().nth(index) else { return };
        match change {
            NamespaceChange::Now(_, inode) => drop(named.becomes(inode)),
            NamespaceChange::Forget(_) => drop(named.forget_former()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use clap::Parser as _;
    use tracer_core::{shown::Shown, tally::Tally};
    use tracer_stream::{Event, Sink, sample};

    use super::*;
    use crate::{FilterArgs, tests::World};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        filter: FilterArgs,
    }

    #[derive(Default)]
    struct Names(Vec<&'static str>);

    impl Sink for Names {
        fn event(&mut self, event: &Event<'_>) {
            self.0.push(event.kind.name());
        }
    }

    /// The shown kinds of two connections of one process.
    fn shown(args: &[&str], limit: Option<u64>) -> (Vec<&'static str>, Tally) {
        let line = Line::try_parse_from([&["tracer"], args].concat()).unwrap();
        let mut shown = Shown::new(line.filter.resolve(&World).unwrap(), limit);
        let (owner, mut names) = (sample::owner("curl", 7), Names::default());
        for _ in 0..2 {
            for kind in [Kind::Connect { errno: None }, Kind::Close(&sample::CLOSE)] {
                let socket = Some(Socket { owner: Some(&owner), ..sample::SOCKET });
                shown.sink(&mut names).event(&Event { boot_ns: 1, socket, kind });
            }
        }
        (names.0, shown.into_tally())
    }

    #[test]
    fn a_process_is_told_once_before_its_first_event() {
        assert_eq!(shown(&[], None).0, ["process", "connect", "close", "connect", "close"]);
    }

    #[test]
    fn a_process_is_told_only_where_processes_are_asked_for_and_before_what_is_told() {
        assert_eq!(shown(&["--event", "close"], None).0, ["close", "close"]);
        assert_eq!(shown(&["--event", "close,process"], None).0, ["process", "close", "close"]);
        assert_eq!(shown(&["--event", "!process"], None).0, ["connect", "close", "connect", "close"]);
        assert_eq!(shown(&["--event", "process"], None).0, ["process"]);
        assert_eq!(shown(&["--verdict", "refused"], None).0, [""; 0]);
    }

    #[test]
    fn a_process_is_one_of_the_events_that_are_counted_off() {
        for count in 1..4 {
            assert_eq!(shown(&[], Some(count)).0.len() as u64, count);
        }
    }
}
