//! One file per hook, with one program per backend. Names are `hook` or `hook__backend`.

/// Defines a program at a classic tracepoint, in `$section`, that does `$work`. It returns 1: aya's own attribute
/// always returns 0, for which the kernel withholds the event from every other perf user (`trace_call_bpf`).
macro_rules! tracepoint {
    ($section:literal $program:ident => $work:ident) => {
        #[unsafe(no_mangle)]
        #[unsafe(link_section = $section)]
        pub fn $program(ctx: *mut core::ffi::c_void) -> u32 {
            $work(&TracePointContext::new(ctx));
            1
        }
    };
}

pub mod compat;
mod inet_csk_accept;
mod inet_sk_error_report;
mod inet_sock_set_state;
mod io_uring_complete;
mod kfree_skb;
mod sched_process;
mod sk_psock_init;
mod sys_accept;
mod sys_bind;
mod sys_listen;
mod tcp_connect;
mod tcp_destroy_sock;
mod tcp_receive_reset;
mod tcp_retransmit_skb;
mod tcp_retransmit_synack;
mod tcp_send_reset;
