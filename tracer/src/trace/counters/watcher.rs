//! The thread: it knows the namespaces, and looks at each in its turn.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant, SystemTime},
};

use log::debug;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc::UnboundedSender;
use tracer_tables::discards::{
    Look, Moved,
    counter::{SOFTNET_DROPPED, by_name},
};

use super::{
    Ask, Told,
    namespace::{Buffers, Namespace},
};
use crate::{
    clock,
    filter::WantedNetns,
    net::change::change32,
    proc::{
        fd::SocketHolders,
        net::{Malformed, softnet_stat},
        netns::{self, Netns},
        root::ProcRoot,
        visit::{Visitor, read_into},
    },
};

/// Interval between looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// CPU time that the thread may take in a second, ns: an excess is taken from the next seconds. Namespaces that it left
/// out for lack of time come first in the next look.
const BUDGET: i64 = 500_000;
/// The shortest pause between two searches for namespaces, unless a new one is known to exist.
const SEARCH: Duration = Duration::from_secs(30);
/// The pause is also at least this multiple of the last search's duration.
const SEARCH_SHARE: u32 = 5000;
/// The interval between searches for a socket's holders, as a multiple of the last search's duration.
const HOLDERS_SHARE: u32 = 200;
/// The most sockets whose holders are remembered.
const MOST_HOLDERS: usize = 1024;

/// See [`Watcher::watch`].
pub struct Watcher {
    root: ProcRoot,
    visitor: Visitor,
    wanted: WantedNetns,
    namespaces: Vec<Namespace>,
    buffers: Buffers,
    /// Packets dropped by each CPU.
    softnet: Vec<softnet_stat::Cpu>,
    softnet_ns: u64,
    /// The next namespace to look at.
    next: usize,
    /// When the directories of named namespaces last changed.
    named: Vec<Option<SystemTime>>,
    searched: Instant,
    search_took: Duration,
    searches: bool,
    holders: HashMap<u64, Vec<u32>>,
    holders_not_before: Instant,
    /// CPU time that it may take, ns.
    credit: i64,
    /// CPU time of searches in this look.
    searching: Duration,
}

impl Watcher {
    /// A watcher for the calling thread. Later looks compare with the current values.
    pub fn new(root: &ProcRoot, wanted: WantedNetns) -> io::Result<Self> {
        let mut watcher = Self {
            root: root.clone(),
            visitor: Visitor::new(root)?,
            wanted,
            namespaces: Vec::new(),
            buffers: Buffers::default(),
            softnet: Vec::new(),
            softnet_ns: clock::boot_ns(),
            next: 0,
            named: Vec::new(),
            searched: Instant::now(),
            search_took: Duration::ZERO,
            searches: false,
            holders: HashMap::new(),
            holders_not_before: Instant::now(),
            credit: 0,
            searching: Duration::ZERO,
        };
        watcher.named = watcher.times_of_names();
        watcher.search();
        watcher.softnet = watcher.read_softnet();
        Ok(watcher)
    }

