//! What words mean, by the processes, containers, namespaces, units and addresses that are there.

use std::{collections::BTreeSet, net::IpAddr};

use tracer_stream::{Cause, Party};

use super::{What, parse::end};
use crate::causes::{
    scene::{FlowKey, Scene},
    survey::Survey,
};

/// The longest name that the kernel keeps of a process.
const COMM: usize = 15;
/// The least part of a container's id that names it.
const LEAST_ID: usize = 6;

/// How a name fits a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// As a whole: other names that only contain the word are not meant.
    Exactly,
    /// As a pattern, or as a part.
    InPart,
}

/// Words, and what they mean here.
#[derive(Clone, Debug, Default)]
pub struct Meant {
    words: Vec<Word>,
}

#[derive(Clone, Debug)]
struct Word {
    what: What,
    /// How names of processes are compared with it.
    named: Named,
    /// Processes with that number or name.
    pids: BTreeSet<u32>,
    /// Namespaces with that number or name.
    netns: BTreeSet<u32>,
    /// Something here is called so, or has this address.
    is_known: bool,
}

impl Meant {
    /// What `words` mean in this scene.
    #[must_use]
    pub fn of(words: &[What], scene: &Scene) -> Self {
        Self { words: words.iter().map(|what| Word::of(what, scene)).collect() }
    }

