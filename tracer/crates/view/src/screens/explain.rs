use super::compare;
use crate::explain::{families, text};

#[test]
fn entries() {
    compare("explain", |columns| {
        let mut out = String::new();
        for word in ["tcp_listen_overflow", "TCP_CLOSE", "ECONNREFUSED", "TcpExtListenDrops", "no_answer"] {
            for found in tracer_explain::lookup(word) {
                text(&mut out, found, columns, false);
            }
        }
        out
    });
}

#[test]
fn all_families() {
    compare("explain_families", |columns| {
        let mut out = String::new();
        families(&mut out, false, columns);
        out
    });
}
