//! Reads the tables of namespaces in which packets were dropped: rules, queueing disciplines,
//! neighbours. In another thread, one at a time, and seldom enough that it costs little. Nothing is
//! read while no drop asks for it.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    path::Path,
    sync::OnceLock,
    time::{Duration, Instant},
};

use log::{debug, warn};
use tokio::sync::oneshot;

use super::namespaces::Namespaces;
use crate::{
    clock,
    core::{Core, Gate, Input, packets::Asked},
    hint::Tables,
    netfilter::RuleSet,
    netlink,
    proc::{
        enter::{self, Place, Prefer},
        netns::Netns,
        root::{ProcRoot, denied},
    },
    stream::Sink,
};

/// Between two readings there is at least this time,
const PAUSE: Duration = Duration::from_millis(100);
/// and so many times as long as the last one took,
const SHARE: u32 = 50;
/// up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Of a conntrack table no more than this part is free: it is full, or was a moment ago.
const NEARLY_FULL: u64 = 50;

/// What one reading has found.
#[derive(Debug)]
pub struct Read {
    tables: Vec<Tables>,
    /// Why some of it is not there.
    refused: Option<String>,
}

/// The readings.
#[derive(Debug, Default)]
pub struct Reading {
    under_way: Option<(Instant, oneshot::Receiver<Read>)>,
    not_before: Option<Instant>,
    /// It was said that rules cannot be read.
    warned: bool,
}

impl Reading {
    /// Starts one, if the core wants tables and the last one is long enough ago.
    pub fn start<G: Gate>(&mut self, core: &Core<G>, root: &ProcRoot, namespaces: &Namespaces) {
        if self.under_way.is_some() || self.not_before.is_some_and(|instant| Instant::now() < instant) {
            return;
        }
        let wanted = core.wanted_tables();
        if wanted.is_empty() {
            return;
        }
        let (send, receive) = oneshot::channel();
        let root = root.clone();
        namespaces.give(move || {
            let mut read = Read { tables: Vec::new(), refused: None };
            for asked in wanted {
                read.tables.push(read_one(&root, asked, &mut read.refused));
            }
            // The receiver is gone if the trace ended first.
            let _ = send.send(read);
        });
        self.under_way = Some((Instant::now(), receive));
    }

    /// The next one may start.
    pub fn hurry(&mut self) {
        self.not_before = None;
    }

    /// Waits for the reading that is under way, or for the time of the next one (`None`) if `wanted`;
    /// else for ever. Cancel safe.
    pub async fn done(&mut self, wanted: bool) -> Option<Read> {
        match &mut self.under_way {
            Some((_, receive)) => Some(receive.await.unwrap_or(Read { tables: Vec::new(), refused: None })),
            None if wanted => {
                tokio::time::sleep_until(self.not_before.unwrap_or_else(Instant::now).into()).await;
                None
            }
            None => std::future::pending().await,
        }
    }

    /// Hands over what [`Reading::done`] has given.
    pub fn tell<G: Gate>(&mut self, read: Option<Read>, core: &mut Core<G>, sink: &mut dyn Sink) {
        let Some(Read { tables, refused }) = read else { return };
        let Some((began, _)) = self.under_way.take() else { return };
        for tables in tables {
            core.apply(Input::Tables(Box::new(tables)), sink);
        }
        let took = began.elapsed();
        self.not_before = Some(Instant::now() + (took * SHARE).clamp(PAUSE, LONGEST_PAUSE));
        debug!("read the tables of namespaces in {took:?}");
        if let Some(refused) = refused.filter(|_| !self.warned) {
            self.warned = true;
            warn!("drops by netfilter do not say the rule: {refused}");
        }
    }
}

fn read_one(root: &ProcRoot, asked: Asked, refused: &mut Option<String>) -> Tables {
    let netns = Netns { inode: asked.netns, name: None, pid: asked.pid, path: None };
    let began_ns = clock::boot_ns();
    let nothing = Tables { netns: asked.netns, began_ns, asked: asked.questions, ..Tables::default() };
    let read = enter::with(root, &netns, Prefer::Entering, |place| {
        let mut tables = nothing.clone();
        let mut rules_refused = None;
        if asked.questions.rules {
            rules_refused = read_rules(root, place, asked.nftables, &mut tables).err().map(|error| why(&error));
        }
        if place.inside {
            // A table that changes meanwhile is no worse: what is there is there.
            if asked.questions.qdiscs {
                tables.qdiscs = netlink::qdisc::read().map(|table| table.rows).inspect_err(cannot_read("qdiscs")).ok();
            }
            if asked.questions.neighbours {
                let read = netlink::neigh::read().map(|table| table.rows);
                tables.neighbours = read.inspect_err(cannot_read("neighbours")).ok();
            }
        }
        tables.ended_ns = clock::boot_ns();
        (tables, rules_refused)
    });
    match read {
        Ok(Some((tables, rules_refused))) => {
            *refused = refused.take().or(rules_refused);
            tables
        }
        // The namespace is gone, and its rules with it.
        Ok(None) => nothing,
        Err(error) => {
            debug!("{error}");
            *refused = refused.take().or_else(|| Some(error.to_string()));
            nothing
        }
    }
}

fn cannot_read(what: &'static str) -> impl Fn(&io::Error) {
    move |error| debug!("cannot read {what}: {error}")
}

fn read_rules(root: &ProcRoot, place: &Place, nftables: bool, tables: &mut Tables) -> io::Result<()> {
    if !place.inside {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let legacy = |file: &str| fs::read(place.net.join(file)).is_ok_and(|text| !text.is_empty());
    tables.legacy = legacy("ip_tables_names") || legacy("ip6_tables_names");
    tables.conntrack_full = conntrack_is_full(place);
    // To ask a kernel without nftables would load the module.
    if nftables || has_nftables(root) {
        tables.rules = Some(RuleSet::read()?);
    }
    Ok(())
}

fn why(error: &io::Error) -> String {
    if denied(error) { "reading the rules takes CAP_NET_ADMIN".to_owned() } else { error.to_string() }
}

fn conntrack_is_full(place: &Place) -> bool {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(place.sysctl.as_ref()?.join("netfilter").join(name)).ok()?.trim().parse().ok()
    };
    let (count, most) = (number("nf_conntrack_count"), number("nf_conntrack_max"));
    count.zip(most).is_some_and(|(count, most)| most > 0 && count >= most - most / NEARLY_FULL)
}

/// Whether this kernel has nftables: loaded, or built in.
fn has_nftables(root: &ProcRoot) -> bool {
    static BUILT_IN: OnceLock<bool> = OnceLock::new();
    Path::new("/sys/module/nf_tables").exists()
        || *BUILT_IN.get_or_init(|| {
            let Ok(symbols) = File::open(root.path().join("kallsyms")) else { return true };
            BufReader::new(symbols).split(b'\n').map_while(Result::ok).any(|line| line.ends_with(b" nft_do_chain"))
        })
}
