//! The running kernel's reasons for drops, read from its type information as text: not the way in which the tracer
//! finds them.

use std::collections::HashSet;
use std::sync::OnceLock;

use serde_json::Value;

/// Whether the kernel has an enumerator of this name.
fn enumerator(name: &str) -> bool {
    static NAMES: OnceLock<HashSet<String>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let types = std::fs::read("/sys/kernel/btf/vmlinux").expect("the kernel tells its types");
        let names = types.split(|byte| *byte == 0).filter_map(|name| str::from_utf8(name).ok());
        names.filter(|name| name.contains("_REASON_")).map(str::to_owned).collect()
    });
    names.contains(name)
}

/// Whether the kernel has a drop reason of this name.
///
/// # Panics
/// If its type information cannot be read.
#[must_use]
pub fn exists(name: &str) -> bool {
    enumerator(&format!("SKB_DROP_REASON_{name}"))
}

/// This kernel's reason for a reset that later kernels send for the reason `name`: null if it gives none.
///
/// # Panics
/// If its type information cannot be read.
#[must_use]
pub fn of_reset(name: &str) -> Value {
    if enumerator(&format!("SK_RST_REASON_{name}")) { name.into() } else { Value::Null }
}

/// Whether the kernel names the socket that a dropped packet came to (`rx_sk`).
///
/// # Panics
/// If that is unknown: tracefs is not mounted.
#[must_use]
pub fn names_receivers() -> bool {
    let paths = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    let format =
        paths.iter().find_map(|path| std::fs::read_to_string(format!("{path}/events/skb/kfree_skb/format")).ok());
    format.expect("tracefs tells the format").contains(" rx_sk;")
}

/// Whether the kernel gives reasons at all.
#[must_use]
pub fn any() -> bool {
    exists("NOT_SPECIFIED")
}

/// Whether a drop has this kernel's reason for what later kernels call `name`: none if it gives no reasons,
/// `NOT_SPECIFIED` if it lacks this one.
#[must_use]
pub fn is(event: &Value, name: &str) -> bool {
    match event["reason"].as_str() {
        Some(said) => said == if exists(name) { name } else { "NOT_SPECIFIED" },
        None => !any(),
    }
}

/// Asserts that a drop is of `class`, or of class `otherwise` if the kernel gives no reason for it.
///
/// # Panics
/// If it is of another class.
pub fn assert_class(event: &Value, class: &str, otherwise: &str) {
    let given = event["reason"].as_str().is_some_and(|reason| reason != "NOT_SPECIFIED");
    assert_eq!(event["class"], if given { class } else { otherwise }, "{event}");
}
