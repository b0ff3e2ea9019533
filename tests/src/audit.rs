//! The audit that a tracer has made of itself (`--audit`), from its summary.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::machine;

/// The accounts by hook.
///
/// # Panics
/// If there is none, if one is not exact, or if one says so and its terms do not add up.
#[must_use]
pub fn exact(summary: &Value) -> BTreeMap<String, Value> {
    let accounts = accounts(summary);
    for (hook, account) in &accounts {
        assert_eq!(account["exact"], true, "{hook} is not accounted for: {account}\n{summary}");
    }
    accounts
}

/// As [`exact`], with traffic while the audit begins and ends: where programs at tracepoints may be preempted
/// (from 7.0 on) it is not certain of some calls whether they are part of it. They are counted (`edges`), and no
/// more than those may be missing.
///
/// # Panics
/// As [`exact`].
#[must_use]
pub fn exact_but_for_the_edges(summary: &Value) -> BTreeMap<String, Value> {
    if !machine::preempts_programs() {
        return exact(summary);
    }
    let accounts = accounts(summary);
    for (hook, account) in &accounts {
        let away = of(account, "happened").abs_diff(accounted(account));
        assert!(away <= of(account, "edges"), "{hook} is not accounted for: {account}\n{summary}");
    }
    accounts
}

/// What became of calls, as far as that is known.
fn accounted(account: &Value) -> u64 {
    ["delivered", "filtered", "folded", "lost", "missed"].iter().map(|term| of(account, term)).sum()
}

/// Panics unless all that happened is accounted for.
///
/// # Panics
/// As [`exact`].
pub fn must_be_exact(summary: &Value) {
    let _ = exact(summary);
}

/// As [`exact`], whether they are or not.
///
/// # Panics
/// If there is none, or if one says that it is exact and its terms do not add up.
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
/// If it is not there.
#[must_use]
pub fn of(account: &Value, term: &str) -> u64 {
    account[term].as_u64().unwrap_or_else(|| panic!("no {term}: {account}"))
}
