//! Limits of the caller, and arguments that are no regular files: the tracer ends with one sentence, or traces on.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tracer_tests::agent::{run_to_end, tracer_program};
use tracer_tests::netns::{command, leave_scratch, scratch};

/// `tracer ARGS` under the limits that `shell` sets first.
fn under(shell: &str, args: &[&str]) -> Output {
    // Without a core file, and with a time limit.
    let script = format!("ulimit -c 0; {shell}; exec timeout -s KILL 60 \"$0\" \"$@\"");
    Command::new("bash").args(["-c", &script]).arg(tracer_program()).args(args).output().expect("bash starts")
}

/// Checks that it has failed with one sentence that has these words.
fn fails_with(out: &Output, status: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(status), "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    assert!(!said.contains("panicked") && said.lines().filter(|line| !line.contains("-v tells more")).count() <= 2);
}

/// A path of this test's own.
fn path(name: &str) -> PathBuf {
    scratch().join(format!("limits-{name}"))
}

#[test]
fn a_small_stack_is_said() {
    for kib in ["100", "400"] {
        let shell = format!("ulimit -s {kib}");
        fails_with(&under(&shell, &["live", "--duration", "10ms"]), 1, &["ulimit -s", &format!("{kib} KiB")]);
        fails_with(&under(&shell, &["run", "--", "true"]), 125, &["ulimit -s"]);
    }
}

#[test]
fn little_address_space_is_said() {
    for kib in ["60000", "100000", "200000"] {
        let shell = format!("ulimit -v {kib}");
        fails_with(&under(&shell, &["live", "--duration", "10ms"]), 1, &["ulimit -v"]);
        fails_with(&under(&shell, &["run", "--", "true"]), 125, &["ulimit -v"]);
    }
}

/// The tracer does not mistake the limit for a kernel that is too old.
#[test]
fn few_descriptors_are_said() {
    for limit in ["12", "40", "80"] {
        let shell = format!("ulimit -n {limit}");
        fails_with(&under(&shell, &["live", "--duration", "10ms"]), 1, &["ulimit -n", "open files", limit]);
        fails_with(&under(&shell, &["run", "--", "true"]), 125, &["ulimit -n"]);
    }
}

/// There is enough address space to start, and too little for the ring: the tracer ends with a sentence.
#[test]
fn address_space_that_is_used_up_later_is_said() {
    let out = under("ulimit -v 300000", &["live", "--duration", "10ms", "--buffer", "256M", "-v"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.to_lowercase().contains("memory") && !said.contains("panicked"), "{said}");
}

#[test]
fn a_limit_of_file_sizes_is_said() {
    let file = path("file");
    let name = file.to_str().expect("a path");
    for to in [&["-o", name][..], &[]] {
        let shell = if to.is_empty() { format!("ulimit -f 0; exec > {name}") } else { "ulimit -f 0".to_owned() };
        let out = under(&shell, &[&["live", "-q", "--json", "--duration", "10ms"], to].concat());
        fails_with(&out, 1, &["cannot write the events", "large"]);
    }
    // The command of `run` has the default action of the signal.
    let out = under(
        "ulimit -f 0",
        &["run", "-q", "--", "sh", "-c", &format!("ulimit -c 0; exec head -c 9 /dev/zero > {name}")],
    );
    assert_eq!(out.status.code(), Some(128 + libc::SIGXFSZ), "{}", String::from_utf8_lossy(&out.stderr));
    fs::remove_file(&file).expect("it was made");
    leave_scratch();
}

#[test]
fn a_time_zone_that_is_a_pipe_is_said_and_times_are_utc() {
    let fifo = path("zone");
    let name = fifo.to_str().expect("a path");
    command("mkfifo", &[name]);
    for zone in [name.to_owned(), format!(":{name}"), "/dev/zero".to_owned()] {
        let out = under(&format!("export TZ={zone}"), &["live", "--duration", "10ms"]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(0), "{said}");
        assert!(said.contains("is not a time zone file: times are UTC"), "{said}");
    }
    // A rule is no file, and needs no warning.
    let out = under("export TZ=CET-1CEST", &["live", "--duration", "10ms"]);
    assert!(!String::from_utf8_lossy(&out.stderr).contains("time zone"));
    fs::remove_file(&fifo).expect("it was made");
    leave_scratch();
}

#[test]
fn what_is_no_file_of_types_is_refused_at_once() {
    let (fifo, sparse) = (path("fifo"), path("sparse"));
    let (fifo_name, sparse_name) = (fifo.to_str().expect("a path"), sparse.to_str().expect("a path"));
    command("mkfifo", &[fifo_name]);
    fs::File::create(&sparse).and_then(|file| file.set_len(1 << 40)).expect("a large file");
    for btf in ["/dev/zero", "/dev/urandom", "/", fifo_name, sparse_name, "/etc/passwd", "/dev/null"] {
        for args in [&["live", "--duration", "10ms", "--btf", btf][..], &["doctor", "--btf", btf]] {
            let (status, _, said) = run_to_end(args);
            assert_eq!(status.code(), Some(1), "{btf}: {said}");
            assert!(said.contains(&format!("--btf {btf}")), "{said}");
        }
    }
    fs::remove_file(&fifo).expect("it was made");
    fs::remove_file(&sparse).expect("it was made");
    leave_scratch();
}
