//! Listeners in `tracer sockets` and in a trace: their families and device, also in network namespaces that no process
//! is in.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value, json};
use tracer_tests::agent::run_to_end;
use tracer_tests::generator::Actor;
use tracer_tests::netns::Netns;
use tracer_tests::trace::Trace;

/// include/uapi/asm-generic/socket.h; libc has no name for it.
const SO_BINDTOIFINDEX: i32 = 62;

/// Makes a listener of `actor` at `at` with one option set; returns its port.
fn listen(actor: &Actor, at: &str, level: i32, name: i32, value: u32) -> u16 {
    let fd = actor.socket(if at.starts_with('[') { 6 } else { 4 });
    actor.must(json!({ "op": "set_option", "fd": fd, "level": level, "name": name, "value": value }));
    actor.bind(fd, at);
    let reply = actor.must(json!({ "op": "listen", "fd": fd, "backlog": 4 }));
    let addr = reply.value.as_str().and_then(|text| text.parse::<std::net::SocketAddr>().ok());
    addr.expect("it has an address").port()
}

fn said(args: &[&str]) -> String {
    let (status, out, log) = run_to_end(args);
    assert!(status.success(), "{log}");
    out
}

/// The objects that `tracer ARGS --json` prints.
fn rows(args: &[&str]) -> Vec<Value> {
    let said = said(&[args, &["--json"]].concat());
    said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn ports(rows: &[Value]) -> Vec<u64> {
    let mut ports: Vec<u64> = rows.iter().filter_map(|row| row["lport"].as_u64()).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn dual_stack_ipv6_alone_and_a_device_are_told_apart() {
    let ns = Netns::new();
    let server = Actor::start(&ns);
    let dual = listen(&server, "[::]:0", libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0);
    let alone = listen(&server, "[::]:0", libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1);
    let on_lo = listen(&server, "0.0.0.0:0", libc::SOL_SOCKET, SO_BINDTOIFINDEX, ns.ifindex("lo"));
    let here = ["sockets", "-l", "-t", "--netns", ns.name()];
    let all = rows(&here);
    let of = |port: u16| all.iter().find(|row| row["lport"] == port).expect("it is there");
    assert_eq!((&of(dual)["v6only"], &of(alone)["v6only"]), (&false.into(), &true.into()));
    assert!(of(on_lo).get("v6only").is_none());
    assert_eq!((&of(on_lo)["device"], of(dual).get("device")), (&"lo".into(), None));
    let text = said(&here);
    for end in [format!(" *:{dual} "), format!(" [::]:{alone} "), format!(" 0.0.0.0%lo:{on_lo} ")] {
        assert!(text.contains(&end), "{end} is in\n{text}");
    }
    let mut ipv4 = vec![u64::from(dual), u64::from(on_lo)];
    ipv4.sort_unstable();
    assert_eq!(ports(&rows(&[&here[..], &["-4"]].concat())), ipv4);
    let mut ipv6 = vec![u64::from(dual), u64::from(alone)];
    ipv6.sort_unstable();
    assert_eq!(ports(&rows(&[&here[..], &["-6"]].concat())), ipv6);
    // /proc does not have the option: the rows lack the key, and the filter hides none of them.
    let by_proc = rows(&[&here[..], &["--via", "proc"]].concat());
    assert!(by_proc.iter().all(|row| row.get("v6only").is_none()), "{by_proc:?}");
    assert!(ports(&rows(&[&here[..], &["--via", "proc", "-4"]].concat())).contains(&dual.into()));
}

#[test]
fn a_trace_of_ipv4_has_the_listeners_that_take_it() {
    let ns = Netns::new();
    let server = Actor::start(&ns);
    let before = listen(&server, "[::]:0", libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0);
    let trace = Trace::with(&["-4", "--netns", ns.name()]);
    let after = listen(&server, "[::]:0", libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0);
    let other = listen(&server, "[::1]:0", libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1);
    let last = listen(&server, "127.0.0.1:0", libc::SOL_SOCKET, libc::SO_KEEPALIVE, 0);
    trace.agent.wait_for("the last listener", |event| event["event"] == "listen" && event["lport"] == last);
    let stream = trace.agent.stop().stream;
    let seen = |kind: &str, port: u16| stream.kind(kind).filter(|event| event["lport"] == port).count();
    assert_eq!((seen("open", before), seen("listen", after), seen("listen", other)), (1, 1, 0));
}

/// Moves the calling thread to a new namespace; returns a listener there, the namespace's inode and a descriptor of it.
fn in_a_namespace_of_its_own() -> (TcpListener, u64, File) {
    // SAFETY: takes no pointers; only this thread moves.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
    let netns = File::open("/proc/thread-self/ns/net").expect("the namespace opens");
    let inode = netns.metadata().expect("it has an inode").ino();
    (TcpListener::bind("0.0.0.0:0").expect("a listener"), inode, netns)
}

/// Checks that the tracer finds the listener and its owner, this process.
fn is_found(listener: &TcpListener, inode: u64) {
    let port = listener.local_addr().expect("an address").port();
    let found = rows(&["sockets", "-l", "-t"]);
    let row = found.iter().find(|row| row["netns"] == inode && row["lport"] == port).expect("it is found");
    assert_eq!(row["owner"]["pid"], std::process::id(), "{row}");
    let alone = rows(&["sockets", "-l", "-t", "--netns", &inode.to_string()]);
    assert_eq!(ports(&alone), [u64::from(port)]);
    assert!(rows(&["net", "--all-netns"]).iter().any(|net| net["netns"] == inode));
    let trace = Trace::with(&["--netns", &inode.to_string()]);
    trace.agent.wait_for("the older listener", |event| {
        event["event"] == "open" && event["lport"] == port && event["owner"]["pid"] == std::process::id()
    });
    assert_eq!(trace.agent.stop().status.code(), Some(0));
}

#[test]
fn a_namespace_that_only_a_thread_is_in_is_found() {
    let thread = std::thread::spawn(|| {
        let (listener, inode, netns) = in_a_namespace_of_its_own();
        drop(netns);
        is_found(&listener, inode);
    });
    thread.join().expect("the thread is content");
}

#[test]
fn a_namespace_that_only_a_descriptor_keeps_is_found() {
    let (listener, inode, netns) = std::thread::spawn(in_a_namespace_of_its_own).join().expect("it ends well");
    is_found(&listener, inode);
    drop(netns);
}
