//! One file a hook; in it one program a backend. Names are `hook` or `hook__backend`.

mod inet_csk_accept;
mod inet_sk_error_report;
mod inet_sock_set_state;
mod io_uring_complete;
mod kfree_skb;
mod sched_process;
mod tcp_connect;
mod tcp_destroy_sock;
mod tcp_receive_reset;
mod tcp_retransmit_skb;
mod tcp_retransmit_synack;
mod tcp_send_reset;
