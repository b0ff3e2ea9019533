use super::{EVIL, compare, same};
use crate::doctor::{Finding, text};
use crate::terminal::Columns;

fn findings() -> Vec<Finding> {
    let hook = |name: &str, backend, why: Option<&str>| Finding {
        backend,
        why: why.map(str::to_owned),
        ..Finding::fine(name)
    };
    vec![
        hook("kernel", None, Some("6.18.5, lockdown integrity")),
        Finding::missing(
            "member:sock_common.skc_net_refcnt",
            "this kernel has no such member",
            "namespaces of sockets without a holder stay unknown",
        ),
        hook("inet_sock_set_state", Some("tp_btf"), Some("the best link works")),
        hook("connect", Some("syscall"), Some(&format!("fentry refused: EPERM; kprobe refused: ENOENT {EVIL}"))),
        Finding {
            backend: Some("raw_tp"),
            ..Finding::missing("kfree_skb", "tp_btf refused: EINVAL", "drops have no socket of the receiver")
        },
        hook("tcp_retransmit_skb", Some("tracepoint"), None),
    ]
}

#[test]
fn on_a_terminal() {
    compare("doctor", |columns| text(&findings(), columns));
}

/// A script gets each finding in one line, however long.
#[test]
fn in_a_pipe() {
    same("doctor_pipe", &text(&findings(), Columns::ENDLESS));
}
