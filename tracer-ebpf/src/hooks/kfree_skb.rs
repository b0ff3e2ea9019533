//! `kfree_skb(struct sk_buff *skb, void *location)`, with `enum skb_drop_reason reason` from 5.17 on,
//! and `struct sock *rx_sk` from 6.11 on (commit c53795d48ee8).

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::bpf_probe_read_kernel,
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext, TracePointContext},
};
use tracer_common::{audit::Audited, drops::NO_REASON, settings::ABSENT};

use crate::{
    audit, counting,
    drops::{Dropped, RawSkb, TrustedSkb, dropped},
    offset,
};

/// Whether this kernel passes at least `arguments` arguments.
#[inline(always)]
fn passes(arguments: u32) -> bool {
    offset!(kfree_skb_args) != ABSENT && offset!(kfree_skb_args) >= arguments
}

counting! { audit_drop: "kfree_skb" => Drop }

#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb__btf(ctx: BtfTracePointContext) -> i32 {
    let (skb, context) = (TrustedSkb(ctx.arg(0)), ctx.as_ptr());
    let mut drop = Dropped { skb, rx_sk: 0, location: ctx.arg(1), reason: NO_REASON, context };
    if passes(3) {
        drop.reason = ctx.arg(2);
    }
    if passes(4) {
        // Null for most packets. The verifier forbids arithmetic on it: it is a `trusted_ptr_or_null`.
        let sk: *const u8 = ctx.arg(3);
        drop.rx_sk = sk as u64;
    }
    audit::settle(Audited::Drop, &ctx, dropped(drop));
    0
}

#[raw_tracepoint(tracepoint = "kfree_skb")]
pub fn kfree_skb__raw(ctx: RawTracePointContext) -> i32 {
    let (skb, context) = (RawSkb(ctx.arg(0)), ctx.as_ptr());
    let mut drop = Dropped { skb, rx_sk: 0, location: ctx.arg(1), reason: NO_REASON, context };
    if passes(3) {
        drop.reason = ctx.arg(2);
    }
    if passes(4) {
        drop.rx_sk = ctx.arg(3);
    }
    audit::settle(Audited::Drop, &ctx, dropped(drop));
    0
}

tracepoint! { "tracepoint/skb/kfree_skb" kfree_skb__classic => classic }

#[inline(always)]
fn classic(ctx: &TracePointContext) {
    let drop = Dropped {
        skb: RawSkb(field(ctx, offset!(kfree_format_skbaddr), 0)),
        rx_sk: field(ctx, offset!(kfree_format_rx_sk), 0),
        location: field(ctx, offset!(kfree_format_location), 0),
        reason: field(ctx, offset!(kfree_format_reason), NO_REASON),
        context: ctx.as_ptr(),
    };
    audit::settle_classic(Audited::Drop, dropped(drop));
}

/// Returns a field of the tracepoint's record, or `absent` if this kernel has none. Ignores whether the helper
/// succeeds: each such branch doubles the paths that the verifier follows through the code after it ("Processed 1000001
/// insn"). The helper writes zeros if it fails.
#[inline(always)]
fn field<T: Copy>(ctx: &TracePointContext, offset: u32, absent: T) -> T {
    if offset == ABSENT {
        return absent;
    }
    let mut value = absent;
    // SAFETY: the offset comes from the tracepoint's `format` file; the helper checks the address, and `value` is as many
    // writable bytes.
    unsafe {
        let from = ctx.as_ptr().cast::<u8>().add(offset as usize);
        bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from.cast());
    }
    value
}
