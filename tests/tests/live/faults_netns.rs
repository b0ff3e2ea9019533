//! Network namespaces that exist for a moment, with sockets in them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::scale;
use tracer_tests::traffic::sys::thread_id;

/// The close that one connection must have: namespace, port, peer's port, bytes sent.
type End = (u64, u64, u64, u64);

/// Stands for the bytes of a connection that was reset.
const RESET: u64 = u64::MAX;

/// Sets the loopback device of the calling thread's namespace up.
fn loopback_up() {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "a socket is made");
    // SAFETY: all zeros is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request reads one ifreq; the descriptor was just made.
    unsafe {
        assert_eq!(libc::ioctl(fd, libc::SIOCSIFFLAGS, &raw const request), 0, "lo is up");
        libc::close(fd);
    }
}

/// Makes a namespace that only the calling thread and its sockets hold, with one connection that has closed and one
/// that is open when the thread ends; returns the closes that the clients must have.
fn one(number: u64) -> Vec<End> {
    // SAFETY: takes no pointers; only this thread moves.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "a namespace is made");
    loopback_up();
    let netns = fs::metadata(format!("/proc/self/task/{}/ns/net", thread_id())).expect("it has an inode").ino();
    let listener = TcpListener::bind("127.0.0.1:0").expect("it listens");
    let to = listener.local_addr().expect("it has an address");
    let mut ends = Vec::new();
    let mut connect = |bytes: u64| {
        let mut client = TcpStream::connect(to).expect("it connects");
        let (mut server, _) = listener.accept().expect("it accepts");
        client.write_all(&vec![b'x'; bytes as usize]).expect("it sends");
        server.read_exact(&mut vec![0; bytes as usize]).expect("it receives");
        let port = client.local_addr().expect("it has an address").port();
        ends.push((netns, port.into(), to.port().into(), bytes));
        (client, server)
    };
    drop(connect(number + 1));
    let (mut client, server) = connect(number + 2);
    // Unread, when it is closed: a reset. Whether it was acknowledged before is a matter of timing.
    client.write_all(b"unread").expect("it sends");
    drop((server, client));
    if let Some((_, _, _, bytes)) = ends.last_mut() {
        *bytes = RESET;
    }
    ends
}

#[test]
fn namespaces_that_come_and_go() {
    let count = scale::load(300, 40) as u64;
    let agent = Agent::live(&["--comm", "netns loop"]);
    let mut due: BTreeMap<End, u32> = BTreeMap::new();
    for number in 0..count {
        let thread = std::thread::Builder::new().name("netns loop".to_owned());
        let ends =
            thread.spawn(move || one(number)).expect("a thread starts").join().expect("it makes its connections");
        for end in ends {
            *due.entry(end).or_default() += 1;
        }
    }
    let closes = usize::try_from(count).expect("it fits") * 5;
    let is_close = |event: &&Value| event["event"] == "close";
    assert!(agent.settles(|events| events.iter().filter(is_close).count() >= closes), "{closes} closes come");
    let ended = agent.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert_eq!(ended.stream.lost(), 0, "{}", ended.stream.summary());
    assert_eq!(ended.stream.kind("close").count(), closes, "each once");
    for close in ended.stream.kind("close") {
        assert_eq!(close["owner"]["pid"], std::process::id(), "{close}");
        assert_ne!(close["verdict"], "open_at_end", "{close}");
        if close["role"] == "client" {
            let number = |key: &str| close[key].as_u64().unwrap_or_else(|| panic!("{key} of {close}"));
            let bytes = if close["verdict"] == "reset_remote" { RESET } else { number("tx_bytes") };
            let end = (number("netns"), number("lport"), number("rport"), bytes);
            let left = due.get_mut(&end).unwrap_or_else(|| panic!("no client made {close}"));
            *left = left.checked_sub(1).unwrap_or_else(|| panic!("more often than made: {close}"));
        }
    }
    assert!(due.values().all(|left| *left == 0), "every client has its close: {due:?}");
}
