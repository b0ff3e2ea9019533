//! `tracer net`: the state of a network namespace on one page.

use std::{
    collections::HashMap,
    io::{self, Write as _},
    pin::pin,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    cli::NetArgs,
    clock,
    filter::{Host, Lookup as _, parse},
    net::{Picture, change, collect, health},
    proc::{
        netns::{self, Netns},
        root::ProcRoot,
    },
    stderr,
    view::{
        net::{Options, View, write_json, write_text},
        terminal::Columns,
    },
};

/// The time between the two looks without `--watch`.
const APART: Duration = Duration::from_secs(1);
/// How long a reader may take for the last page after Ctrl-C.
const LINGER: Duration = Duration::from_millis(500);

/// Shows the state once, or in intervals.
///
/// # Errors
/// If the namespace does not exist or cannot be read, or stdout cannot be written.
pub fn run(args: &NetArgs) -> anyhow::Result<ExitCode> {
    let root = ProcRoot::default();
    match args.watch {
        None => {
            let before = if args.once { Vec::new() } else { take_before(&root, args)? };
            let pictures = take(&root, args)?;
            let old: HashMap<u32, &Picture> = before.iter().map(|picture| (picture.netns.inode, picture)).collect();
            let moved: Vec<_> = pictures
                .iter()
                .map(|picture| old.get(&picture.netns.inode).map(|before| change::changes(before, picture)))
                .collect();
            let views: Vec<_> = pictures
                .iter()
                .zip(&moved)
                .map(|(picture, moved)| (picture, None, health::judge(picture, moved.as_ref())))
                .collect();
            write(&page(args, &views))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(interval) => {
            let runtime = crate::trace::runtime()?;
            let ended = runtime.block_on(watch(&root, args, interval));
            // Leaves a thread behind that writes to a reader which does not read.
            runtime.shutdown_background();
            ended
        }
    }
}

async fn watch(root: &ProcRoot, args: &NetArgs, interval: Duration) -> anyhow::Result<ExitCode> {
    let mut before = take(root, args)?;
    let mut shown = 0;
    let mut next = Instant::now();
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    while args.count.is_none_or(|count| shown < count) {
        next += interval;
        // After a stop (Ctrl-Z, a slow reader) tracer skips the missed intervals.
        next = next.max(Instant::now());
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            interrupted = &mut interrupted => {
                interrupted.context("cannot wait for Ctrl-C")?;
                return Ok(ExitCode::SUCCESS);
            }
        }
        let now = take(root, args)?;
        let page = {
            let old: HashMap<u32, &Picture> = before.iter().map(|picture| (picture.netns.inode, picture)).collect();
            // A new namespace has no earlier picture until the next interval.
            let changes: Vec<_> = now
                .iter()
                .filter_map(|picture| Some((picture, change::changes(old.get(&picture.netns.inode)?, picture))))
                .collect();
            let views: Vec<_> = changes
                .iter()
                .map(|(picture, changes)| (*picture, Some(changes), health::assess(picture, Some(changes))))
                .collect();
            page(args, &views)
        };
        let mut written = spawn_blocking(move || write(&page));
        let is_read = tokio::select! {
            written = &mut written => written.context("a thread that writes has panicked")??,
            interrupted = &mut interrupted => {
                interrupted.context("cannot wait for Ctrl-C")?;
                // A reader that still reads gets the rest of the page.
                let _ = timeout(LINGER, written).await;
                false
            }
        };
        if !is_read {
            break;
        }
        shown += 1;
        before = now;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the whole text of the pictures.
fn page(args: &NetArgs, views: &[(&Picture, Option<&change::Changes>, Vec<health::Finding>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let offset_ns = clock::wall_offset_ns();
    let options = Options {
        color: args.color.enabled(&io::stdout()),
        columns: if args.wide { Columns::ENDLESS } else { Columns::of(&io::stdout()) },
        all: args.all,
        quiet: args.quiet,
        utc: args.utc,
    };
    for (at, (picture, changes, findings)) in views.iter().enumerate() {
        let view = View { picture, changes: *changes, findings };
        let wall_ns = offset_ns.saturating_add_unsigned(picture.boot_ns);
        if args.json {
            write_json(&mut out, &view, wall_ns);
            continue;
        }
        if at > 0 || changes.is_some() {
            out.push(b'\n');
        }
        out.extend_from_slice(write_text(&view, options, wall_ns).as_bytes());
    }
    out
}

/// Writes everything at once; `false` if the reader is gone.
fn write(page: &[u8]) -> anyhow::Result<bool> {
    let mut stdout = io::stdout();
    match stdout.write_all(page).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(super::unwritable("page", error)),
    }
}

/// Takes the first pictures, to compare the second ones with. They need no owners of sockets.
fn take_before(root: &ProcRoot, args: &NetArgs) -> anyhow::Result<Vec<Picture>> {
    let quiet = NetArgs { quiet: true, ..args.clone() };
    let began = Instant::now();
    let before = collect::unowned(root, &namespaces(root, &quiet)?, true).pictures;
    std::thread::sleep(APART.saturating_sub(began.elapsed()));
    Ok(before)
}

/// Takes pictures of the wanted namespaces.
fn take(root: &ProcRoot, args: &NetArgs) -> anyhow::Result<Vec<Picture>> {
    let namespaces = namespaces(root, args)?;
    let taken = collect::pictures(root, &namespaces, true);
    if !args.quiet {
        for (inode, error) in &taken.unreadable {
            stderr::line(format_args!("not seen: network namespace {inode}: {error}; root may"));
        }
    }
    if taken.pictures.is_empty() {
        match taken.unreadable.into_iter().next() {
            Some((inode, error)) => {
                return Err(
                    anyhow::Error::new(error).context(format!("cannot read network namespace {inode}: run as root"))
                );
            }
            None => bail!("the network namespace is gone: choose another one, see `ip netns list` and `lsns -t net`"),
        }
    }
    Ok(taken.pictures)
}

/// Returns the wanted namespaces.
fn namespaces(root: &ProcRoot, args: &NetArgs) -> anyhow::Result<Vec<Netns>> {
    let nothing_else = |inode| Netns { inode, name: None, pid: None, path: None };
    let current = || netns::current(root).context("cannot find this network namespace: is /proc mounted?");
    if args.all_netns {
        let found = netns::find(root);
        if !args.quiet {
            if found.denied > 0 {
                stderr::line(format_args!(
                    "not seen: the namespaces of {} processes that this user may not look into; root may",
                    found.denied
                ));
            }
            for error in &found.errors {
                stderr::line(format_args!("not seen: {error}"));
            }
        }
        return Ok(found.namespaces);
    }
    let Some(wanted) = &args.netns else {
        // The look-up of its name is cheap, a search for its processes is not needed.
        let inode = current()?;
        return Ok(vec![Netns { name: netns::name_of(root, inode), ..nothing_else(inode) }]);
    };
    let host = Host::default();
    let inode = match host.netns(wanted)? {
        Some(inode) => inode,
        None => bail!(
            "no such network namespace: {}; give a name of `ip netns list`, a process id, or an inode number",
            match wanted {
                parse::Netns::Pid(number) | parse::Netns::Inode(number) => number.to_string(),
                parse::Netns::Name(name) => name.clone(),
            }
        ),
    };
    let mut netns = match netns::find(root).namespaces.into_iter().find(|netns| netns.inode == inode) {
        Some(netns) => netns,
        None => nothing_else(inode),
    };
    // The process that the user names certainly leads there.
    if let parse::Netns::Pid(pid) = wanted
        && netns.pid.is_none()
    {
        netns.pid = Some(*pid);
    }
    Ok(vec![netns])
}
