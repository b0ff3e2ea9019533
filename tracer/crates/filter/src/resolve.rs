//! From the command line's values to the filter's.

use super::choice::Choice;
use super::parse::{Netns, Selector, User};
use super::{Filter, FilterArgs, FilterError, Lookup, NamedNetns, PidSet};

impl FilterArgs {
    /// Looks up every name.
    ///
    /// If a name does not exist or cannot be looked up, or if nothing could ever be shown: wrong usage.
    pub fn resolve(&self, lookup: &impl Lookup) -> Result<Filter, FilterError> {
        self.check()?;
        let mut filter = Filter {
            not_pids: PidSet::new(self.follow),
            follow: self.follow,
            comm: Choice::new(&self.comm),
            uid: Choice::new(&each(&self.uid, |user| resolve_user(user, lookup))?),
            cgroup: Choice::new(&self.cgroup),
            container: Choice::new(&self.container),
            netns: Choice::new(&each(&self.netns, |netns| resolve_netns(netns, lookup))?),
            port: Choice::new(&self.port),
            lport: Choice::new(&self.lport),
            rport: Choice::new(&self.rport),
            addr: Choice::new(&self.addr),
            laddr: Choice::new(&self.laddr),
            raddr: Choice::new(&self.raddr),
            family: match (self.ipv4, self.ipv6) {
                (true, false) => Some(4),
                (false, true) => Some(6),
                _ => None,
            },
            role: Choice::new(&self.role),
            proto: Choice::new(&self.proto),
            event: Choice::new(&self.event),
            verdict: Choice::new(&self.verdict),
            reason: Choice::new(&self.reason),
            failed: self.failed,
            min_duration: self.min_duration,
            no_loopback: self.no_loopback,
            pids: None,
        };
        for Selector { value, exclude } in &self.pid {
            let pid = value.0;
            let process = lookup.process(pid)?.ok_or(FilterError::NoSuchProcess { pid })?;
            if process.pid != pid {
                return Err(FilterError::IsThread { tid: pid, pid: process.pid });
            }
            let set =
                if *exclude { &filter.not_pids } else { &*filter.pids.get_or_insert_with(|| PidSet::new(self.follow)) };
            set.insert(pid, Some(process.start_ns));
        }
        filter.add_descendants(lookup)?;
        Ok(filter)
    }

    /// Checks the options, independent of the host.
    ///
    /// # Errors
    /// If the options contradict each other.
    pub fn check(&self) -> Result<(), FilterError> {
        let ends = [
            ("--failed", self.failed),
            ("--verdict", !self.verdict.is_empty()),
            ("--min-duration", self.min_duration.is_some()),
        ];
        // A finding rests on closes that need not be shown.
        let event = Choice::new(&self.event);
        let uses_close = event.passes(|event| *event == "close") || event.include.contains(&"finding");
        match ends.iter().find(|(_, given)| *given) {
            Some((option, _)) if !uses_close => Err(FilterError::NothingLeft { option }),
            _ => Ok(()),
        }
    }
}

fn each<T, U>(
    selectors: &[Selector<T>],
    resolve: impl Fn(&T) -> Result<U, FilterError>,
) -> Result<Vec<Selector<U>>, FilterError> {
    selectors.iter().map(|s| Ok(Selector { value: resolve(&s.value)?, exclude: s.exclude })).collect()
}

fn resolve_user(user: &User, lookup: &impl Lookup) -> Result<u32, FilterError> {
    match user {
        User::Uid(uid) => Ok(*uid),
        User::Name(name) => lookup.user(name)?.ok_or_else(|| FilterError::NoSuchUser { name: name.clone() }),
    }
}

fn resolve_netns(netns: &Netns, lookup: &impl Lookup) -> Result<NamedNetns, FilterError> {
    let inode = lookup.netns(netns)?;
    inode.map(|inode| NamedNetns::new(netns, inode)).ok_or_else(|| FilterError::NoSuchNetns {
        name: match netns {
            Netns::Pid(number) | Netns::Inode(number) => number.to_string(),
            Netns::Name(name) => name.clone(),
        },
    })
}
