#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::unix::fs::symlink,
    path::PathBuf,
};

use super::*;

/// A /proc of its own.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tracer-survey-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn parent(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn file(&self, name: &str, content: &str) {
        fs::write(self.parent(name), content).unwrap();
    }

    fn process(&self, pid: u32, comm: &str, ticks: u64, sockets: &[u64]) {
        let stat = format!("{pid} ({comm}) S 1 {pid} {pid} 0 -1 4194560 1 2 3 4 30 12 0 0 20 0 1 0 {ticks} 1 2\n");
        self.file(&format!("{pid}/stat"), &stat);
        symlink("net:[100]", self.parent(&format!("{pid}/ns/net"))).unwrap();
        for (fd, inode) in sockets.iter().enumerate() {
            symlink(format!("socket:[{inode}]"), self.parent(&format!("{pid}/fd/{fd}"))).unwrap();
        }
        self.file(&format!("{pid}/fd/.keep"), "");
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A line of /proc/net/tcp.
fn line(local: &str, remote: &str, state: &str, queues: &str, inode: u64) -> String {
    format!(
        "   0: {local} {remote} {state} {queues} 00:00000000 00000000     0        0 {inode} 1 0000000000000000 100 0 0 10 0\n"
    )
}

#[test]
fn a_survey_has_sockets_processes_and_namespaces() {
    let tree = Tree::new("all");
    symlink("net:[100]", tree.parent("self/ns/net")).unwrap();
    tree.process(5, "cart", 4711, &[11, 12]);
    tree.process(6, "idle", 4711, &[]);
    tree.file("5/wchan", "do_epoll_wait");
    tree.file("sys/net/ipv4/ip_local_port_range", "32768 60999\n");
    let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    let tcp = [
        line("0100007F:1F90", "00000000:0000", "0A", "00000000:00000000", 11),
        line("0100007F:1F90", "0100007F:C001", "01", "00000000:00000007", 12),
        line("0100007F:1F90", "0100007F:C002", "01", "00000000:00000000", 0),
        line("0100007F:1F90", "0100007F:C003", "06", "00000000:00000000", 0),
        line("0100007F:1F90", "0100007F:C004", "06", "00000000:00000000", 0),
    ];
    tree.file("net/tcp", &(head.to_owned() + &tcp.concat()));
    tree.file("net/sockstat", "TCP: inuse 3 orphan 0 tw 2 alloc 3 mem 1\n");
    let root = ProcRoot::new(&tree.0);
    let mut memory = Memory::default();
    let survey = take(&root, &mut memory);
    let seen: Vec<_> = survey.sockets.iter().map(|one| (one.state, one.inode, one.recv_q, one.pids.clone())).collect();
    assert_eq!(
        seen,
        [
            (TcpState::Listen, 11, 0, vec![5]),
            (TcpState::Established, 12, 7, vec![5]),
            // It waits for accept().
            (TcpState::Established, 0, 0, vec![5]),
        ]
    );
    assert_eq!(survey.time_wait, [(100, 2)]);
    assert_eq!(survey.processes.len(), 1);
    let process = survey.process(5).unwrap();
    assert_eq!((process.comm.as_str(), process.parent, process.state), ("cart", 1, Some('S')));
    assert_eq!((process.wchan.as_deref(), process.cpu_ms), (Some("do_epoll_wait"), Some(420)));
    let own = survey.namespace(100).unwrap();
    assert!(own.own && own.ports == Some((32768, 60999)));
    assert_eq!(survey.omitted, 0);
    assert_eq!(memory.places.len(), 1);
    // What it remembers goes with the process.
    fs::remove_dir_all(tree.0.join("5")).unwrap();
    assert!(take(&root, &mut memory).processes.is_empty());
    assert!(memory.places.is_empty());
}

#[test]
fn this_host_is_surveyed() {
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.connect(udp.local_addr().unwrap()).unwrap();
    let survey = take(&ProcRoot::default(), &mut Memory::default());
    let own = std::process::id();
    let at = |lport: u16| survey.sockets.iter().filter(move |socket| socket.lport == lport);
    let listening = at(port).find(|socket| socket.state == TcpState::Listen).unwrap();
    assert!(listening.pids.contains(&own) && listening.recv_q == 1 && listening.send_q > 0, "{listening:?}");
    assert!(listening.tcp.is_none());
    let waits = at(port).find(|socket| socket.state == TcpState::Established).unwrap();
    assert!(waits.inode == 0 && waits.pids.contains(&own), "{waits:?}");
    assert_eq!(waits.laddr, IpAddr::V4(Ipv4Addr::LOCALHOST), "no mapped address");
    let client = at(client.local_addr().unwrap().port()).next().unwrap();
    assert_eq!((client.raddr, client.rport), (IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    assert!(client.tcp.as_ref().is_some_and(|tcp| tcp.mss.is_some()), "{client:?}");
    let udp = at(udp.local_addr().unwrap().port()).find(|socket| socket.transport == Transport::Udp).unwrap();
    assert_eq!(udp.state, TcpState::Established);
    let process = survey.process(own).unwrap();
    assert!(process.descriptors.is_some_and(|count| count >= 4) && process.cpu_ms.is_some());
    let netns = survey.namespace(listening.netns).unwrap();
    assert!(netns.own && netns.devices.iter().any(|device| device.name == "lo"));
}

#[test]
fn what_may_be_in_trouble_comes_first() {
    let row = |state, recv_q| Row {
        proto: Proto::Tcp,
        state,
        netns: 1,
        inode: 1,
        cookie: None,
        uid: None,
        recv_q,
        send_q: 0,
        kind: crate::sockets::row::Kind::Packet(crate::sockets::row::Packet { kind: 1, protocol: 0, ifindex: 0 }),
    };
    let ranks = [(State::Listen, 0), (State::Established, 1), (State::CloseWait, 0), (State::Established, 0)]
        .map(|(kind, queue)| row(kind, queue))
        .map(|row| rank(&row, state(&row).unwrap()));
    assert_eq!(ranks, [0, 1, 2, 3]);
    assert!(state(&row(State::TimeWait, 0)).is_none());
}

#[test]
fn a_survey_takes_a_tenth_of_a_processor_at_most() {
    let cpu = Duration::from_millis;
    assert_eq!(pause(cpu(20)), cpu(980), "once a second");
    assert_eq!(pause(cpu(100)), cpu(900));
    assert_eq!(pause(cpu(500)), cpu(4500));
}
