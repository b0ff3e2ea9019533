//! The audit (`--audit`): the outcome of every call of a hook, next to a second program's count of the
//! calls.

/// A tracepoint whose calls two programs count.
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

/// The outcome of one call of a hook. Every way out of a hook's program is one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Outcome {
    /// The ring took its record, and no record was lost.
    Told = Term::Told as u32,
    /// A fold counts it with others like it.
    Folded = Term::Folded as u32,
    /// The user's filter keeps it out.
    Filtered = Term::Filtered as u32,
    /// It needs no record: no TCP socket, a transition that the settings do not ask for, or one that
    /// another hook records.
    Aside = Term::Aside as u32,
    /// The ring had no room for a record of it.
    Lost = Term::Lost as u32,
}

impl Outcome {
    /// Returns the outcome with the number `n`, for BPF functions that can only return a number.
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

    /// Combines the outcomes of a call that may have two records.
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

/// A count kept for each [`Audited`], in the kernel side's `AUDIT`.
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
    /// Calls among these that a second program took over.
    TakenOver = 6,
    /// Calls without a note, for lack of room: the traced program cannot see that they are outside the audit.
    Unnoted = 7,
    /// Calls that the traced program left to another program, which had taken them over before.
    Declined = 8,
}

/// Number of terms.
pub const TERMS: u32 = 9;

/// The count of records that a ring took, one place for each ring behind the places of the hooks.
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

/// Returns the place in `AUDIT` that counts a term of a hook.
#[must_use]
#[inline(always)]
pub const fn place(hook: Audited, term: u32) -> u32 {
    hook as u32 * TERMS + term
}

/// Room for notes of calls outside the audit.
pub const NOTES: u32 = crate::settings::CALLS;