    /// Looks until the other end is gone or asks for the last look.
    pub fn watch(mut self, asked: &Receiver<Ask>, tell: &UnboundedSender<Told>) {
        let mut due = Instant::now() + INTERVAL;
        loop {
            match asked.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Ask::Search(seen)) => {
                    let unknown = |inode: &u32| !self.namespaces.iter().any(|known| known.netns.inode == *inode);
                    self.searches |= seen.iter().any(|inode| self.wanted.has(*inode) && unknown(inode));
                }
                Ok(Ask::Last) => {
                    let _ = tell.send(Told::Looks(self.look(true)));
                    // Last, because the search for other paths to namespaces whose process has ended may take longer
                    // than the receiver waits.
                    if self.namespaces.iter().any(|namespace| namespace.lost) {
                        self.search();
                        let _ = tell.send(Told::Looks(self.look(true)));
                    }
                    let _ = tell.send(Told::End);
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {
                    let began = cpu_time();
                    self.credit = (self.credit + BUDGET).min(BUDGET);
                    let looks = if self.credit > 0 { self.look(false) } else { Vec::new() };
                    // A search has its own budget.
                    self.credit -= nanoseconds(cpu_time().saturating_sub(began).saturating_sub(self.searching));
                    self.searching = Duration::ZERO;
                    if !looks.is_empty() && tell.send(Told::Looks(looks)).is_err() {
                        return;
                    }
                    due = Instant::now() + INTERVAL;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// One look, at as many namespaces as the budget allows, or at `all` of them.
    fn look(&mut self, all: bool) -> Vec<Look> {
        let began = cpu_time();
        let mut looks: Vec<Look> = self.look_at_softnet().into_iter().collect();
        let count = self.namespaces.len();
        for _ in 0..count {
            if !all && nanoseconds(cpu_time().saturating_sub(began)) >= self.credit {
                break;
            }
            self.next = if self.next + 1 < count { self.next + 1 } else { 0 };
            let Some(namespace) = self.namespaces.get_mut(self.next) else { break };
            if namespace.lost || !all && !namespace.is_due() {
                continue;
            }
            match namespace.look(&self.visitor, &mut self.buffers) {
                Ok(Some(look)) => looks.extend(look),
                Ok(None) => namespace.lost = true,
                Err(error) => debug!("{error}"),
            }
        }
        if !all {
            self.search_if_due();
        }
        self.name_holders(&mut looks);
        looks
    }

    fn search_if_due(&mut self) {
        let named = self.times_of_names();
        if named != self.named {
            self.named = named;
            // These few files are quickly read; processes are many.
            let named = netns::named_ones(&self.root);
            self.take(named);
        }
        let since = self.searched.elapsed();
        if since >= self.search_took * SEARCH_SHARE && (self.searches || since >= SEARCH) {
            self.search();
        }
    }

    /// Finds new namespaces, and reads their initial values.
    fn search(&mut self) {
        let began = cpu_time();
        let found = netns::find(&self.root).namespaces;
        self.search_took = cpu_time().saturating_sub(began);
        self.searching += self.search_took;
        self.take(found);
        // A namespace whose process has ended may be reachable by another.
        self.namespaces.retain(|namespace| !namespace.lost);
        self.searches = false;
        self.searched = Instant::now();
    }

    fn take(&mut self, found: Vec<Netns>) {
        for netns in found {
            let known = self.namespaces.iter_mut().find(|known| known.netns.inode == netns.inode);
            if let Some(known) = known {
                known.netns.pid = netns.pid.or(known.netns.pid);
                known.netns.path = netns.path.or_else(|| known.netns.path.take());
                known.lost = false;
            } else if self.wanted.has(netns.inode) {
                let mut namespace = Namespace::new(netns);
                // The first look only reads the initial values.
                match namespace.look(&self.visitor, &mut self.buffers) {
                    Ok(Some(_)) => self.namespaces.push(namespace),
                    Ok(None) => {}
                    Err(error) => debug!("{error}"),
                }
            }
        }
    }

    fn times_of_names(&self) -> Vec<Option<SystemTime>> {
        self.root.netns_dirs().iter().map(|dir| fs::metadata(dir).and_then(|meta| meta.modified()).ok()).collect()
    }

    fn read_softnet(&mut self) -> Vec<softnet_stat::Cpu> {
        let path = self.root.path().join("net/softnet_stat");
        if let Err(error) = read_into(&path, &mut self.buffers.text) {
            debug!("{}: {error}", path.display());
            return Vec::new();
        }
        softnet_stat::read(self.buffers.text.as_slice(), Path::new(""), &mut Malformed::default()).unwrap_or_default()
    }

    fn look_at_softnet(&mut self) -> Option<Look> {
        if !self.wanted.has_all() {
            return None;
        }
        let now = self.read_softnet();
        let boot_ns = clock::boot_ns();
        let since_ns = std::mem::replace(&mut self.softnet_ns, boot_ns);
        let old = std::mem::replace(&mut self.softnet, now);
        let dropped: u64 = self
            .softnet
            .iter()
            .filter_map(|cpu| {
                let old = old.iter().find(|old| old.cpu == cpu.cpu && cpu.cpu.is_some())?;
                Some(change32(old.dropped(), cpu.dropped()))
            })
            .sum();
        let moved = Moved { counter: by_name(SOFTNET_DROPPED)?, device: None, before: 0, now: dropped };
        (dropped > 0).then(|| Look {
            since_ns,
            boot_ns,
            netns: None,
            conntrack: None,
            moved: vec![moved],
            sockets: Vec::new(),
        })
    }

    /// Adds the holders of the sockets in the looks.
    fn name_holders(&mut self, looks: &mut [Look]) {
        let sockets = || looks.iter().flat_map(|look| &look.sockets);
        let unknown: HashSet<u64> = sockets()
            .map(|socket| socket.inode)
            .filter(|inode| *inode != 0 && !self.holders.contains_key(inode))
            .collect();
        if !unknown.is_empty() && Instant::now() >= self.holders_not_before {
            let began = Instant::now();
            let (found, _) = SocketHolders::scan(&self.root, Some(&unknown));
            if self.holders.len() + unknown.len() > MOST_HOLDERS {
                self.holders.clear();
            }
            self.holders.extend(unknown.into_iter().map(|inode| (inode, found.holders(inode).to_vec())));
            self.holders_not_before = Instant::now() + began.elapsed() * HOLDERS_SHARE;
        }
        for socket in looks.iter_mut().flat_map(|look| &mut look.sockets) {
            socket.holders = self.holders.get(&socket.inode).cloned().unwrap_or_default();
        }
    }
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// CPU time of the calling thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}
