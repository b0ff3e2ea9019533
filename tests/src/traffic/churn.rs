//! `traffic churn`: connect, 64 bytes there and back, RST by the client, over loopback, as fast as possible, a given
//! number of times or until stdin ends; the server is a child process. Prints one JSON line about the result.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::sys::{self, Sys};
use super::{actor, ops};
use crate::errno;

const PAYLOAD: usize = 64;

/// The settings of a churn.
#[derive(Clone, Debug)]
pub struct Churn {
    /// The number of connections; `None`: until stdin ends.
    pub connections: Option<u64>,
    /// The number of threads on each side.
    pub threads: usize,
    /// The most connections a second, of all threads together.
    pub rate: Option<u32>,
    /// How long each connection is held after its exchange.
    pub hold: Duration,
    /// Where to write one line per connection: the client's tid and port, and `CLOCK_BOOTTIME` (ns)
    /// before its connect().
    pub facts: Option<PathBuf>,
}

fn serve_one(listener: i32) -> Sys<()> {
    let fd = sys::accept(listener)?;
    if let (PAYLOAD, _) = ops::recv_up_to(fd, PAYLOAD) {
        ops::send_all(fd, PAYLOAD);
        // The client's RST ends this.
        let _ = sys::recv(fd, &mut [0; 1]);
    }
    sys::close(fd)?;
    Ok(())
}

/// Handles `count` connections in `threads` threads; returns their ids.
fn server(listener: i32, count: u64, threads: usize) -> Vec<i32> {
    let left = AtomicU64::new(count);
    let take = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
    std::thread::scope(|scope| {
        let work = || {
            while take() {
                serve_one(listener).expect("the server accepts");
            }
            sys::thread_id()
        };
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        all.into_iter().map(|t| t.join().expect("a server thread ends")).collect()
    })
}

/// Makes one connection; returns its port and the time of its begin.
fn connect_one(addr: &SocketAddr, hold: Duration) -> Sys<(u16, u64)> {
    let fd = sys::socket(4, 0, false)?;
    let began = sys::boot_ns();
    sys::connect(fd, addr, None)?;
    let port = sys::address(fd, false)?.port();
    let (sent, failed) = ops::send_all(fd, PAYLOAD);
    let (received, broken) = ops::recv_up_to(fd, PAYLOAD);
    if let Some(error) = failed.or(broken) {
        return Err(error);
    }
    if (sent, received) != (PAYLOAD, PAYLOAD) {
        return Err(libc::EPIPE);
    }
    if !hold.is_zero() {
        sys::pause(hold);
    }
    sys::linger_zero(fd)?;
    sys::close(fd)?;
    Ok((port, began))
}

fn client(addr: SocketAddr, churn: &Churn) -> Vec<(i32, Vec<(u16, u64)>)> {
    let Churn { connections: count, threads, hold, rate, .. } = *churn;
    let (ended, begun) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        let share = |i: u64| match count {
            Some(count) => count / threads as u64 + u64::from(i < count % threads as u64),
            None => u64::MAX,
        };
        let work = |n: u64| {
            let ports: Vec<(u16, u64)> = (0..n)
                .inspect(|made| {
                    if let Some(rate) = rate {
                        let due = Duration::from_secs_f64(*made as f64 * threads as f64 / f64::from(rate));
                        sys::pause(due.saturating_sub(begun.elapsed()));
                    }
                })
                .take_while(|_| !ended.load(Ordering::Relaxed))
                .map(|_| connect_one(&addr, hold).unwrap_or_else(|e| panic!("the client connects: {}", errno::name(e))))
                .collect();
            (sys::thread_id(), ports)
        };
        let all: Vec<_> = (0..threads as u64).map(|i| scope.spawn(move || work(share(i)))).collect();
        if count.is_none() {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            ended.store(true, Ordering::Relaxed);
        }
        all.into_iter().map(|t| t.join().expect("a client thread ends")).collect()
    })
}

