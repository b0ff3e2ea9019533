//! One trace of a scenario: a tracer, a fence, and the comparison at the end.

use std::cell::Cell;
use std::net::TcpStream;

use crate::agent::Agent;
use crate::compare;
use crate::generator::Fact;
use crate::netns::Netns;
use crate::stream::Stream;

/// A tracer that traces a scenario.
pub struct Trace {
    /// The tracer.
    pub agent: Agent,
    fence: Netns,
    next: Cell<u16>,
}

impl Trace {
    /// Starts a trace of everything.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a trace with more arguments. Filters that hide the fence need [`Trace::expect_filtered`].
    #[must_use]
    pub fn with(args: &[&str]) -> Self {
        Self { agent: Agent::live(args), fence: Netns::new(), next: Cell::new(1) }
    }

    /// Returns once all earlier events have been delivered: makes a unique connection, and waits for its end.
    pub fn fence(&self) {
        let port = self.next.replace(self.next.get() + 1);
        let refused = self.fence.within(|| TcpStream::connect(("127.0.0.1", port)));
        assert!(refused.is_err(), "no process listens in the fence's namespace");
        // The namespace may be unknown.
        let (netns, this) = (self.fence.inode(), std::process::id());
        self.agent.wait_for("close of the fence", |event| {
            event["event"] == "close"
                && event["rport"] == port
                && (event["netns"] == netns || event["netns"].is_null() && event["owner"]["pid"] == this)
        });
    }

    /// Ends the trace when everything has come, and compares: in `namespaces` there must be exactly the events of
    /// `facts`.
    ///
    /// # Panics
    /// With every difference, and the events.
    pub fn expect(self, namespaces: &[&Netns], facts: &[Fact]) -> Stream {
        let inodes: Vec<u64> = namespaces.iter().map(|n| n.inode()).collect();
        self.await_closes(&inodes, facts);
        self.fence();
        self.compare(&inodes, facts)
    }

    /// Like [`Trace::expect`], for a filter that hides the fence.
    ///
    /// # Panics
    /// With every difference, and the events.
    pub fn expect_filtered(self, namespaces: &[&Netns], facts: &[Fact]) -> Stream {
        let inodes: Vec<u64> = namespaces.iter().map(|n| n.inode()).collect();
        self.await_closes(&inodes, facts);
        self.compare(&inodes, facts)
    }

    /// Ends the trace when everything has come, and compares nothing: for a stream without namespaces.
    ///
    /// # Panics
    /// If the tracer fails or loses something.
    pub fn told(self, facts: &[Fact]) -> Stream {
        self.agent.settles(|events| {
            let closed = |fact: &&Fact| {
                let is =
                    |e: &serde_json::Value| e["event"] == "close" && fact.lport.is_none_or(|port| e["lport"] == port);
                fact.verdicts == ["open_at_end"] || events.iter().any(|e| is(e) && e["role"] == fact.role)
            };
            facts.iter().filter(closed).count() == facts.len()
        });
        self.fence();
        let ended = self.agent.stop();
        assert_eq!(ended.status.code(), Some(0), "tracer ends well; it said:\n{}", ended.log);
        assert_eq!(ended.stream.lost(), 0, "nothing is lost: {}", ended.stream.summary());
        ended.stream
    }

    /// Waits until as many sockets have closed as in the facts. The comparison reports missing ones.
    fn await_closes(&self, namespaces: &[u64], facts: &[Fact]) {
        let closes = facts.iter().filter(|f| !f.close_optional && f.verdicts != ["open_at_end"]).count();
        self.agent.settles(|events| {
            let closed = |e: &&serde_json::Value| {
                e["event"] == "close" && e["netns"].as_u64().is_some_and(|netns| namespaces.contains(&netns))
            };
            events.iter().filter(closed).count() >= closes
        });
    }

    fn compare(self, namespaces: &[u64], facts: &[Fact]) -> Stream {
        let ended = self.agent.stop();
        assert_eq!(ended.status.code(), Some(0), "tracer ends well; it said:\n{}", ended.log);
        assert_eq!(ended.stream.lost(), 0, "nothing is lost: {}", ended.stream.summary());
        let wrong = compare::differences(&ended.stream, facts, namespaces);
        assert!(
            wrong.is_empty(),
            "{} differences:\n- {}\nthe stream:\n{}stderr:\n{}",
            wrong.len(),
            wrong.join("\n- "),
            ended.stream.dump(namespaces),
            ended.log
        );
        ended.stream
    }
}
