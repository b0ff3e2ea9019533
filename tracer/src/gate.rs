//! The user's filter as the core's gate.

use crate::{
    core::{Admission, Gate, NamespaceChange},
    filter::{Decision, Filter},
    stream::{Kind, Socket},
};

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
