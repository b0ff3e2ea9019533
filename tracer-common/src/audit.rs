//! The audit (`--audit`): what every call of a hook came to, beside a count of the calls that another
//! program keeps.

/// A tracepoint whose calls are counted twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Audited {
    /// `sock:inet_sock_set_state`.
    SetState = 0,
    /// `tcp:tcp_destroy_sock`.
    Destroy = 1,
    /// `sock:inet_sk_error_report`.
    ErrorReport = 2,
    /// `skb:kfree_skb`.
    Drop = 3,
    /// `tcp:tcp_retransmit_skb`.
    Retransmit = 4,
    /// `tcp:tcp_retransmit_synack`.
    RetransmitSynAck = 5,
    /// `tcp:tcp_send_reset`.
    SendReset = 6,
    /// `tcp:tcp_receive_reset`.
    ReceiveReset = 7,
    /// `sched:sched_process_fork`.
    Fork = 8,
    /// `sched:sched_process_exec`.
    Exec = 9,
    /// `sched:sched_process_exit`.
    Exit = 10,
    /// The return of connect(), as a system call.
    ConnectReturn = 11,
    /// The return of accept() and accept4(), as system calls.
    AcceptReturn = 12,
    /// `io_uring:io_uring_complete`.
    IoUring = 13,
}

impl Audited {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::SetState,
        Self::Destroy,
        Self::ErrorReport,
        Self::Drop,
        Self::Retransmit,
        Self::RetransmitSynAck,
        Self::SendReset,
        Self::ReceiveReset,
        Self::Fork,
        Self::Exec,
        Self::Exit,
        Self::ConnectReturn,
        Self::AcceptReturn,
        Self::IoUring,
    ];
}

/// What one call of a hook came to. Every way out of a hook's program is one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Outcome {
    /// A record was handed to the ring, and none was lost.
    Told = Term::Told as u32,
    /// It was counted with others like it, to be told together.
    Folded = Term::Folded as u32,
    /// The user's filter keeps it out.
    Filtered = Term::Filtered as u32,
    /// There is nothing to tell: no TCP socket, a transition that nobody asked for, or one that another
    /// hook tells.
    Aside = Term::Aside as u32,
    /// A record of it had no room.
    Lost = Term::Lost as u32,
}

impl Outcome {
    /// The outcome with the number `n`, from a function that can only return one.
    #[must_use]
    #[inline(always)]
    pub const fn from_number(n: u32) -> Self {
        match n {
            n if n == Self::Told as u32 => Self::Told,
            n if n == Self::Folded as u32 => Self::Folded,
            n if n == Self::Filtered as u32 => Self::Filtered,
            n if n == Self::Lost as u32 => Self::Lost,
            _ => Self::Aside,
        }
    }

    /// What a call came to of which two records may be told.
    #[must_use]
    #[inline(always)]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Lost, _) | (_, Self::Lost) => Self::Lost,
            (Self::Told, _) | (_, Self::Told) => Self::Told,
            _ => other,
        }
    }
}

/// What is counted of each [`Audited`], in the kernel side's `AUDIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Term {
    /// Calls, counted by the program that does nothing else.
    Happened = 0,
    /// See [`Outcome`], as all up to [`Term::Lost`].
    Told = 1,
    /// See [`Outcome`].
    Folded = 2,
    /// See [`Outcome`].
    Filtered = 3,
    /// See [`Outcome`].
    Aside = 4,
    /// See [`Outcome`].
    Lost = 5,
    /// Of all these, those that a second program took over.
    TakenOver = 6,
    /// Calls outside the audit of which the traced program could not be told that they are.
    Unnoted = 7,
    /// Calls that the traced program left to another one, which had taken them over before.
    Declined = 8,
}

/// How many terms there are.
pub const TERMS: u32 = 9;

/// Records that a ring took, each ring in a place of its own behind those of the hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RingTaken {
    /// `EVENTS`.
    Events = Audited::ALL.len() as u32 * TERMS,
    /// `DROPS`.
    Drops = Audited::ALL.len() as u32 * TERMS + 1,
}

/// Places of `AUDIT`.
pub const PLACES: u32 = RingTaken::Drops as u32 + 1;

/// Where a term of a hook is counted.
#[must_use]
#[inline(always)]
pub const fn place(hook: Audited, term: u32) -> u32 {
    hook as u32 * TERMS + term
}

/// Calls outside the audit that are noted.
pub const NOTES: u32 = crate::settings::CALLS;
