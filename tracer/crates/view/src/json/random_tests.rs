//! Random events: the lines by hand are those that the types describe.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::IpAddr, rc::Rc, sync::Arc};

use tracer_fuzz::Random;

use super::*;
use tracer_stream::{
    Close, ConnId, Container, Direction, Discard, Discipline, Drop, DropClass, Evidence, Finding, Hint, Icmp, Kind,
    Limit, Limited, Line, Nft, Owner, OwnerSource, PacketEnds, ProcessFacts, Role, Segment, Socket, Stack, TcpState,
    Told, Verdict,
};

/// Values of every field, with hostile text.
struct Values(Random);

impl Values {
    fn yes(&mut self) -> bool {
        self.0.bits() & 1 == 1
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.0.below(values.len())]
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.yes().then(|| value(self))
    }

    /// Numbers of every length.
    fn number(&mut self) -> u64 {
        let bits = self.0.bits();
        bits >> (bits % 64)
    }

    fn short(&mut self) -> u32 {
        self.number() as u32
    }

    fn text(&mut self) -> String {
        let length = self.0.below(24);
        let mut text = Vec::new();
        for _ in 0..length {
            match self.0.below(4) {
                // Not always UTF-8: comm and paths go through the same conversion.
                0 => text.push(self.0.bits() as u8),
                1 => text.extend_from_slice(
                    char::from_u32(self.short() % 0x11_0000).unwrap_or('\u{9b}').to_string().as_bytes(),
                ),
                2 => text.push(self.of(b"\"\\\n\r\t\x08\x0c\x1b\x7f/")),
                _ => text.push(b'a' + (self.0.bits() % 26) as u8),
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn addr(&mut self) -> IpAddr {
        if self.yes() {
            return IpAddr::from((self.0.bits() as u32).to_be_bytes());
        }
        IpAddr::from(std::array::from_fn::<u16, 8, _>(|_| if self.yes() { 0 } else { self.number() as u16 }))
    }

    fn errno(&mut self) -> i32 {
        self.of(&[1, 104, 110, 111, 113, 0, 41, 4095])
    }

    fn owner(&mut self) -> Owner {
        let facts = ProcessFacts {
            exe: self.maybe(Self::text),
            cmdline: self.maybe(|values| (0..values.0.below(4)).map(|_| values.text()).collect()),
            cmdline_cut: self.yes(),
            cgroup: self.maybe(Self::text),
            container: self.maybe(|values| Container { runtime: "docker", id: values.text(), claimed: values.yes() }),
            unit: self.maybe(Self::text),
            late: self.yes(),
        };
        Owner {
            pid: self.short(),
            tid: self.short(),
            uid: self.maybe(Self::short),
            real_uid: self.maybe(Self::short),
            comm: self.text(),
            thread: self.maybe(Self::text),
            start_ns: self.maybe(Self::number),
            facts: Arc::new(facts),
            told: Told::default(),
        }
    }

    fn ends(&mut self) -> PacketEnds {
        PacketEnds {
            saddr: self.addr(),
            sport: self.maybe(|values| values.short() as u16),
            daddr: self.addr(),
            dport: self.maybe(|values| values.short() as u16),
        }
    }

    fn state(&mut self) -> TcpState {
        TcpState::from_number(1 + self.0.below(12) as u8).unwrap()
    }

    fn close(&mut self) -> Close {
        Close {
            duration_us: self.maybe(Self::number),
            connect_us: self.maybe(Self::number),
            accept_wait_us: self.maybe(Self::number),
            tx_bytes: self.maybe(Self::number),
            rx_bytes: self.maybe(Self::number),
            unacked_bytes: self.maybe(Self::number),
            retransmits: self.maybe(Self::short),
            drops: self.maybe(Self::number),
            srtt_us: self.maybe(Self::short),
            min_rtt_us: self.maybe(Self::short),
            idle_us: self.maybe(Self::number),
            unanswered: self.maybe(Self::yes),
            limited: self.maybe(|values| Limited {
                app_us: values.maybe(Self::number),
                network_us: values.number(),
                peer_window_us: values.number(),
                send_buffer_us: values.number(),
                by: values.maybe(|values| values.of(&Limit::ALL)),
            }),
            delivery_rate: self.maybe(Self::number),
            retransmitted_bytes: self.maybe(Self::number),
            out_of_order: self.maybe(Self::short),
            reordering: self.maybe(Self::short),
            dsack: self.maybe(Self::short),
            verdict: self.of(&Verdict::ALL),
            errno: self.maybe(Self::errno),
            held_by: self.maybe(|values| Rc::new(values.owner())),
            icmp: self.maybe(|values| Icmp {
                v6: values.yes(),
                kind: values.short() as u8,
                code: values.of(&[0, 1, 3, 13, 200]),
                from: values.addr(),
            }),
            syns: self.maybe(Self::short),
            preexisting: self.yes(),
            incomplete: self.yes(),
            sockmap: self.yes(),
        }
    }

    fn hint(&mut self) -> Hint {
        Hint {
            nft: self.maybe(|values| Nft {
                family: "inet",
                table: values.text(),
                chain: values.text(),
                handle: values.maybe(Self::number),
                rule: values.maybe(Self::text),
            }),
            qdisc: self.maybe(|values| Discipline { kind: values.text(), handle: values.text() }),
            ..Hint::of(self.text())
        }
    }

    fn drop(&mut self) -> Drop {
        Drop {
            reason: self.maybe(|values| values.text().into()),
            reason_id: self.maybe(Self::short),
            class: self.of(&DropClass::ALL),
            location: self.maybe(Self::number),
            symbol: self.maybe(|values| values.text().into()),
            iface: self.maybe(|values| values.text().into()),
            netns: self.maybe(Self::short),
            socket_netns: self.maybe(Self::short),
            direction: self.of(&[Direction::In, Direction::Out, Direction::Forward, Direction::Unknown]),
            len: self.short(),
            protocol: self.maybe(|_| "udp"),
            ends: self.maybe(Self::ends),
            tcp_flags: self.maybe(|values| values.short() as u8),
            seq: self.maybe(Self::short),
            icmp: self.maybe(|values| (values.short() as u8, values.short() as u8)),
            about: self.maybe(|values| ("tcp", values.ends())),
            fragment: self.yes(),
            count: self.of(&[1, 2, 70_000]),
            first_ns: self.number(),
            mixed: self.yes(),
            stack: match self.0.below(3) {
                0 => Stack::NotAsked,
                1 => Stack::Missing,
                _ => Stack::Known((0..self.0.below(3)).map(|_| Rc::from(self.text())).collect()),
            },
            hint: self.maybe(|values| Box::new(values.hint())),
        }
    }

    fn discard(&mut self) -> Discard {
        Discard {
            counter: "TcpExtListenDrops",
            count: self.number(),
            meaning: "a meaning",
            iface: self.maybe(|values| values.text().into()),
            queue: self.maybe(Self::short),
            backlog: self.maybe(Self::short),
            conntrack: self.maybe(|values| (values.number(), values.number())),
            no_accept_us: self.maybe(Self::number),
            syns: self.yes(),
            clients: (0..self.0.below(3)).map(|_| Rc::new(self.owner())).collect(),
        }
    }

    fn finding(&mut self) -> Finding {
        let evidence = |values: &mut Self| Evidence {
            event: "close",
            conn: ConnId(values.of(&[0, 1, 65_553])),
            boot_ns: values.number(),
        };
        Finding {
            name: "refused",
            text: self.text(),
            count: self.number(),
            look: (0..self.0.below(3)).map(|_| self.text().into()).collect(),
            evidence: (0..self.0.below(3)).map(|_| evidence(self)).collect(),
        }
    }

    fn socket<'a>(&mut self, owner: Option<&'a Owner>, holders: &'a [u32]) -> Socket<'a> {
        Socket {
            conn: ConnId(self.of(&[0, 1, 65_553, u64::MAX])),
            proto: self.of(&["tcp", "udp", "unknown"]),
            family: self.of(&[0, 4, 6]),
            v4mapped: self.yes(),
            v6only: self.maybe(Self::yes),
            mptcp: self.yes(),
            laddr: self.maybe(Self::addr),
            lport: self.maybe(|values| values.short() as u16),
            raddr: self.maybe(Self::addr),
            rport: self.maybe(|values| values.short() as u16),
            ifindex: self.maybe(Self::short),
            netns: self.maybe(Self::short),
            home: self.maybe(Self::short),
            role: self.of(&[Role::Client, Role::Server, Role::Listener, Role::Unknown]),
            owner,
            owner_source: self.of(&[OwnerSource::Connect, OwnerSource::Fd, OwnerSource::Kernel, OwnerSource::Unknown]),
            holders,
        }
    }
}

/// Calls `check` with random events, of every kind in turn.
fn events(mut check: impl FnMut(&Event<'_>)) {
    let mut values = Values(Random::seeded());
    for n in 0..tracer_fuzz::inputs() {
        let (owner, held_by) = (values.maybe(Values::owner), values.maybe(Values::owner));
        let holders: Vec<u32> = (0..values.0.below(3)).map(|_| values.short()).collect();
        let (close, drop) = (values.close(), values.drop());
        let (discard, finding, process) = (values.discard(), values.finding(), values.owner());
        let reason = values.maybe(Values::text);
        let kind = match n % Kind::NAMES.len() as u64 {
            0 => Kind::Listen { backlog: values.maybe(Values::short) },
            1 => Kind::Connect { errno: values.maybe(Values::errno) },
            2 => Kind::Established { connect_us: values.maybe(Values::number) },
            3 => Kind::Accept { accept_wait_us: values.maybe(Values::number) },
            4 => Kind::Open { state: values.state() },
            5 => Kind::State { old: values.state(), new: values.state(), state_us: values.maybe(Values::number) },
            6 => Kind::Retransmit {
                state: values.maybe(Values::state),
                what: values.of(&[Segment::Syn, Segment::SynAck, Segment::Data, Segment::Fin, Segment::Probe]),
                seq: values.maybe(Values::short),
            },
            7 => Kind::Reset { received: values.yes(), reason: reason.as_deref() },
            8 => Kind::Error { errno: values.errno(), accepts: values.maybe(Values::number) },
            9 => Kind::Drop(&drop),
            10 => Kind::Finding(&finding),
            11 => Kind::Close(&close),
            12 => Kind::Lost { class: "lifecycle", count: values.number() },
            13 => Kind::Discard(&discard),
            14 => Kind::Bind { errno: values.errno(), held_by: held_by.as_ref() },
            _ => Kind::Process(&process),
        };
        let socket = values.maybe(|values| values.socket(owner.as_ref(), &holders));
        let boot_ns = values.number();
        check(&Event { boot_ns, socket, kind });
    }
}

#[test]
fn lines_by_hand_are_those_of_the_types() {
    let clock = WallClock { offset_ns: 1_700_000_000_000_000_000 };
    events(|event| {
        let mut sink = JsonSink::new(Vec::new(), clock);
        sink.event(event);
        sink.flush();
        let written = String::from_utf8(sink.into_inner()).unwrap();
        let time = Rfc3339::default().text(clock.wall_ns(event.boot_ns));
        let (mut derived, line) = (Vec::new(), Line::new(event, &time));
        terminal::line(&mut derived, &line);
        assert_eq!(written, String::from_utf8(derived).unwrap());
        // Keys in the same order, values unchanged by the escapes.
        let plain = serde_json::to_string(&line).unwrap();
        let value: serde_json::Value = serde_json::from_str(&plain).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), value);
        assert!(!written.trim_end().chars().any(|c| !tracer_words::escape::is_plain(c)), "{written}");
    });
}
