//! `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`, the same in
//! every kernel from 4.16 on.

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::bpf_probe_read_kernel,
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext, TracePointContext},
};
use tracer_common::{
    audit::{Audited, Outcome},
    record::Tuple,
    settings::ABSENT,
};

use crate::{
    audit, counting,
    lane::{
        Lane, ahead,
        preempted::{self, Before, Subject},
        second,
    },
    lanes,
    lifecycle::transition,
    offset,
    sock::{AF_INET6, IPPROTO_TCP, Raw, Sock, Trusted},
};

counting! { audit_set_state: "inet_sock_set_state" => SetState }

#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn set_state__btf(ctx: BtfTracePointContext) -> i32 {
    second::begin(&ctx);
    ahead::first_lane_is_at_work(1);
    set_state(&ctx, Lane::First);
    ahead::first_lane_is_at_work(0);
    0
}

lanes! {
    btf_tracepoint(function = "inet_sock_set_state") BtfTracePointContext => set_state:
    set_state__lane2 set_state__lane3
}

#[inline(always)]
fn set_state(ctx: &BtfTracePointContext, lane: Lane) {
    let sk: *const u8 = ctx.arg(0);
    if preempted::takes(sk as u64, Before::Ahead, subject(sk as u64, ctx.arg(1), ctx.arg(2)), lane) {
        settle(ctx, lane);
    } else if matches!(lane, Lane::First) {
        audit::declined(Audited::SetState, ctx);
    }
}

#[inline(always)]
fn subject(sk: u64, old: i32, new: i32) -> Subject {
    Subject(sk, u64::from(old as u8) << 8 | u64::from(new as u8))
}

/// See [`second`].
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn set_state_again__btf(ctx: BtfTracePointContext) -> i32 {
    if second::takes_over(&ctx) {
        settle(&ctx, Lane::Second);
    }
    0
}

#[inline(always)]
fn settle(ctx: &BtfTracePointContext, lane: Lane) {
    let (old, new): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    // SAFETY: the first argument is a `struct sock *`.
    let outcome = match unsafe { Trusted::new(ctx.arg(0), lane) } {
        Some(sock) => transition(sock, old as u8, new as u8),
        None => Outcome::Aside,
    };
    audit::settle_in(lane, Audited::SetState, ctx, outcome);
}

// Inlined into the function that aya generates around it: two functions need too much stack (5.10: "combined stack
// size of 3 calls is 544").
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
#[inline(always)]
pub fn set_state__raw(ctx: RawTracePointContext) -> i32 {
    let (old, new): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    let outcome = match Raw::tcp(ctx.arg(0)) {
        Some(sock) => transition(sock, old as u8, new as u8),
        None => Outcome::Aside,
    };
    audit::settle(Audited::SetState, &ctx, outcome);
    0
}

tracepoint! { "tracepoint/sock/inet_sock_set_state" set_state__classic => classic }

#[inline(always)]
fn classic(ctx: &TracePointContext) {
    let record = record(ctx);
    let mut outcome = Outcome::Aside;
    if field::<u16>(&record, offset!(state_format_protocol)) == IPPROTO_TCP {
        let (old, new) = states(&record);
        outcome = transition(Formatted::new(&record, Lane::First), old as u8, new as u8);
    }
    audit::settle_classic(Audited::SetState, outcome);
}

tracepoint! { "tracepoint/sock/inet_sock_set_state" set_state__ahead => ahead }

/// See [`ahead`].
#[inline(always)]
fn ahead(ctx: &TracePointContext) {
    let record = record(ctx);
    let sock = Formatted::new(&record, Lane::Ahead);
    let (old, new) = states(&record);
    if sock.address() != 0
        && field::<u16>(&record, offset!(state_format_protocol)) == IPPROTO_TCP
        && ahead::takes(sock.address(), subject(sock.address(), old, new))
    {
        let outcome = transition(sock, old as u8, new as u8);
        audit::settle_classic_in(Lane::Ahead, Audited::SetState, outcome);
    }
}

