//! The kinds of sockets, and their states.

/// A protocol, by the word that `--proto` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Proto {
    /// TCP, IPv4 and IPv6.
    Tcp,
    /// UDP.
    Udp,
    /// UDP-Lite.
    Udplite,
    /// Raw IP.
    Raw,
    /// ICMP echo sockets (`ping` without privileges).
    Icmp,
    /// SCTP endpoints and associations.
    Sctp,
    /// Unix sockets.
    Unix,
    /// Packet sockets: captures.
    Packet,
    /// Netlink.
    Netlink,
}

impl Proto {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self::Tcp,
        Self::Udp,
        Self::Udplite,
        Self::Raw,
        Self::Icmp,
        Self::Sctp,
        Self::Unix,
        Self::Packet,
        Self::Netlink,
    ];

    /// Returns the name on the command line and in the stream.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Udplite => "udplite",
            Self::Raw => "raw",
            Self::Icmp => "icmp",
            Self::Sctp => "sctp",
            Self::Unix => "unix",
            Self::Packet => "packet",
            Self::Netlink => "netlink",
        }
    }

    /// Whether it has addresses and ports; such sockets are shown by default.
    #[must_use]
    pub const fn is_internet(self) -> bool {
        !matches!(self, Self::Unix | Self::Packet | Self::Netlink)
    }
}

/// A set of protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protos(u16);

impl Protos {
    /// The internet protocols, shown by default.
    pub const INTERNET: Self = Self(0b11_1111);
    /// All of them.
    pub const EVERY: Self = Self(0b1_1111_1111);

    /// Returns the protocols that `wanted` accepts.
    #[must_use]
    pub fn that(wanted: impl Fn(Proto) -> bool) -> Self {
        Self(Proto::ALL.into_iter().filter(|proto| wanted(*proto)).fold(0, |set, proto| set | 1 << proto as u16))
    }

    /// Whether `proto` is one of them.
    #[must_use]
    pub const fn has(self, proto: Proto) -> bool {
        self.0 >> proto as u16 & 1 != 0
    }
}

/// The state of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Waits for connections.
    Listen,
    /// `CLOSE` of a socket that needs no connection.
    Unconn,
    /// Connected.
    Established,
    /// SYN sent; of a Unix socket, connect() waits.
    SynSent,
    /// A listener's handshake.
    SynRecv,
    /// We sent FIN first.
    FinWait1,
    /// Our FIN is acknowledged.
    FinWait2,
    /// The remains of a connection.
    TimeWait,
    /// The peer sent FIN first.
    CloseWait,
    /// We answered the peer's FIN with ours.
    LastAck,
    /// FIN crossed FIN.
    Closing,
    /// No connection.
    Close,
    /// SCTP: INIT sent.
    CookieWait,
    /// SCTP: COOKIE ECHO sent.
    CookieEchoed,
    /// SCTP: waits for acknowledgements.
    ShutdownPending,
    /// SCTP: SHUTDOWN sent.
    ShutdownSent,
    /// SCTP: SHUTDOWN received.
    ShutdownReceived,
    /// SCTP: SHUTDOWN ACK sent.
    ShutdownAckSent,
    /// A number that this program does not know.
    Unknown,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Listen,
        Self::Unconn,
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::CloseWait,
        Self::LastAck,
        Self::Closing,
        Self::Close,
        Self::CookieWait,
        Self::CookieEchoed,
        Self::ShutdownPending,
        Self::ShutdownSent,
        Self::ShutdownReceived,
        Self::ShutdownAckSent,
        Self::Unknown,
    ];

    /// Returns the state for a number of the `enum` in `include/net/tcp_states.h`, which all families
    /// use. A request socket is in `SYN_RECV`, as in /proc and `ss`.
    #[must_use]
    pub const fn of_sk_state(proto: Proto, number: u8) -> Self {
        match number {
            1 => Self::Established,
            2 => Self::SynSent,
            3 | 12 => Self::SynRecv,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 if matches!(proto, Proto::Tcp | Proto::Sctp) => Self::Close,
            7 => Self::Unconn,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            _ => Self::Unknown,
        }
    }

    /// Returns the state of an SCTP association (`enum sctp_state`).
    #[must_use]
    pub const fn of_association(number: u8) -> Self {
        match number {
            0 => Self::Close,
            1 => Self::CookieWait,
            2 => Self::CookieEchoed,
            3 => Self::Established,
            4 => Self::ShutdownPending,
            5 => Self::ShutdownSent,
            6 => Self::ShutdownReceived,
            7 => Self::ShutdownAckSent,
            _ => Self::Unknown,
        }
    }

    /// Returns the kernel's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listen => "LISTEN",
            Self::Unconn => "UNCONN",
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait1 => "FIN_WAIT1",
            Self::FinWait2 => "FIN_WAIT2",
            Self::TimeWait => "TIME_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Closing => "CLOSING",
            Self::Close => "CLOSE",
            Self::CookieWait => "COOKIE_WAIT",
            Self::CookieEchoed => "COOKIE_ECHOED",
            Self::ShutdownPending => "SHUTDOWN_PENDING",
            Self::ShutdownSent => "SHUTDOWN_SENT",
            Self::ShutdownReceived => "SHUTDOWN_RECEIVED",
            Self::ShutdownAckSent => "SHUTDOWN_ACK_SENT",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// Parses a user's word for a state: the name of the kernel or of `ss`, in upper or lower case, with `-` or `_`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let word = word.to_ascii_uppercase().replace('-', "_");
        let word = match word.as_str() {
            "ESTAB" | "CONNECTED" => "ESTABLISHED",
            "LISTENING" => "LISTEN",
            "FIN_WAIT_1" => "FIN_WAIT1",
            "FIN_WAIT_2" => "FIN_WAIT2",
            "CLOSED" => "CLOSE",
            "UNCONNECTED" => "UNCONN",
            "NEW_SYN_RECV" => "SYN_RECV",
            word => word,
        };
        Self::ALL.into_iter().find(|state| state.name() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_by_the_words_of_ss() {
        for (word, state) in [
            ("established", State::Established),
            ("ESTAB", State::Established),
            ("listening", State::Listen),
            ("time-wait", State::TimeWait),
            ("fin-wait-1", State::FinWait1),
            ("unconnected", State::Unconn),
        ] {
            assert_eq!(State::from_word(word), Some(state), "{word}");
        }
        assert_eq!(State::from_word("open"), None);
        for state in State::ALL {
            assert_eq!(State::from_word(state.name()), Some(state));
        }
    }

    #[test]
    fn the_sets() {
        assert_eq!(Protos::INTERNET, Protos::that(Proto::is_internet));
        assert_eq!(Protos::EVERY, Protos::that(|_| true));
        assert!(!Protos::that(|proto| proto == Proto::Raw).has(Proto::Tcp));
    }
}