/// Runs the churn; prints `{connections, seconds, per_second, payload, port, client, server}`.
///
/// # Errors
/// The errno of the call that failed.
pub fn run(churn: &Churn) -> Sys<()> {
    let listener = sys::socket(4, 0, false)?;
    sys::bind(listener, &SocketAddr::from(([127, 0, 0, 1], 0)))?;
    sys::listen(listener, 4096)?;
    let addr = sys::address(listener, false)?;
    let mut told = [0; 2];
    // SAFETY: the array has room for two descriptors.
    if unsafe { libc::pipe(told.as_mut_ptr()) } < 0 {
        return Err(errno::last());
    }
    // SAFETY: this process has one thread, so the child may do anything.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(errno::last());
    }
    if child == 0 {
        // SAFETY: takes no pointers. A client that fails takes its server along.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        sys::close(told[0])?;
        let tids = server(listener, churn.connections.unwrap_or(u64::MAX), churn.threads);
        let line = json!({ "pid": std::process::id(), "tids": tids }).to_string();
        write_all(told[1], line.as_bytes());
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(0) };
    }
    sys::close(told[1])?;
    sys::close(listener)?;
    let start = Instant::now();
    let done = client(addr, churn);
    let seconds = start.elapsed().as_secs_f64();
    if churn.connections.is_none() {
        // SAFETY: kills the child made above, which would wait for more connections.
        unsafe { libc::kill(child, libc::SIGKILL) };
    }
    let server: Value = match read_all(told[0]) {
        nothing if nothing.is_empty() => Value::Null,
        facts => serde_json::from_slice(&facts).expect("the server's facts are JSON"),
    };
    // SAFETY: waits for the child made above; no status is asked for.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    if let Some(path) = &churn.facts {
        write_facts(path, &done).map_err(|e| sys::errno_of(&e))?;
    }
    let connections: usize = done.iter().map(|(_, ports)| ports.len()).sum();
    let mut client = actor::who();
    client["tids"] = done.iter().map(|(tid, _)| *tid).collect();
    println!(
        "{}",
        json!({
            "connections": connections, "seconds": seconds,
            "per_second": (connections as f64 / seconds).round(),
            "payload": PAYLOAD, "port": addr.port(), "client": client, "server": server,
        })
    );
    Ok(())
}

fn write_facts(path: &PathBuf, done: &[(i32, Vec<(u16, u64)>)]) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for (tid, ports) in done {
        for (port, began) in ports {
            writeln!(out, "{tid} {port} {began}")?;
        }
    }
    out.flush()
}

/// The connections of each client thread, as [`run`] has written them into `path`: port and begin, in order.
///
/// # Panics
/// If the file is missing, or has another form.
#[must_use]
pub fn facts(path: &Path) -> BTreeMap<u64, Vec<(u64, u64)>> {
    let mut threads: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for line in BufReader::new(File::open(path).expect("the facts open")).lines() {
        let line = line.expect("the facts are text");
        let mut numbers = line.split(' ').map(|n| n.parse::<u64>().expect("the facts are numbers"));
        let mut next = || numbers.next().expect("a fact has three numbers");
        let (tid, port, began) = (next(), next(), next());
        threads.entry(tid).or_default().push((port, began));
    }
    threads
}

fn write_all(fd: i32, bytes: &[u8]) {
    // SAFETY: the pointer and length describe `bytes`. A line of this size goes into a pipe at once.
    unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
}

fn read_all(fd: i32) -> Vec<u8> {
    let mut all = Vec::new();
    let mut chunk = [0_u8; 4096];
    loop {
        // SAFETY: the pointer and length describe `chunk`.
        let n = unsafe { libc::read(fd, chunk.as_mut_ptr().cast(), chunk.len()) };
        match usize::try_from(n) {
            Ok(n) if n > 0 => all.extend_from_slice(&chunk[..n]),
            _ => return all,
        }
    }
}