#[inline(always)]
fn record(ctx: &TracePointContext) -> Record {
    let mut record: Record = [0; RECORD];
    // SAFETY: the helper checks the address; `record` is as many writable bytes.
    unsafe { bpf_probe_read_kernel((&raw mut record).cast(), size_of::<Record>() as u32, ctx.as_ptr()) };
    record
}

/// Returns the old and the new state.
#[inline(always)]
fn states(record: &Record) -> (i32, i32) {
    (field(record, offset!(state_format_oldstate)), field(record, offset!(state_format_newstate)))
}

/// Words copied of the tracepoint's record: it has nine, and room to grow.
const RECORD: usize = 12;
/// A copy, because an offset into the context itself has to be an immediate of the instruction: the
/// compiler adds one from the `format` file, and the verifier says "dereference of modified ctx ptr".
type Record = [u64; RECORD];

/// A socket as the classic tracepoint's own record shows it. It reads other fields by address, if their
/// offsets are known (they come from BTF; without BTF there is only the record).
#[derive(Clone, Copy)]
struct Formatted<'r> {
    record: &'r Record,
    raw: Raw,
    lane: Lane,
}

impl<'r> Formatted<'r> {
    #[inline(always)]
    fn new(record: &'r Record, lane: Lane) -> Self {
        Self { record, raw: Raw(field(record, offset!(state_format_skaddr))), lane }
    }
}

#[inline(always)]
fn field<T: Copy + Default>(record: &Record, offset: u32) -> T {
    let offset = offset as usize;
    if offset > size_of::<Record>() - size_of::<T>() {
        return T::default();
    }
    // SAFETY: within the record; fields lie at multiples of their size.
    unsafe { core::ptr::read_volatile(record.as_ptr().cast::<u8>().add(offset).cast::<T>()) }
}

impl Sock for Formatted<'_> {
    #[inline(always)]
    fn address(self) -> u64 {
        self.raw.address()
    }
    #[inline(always)]
    fn lane(self) -> Lane {
        self.lane
    }
    #[inline(always)]
    fn u8(self, offset: u32) -> u8 {
        self.raw.u8(offset)
    }
    #[inline(always)]
    fn u16(self, offset: u32) -> u16 {
        self.raw.u16(offset)
    }
    #[inline(always)]
    fn u32(self, offset: u32) -> u32 {
        self.raw.u32(offset)
    }
    #[inline(always)]
    fn u64(self, offset: u32) -> u64 {
        self.raw.u64(offset)
    }
    #[inline(always)]
    fn words(self, offset: u32) -> [u32; 4] {
        self.raw.words(offset)
    }
    #[inline(always)]
    fn netns(self) -> u32 {
        self.raw.netns()
    }
    #[inline(always)]
    fn family(self) -> u16 {
        field(self.record, offset!(state_format_family))
    }
    #[inline(always)]
    fn tuple(self) -> Tuple {
        let mut tuple = Tuple {
            laddr: [0; 4],
            raddr: [0; 4],
            lport: field(self.record, offset!(state_format_sport)),
            rport: field(self.record, offset!(state_format_dport)),
            family: 4,
            reserved: [0; 3],
            netns: self.netns(),
            ifindex: self.u32(offset!(skc_bound_dev_if)),
        };
        if self.family() == AF_INET6 {
            tuple.family = 6;
            tuple.laddr = words(self.record, offset!(state_format_saddr_v6));
            tuple.raddr = words(self.record, offset!(state_format_daddr_v6));
        } else {
            tuple.laddr = [field(self.record, offset!(state_format_saddr)), 0, 0, 0];
            tuple.raddr = [field(self.record, offset!(state_format_daddr)), 0, 0, 0];
        }
        tuple
    }
}

#[inline(always)]
fn words(record: &Record, offset: u32) -> [u32; 4] {
    if offset == ABSENT {
        return [0; 4];
    }
    [field(record, offset), field(record, offset + 4), field(record, offset + 8), field(record, offset + 12)]
}
