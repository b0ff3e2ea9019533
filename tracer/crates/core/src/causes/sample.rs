//! Scenes for the tests of the rules: the host as surveys show it, and the events of connections and packets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;

use tracer_stream::{
    Cause, Close, ConnId, Drop, Event, Hint, Icmp, Kind, Nft, Owner, PacketEnds, Role, Segment, Socket, TcpState,
    sample::{self, SOCKET},
};

use super::{
    Causes,
    claims::Claims,
    scene::Scene,
    survey::{Device, Namespace, Survey, SurveyProcess, SurveySocket, SurveyTcp, Transport},
};

pub(super) const S: u64 = 1_000_000_000;

pub(super) fn ip(addr: &str) -> IpAddr {
    addr.parse().unwrap()
}

/// One end of a connection that the trace follows.
#[derive(Clone)]
pub(super) struct Told {
    pub owner: Option<Owner>,
    pub role: Role,
    pub netns: u32,
    pub local: (IpAddr, u16),
    pub remote: (IpAddr, u16),
}

impl Told {
    /// A client in namespace 1 with address 10.0.1.1.
    pub(super) fn client(comm: &str, pid: u32) -> Self {
        Self {
            owner: Some(sample::owner(comm, pid)),
            role: Role::Client,
            netns: 1,
            local: (ip("10.0.1.1"), 40_000),
            remote: (ip("10.0.2.1"), 80),
        }
    }

    pub(super) fn to(self, addr: &str, port: u16) -> Self {
        Self { remote: (ip(addr), port), ..self }
    }

    pub(super) fn port(self, port: u16) -> Self {
        Self { local: (self.local.0, port), ..self }
    }

    /// The other end: a server in namespace 2.
    pub(super) fn server(&self, comm: &str, pid: u32) -> Self {
        let owner = Some(sample::owner(comm, pid));
        Self { owner, role: Role::Server, netns: 2, local: self.remote, remote: self.local }
    }

    fn socket(&self, conn: ConnId) -> Socket<'_> {
        Socket {
            conn,
            laddr: Some(self.local.0),
            lport: Some(self.local.1),
            raddr: Some(self.remote.0),
            rport: Some(self.remote.1),
            netns: Some(self.netns),
            role: self.role,
            owner: self.owner.as_ref(),
            ..SOCKET
        }
    }
}

/// A scene in the making. Each connection has its own number; each event comes a millisecond after the one before.
pub(super) struct Sample {
    pub scene: Scene,
    pub survey: Survey,
    conns: u64,
}

impl Default for Sample {
    /// A client's namespace 1 (`left`), a server's 2 (`right`), and a router's 3 (`router`).
    fn default() -> Self {
        let mut causes = Causes::new(100 * S);
        causes.hooked(true);
        let sample = Self { scene: causes.scene, survey: Survey { boot_ns: 100 * S, ..Survey::default() }, conns: 0 };
        sample.namespace(1, "left", &["10.0.1.1"]).namespace(2, "right", &["10.0.2.1"]).namespace(
            3,
            "router",
            &["10.0.1.254", "10.0.2.254"],
        )
    }
}

impl Sample {
    pub(super) fn namespace(mut self, inode: u32, name: &str, addrs: &[&str]) -> Self {
        let addresses = addrs.iter().map(|addr| ip(addr)).collect();
        let device = Device { ifindex: 2, name: "eth0".into(), mtu: 1500, addresses };
        let devices = vec![device];
        self.survey.namespaces.push(Namespace { inode, name: Some(name.into()), devices, ..Namespace::default() });
        self
    }

    pub(super) fn process(mut self, comm: &str, pid: u32) -> Self {
        self.survey.processes.push(SurveyProcess { pid, comm: comm.into(), ..SurveyProcess::default() });
        self
    }

    /// A listener, or a UDP socket without a peer.
    pub(super) fn bound(mut self, transport: Transport, netns: u32, addr: &str, port: u16, pid: u32) -> Self {
        let state = if transport == Transport::Tcp { TcpState::Listen } else { TcpState::Close };
        self.survey.sockets.push(SurveySocket {
            transport,
            state,
            netns,
            laddr: ip(addr),
            lport: port,
            raddr: ip("0.0.0.0"),
            rport: 0,
            inode: 1,
            pids: vec![pid],
            recv_q: 0,
            send_q: 128,
            tcp: None,
        });
        self
    }

