//! An output that is slow, full or closed.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, PipeReader, Read as _};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use tracer_tests::agent::{Agent, Ended, READY, tracer_program};
use tracer_tests::alone::alone;
use tracer_tests::apart::Apart;
use tracer_tests::churn::{churn, delivered, happened};
use tracer_tests::machine;
use tracer_tests::netns::{Netns, scratch};
use tracer_tests::process::{memory, signal};
use tracer_tests::scale;
use tracer_tests::stream::Stream;
use tracer_tests::traffic::sys::until;

/// Memory beside the output's: rings, snapshot, programs while they load.
const BESIDE: u64 = 96 << 20;
/// `BOUND` in tracer/src/trace/queue.rs, and what it lets come on top.
const WAITING: u64 = 128 << 20;

fn live(args: &[&str]) -> Command {
    let mut command = Command::new(tracer_program());
    command.arg("live").args(args);
    command
}

/// A tracer of `ns` that is ready, and the other end of its stdout.
fn into_pipe(ns: &Netns, args: &[&str]) -> (Agent, PipeReader) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = live(args);
    command.args(["--netns", &ns.inode().to_string()]);
    let agent = Agent::start(&mut command, Some(File::from(OwnedFd::from(writer))));
    agent.await_ready();
    (agent, reader)
}

fn no_panic(ended: &Ended) {
    assert!(!ended.log.contains("panicked"), "{}", ended.log);
}

/// SIGSTOP stops the tracer like a debugger or a frozen control group: the ring fills meanwhile.
#[test]
fn a_stopped_tracer_counts_what_it_missed() {
    alone();
    let connections = scale::load(12_000, 1000);
    let ns = Netns::new();
    let agent = Agent::live(&["--buffer", "262144", "--strict", "--netns", &ns.inode().to_string()]);
    churn(&ns, 500);
    agent.signal(libc::SIGSTOP);
    churn(&ns, connections);
    agent.signal(libc::SIGCONT);
    churn(&ns, 500);
    let ended = agent.stop();
    assert_eq!(ended.status.code(), Some(3), "{}", ended.log);
    let due = 2 * happened(500) + happened(connections);
    let lost = ended.stream.lost_of(delivered(&ended.stream.events), due);
    assert!(lost > 0, "{}", ended.stream.summary());
}

#[test]
fn a_reader_that_stops_costs_bounded_memory_and_reads_on() {
    alone();
    // More than may wait, where it is made at full speed.
    let connections = scale::load(60_000, 1000);
    let ns = Netns::new();
    let (agent, reader) = into_pipe(&ns, &["--json"]);
    churn(&ns, connections);
    let used = memory(agent.pid(), "VmHWM");
    assert!(used < WAITING + BESIDE, "{} MiB", used >> 20);
    let read = std::thread::spawn(move || Stream::read(BufReader::new(reader)));
    let ended = agent.stop();
    let stream = read.join().expect("every line is an event");
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(!ended.log.contains("thrown away"), "{}", ended.log);
    let lost = stream.lost_of(delivered(&stream.events), happened(connections));
    println!("{} MiB at the most, {lost} lost", used >> 20);
}

/// Ctrl-C, and `systemctl stop`.
#[test]
fn nobody_who_does_not_read_keeps_it_from_ending() {
    for (signal, strict) in [(libc::SIGTERM, None), (libc::SIGINT, Some("--strict"))] {
        let connections = 1500;
        let ns = Netns::new();
        let args: Vec<&str> = std::iter::once("--json").chain(strict).collect();
        let (agent, mut reader) = into_pipe(&ns, &args);
        churn(&ns, connections);
        agent.signal(signal);
        let ended = agent.end();
        no_panic(&ended);
        assert_eq!(ended.status.code(), Some(if strict.is_some() { 3 } else { 0 }), "{}", ended.log);
        let said = ended.log.lines().find(|line| line.contains("thrown away")).expect("it is said");
        let thrown: u64 = said.split_whitespace().find_map(|word| word.parse().ok()).expect("a count");
        // `3,000 connections and 13,502 events in 350ms; …`
        let summary = ended.log.lines().find(|line| line.contains(" events in ")).expect("a summary");
        let events = summary.split(" events in ").next().and_then(|before| before.rsplit(' ').next());
        let events: u64 = events.and_then(|text| text.replace(',', "").parse().ok()).expect("a count");
        // From 7.0 on the kernel keeps some calls from the programs. They are counted, and no reader's fault.
        let missed = ended.log.lines().find(|line| line.contains(" missed events: "));
        let missed =
            missed.and_then(|line| line.split_whitespace().find_map(|word| word.replace(',', "").parse::<u64>().ok()));
        let may_miss = machine::preempts_programs() && missed.is_some();
        assert!(may_miss || summary.contains("nothing lost"), "{}", ended.log);
        assert!(events + missed.unwrap_or_default() >= happened(connections), "{}", ended.log);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).expect("what is in the pipe is read");
        let whole = rest.matches('\n').count() as u64;
        assert_eq!(whole + thrown, events + 1, "with the summary: {said}");
    }
}

