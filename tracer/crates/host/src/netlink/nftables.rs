//! Asks for the rules of nftables, within bounds. iptables-nft keeps its rules there, too; iptables-legacy does not.

use std::io;

use tracer_tables::netlink::{
    NETLINK_NETFILTER, NFGENMSG,
    nftables::{
        self, Dump, Element, GETCHAIN, GETGEN, GETRULE, GETSET, GETSETELEM, NEWCHAIN, NEWGEN, NEWRULE, NEWSET,
        NEWSETELEM, RuleName, Set,
    },
};

use super::{
    Socket,
    budget::{Budget, Unread},
};

/// How often rules that change meanwhile are read.
const ATTEMPTS: u32 = 3;

/// Asks the kernel for the rules of the thread's namespace.
#[derive(Debug)]
pub struct Nftables(Socket);

impl Nftables {
    /// Opens a socket.
    ///
    /// # Errors
    /// If this kernel has no netfilter.
    pub fn open() -> io::Result<Self> {
        Ok(Self(Socket::open(NETLINK_NETFILTER)?))
    }

    /// Returns the generation of the rules: while it stays the same, so do they, except for counters and elements that
    /// packets or time change.
    ///
    /// # Errors
    /// Errors of the kernel: without `CAP_NET_ADMIN` it refuses.
    pub fn generation(&mut self) -> io::Result<u32> {
        self.0.ask(GETGEN, &[0; NFGENMSG], NEWGEN, nftables::generation)
    }

    /// Reads the rules, as far as `budget` allows.
    ///
    /// # Errors
    /// See [`Unread`]. The socket is unusable afterwards.
    pub fn read(&mut self, budget: &mut Budget<'_>) -> Result<Dump, Unread> {
        for _ in 0..ATTEMPTS {
            let mut dump = Dump { generation: self.generation()?, ..Dump::default() };
            self.0.dump_until(GETCHAIN, &[0; NFGENMSG], NEWCHAIN, |message| {
                budget.spend(message)?;
                dump.chains.extend(nftables::chain(message));
                within(dump.chains.len(), budget.limits().chains, "chains")
            })?;
            self.0.dump_until(GETRULE, &[0; NFGENMSG], NEWRULE, |message| {
                budget.spend(message)?;
                dump.rules.extend(nftables::rule(message));
                within(dump.rules.len(), budget.limits().rules, "rules")
            })?;
            self.sets(&mut dump, budget)?;
            if self.generation()? == dump.generation {
                dump.bytes = budget.read();
                return Ok(dump);
            }
        }
        Err(Unread::Changing)
    }

    /// Reads the sets and their elements, as far as the budget goes, except for sets that time or packets change.
    fn sets(&mut self, dump: &mut Dump, budget: &mut Budget<'_>) -> Result<(), Unread> {
        let most = budget.limits().sets;
        self.0.dump_until(GETSET, &[0; NFGENMSG], NEWSET, |message| {
            budget.spend(message)?;
            dump.sets.extend(nftables::set(message).filter(|_| dump.sets.len() < most));
            Ok::<(), Unread>(())
        })?;
        let mut room = budget.limits().elements;
        for set in dump.sets.iter_mut().filter(|set| !set.changing) {
            match self.elements(set, room, budget) {
                Ok(elements) => {
                    room -= elements.as_ref().map_or(0, Vec::len);
                    set.elements = elements;
                }
                Err(Unread::Ended) => return Err(Unread::Ended),
                // The elements of this set and of the later ones stay unknown.
                Err(error) => {
                    log::debug!("not all sets are read: {error}");
                    self.0 = Socket::open(NETLINK_NETFILTER)?;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Reads the elements of a set; `None` if the parser does not understand one of them.
    fn elements(&mut self, set: &Set, room: usize, budget: &mut Budget<'_>) -> Result<Option<Vec<Element>>, Unread> {
        let mut all: Option<Vec<Element>> = Some(Vec::new());
        self.0.dump_until(GETSETELEM, &set.request(), NEWSETELEM, |message| {
            budget.spend(message)?;
            for element in nftables::elements(message) {
                match (&mut all, element) {
                    (Some(all), Some(element)) => all.push(element),
                    _ => all = None,
                }
            }
            within(all.as_ref().map_or(0, Vec::len), room, "elements of sets")
        })?;
        Ok(all)
    }

    /// Returns the current counter of a rule; `None` if it has none.
    ///
    /// # Errors
    /// Errors that the kernel answers with.
    pub fn counter(&mut self, rule: &RuleName<'_>) -> io::Result<Option<u64>> {
        self.0.ask(GETRULE, &rule.request(), NEWRULE, |message| Some(nftables::rule(message)?.packets))
    }
}

fn within(count: usize, most: usize, what: &'static str) -> Result<(), Unread> {
    if count > most { Err(Unread::TooMany(most, what)) } else { Ok(()) }
}