    /// A connected socket with TCP's figures.
    pub(super) fn surveyed(mut self, told: &Told, tcp: SurveyTcp) -> Self {
        let socket = SurveySocket {
            transport: Transport::Tcp,
            state: TcpState::Established,
            netns: told.netns,
            laddr: told.local.0,
            lport: told.local.1,
            raddr: told.remote.0,
            rport: told.remote.1,
            inode: 2,
            pids: told.owner.iter().map(|owner| owner.pid).collect(),
            recv_q: 0,
            send_q: 0,
            tcp: Some(tcp),
        };
        self.survey.sockets.retain(|known| {
            (known.laddr, known.lport, known.raddr, known.rport)
                != (socket.laddr, socket.lport, socket.raddr, socket.rport)
        });
        self.survey.sockets.push(socket);
        self
    }

    /// Looks at the host now.
    pub(super) fn look(mut self) -> Self {
        self.survey.boot_ns = self.scene.now_ns.max(self.survey.boot_ns);
        self.scene.survey(self.survey.clone());
        self
    }

    /// Lets time pass.
    pub(super) fn later(mut self, ns: u64) -> Self {
        self.scene.now_ns += ns;
        self
    }

    fn event(&mut self, socket: Option<Socket<'_>>, kind: Kind<'_>) {
        let boot_ns = self.scene.now_ns + 1_000_000;
        self.scene.event(&Event { boot_ns, socket, kind });
    }

    /// A connection from connect() to its end.
    pub(super) fn connect(mut self, told: Told, close: &Close) -> Self {
        self.conns += 1;
        let id = ConnId(self.conns);
        self.event(Some(told.socket(id)), Kind::Connect { errno: None });
        if close.connect_us.is_some() {
            self.event(Some(told.socket(id)), Kind::Established { connect_us: close.connect_us });
        }
        self.event(Some(told.socket(id)), Kind::Close(close));
        self
    }

    /// A connect() for which the kernel found no local port.
    pub(super) fn connect_without_port(mut self, told: Told, close: &Close) -> Self {
        self.conns += 1;
        let socket = Socket { lport: None, ..told.socket(ConnId(self.conns)) };
        self.event(Some(socket), Kind::Close(close));
        self
    }

    /// A connection that has begun: `older` than the trace, or with its handshake, or (`None`) still without an answer.
    pub(super) fn open(mut self, told: &Told, older: Option<bool>) -> Self {
        self.conns += 1;
        let id = ConnId(self.conns);
        match older {
            Some(true) => self.event(Some(told.socket(id)), Kind::Open { state: TcpState::Established }),
            Some(false) => self.event(Some(told.socket(id)), Kind::Established { connect_us: Some(90) }),
            None => self.event(Some(told.socket(id)), Kind::Connect { errno: None }),
        }
        self
    }

    /// The last connection sends something again.
    pub(super) fn again(mut self, told: &Told, what: Segment, times: u64) -> Self {
        let id = ConnId(self.conns);
        for _ in 0..times {
            self.event(Some(told.socket(id)), Kind::Retransmit { state: None, what, seq: None });
        }
        self
    }

    /// The last connection ends.
    pub(super) fn ends(mut self, told: &Told, close: &Close) -> Self {
        let id = ConnId(self.conns);
        self.event(Some(told.socket(id)), Kind::Close(close));
        self
    }

    /// A packet is dropped; no socket is known for it.
    pub(super) fn dropped(mut self, drop: &Drop) -> Self {
        self.event(
            Some(Socket { conn: ConnId::NONE, netns: drop.netns, role: Role::Unknown, ..SOCKET }),
            Kind::Drop(drop),
        );
        self
    }

    pub(super) fn run(&self, rule: super::Rule) -> (Vec<Cause>, Claims) {
        let mut claims = Claims::default();
        (rule(&self.scene, &mut claims), claims)
    }
}

/// TCP packets from `told` that were dropped in the router, by netfilter unless it is changed.
pub(super) fn packets(told: &Told, flags: u8, count: u64) -> Drop {
    Drop {
        netns: Some(3),
        iface: Some("eth0".into()),
        count,
        tcp_flags: Some(flags),
        ends: Some(PacketEnds {
            saddr: told.local.0,
            sport: Some(told.local.1),
            daddr: told.remote.0,
            dport: Some(told.remote.1),
        }),
        ..sample::dropped()
    }
}

pub(super) fn nft(chain: &str, handle: u64, rule: &str) -> Option<Box<Hint>> {
    let (table, chain, rule) = ("fw".into(), chain.to_owned(), Some(rule.to_owned()));
    let nft = Nft { family: "inet", table, chain, handle: Some(handle), rule };
    Some(Box::new(Hint { nft: Some(nft), ..Hint::of(format!("nft handle {handle} ({rule})", rule = "…")) }))
}

pub(super) fn icmp(kind: u8, code: u8, from: &str) -> Option<Icmp> {
    Some(Icmp { v6: false, kind, code, from: ip(from) })
}
