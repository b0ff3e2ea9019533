//! The tests that run on other kernels when time is short: one test of each difference between kernels, or the tests
//! that have failed on one kernel alone.
//!
//! Between the oldest and the newest kernel only that is tried again which changes in between.

use super::plan::Test;

/// Kernels between the oldest and the newest one of the matrix.
const BETWEEN: [&str; 2] = ["6.1", "6.12"];

/// Where a test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// On every kernel: a format, a counter, a reason or a link differs between any two of them.
    Each,
    /// Not on the kernels of [`BETWEEN`].
    Ends,
}

/// Module and test.
const TESTS: [(&str, &str, On); 33] = [
    // Verdicts and bytes: states, errors and resets are read from different places.
    ("close", "client_closes_first", On::Each),
    ("close", "client_resets_by_linger_zero", On::Ends),
    ("close", "reset_before_accept", On::Ends),
    ("close", "established_times_out_by_user_timeout", On::Ends),
    ("close", "destroyed_while_connecting", On::Ends),
    ("close", "namespace_deleted_with_live_sockets", On::Ends),
    ("given_up", "an_error_of_another_attempt_is_not_this_ones", On::Each),
    ("unanswered", "a_request_without_an_answer_is_said_to_be_one", On::Ends),
    ("limited", "by_the_window_of_a_peer_that_does_not_read", On::Each),
    ("sockmap", "bytes_that_pass_a_sockmap_are_not_known_and_those_beside_it_are", On::Ends),
    // Ways to connect, each through another function of the kernel.
    ("connect", "between_namespaces_v6", On::Ends),
    ("connect", "fast_open_with_cookie", On::Ends),
    ("connect", "io_uring", On::Each),
    ("connect", "io_uring_in_a_kernel_worker", On::Ends),
    ("connect", "simultaneous_open", On::Ends),
    ("connect", "mptcp", On::Ends),
    // Owners: tasks, files, and preemptible programs.
    ("owner", "prefork_server", On::Each),
    ("owner", "short_lived_processes", On::Ends),
    ("preexisting", "opened_before_v4", On::Ends),
    ("listeners", "of_three_older_ones_on_one_port_each_has_its_own_connections_and_end_v6", On::Ends),
    ("sockets", "tcp_is_what_ss_shows", On::Each),
    ("sockets_owners", "a_thread_with_files_of_its_own_is_looked_into", On::Each),
    // Failing calls: programs of their own, which share the stack with the functions that they call.
    ("failing_calls", "accepts_without_descriptors_are_told_once_a_second_and_counted_exactly", On::Each),
    // Filtering in the kernel: each filter makes other programs.
    ("drops_command", "a_flood_takes_nothing_from_the_port_or_the_address_that_is_asked_for", On::Ends),
    ("drops_netns", "what_leaves_by_a_device_of_another_namespace_is_its_sockets", On::Ends),
    // Packets: nearly every version renumbers the reasons.
    ("drops_policy", "a_rule_on_input_is_policy_and_the_listeners", On::Each),
    ("drops_tcp", "a_closed_port_refuses", On::Each),
    ("drops_tcp", "segments_that_are_not_right", On::Ends),
    // Counters: which exist, and whether a socket has its own.
    ("discards", "syns_to_a_full_accept_queue_are_told_on_the_server_with_the_listener", On::Ends),
    // Every hook of every chain counts as many calls as the kernel.
    ("audit", "connections", On::Each),
    ("findings", "nobody_listens", On::Ends),
    // The set of system calls differs, and so do the capabilities that they need.
    ("privileges", "these_capabilities_are_all_that_a_trace_uses", On::Each),
    ("privileges", "a_limit_of_locked_memory_is_named", On::Ends),
];

/// Whether the brief run on `kernel` (`--kernel`) includes the test.
pub fn has(test: &Test, kernel: &str) -> bool {
    let is = |(module, name, _): &&(&str, &str, On)| *module == test.module && *name == test.name;
    TESTS.iter().find(is).is_some_and(|(_, _, on)| *on == On::Each || !BETWEEN.contains(&kernel))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// A renamed test would silently be left out.
    #[test]
    fn they_exist() {
        for (module, name, _) in TESTS {
            let path = format!("{}/../tests/tests/live/{module}.rs", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            assert!(text.contains(&format!("#[test]\nfn {name}()")), "{module}::{name}");
        }
    }

    #[test]
    fn between_the_ends_fewer_run() {
        let on = |kernel: &str| {
            let test = |(module, name, _): &(&str, &str, On)| Test { module: (*module).into(), name: (*name).into() };
            TESTS.iter().filter(|row| has(&test(row), kernel)).count()
        };
        assert_eq!((on("5.10"), on("newest")), (TESTS.len(), TESTS.len()));
        assert!((8..20).contains(&on("6.12")) && on("6.1") == on("6.12"), "{}", on("6.1"));
        assert!(!has(&Test { module: "close".into(), name: "another".into() }, "5.10"));
    }
}
