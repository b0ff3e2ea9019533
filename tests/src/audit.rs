//! A tracer's audit of itself (`--audit`), from its summary.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::machine;

/// The accounts by hook. Processes begin and end on the whole host, also while the audit begins and ends: their hooks are
/// exact as in [`exact_but_for_the_edges`].
///
/// # Panics
/// If there is none, if one is not exact, or if one claims to be exact and its terms do not add up.
#[must_use]
pub fn exact(summary: &Value) -> BTreeMap<String, Value> {
    let accounts = accounts(summary);
    for (hook, account) in &accounts {
        if hook.starts_with("sched_process_") && machine::preempts_programs() {
            must_miss_edges_alone(hook, account, summary);
        } else {
            assert_eq!(account["exact"], true, "{hook} is not accounted for: {account}\n{summary}");
        }
    }
    accounts
}

/// Like [`exact`], with traffic while the audit begins and ends: where programs at tracepoints may be preempted (from
/// 7.0 on) it cannot assign some calls to the audit. It counts them (`edges`), and no more than these may be missing.
///
/// # Panics
/// As for [`exact`].
#[must_use]
pub fn exact_but_for_the_edges(summary: &Value) -> BTreeMap<String, Value> {
    if !machine::preempts_programs() {
        return exact(summary);
    }
    let accounts = accounts(summary);
    for (hook, account) in &accounts {
        must_miss_edges_alone(hook, account, summary);
    }
    accounts
}

fn must_miss_edges_alone(hook: &str, account: &Value, summary: &Value) {
    let away = of(account, "happened").abs_diff(accounted(account));
    assert!(away <= of(account, "edges"), "{hook} is not accounted for: {account}\n{summary}");
}

/// The calls with a known outcome.
fn accounted(account: &Value) -> u64 {
    ["delivered", "filtered", "folded", "lost", "missed"].iter().map(|term| of(account, term)).sum()
}

/// Asserts that every call is accounted for.
///
/// # Panics
/// As for [`exact`].
pub fn must_be_exact(summary: &Value) {
    let _ = exact(summary);
}

/// Like [`exact`], whether the accounts are exact or not.
///
/// # Panics
/// If there is none, or if one claims to be exact and its terms do not add up.
#[must_use]
pub fn accounts(summary: &Value) -> BTreeMap<String, Value> {
    let list = summary["audit"].as_array().unwrap_or_else(|| panic!("there is an audit: {summary}"));
    let accounts: BTreeMap<String, Value> =
        list.iter().map(|account| (account["hook"].as_str().expect("a hook").to_owned(), account.clone())).collect();
    for account in accounts.values().filter(|account| account["exact"] == true) {
        assert_eq!(accounted(account), of(account, "happened"), "{account}");
    }
    accounts
}

/// A term of an account.
///
/// # Panics
/// If it is missing.
#[must_use]
pub fn of(account: &Value, term: &str) -> u64 {
    account[term].as_u64().unwrap_or_else(|| panic!("no {term}: {account}"))
}