    /// Whether there are no words: everything is meant.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.words.is_empty()
    }

    /// The words, as one text.
    #[must_use]
    pub fn text(&self) -> String {
        self.words.iter().map(|word| word.what.text.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The words that name nothing that was seen.
    pub fn unknown(&self) -> impl Iterator<Item = &What> {
        self.words.iter().filter(|word| !word.is_known).map(|word| &word.what)
    }

    /// Whether a cause concerns what is meant: as a sufferer, a culprit, a place or a peer.
    #[must_use]
    pub fn matches(&self, cause: &Cause, host: &Survey) -> bool {
        self.is_everything() || self.words.iter().any(|word| word.matches(cause, host))
    }

    /// Whether a process is meant.
    #[must_use]
    pub fn process(&self, pid: u32, comm: &str) -> bool {
        self.words.iter().any(|word| word.pids.contains(&pid) || word.called(comm))
    }

    /// Whether the connections of a client to a destination are meant.
    #[must_use]
    pub fn flow(&self, key: &FlowKey, scene: &Scene) -> bool {
        self.is_everything() || self.words.iter().any(|word| word.flow(key, scene))
    }

    /// Whether connections that servers of this name accept in this namespace are meant.
    #[must_use]
    pub fn server(&self, netns: Option<u32>, comm: Option<&str>) -> bool {
        let is = |word: &Word| {
            comm.is_some_and(|comm| word.called(comm)) || netns.is_some_and(|netns| word.netns.contains(&netns))
        };
        self.is_everything() || self.words.iter().any(is)
    }
}

impl Word {
    fn of(what: &What, scene: &Scene) -> Self {
        let host = scene.host();
        let names = || {
            let processes = host.processes.iter().map(|process| process.comm.as_str());
            processes.chain(scene.flows.names())
        };
        let exact = what.is_name && names().any(|comm| is_called(comm, &what.text));
        let named = if exact { Named::Exactly } else { Named::InPart };
        let mut word =
            Self { what: what.clone(), named, pids: BTreeSet::new(), netns: BTreeSet::new(), is_known: false };
        for process in &host.processes {
            let is = what.number == Some(process.pid)
                || word.called(&process.comm)
                || process.container.as_deref().is_some_and(|id| word.is_container(id))
                || process.unit.as_deref().is_some_and(|unit| word.is_unit(unit));
            if is {
                word.pids.insert(process.pid);
            }
        }
        for namespace in &host.namespaces {
            let named = what.is_name && namespace.name.as_deref() == Some(&what.text);
            if what.number == Some(namespace.inode) || named {
                word.netns.insert(namespace.inode);
            }
        }
        let is_here = |addr: &IpAddr| host.homes(*addr).next().is_some();
        word.is_known = what.is_process
            || !word.pids.is_empty()
            || !word.netns.is_empty()
            || scene.flows.names().any(|comm| word.called(comm))
            || what.addrs.iter().any(is_here)
            || !what.addrs.is_empty() && scene.flows.all().iter().any(|(key, _)| word.is_end(key.raddr, key.rport))
            || what.addrs.is_empty() && what.port.is_some();
        word
    }

    /// Whether a process of this name is meant.
    fn called(&self, comm: &str) -> bool {
        self.what.is_name
            && match self.named {
                Named::Exactly => is_called(comm, &self.what.text),
                Named::InPart => fits(&self.what.text, comm),
            }
    }

    fn is_container(&self, id: &str) -> bool {
        let by_id = self.what.is_name && self.what.text.len() >= LEAST_ID && id.starts_with(&self.what.text);
        by_id || self.what.containers.iter().any(|known| known == id)
    }

    fn is_unit(&self, unit: &str) -> bool {
        self.what.is_name
            && unit.strip_prefix(self.what.text.as_str()).is_some_and(|rest| rest.is_empty() || rest == ".service")
    }

    fn party(&self, party: &Party) -> bool {
        self.what.number == Some(party.pid)
            || self.pids.contains(&party.pid)
            || self.called(&party.comm)
            || party.container.as_deref().is_some_and(|id| self.is_container(id))
            || party.unit.as_deref().is_some_and(|unit| self.is_unit(unit))
            || party.netns.is_some_and(|netns| self.netns.contains(&netns))
    }

    fn is_end(&self, addr: Option<IpAddr>, port: Option<u16>) -> bool {
        let by_addr = addr.is_some_and(|addr| self.what.addrs.contains(&addr));
        let by_port = port.is_some() && port == self.what.port;
        match (self.what.is_end, self.what.port) {
            (true, Some(_)) => by_addr && by_port,
            (true, None) => false,
            (false, _) => by_addr || by_port,
        }
    }

    fn matches(&self, cause: &Cause, host: &Survey) -> bool {
        let place = &cause.place;
        let is_there = |text: &String| {
            end(text).is_some_and(|(addr, port)| {
                // A listener at any address has those of its namespace.
                let anywhere = addr.is_unspecified()
                    && self.what.addrs.iter().any(|addr| {
                        host.homes(*addr).any(|home| Some(home.inode) == place.netns)
                            && self.is_end(Some(*addr), Some(port))
                    });
                anywhere || self.is_end(Some(addr), Some(port))
            })
        };
        let names = |addr: &Option<IpAddr>| !self.what.is_end && self.is_end(*addr, None);
        cause.sufferers.iter().chain(&cause.culprits).any(|party| self.party(party))
            || place.netns.is_some_and(|netns| self.netns.contains(&netns))
            || self.what.is_name && place.netns_name.as_deref() == Some(&self.what.text)
            || place.listener.iter().chain(&cause.peer).any(is_there)
            || cause.peer.as_deref().is_some_and(|peer| names(&peer.parse().ok()))
            || names(&place.from)
    }

    fn flow(&self, key: &FlowKey, scene: &Scene) -> bool {
        let by_client = key.comm.as_deref().is_some_and(|comm| self.called(comm) || self.has_process(comm, scene))
            || key.netns.is_some_and(|netns| self.netns.contains(&netns));
        by_client || self.is_end(key.raddr, key.rport)
    }

    /// Whether a process that the word means by other things than its name has this one.
    fn has_process(&self, comm: &str, scene: &Scene) -> bool {
        self.pids.iter().filter_map(|pid| scene.host().process(*pid)).any(|process| process.comm == comm)
    }
}

/// Whether the name of a process is `text`; the kernel keeps its first 15 bytes.
fn is_called(comm: &str, text: &str) -> bool {
    comm == text || comm.len() == COMM && text.len() > COMM && text.starts_with(comm)
}

/// Whether a pattern with `*` and `?` fits as a whole; without them, whether the name contains the text.
fn fits(pattern: &str, name: &str) -> bool {
    if !pattern.contains(['*', '?']) {
        return name.contains(pattern);
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Only the last `*` is ever tried again.
    let (mut at, mut seen, mut retry) = (0, 0, None);
    while seen < name.len() {
        match pattern.get(at) {
            Some('*') => {
                retry = Some((at, seen));
                at += 1;
            }
            Some(c) if *c == '?' || name.get(seen) == Some(c) => (at, seen) = (at + 1, seen + 1),
            _ => match retry {
                Some((star, from)) => {
                    (at, seen) = (star + 1, from + 1);
                    retry = Some((star, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|c| *c == '*')
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tracer_stream::{Close, Event, Kind, Place, Role, Severity, TcpState, Verdict, sample};

    use super::*;
    use crate::causes::survey::{Device, Namespace, SurveyProcess, SurveySocket, Transport};

    fn process(pid: u32, comm: &str) -> SurveyProcess {
        SurveyProcess { pid, comm: comm.to_owned(), ..SurveyProcess::default() }
    }

    /// A host with a shop and a database, each in a namespace of its own.
    fn scene() -> Scene {
        let mut scene = Scene::default();
        let device = |addr: &str| Device { addresses: vec![addr.parse().unwrap()], ..Device::default() };
        let namespace = |inode, name: &str, addr| Namespace {
            inode,
            name: Some(name.to_owned()),
            devices: vec![device(addr)],
            ..Namespace::default()
        };
        let listener = SurveySocket {
            transport: Transport::Tcp,
            state: TcpState::Listen,
            netns: 22,
            laddr: "0.0.0.0".parse().unwrap(),
            lport: 5432,
            raddr: "0.0.0.0".parse().unwrap(),
            rport: 0,
            inode: 9,
            pids: vec![20],
            recv_q: 0,
            send_q: 128,
            tcp: None,
        };
        scene.survey(Survey {
            namespaces: vec![namespace(11, "shopns", "10.0.0.1"), namespace(22, "dbns", "10.0.0.5")],
            processes: vec![
                process(10, "shop"),
                process(11, "shop-monitor"),
                SurveyProcess {
                    container: Some("0123456789abcdef".to_owned()),
                    unit: Some("postgres.service".to_owned()),
                    ..process(20, "postgres")
                },
                process(30, "a-name-that-is-"),
            ],
            sockets: vec![listener],
            ..Survey::default()
        });
        let owner = sample::owner("shop", 10);
        let socket = |role| Some(tracer_stream::Socket { owner: Some(&owner), role, ..sample::SOCKET });
        let close = Close { verdict: Verdict::ClosedLocal, connect_us: Some(7), ..sample::CLOSE };
        for role in [Role::Client, Role::Server] {
            scene.event(&Event { boot_ns: 1, socket: socket(role), kind: Kind::Close(&close) });
        }
        scene
    }

    fn party(pid: u32, comm: &str) -> Party {
        Party { pid, comm: comm.to_owned(), container: None, unit: None, netns: None }
    }

    /// The shop cannot connect to the database.
    fn cause() -> Cause {
        Cause {
            sufferers: vec![party(10, "shop")],
            culprits: vec![Party { container: Some("0123456789abcdef".to_owned()), ..party(20, "postgres") }],
            place: Place {
                netns: Some(22),
                netns_name: Some("dbns".to_owned()),
                listener: Some("0.0.0.0:5432".to_owned()),
                from: Some("10.0.0.254".parse().unwrap()),
                ..Place::default()
            },
            peer: Some("10.0.0.5:5432".to_owned()),
            ..Cause::new("x", Severity::Failure, String::new())
        }
    }

    fn meant(words: &[&str]) -> Meant {
        let words: Vec<What> = words.iter().map(|word| word.parse().unwrap()).collect();
        Meant::of(&words, &scene())
    }

    #[test]
    fn a_cause_is_kept_by_whoever_has_to_do_with_it() {
        let scene = scene();
        for word in [
            "10",
            "shop",
            "sh?p",
            "s*",
            "20",
            "postgres",
            "gres",
            "012345",
            "22",
            "dbns",
            "10.0.0.5",
            "10.0.0.5:5432",
            ":5432",
            "10.0.0.254",
        ] {
            assert!(meant(&[word]).matches(&cause(), scene.host()), "{word}");
        }
        for word in [
            "11",
            "shop-monitor",
            "shop-*",
            "01234",
            "11111111",
            "shopns",
            "10.0.0.1",
            "10.0.0.5:443",
            ":443",
            "nothing",
        ] {
            assert!(!meant(&[word]).matches(&cause(), scene.host()), "{word}");
        }
        assert!(meant(&[]).matches(&cause(), scene.host()), "everything");
        assert!(meant(&["nothing", ":5432"]).matches(&cause(), scene.host()), "any of them");
        let at = Cause { peer: None, sufferers: Vec::new(), culprits: Vec::new(), ..cause() };
        assert!(meant(&["10.0.0.5:5432"]).matches(&at, scene.host()), "a listener at any address of its namespace");
        assert!(!meant(&["10.0.0.1:5432"]).matches(&at, scene.host()), "of another namespace");
    }

    #[test]
    fn a_whole_name_is_no_part_of_others() {
        let (shop, all) = (meant(&["shop"]), meant(&["sho"]));
        assert!(shop.process(10, "shop") && !shop.process(11, "shop-monitor"));
        assert!(all.process(10, "shop") && all.process(11, "shop-monitor"));
        // The kernel keeps 15 bytes of a name.
        assert!(meant(&["a-name-that-is-long"]).process(30, "a-name-that-is-"));
        assert!(!meant(&["a-name-that-was-long"]).process(30, "a-name-that-is-"));
    }

    #[test]
    fn units_and_containers_mean_their_processes() {
        for word in ["postgres.service", "0123456789abcdef"] {
            assert!(meant(&[word]).process(20, "other"), "{word}");
        }
    }

    #[test]
    fn what_is_not_here_is_said() {
        let unknown = |word: &str| meant(&[word]).unknown().next().is_some();
        for word in ["shop", "10", "dbns", "22", "10.0.0.1", "10.0.0.5", "10.0.0.5:443", ":80", "postgres.service"] {
            assert!(!unknown(word), "{word}");
        }
        for word in ["nobody", "99", "10.9.9.9", "10.9.9.9:443"] {
            assert!(unknown(word), "{word}");
        }
    }

    #[test]
    fn the_connections_of_a_word() {
        let scene = scene();
        let flow = |word: &str| scene.flows.all().iter().any(|(key, _)| meant(&[word]).flow(key, &scene));
        assert!(flow("shop") && flow("10") && flow(":443") && flow("10.0.0.5:443"));
        assert!(!flow("postgres") && !flow(":80") && !flow("10.0.0.5:80"));
        let served = |word: &str| scene.flows.served(|netns, comm| meant(&[word]).server(netns, comm));
        assert_eq!((served("shop"), served("postgres")), (1, 0));
    }

    #[test]
    fn patterns() {
        for (pattern, name) in [("a*c", "abbc"), ("*", ""), ("a?c", "abc"), ("*b*", "abc"), ("b", "abc"), ("a**", "a")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a*c", "abbcd"), ("?", ""), ("a?c", "ac"), ("x", "abc")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
