//! The user's filter as the core's gate.

use crate::{
    core::{Admission, Gate},
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

    fn fork(&mut self, parent: u32, child: u32, child_start_ns: u64) {
        Self::fork(self, parent, child, Some(child_start_ns));
    }

    fn exit(&mut self, pid: u32) {
        Self::exit(self, pid);
    }
}
