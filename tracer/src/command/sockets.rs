//! `tracer sockets`: a table of the sockets that exist now.

use std::hint;
use std::io::{self, Write as _};
use std::mem;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::{self, SocketsArgs};
use crate::clock;
use crate::filter::{Filter, Host};
use crate::kernel::iterators::Iterators;
use crate::proc::pidns;
use crate::proc::root::ProcRoot;
use crate::sockets::collect::{Picture, collect};
use crate::sockets::proto::State;
use crate::sockets::row::{Kind, Row};
use crate::sockets::source::Ask;
use crate::sockets::watch::{Change, Identity, Known};
use crate::stderr;
use crate::stream::OwnerSource;
use crate::view::clock::WallClock;
use crate::view::sockets::{
    JsonRows, Shown, TableOptions, TextRows, first_owner, stream_socket, write_blocks, write_tree,
};
use crate::view::terminal::Columns;

/// Rows prefetched together.
const TOGETHER: usize = 32;
/// Bytes gathered before a write.
const FULL: usize = 64 * 1024;

/// Shows the sockets.
///
/// # Errors
/// If /proc cannot be read, or stdout cannot be written.
pub fn run(args: &SocketsArgs) -> anyhow::Result<ExitCode> {
    let filter = match args.filter.resolve(&Host::default()) {
        Ok(filter) => filter,
        Err(error) => cli::wrong_usage(error).exit(),
    };
    let needs_facts = args.output.json
        || args.output.wide
        || !args.filter.uid.is_empty()
        || !args.filter.cgroup.is_empty()
        || !args.filter.container.is_empty();
    let ask = Ask {
        protos: args.protos(),
        details: args.output.json || args.output.wide || args.sort.needs_details(),
        time_wait: true,
        via: args.output.via,
        facts: needs_facts,
        order: Some(args.sort),
    };
    let root = ProcRoot::default();
    let mut show = Show::new(args, &filter);
    let result = match args.watch {
        None => show.once(take(&root, &ask)?),
        Some(every) => show.watch(&root, &ask, every),
    };
    match result.and_then(|()| show.flush()) {
        // The reader of a pipe may stop reading: that is no failure.
        Err(error) if error.get_ref().is_some() => Err(error.into()),
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(super::unwritable("table", error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn take(root: &ProcRoot, ask: &Ask) -> io::Result<Picture> {
    let picture = collect(root, ask, &Iterators::default()).map_err(io::Error::other)?;
    log::info!("{}", picture.ways.join(", "));
    Ok(picture)
}

/// Shows pictures.
struct Show<'a> {
    args: &'a SocketsArgs,
    filter: &'a Filter,
    format: Format,
    lines: Lines,
    out: Vec<u8>,
}

/// The form of the output.
#[derive(Clone, Copy)]
struct Format {
    json: bool,
    clock: WallClock,
    text: TableOptions,
}

impl Format {
    /// Makes a writer that goes on after a socket in namespace `before`.
    fn lines(self, before: Option<u32>) -> Lines {
        if self.json { Lines::Json(JsonRows::new(self.clock)) } else { Lines::Text(TextRows::after(self.text, before)) }
    }
}

/// A writer of sockets.
enum Lines {
    Json(JsonRows),
    Text(TextRows),
}

impl Lines {
    fn write(&mut self, out: &mut Vec<u8>, boot_ns: u64, shown: &Shown<'_>) {
        match self {
            Self::Json(rows) => rows.write(out, boot_ns, shown),
            Self::Text(rows) => rows.write(out, shown),
        }
    }
}

impl<'a> Show<'a> {
    fn new(args: &'a SocketsArgs, filter: &'a Filter) -> Self {
        let color = args.output.color.enabled(&io::stdout());
        let columns = Columns::of(&io::stdout());
        let text = TableOptions { wide: args.output.wide, columns, color, marks: args.watch.is_some() };
        let clock = WallClock { offset_ns: clock::wall_offset_ns() };
        let format = Format { json: args.output.json, clock, text };
        Self { args, filter, format, lines: format.lines(None), out: Vec::with_capacity(2 * FULL) }
    }

    fn once(&mut self, mut picture: Picture) -> io::Result<()> {
        let shown = self.chosen(&mut picture);

        // The end of the process frees it faster.
        let picture = mem::ManuallyDrop::new(picture);
        let picture: &Picture = &picture;
        if self.args.tree {
            write_tree(&mut self.out, picture, &shown, &TextRows::new(self.format.text));
        } else {
            self.header();
            self.flush()?;
            let (format, boot_ns) = (self.format, clock::boot_ns());
            let block = |at: usize, block: &[u32], out: &mut Vec<u8>| {
                let before = at.checked_sub(1).and_then(|at| shown.get(at..=at));
                let before = before.and_then(|before| rows(picture, before).next());
                let mut lines = format.lines(before.map(|row| row.netns));
                let mut number = at as u64;
                for together in block.chunks(TOGETHER) {
                    fetch(picture, together);
                    for row in rows(picture, together) {
                        number += 1;
                        lines.write(out, boot_ns, &Shown { picture, row, number, change: None });
                    }
                }
            };
            write_blocks(&shown, block, |bytes| io::stdout().write_all(bytes))?;
        }
        self.flush()?;

        self.say_gaps(picture, &shown);

        let (seconds, resident) = clock::own_cost();
        log::info!(
            "{} sockets, {:.1} ms of CPU, {} KiB peak resident memory",
            shown.len(),
            seconds * 1e3,
            resident >> 10
        );
        Ok(())
    }

    fn watch(&mut self, root: &ProcRoot, ask: &Ask, every: Duration) -> io::Result<()> {
        let mut known = Known::default();
        let mut before: Option<(Picture, Vec<u32>)> = None;
        let mut next = Instant::now();
        self.header();
        for round in 1.. {
            let mut picture = take(root, ask)?;
            let shown = self.chosen(&mut picture);
            let boot_ns = clock::boot_ns();
            let mut seen = std::collections::HashSet::with_capacity(shown.len());
            for row in rows(&picture, &shown) {
                let identity = Identity::of(row);
                let (number, change) = known.meet(identity.clone(), row.state);
                seen.insert(identity);
                // The first picture has no news.
                let change = change.filter(|_| before.is_some());
                if before.is_none() || change.is_some() {
                    self.row(boot_ns, &Shown { picture: &picture, row, number, change })?;
                }
            }
            if let Some((old, places)) = &before {
                for row in rows(old, places) {
                    let identity = Identity::of(row);
                    if !seen.contains(&identity)
                        && let Some(number) = known.forget(&identity)
                    {
                        let change = Some(Change::Vanished);
                        self.row(boot_ns, &Shown { picture: old, row, number, change })?;
                    }
                }
            } else {
                self.say_gaps(&picture, &shown);
            }
            self.flush()?;
            before = Some((picture, shown));
            if self.args.count == Some(round) {
                break;
            }
            next += every;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }

    fn header(&mut self) {
        if let Lines::Text(rows) = &self.lines {
            rows.header(&mut self.out);
        }
    }

    fn row(&mut self, boot_ns: u64, shown: &Shown<'_>) -> io::Result<()> {
        self.lines.write(&mut self.out, boot_ns, shown);
        if self.out.len() >= FULL { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(&self.out).and_then(|()| stdout.flush());
        self.out.clear();
        written
    }

    /// Returns the places of the rows that pass every filter, in order.
    fn chosen(&self, picture: &mut Picture) -> Vec<u32> {
        let mut shown = mem::take(&mut picture.order);
        if !self.shows_everything() {
            let row = |at: u32| picture.rows.get(usize::try_from(at).ok()?);
            shown.retain(|at| row(*at).is_some_and(|row| self.passes(picture, row)));
        }
        shown
    }

    fn shows_everything(&self) -> bool {
        let filter = &self.args.filter;
        !self.args.listen
            && self.args.state.is_empty()
            && filter.pid.is_empty()
            && filter.comm.is_empty()
            && filter.uid.is_empty()
            && filter.cgroup.is_empty()
            && filter.container.is_empty()
            && filter.netns.is_empty()
            && filter.port.is_empty()
            && filter.lport.is_empty()
            && filter.rport.is_empty()
            && filter.addr.is_empty()
            && filter.laddr.is_empty()
            && filter.raddr.is_empty()
            && !filter.ipv4
            && !filter.ipv6
            && filter.role.is_empty()
            && !filter.no_loopback
    }

    fn passes(&self, picture: &Picture, row: &Row) -> bool {
        let args = self.args;
        if args.listen && !matches!(row.state, State::Listen | State::Unconn) {
            return false;
        }
        let named = |exclude| args.state.iter().filter(move |state| state.exclude == exclude);
        let is_named = |exclude| named(exclude).any(|state| state.value == row.state);
        if is_named(true) || (named(false).next().is_some() && !is_named(false)) {
            return false;
        }
        // A socket belongs to each of its holders.
        let ownership = picture.owners.of(row);
        let known = ownership.pids.iter().filter_map(|pid| picture.owners.process(*pid));
        let passes = |owner| {
            let mut socket = stream_socket(picture, row, 0, owner);
            if socket.owner.is_some() && socket.owner_source == OwnerSource::Listener {
                socket.owner_source = OwnerSource::Fd;
            }
            self.filter.decide_connection_final(&socket)
        };
        match first_owner(picture, row) {
            Some(_) => known.map(Some).any(passes),
            None => passes(None),
        }
    }

    /// Reports on stderr what the table lacks.
    fn say_gaps(&self, picture: &Picture, shown: &[u32]) {
        if self.args.output.quiet {
            return;
        }
        let say = |text: &str| stderr::line(text);
        self.say_ownerless(picture, shown, &say);
        if picture.denied_netns > 0 {
            let processes = plural(picture.denied_netns, "process", "processes");
            say(&format!(
                "sockets of other network namespaces may be missing: this user may not see that of {processes}"
            ));
        }
        for (path, line) in &picture.malformed.places {
            say(&format!("{}: line {line} is malformed and left out", path.display()));
        }
        let untold = picture.malformed.count.saturating_sub(u64::try_from(picture.malformed.places.len()).unwrap_or(0));
        if untold > 0 {
            say(&format!("{untold} more lines are malformed and left out"));
        }
        for gap in &picture.gaps {
            say(gap);
        }
    }

    /// Reports how many owners are unknown, and why.
    fn say_ownerless(&self, picture: &Picture, shown: &[u32], say: &impl Fn(&str)) {
        let root = rustix::process::geteuid().is_root();
        // Root sees every process: a socket without a holder is the kernel's own.
        if picture.denied == 0 && root && pidns::is_initial(&ProcRoot::default()) {
            return;
        }
        // The kernel's own netlink sockets have an inode and no file.
        let has_owner =
            |row: &Row| row.inode != 0 && !matches!(&row.kind, Kind::Netlink(netlink) if netlink.portid == 0);
        let is_ownerless = |row: &&Row| has_owner(row) && picture.owners.of(row).pids.is_empty();
        let ownerless = rows(picture, shown).filter(is_ownerless).count();
        if ownerless == 0 {
            return;
        }
        let sockets = if ownerless == 1 { "1 socket".to_owned() } else { format!("{ownerless} sockets") };
        if picture.denied > 0 {
            let processes = plural(picture.denied, "process", "processes");
            let need = if root { "are hidden, from root too" } else { "need root" };
            say(&format!("owners of {sockets} {need}: this user may not look into {processes}"));
        } else {
            let way_out = if root { "the host's pid namespace has all" } else { "root sees all" };
            say(&format!("owners of {sockets} are hidden: no process that is visible here holds them; {way_out}"));
        }
    }
}

fn plural(count: u32, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Touches the next rows: sorted rows are anywhere in memory, so the processor fetches those that the caches lack at
/// the same time, not one after the other.
fn fetch(picture: &Picture, places: &[u32]) {
    let ends = |row: &Row| (row.netns, row.inet().map(|inet| inet.rport));
    rows(picture, places).for_each(|row| {
        hint::black_box(ends(row));
    });
}

fn rows<'p>(picture: &'p Picture, places: &'p [u32]) -> impl Iterator<Item = &'p Row> {
    places.iter().filter_map(|at| picture.rows.get(usize::try_from(*at).ok()?))
}
