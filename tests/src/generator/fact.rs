//! The generator's facts about one side of one connection.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::netns::Netns;

/// A process and thread, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// `comm` of the thread.
    pub comm: String,
    /// `comm` of the process, which is its first thread's.
    pub name: String,
    /// Path of the executable.
    pub exe: String,
    /// Effective user.
    pub uid: u32,
}

impl Process {
    /// Parses the `who` of an answer.
    ///
    /// # Panics
    /// If it has another form.
    #[must_use]
    pub fn from_json(who: &Value) -> Self {
        let number = |key: &str| who[key].as_u64().unwrap_or_else(|| panic!("{key} in {who}")) as u32;
        let text = |key: &str| who[key].as_str().unwrap_or_else(|| panic!("{key} in {who}")).to_owned();
        Self {
            pid: number("pid"),
            tid: number("tid"),
            comm: text("comm"),
            name: text("name"),
            exe: text("exe"),
            uid: number("uid"),
        }
    }
}

/// `role` in the stream.
pub type Role = &'static str;
/// `owner_source` in the stream.
pub type Source = &'static str;

/// One socket's life, as the stream must show it. A `None` is not compared.
#[derive(Clone, Debug)]
pub struct Fact {
    /// For messages.
    pub label: String,
    /// `client`, `server`, `listener`, `unknown`.
    pub role: Role,
    /// A socket older than the trace, whose role may be unknown.
    pub any_role: bool,
    /// Inode of the network namespace.
    pub netns: u64,
    /// 4 or 6.
    pub family: u64,
    /// An IPv6 socket with IPv4 addresses.
    pub v4mapped: bool,
    /// Local address.
    pub laddr: Option<IpAddr>,
    /// Local port.
    pub lport: Option<u16>,
    /// Remote address.
    pub raddr: Option<IpAddr>,
    /// Remote port.
    pub rport: Option<u16>,
    /// The process that opened it.
    pub owner: Process,
    /// The thread is not a fixed one (a kernel worker of the process): it and its name are not compared.
    pub any_thread: bool,
    /// The source of the owner.
    pub owner_source: Source,
    /// A filter hides the listener: its children have no owner until accept().
    pub listener_unseen: bool,
    /// A `listen` event.
    pub listen: bool,
    /// A `connect` event.
    pub connect: bool,
    /// The connect event's `errno`.
    pub connect_errno: Option<&'static str>,
    /// The attempt had begun (`SYN_SENT`) when it failed: the connect event may not know the errno yet.
    pub begun: bool,
    /// An `established` event.
    pub established: bool,
    /// An `accept` event.
    pub accept: bool,
    /// An `open` event, in this state; `close.preexisting` is true then.
    pub open: Option<&'static str>,
    /// The accepted verdicts.
    pub verdicts: Vec<&'static str>,
    /// A listener that outlives the trace need not have a close.
    pub close_optional: bool,
    /// The close event's `errno`, if the verdict has one.
    pub errno: Option<&'static str>,
    /// The close event's `errno` may be anything (the kernel leaves it to chance).
    pub any_errno: bool,
    /// Payload bytes sent and acknowledged.
    pub tx: Option<u64>,
    /// Payload bytes received.
    pub rx: Option<u64>,
    /// An MPTCP subflow.
    pub mptcp: bool,
    /// The kernel's order of the events is unusual (a reset before accept(), Fast Open).
    pub any_order: bool,
}

impl Fact {
    /// A socket of `role` opened by `owner`, without further facts.
    #[must_use]
    pub fn new(role: Role, namespace: &Netns, owner: &Process, local: Option<SocketAddr>) -> Self {
        Self::in_netns(role, namespace.inode(), owner, local)
    }

    /// Like [`Fact::new`], for a namespace given by its inode.
    #[must_use]
    pub fn in_netns(role: Role, netns: u64, owner: &Process, local: Option<SocketAddr>) -> Self {
        let mut fact = Self {
            label: String::new(),
            role,
            any_role: false,
            netns,
            family: 4,
            v4mapped: false,
            laddr: None,
            lport: None,
            raddr: None,
            rport: None,
            owner: owner.clone(),
            any_thread: false,
            owner_source: match role {
                "client" => "connect",
                "server" => "accept",
                "listener" => "listen",
                _ => "unknown",
            },
            listener_unseen: false,
            listen: role == "listener",
            connect: role == "client",
            connect_errno: None,
            begun: false,
            established: role == "client" || role == "server",
            accept: role == "server",
            open: None,
            verdicts: Vec::new(),
            close_optional: false,
            errno: None,
            any_errno: false,
            tx: Some(0),
            rx: Some(0),
            mptcp: false,
            any_order: false,
        };
        if let Some(local) = local {
            fact.family = if local.is_ipv6() { 6 } else { 4 };
            fact.laddr = Some(local.ip().to_canonical());
            fact.lport = Some(local.port()).filter(|port| *port != 0);
        }
        if role == "listener" {
            (fact.tx, fact.rx) = (None, None);
        }
        fact
    }

    /// Sets the label.
    #[must_use]
    pub fn label(mut self, label: &str) -> Self {
        self.label = label.to_owned();
        self
    }

    /// Sets the peer, as the socket sees it (a v4-mapped address makes the fact v4-mapped).
    #[must_use]
    pub fn peer(mut self, peer: SocketAddr) -> Self {
        self.v4mapped = matches!(peer.ip(), IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        self.raddr = Some(peer.ip().to_canonical());
        self.rport = Some(peer.port());
        if peer.is_ipv6() {
            self.family = 6;
        }
        self
    }

    /// Sets the verdict, and its `errno` if it has one.
    #[must_use]
    pub fn ends(mut self, verdict: &'static str, errno: Option<&'static str>) -> Self {
        self.end(verdict, errno);
        self
    }

    /// Like [`Fact::ends`], in place.
    pub fn end(&mut self, verdict: &'static str, errno: Option<&'static str>) {
        self.verdicts = vec![verdict];
        self.errno = errno;
    }

    /// connect() failed at once with `errno`, before any packet was sent.
    #[must_use]
    pub fn failed_at_once(mut self, errno: &'static str) -> Self {
        self.connect_errno = Some(errno);
        self.established = false;
        self.ends("failed_local", Some(errno))
    }

    /// connect() failed with `errno` after the socket had left `CLOSE`.
    #[must_use]
    pub fn failed_when_begun(self, errno: &'static str) -> Self {
        let mut fact = self.failed_at_once(errno);
        fact.begun = true;
        fact
    }

    /// The handshake failed.
    #[must_use]
    pub fn never_established(mut self) -> Self {
        self.established = false;
        self
    }

    /// The socket existed, in `state`, before the tracer.
    #[must_use]
    pub fn preexisting(mut self, state: &'static str) -> Self {
        self.open = Some(state);
        self.owner_source = "fd";
        self.any_thread = true;
        (self.listen, self.connect, self.established, self.accept) = (false, false, false, false);
        self
    }
}
