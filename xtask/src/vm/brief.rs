//! The tests that run on other kernels when time is short: one test of each difference between kernels, or the tests
//! that have failed on one kernel alone.

use super::plan::Test;

/// Module and test.
const TESTS: [(&str, &str); 37] = [
    // Verdicts and bytes: states, errors and resets are read from different places.
    ("close", "client_closes_first"),
    ("close", "client_resets_by_linger_zero"),
    ("close", "unread_data_resets"),
    ("close", "reset_before_accept"),
    ("close", "established_times_out_by_user_timeout"),
    ("close", "destroyed_while_connecting"),
    ("close", "process_killed"),
    ("close", "namespace_deleted_with_live_sockets"),
    ("given_up", "an_error_of_another_attempt_is_not_this_ones"),
    ("unanswered", "a_request_without_an_answer_is_said_to_be_one"),
    ("sockmap", "bytes_that_pass_a_sockmap_are_not_known_and_those_beside_it_are"),
    // Ways to connect, each through another function of the kernel.
    ("connect", "blocking_connect_v4"),
    ("connect", "between_namespaces_v6"),
    ("connect", "nonblocking_connect_in_progress"),
    ("connect", "fast_open_with_cookie"),
    ("connect", "io_uring"),
    ("connect", "io_uring_in_a_kernel_worker"),
    ("connect", "simultaneous_open"),
    ("connect", "mptcp"),
    // Owners: tasks, files, and preemptible programs.
    ("owner", "prefork_server"),
    ("owner", "worker_waits_in_accept"),
    ("owner", "exec_after_connect"),
    ("owner", "short_lived_processes"),
    ("preexisting", "opened_before_v4"),
    ("listeners", "of_three_older_ones_on_one_port_each_has_its_own_connections_and_end_v6"),
    ("sockets", "tcp_is_what_ss_shows"),
    ("sockets_owners", "a_thread_with_files_of_its_own_is_looked_into"),
    // Failing calls: programs of their own, which share the stack with the functions that they call.
    ("failing_calls", "accepts_without_descriptors_are_told_once_a_second_and_counted_exactly"),
    // Filtering in the kernel: each filter makes other programs.
    ("drops_command", "a_flood_takes_nothing_from_the_port_or_the_address_that_is_asked_for"),
    ("drops_netns", "what_leaves_by_a_device_of_another_namespace_is_its_sockets"),
    // Packets: nearly every version renumbers the reasons.
    ("drops_policy", "a_rule_on_input_is_policy_and_the_listeners"),
    ("drops_tcp", "a_closed_port_refuses"),
    ("drops_tcp", "segments_that_are_not_right"),
    // Counters: which exist, and whether a socket has its own.
    ("discards", "syns_to_a_full_accept_queue_are_told_on_the_server_with_the_listener"),
    ("audit", "connections"),
    ("findings", "nobody_listens"),
    // The set of system calls differs, and so do the capabilities that they need.
    ("privileges", "these_capabilities_are_all_that_a_trace_uses"),
];

/// Whether the brief run includes the test.
pub fn has(test: &Test) -> bool {
    TESTS.contains(&(test.module.as_str(), test.name.as_str()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// A renamed test would silently be left out.
    #[test]
    fn they_exist() {
        for (module, name) in TESTS {
            let path = format!("{}/../tests/tests/live/{module}.rs", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            assert!(text.contains(&format!("#[test]\nfn {name}()")), "{module}::{name}");
        }
    }
}