/// `tracer 2>&1 | less`: stderr has no room either.
#[test]
fn nor_if_stderr_is_not_read_either() {
    let ns = Netns::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = live(&["--netns", &ns.inode().to_string()]);
    command.stdin(Stdio::null()).stdout(writer.try_clone().expect("a descriptor")).stderr(writer);
    let mut child = command.spawn().expect("tracer starts");
    drop(command);
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    while line.trim_end() != READY {
        line.clear();
        assert!(reader.read_line(&mut line).expect("it says something") > 0, "it gets ready");
    }
    // More than a pipe holds.
    churn(&ns, 2000);
    signal(&child, libc::SIGTERM);
    let mut status = None;
    let ended = until(|| {
        status = child.try_wait().expect("it is waited for");
        Ok(status.is_some())
    });
    if ended.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    assert_eq!(status.and_then(|status| status.code()), Some(0), "it ends: {ended:?}");
    drop(reader);
}

/// `tracer 2>&1 | head -1`.
#[test]
fn a_reader_that_goes_ends_it_well() {
    for (args, both) in [(&["--json"][..], false), (&[], false), (&["--json"], true), (&[], true)] {
        let ns = Netns::new();
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = live(args);
        command.stdin(Stdio::null()).stdout(writer.try_clone().expect("a descriptor"));
        if both {
            command.stderr(writer);
        } else {
            drop(writer);
            command.stderr(Stdio::null());
        }
        let mut child = command.spawn().expect("tracer starts");
        drop(command);
        let mut reader = BufReader::new(reader);
        if both {
            // The first line of the banner, and no more.
            reader.read_line(&mut String::new()).expect("it says something");
        }
        drop(reader);
        let status = loop {
            // Only a write shows the tracer that its reader is gone: it needs events.
            churn(&ns, 1);
            if let Some(status) = child.try_wait().expect("it is waited for") {
                break status;
            }
        };
        assert_eq!(status.code(), Some(0), "{args:?}, stderr as well: {both}");
    }
}

/// Commands that print once do not fail either.
#[test]
fn every_command_bears_a_reader_that_has_gone() {
    for args in [
        &["sockets"][..],
        &["sockets", "--json"],
        &["sockets", "--tree"],
        &["net"],
        &["explain", "TIME_WAIT"],
        &["explain", "nothing of that name"],
        &["doctor"],
        &["man"],
        &["completions", "bash"],
        &["live", "--pid", "x"],
        &["live", "-o", "/nowhere/at/all"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(tracer_program());
        command.args(args).stdin(Stdio::null()).stdout(writer.try_clone().expect("a descriptor")).stderr(writer);
        let status = command.status().expect("tracer runs");
        // Not 101: that is a panic.
        assert!(matches!(status.code(), Some(0..=2)), "{args:?}: {status}");
    }
}

#[test]
fn a_full_disk_is_one_sentence_and_a_failure() {
    let dir = scratch().join("disk");
    fs::create_dir_all(&dir).expect("a directory is made");
    let out = dir.join("out");
    let named = out.to_str().expect("it is UTF-8");
    for (args, redirected) in [
        (&["live", "--json", "-o", named][..], false),
        (&["live", "-o", named], false),
        (&["live", "--json"], true),
        (&["live"], true),
    ] {
        let ns = Netns::new();
        let mut apart = Apart::new().mount("tmpfs", &dir, "size=64k");
        if redirected {
            apart = apart.stdout(&out);
        }
        let mut command = apart.command(tracer_program(), args);
        // A step of `apart` replaces it by the file.
        let agent = Agent::start(&mut command, Some(File::open("/dev/null").expect("it opens")));
        agent.await_ready();
        churn(&ns, 2000);
        let ended = agent.end();
        no_panic(&ended);
        assert_eq!(ended.status.code(), Some(1), "{args:?}: {}", ended.log);
        let said: Vec<_> = ended.log.lines().filter(|line| line.contains("cannot write")).collect();
        assert_eq!(said.len(), 1, "{}", ended.log);
        assert!(said[0].contains("No space left on device") && said[0].contains("-o FILE"), "{}", said[0]);
    }
    fs::remove_dir(&dir).expect("the directory is removed");
}

#[test]
fn a_full_disk_is_told_by_every_command() {
    for args in [
        &["sockets", "--all"][..],
        &["net"],
        &["net", "--json"],
        &["doctor"],
        &["explain", "TIME_WAIT"],
        &["man"],
        &["completions", "bash"],
        &["drops", "--json", "--duration", "100ms"],
    ] {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full opens");
        let mut command = Command::new(tracer_program());
        let out = command.args(args).stdin(Stdio::null()).stdout(full).output().expect("tracer runs");
        let log = String::from_utf8_lossy(&out.stderr).into_owned();
        // There may have been no drop.
        let quiet = args[0] == "drops" && out.status.code() == Some(0);
        assert!(quiet || out.status.code() == Some(1), "{args:?}: {} {log}", out.status);
        assert!(quiet || log.contains("No space left on device"), "{args:?}: {log}");
    }
}
