//! Programs of 32 bits, whose system calls pass no tracepoint that has the call's name.

#![cfg(target_arch = "x86_64")]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Child;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::netns::{Netns, scratch};
use tracer_tests::skip::{lacks, skip};
use tracer_tests::trace::Trace;

/// The address that the program connects to; the kernel refuses it at once.
const UNREACHABLE: &str = "255.255.255.255";
const PORT: u64 = 7061;

// Calls connect() ten times, 20 ms apart, and again for ever with an argument.
std::arch::global_asm!(
    ".pushsection .rodata",
    "program_32:",
    ".code32",
    "    movl (%esp), %ebp",
    "1:  movl $10, %edi",
    "2:  movl $359, %eax", // socket(AF_INET, SOCK_STREAM, 0)
    "    movl $2, %ebx",
    "    movl $1, %ecx",
    "    xorl %edx, %edx",
    "    int $0x80",
    "    movl %eax, %esi",
    "    movl %eax, %ebx",
    "    call 3f",
    "    .byte 2, 0, 0x1b, 0x95, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0",
    "3:  popl %ecx",
    "    movl $16, %edx",
    "    movl $362, %eax", // connect(esi, 255.255.255.255:7061)
    "    int $0x80",
    "    movl %esi, %ebx",
    "    movl $6, %eax", // close(esi)
    "    int $0x80",
    "    pushl $20000000",
    "    pushl $0",
    "    movl %esp, %ebx",
    "    xorl %ecx, %ecx",
    "    movl $162, %eax", // nanosleep(20 ms)
    "    int $0x80",
    "    addl $8, %esp",
    "    decl %edi",
    "    jnz 2b",
    "    cmpl $1, %ebp",
    "    jne 1b",
    "    movl $1, %eax", // exit(0)
    "    xorl %ebx, %ebx",
    "    int $0x80",
    ".code64",
    "program_32_end:",
    ".popsection",
    options(att_syntax)
);

unsafe extern "C" {
    static program_32: u8;
    static program_32_end: u8;
}

/// Writes the program as a 32-bit file.
fn written() -> PathBuf {
    const BASE: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    // SAFETY: the two symbols are the ends of the same bytes.
    let code = unsafe {
        let (start, end) = (&raw const program_32, &raw const program_32_end);
        std::slice::from_raw_parts(start, end.addr() - start.addr())
    };
    let size = HEADERS + u32::try_from(code.len()).expect("a small program");
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |file: &mut Vec<u8>, values: &[u16]| file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    let word = |file: &mut Vec<u8>, values: &[u32]| file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    // An executable for the 386; its entry; the place of the program header.
    half(&mut file, &[2, 3]);
    word(&mut file, &[1, BASE + HEADERS, 52, 0, 0]);
    half(&mut file, &[52, 32, 1, 0, 0, 0]);
    // One segment, loaded whole, to be read and executed.
    word(&mut file, &[1, 0, BASE, BASE, size, size, 5, 4096]);
    file.extend(code);
    let path = scratch().join("program_32");
    fs::write(&path, file).expect("the program is written");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("it may be executed");
    path
}

/// The reason to skip a test whose program this kernel does not execute.
fn refused(error: std::io::Error) -> String {
    assert_eq!(error.raw_os_error(), Some(libc::ENOEXEC), "{error}");
    lacks("32-bit programs", error)
}

fn ended(program: std::io::Result<Child>) -> Result<u32, String> {
    let mut program = program.map_err(refused)?;
    assert!(program.wait().expect("it ends").success());
    Ok(program.id())
}

fn failed(event: &Value, pid: u32) -> bool {
    event["event"] == "close" && event["owner"]["pid"] == pid && event["rport"] == PORT
}

fn await_failures(agent: &Agent, pid: u32, what: &str) {
    agent.wait_for(what, |event| failed(event, pid));
}

#[test]
fn the_first_one_that_starts_is_seen_and_the_next_one_whole() {
    let ns = Netns::new();
    let program = written();
    let trace = Trace::start();
    let first = match ended(ns.command(&program).spawn()) {
        Ok(pid) => pid,
        Err(why) => return skip(&why),
    };
    await_failures(&trace.agent, first, "a failure of the first program");
    let second = ended(ns.command(&program).spawn()).expect("the second one runs as well");
    await_failures(&trace.agent, second, "a failure of the second program");
    trace.fence();
    let stream = trace.agent.stop().stream;
    let told = |pid| stream.kind("close").filter(|event| failed(event, pid)).collect::<Vec<_>>();
    assert_eq!(told(second).len(), 10, "{:?}", told(second));
    for close in told(first).iter().chain(&told(second)) {
        assert_eq!((close["verdict"].as_str(), close["errno"].as_str()), (Some("failed_local"), Some("ENETUNREACH")));
        assert_eq!(close["raddr"], UNREACHABLE);
    }
}

#[test]
fn one_that_is_older_than_the_trace_is_seen_from_the_start() {
    let ns = Netns::new();
    let mut older = match ns.command(written()).arg("for ever").spawn() {
        Ok(child) => child,
        Err(error) => return skip(&refused(error)),
    };
    let trace = Trace::start();
    await_failures(&trace.agent, older.id(), "a failure of the older program");
    let ended = trace.agent.stop();
    older.kill().expect("it runs");
    older.wait().expect("it ends");
    let degraded = ended.stream.summary()["degraded"].as_array().cloned().expect("a list");
    assert!(degraded.iter().all(|loss| loss["name"] != "compat_when_seen"), "{degraded:?}");
}
