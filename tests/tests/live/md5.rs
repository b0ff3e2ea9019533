//! TCP's MD5 signatures (RFC 2385) where two ends do not agree.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;

use libc::c_int;
use tracer_tests::agent::Agent;
use tracer_tests::drops::{drop_in, expect, is_ours};
use tracer_tests::errno;
use tracer_tests::netns::Netns;
use tracer_tests::reason::{self, assert_class};
use tracer_tests::skip::{lacks, skip};
use tracer_tests::traffic::sys;

const CLIENT: [u8; 4] = [10, 7, 0, 1];
const SERVER: [u8; 4] = [10, 7, 0, 2];

/// `struct tcp_md5sig` of `include/uapi/linux/tcp.h`.
#[repr(C)]
struct Signature {
    family: u16,
    port: u16,
    addr: [u8; 4],
    rest_of_addr: [u8; 120],
    flags: u8,
    prefix: u8,
    key_len: u16,
    ifindex: c_int,
    key: [u8; 80],
}

/// Requires that segments between this socket and `peer` are signed with `key`.
///
/// # Errors
/// The reason to skip.
fn sign(fd: c_int, peer: [u8; 4], key: &str) -> Result<(), String> {
    let mut signature = Signature {
        family: libc::AF_INET as u16,
        port: 0,
        addr: peer,
        rest_of_addr: [0; 120],
        flags: 0,
        prefix: 0,
        key_len: key.len() as u16,
        ifindex: 0,
        key: [0; 80],
    };
    signature.key[..key.len()].copy_from_slice(key.as_bytes());
    let (at, len) = ((&raw const signature).cast(), size_of::<Signature>() as libc::socklen_t);
    // SAFETY: the pointer and length describe `signature`.
    let set = unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_MD5SIG, at, len) };
    if set == 0 { Ok(()) } else { Err(lacks("TCP MD5", format!("TCP_MD5SIG: {}", errno::name(errno::last())))) }
}

/// Sends a SYN from a client with the key `of_client` to a listener with the key `of_server`: the kernel drops it for
/// `reason`.
fn disagree(of_client: Option<&str>, of_server: Option<&str>, reason: &str, port: u16) -> Result<(), String> {
    let (a, b) = Netns::pair();
    let to = SocketAddr::from((SERVER, port));
    let listener = b.within(|| TcpListener::bind(to).expect("it listens"));
    if let Some(key) = of_server {
        sign(listener.as_raw_fd(), CLIENT, key)?;
    }
    let client = a.within(|| sys::socket(4, 0, true)).expect("a socket");
    if let Some(key) = of_client {
        sign(client, SERVER, key)?;
    }
    let agent = Agent::live(&["--event", "drop,finding,connect,retransmit"]);
    assert_eq!(a.within(|| sys::connect(client, &to, None)), Err(libc::EINPROGRESS));
    let event = drop_in(&agent, &b, reason, port);
    assert_class(&event, "policy", "loss");
    expect(&event, &[("direction", "in".into()), ("tcp_flags", "S".into()), ("role", "listener".into())]);
    is_ours(&event);
    if reason::exists(reason) {
        let found = agent.finding("", &to.to_string());
        assert!(found["text"].as_str().is_some_and(|text| text.contains(reason)), "{found}");
        let look = found["look"].as_array().expect("advice");
        assert!(look.iter().any(|line| line == "tracer explain TCP_MD5NOTFOUND"), "{found}");
        assert!(!look.iter().any(|line| line.as_str().is_some_and(|line| line.contains("nft"))), "no rule: {found}");
    }
    sys::close(client).expect("it is open");
    Ok(())
}

fn disagree_or_skip(of_client: Option<&str>, of_server: Option<&str>, reason: &str, port: u16) {
    if let Err(reason) = disagree(of_client, of_server, reason, port) {
        skip(&reason);
    }
}

#[test]
fn a_syn_without_a_signature_is_dropped_for_that_and_no_rule_is_blamed() {
    disagree_or_skip(None, Some("one"), "TCP_MD5NOTFOUND", 4670);
}

#[test]
fn a_signature_that_nobody_asks_for_is_dropped_for_that_and_no_rule_is_blamed() {
    disagree_or_skip(Some("one"), None, "TCP_MD5UNEXPECTED", 4671);
}

#[test]
fn a_signature_with_another_key_is_dropped_for_that_and_no_rule_is_blamed() {
    disagree_or_skip(Some("one"), Some("two"), "TCP_MD5FAILURE", 4672);
}
