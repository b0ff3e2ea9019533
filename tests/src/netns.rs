//! Network namespaces that a test makes and removes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use crate::alone;

const PREFIX: &str = "tracer-test";

static SWEPT: Once = Once::new();
static NEXT: AtomicU32 = AtomicU32::new(0);
/// Number of this process's namespaces that still exist.
static ALIVE: Mutex<u32> = Mutex::new(0);

/// A number unique among the namespaces, socket paths and program copies of this process.
pub(crate) fn unique() -> u32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A directory for the control sockets and copies of programs of this process, open to every user.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn scratch() -> PathBuf {
    alone::share();
    SWEPT.call_once(sweep);
    let dir = scratch_path();
    let _alive = alive();
    std::fs::create_dir_all(&dir).expect("the scratch directory is made");
    std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode is set");
    dir
}

fn scratch_path() -> PathBuf {
    std::env::temp_dir().join(format!("{PREFIX}-{}", std::process::id()))
}

/// Removes the scratch directory if it is empty and no namespace exists, whose owner might be about to use it: the last
/// one to leave does so.
pub fn leave_scratch() {
    let alive = alive();
    if *alive == 0 {
        let _ = std::fs::remove_dir(scratch_path());
    }
}

fn alive() -> MutexGuard<'static, u32> {
    // A failed test has left the count consistent.
    ALIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the remains of killed runs: namespaces and directories whose process is dead.
fn sweep() {
    let dead = |name: &str| {
        let pid = name.strip_prefix(PREFIX)?.strip_prefix('-')?.split('-').next()?.parse::<u32>().ok()?;
        Some(!Path::new(&format!("/proc/{pid}")).exists())
    };
    for (dir, is_namespace) in [(PathBuf::from("/run/netns"), true), (std::env::temp_dir(), false)] {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if dead(&name) != Some(true) {
                continue;
            }
            // Another test binary may sweep at the same time: the second one finds nothing.
            if is_namespace {
                let _ = Command::new("ip").args(["netns", "del", &name]).stderr(Stdio::null()).status();
            } else {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Runs a command; returns its output.
///
/// # Panics
/// If it fails.
pub fn command(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program} starts: {e}"));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {} failed: {said}", args.join(" "));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A network namespace with `lo` up; removed when dropped.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: File,
    inode: u64,
}

impl Netns {
    /// Makes a namespace.
    ///
    /// # Panics
    /// If it cannot be made (not root).
    #[must_use]
    pub fn new() -> Self {
        alone::share();
        SWEPT.call_once(sweep);
        let name = format!("{PREFIX}-{}-{}", std::process::id(), unique());
        *alive() += 1;
        command("ip", &["netns", "add", &name]);
        let file = File::open(format!("/run/netns/{name}")).expect("the namespace opens");
        let inode = file.metadata().expect("the namespace has an inode").ino();
        let namespace = Self { name, file, inode };
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    /// Two namespaces joined by a veth pair: `10.7.0.1`/`.2`, `fd07::1`/`::2`, `fe80::1`/`::2`, device
    /// `wire` on both sides.
    ///
    /// # Panics
    /// If they cannot be made.
    #[must_use]
    pub fn pair() -> (Self, Self) {
        let (a, b) = (Self::new(), Self::new());
        let peer = ["peer", "name", "wire", "netns", &b.name];
        a.ip(&[&["link", "add", "wire", "type", "veth"][..], &peer[..]].concat());
        a.configure("wire", 1);
        b.configure("wire", 2);
        (a, b)
    }

    /// Gives `device` the addresses number `n` of the test networks and sets it up.
    pub(crate) fn configure(&self, device: &str, n: u8) {
        // No addresses of the kernel's own choice, and none that are tentative at first.
        self.sysctl(&format!("net/ipv6/conf/{device}/addr_gen_mode"), "1");
        self.ip(&["link", "set", device, "up"]);
        self.ip(&["addr", "add", &format!("10.7.0.{n}/24"), "dev", device]);
        self.ip(&["addr", "add", &format!("fd07::{n}/64"), "dev", device, "nodad"]);
        self.ip(&["addr", "add", &format!("fe80::{n}/64"), "dev", device, "nodad"]);
    }

    /// The inode number, as in the stream.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The name that `ip netns` knows.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Runs `ip -n NAME ARGS`; returns its output.
    pub fn ip(&self, args: &[&str]) -> String {
        command("ip", &[&["-n", &self.name], args].concat())
    }

    /// The index of a device.
    ///
    /// # Panics
    /// If there is no such device.
    #[must_use]
    pub fn ifindex(&self, device: &str) -> u32 {
        let text = self.run(&["cat", &format!("/sys/class/net/{device}/ifindex")]);
        text.trim().parse().expect("an interface index is a number")
    }

    /// Writes a sysctl, named by its path under /proc/sys.
    pub fn sysctl(&self, path: &str, value: &str) {
        self.within(|| std::fs::write(Path::new("/proc/sys").join(path), value))
            .unwrap_or_else(|e| panic!("{path} = {value}: {e}"));
    }

    /// Lets any CPU, not only the sending one, receive the packets of its loopback: RPS.
    ///
    /// # Panics
    /// If the kernel cannot (it can since 2.6.35, on more than one CPU).
    pub fn steer_packets(&self) {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from).min(31);
        let steer = format!("echo {:x} > /sys/class/net/lo/queues/rx-0/rps_cpus", (1_u32 << cpus) - 1);
        self.run(&["sh", "-c", &steer]);
    }

    /// Runs `call` in a thread in this namespace.
    ///
    /// # Panics
    /// If the thread cannot enter it, or `call` panics.
    pub fn within<T: Send>(&self, call: impl FnOnce() -> T + Send) -> T {
        let fd = self.descriptor();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                enter(fd).expect("the thread enters the namespace");
                call()
            });
            thread.join().unwrap_or_else(|why| std::panic::resume_unwind(why))
        })
    }

    /// `program`, to be run in this namespace.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a command in this namespace; returns its output.
    ///
    /// # Panics
    /// If it fails.
    pub fn run(&self, words: &[&str]) -> String {
        command("ip", &[&["netns", "exec", &self.name], words].concat())
    }

    /// Feeds `rules` to `nft` in this namespace.
    ///
    /// # Panics
    /// If nft refuses them.
    pub fn nft(&self, rules: &str) {
        let mut child = self.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft starts");
        child.stdin.take().expect("nft has an input").write_all(rules.as_bytes()).expect("nft reads");
        assert!(child.wait().expect("nft ends").success(), "nft refused {rules}");
    }

    /// Adds one rule in a chain of hook `hook` (`input`, `output`) that sees everything.
    pub fn nft_rule(&self, hook: &str, rule: &str) {
        self.nft(&format!(
            "table inet test {{\nchain {hook} {{\ntype filter hook {hook} priority 0; policy accept;\n{rule}\n}}\n}}\n"
        ));
    }

    /// Drops everything that comes in or goes out by `device`.
    pub fn silence(&self, device: &str) {
        self.nft_rule("input", &format!("iifname {device} drop"));
        self.nft_rule("output", &format!("oifname {device} drop"));
    }

    /// Removes all rules.
    pub fn nft_clear(&self) {
        self.nft("flush ruleset\n");
    }

    /// Destroys sockets by `filter`, like `ss -K`.
    pub fn destroy_sockets(&self, filter: &[&str]) {
        command("ip", &[&["netns", "exec", &self.name, "ss", "-K", "-n"], filter].concat());
    }

    /// Removes the name while processes may still be in the namespace.
    pub fn delete_name(&self) {
        command("ip", &["netns", "del", &self.name]);
    }
}

impl Default for Netns {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // A test may have removed it already.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).stderr(Stdio::null()).status();
        *alive() -= 1;
        leave_scratch();
    }
}

/// Moves the calling thread into the network namespace of `fd`.
///
/// # Errors
/// The error of setns().
pub(crate) fn enter(fd: RawFd) -> std::io::Result<()> {
    // SAFETY: takes no pointers; only this thread moves.
    if unsafe { libc::setns(fd, libc::CLONE_NEWNET) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

/// The canonical form in which the stream writes an address.
#[must_use]
pub fn canonical(addr: IpAddr) -> IpAddr {
    addr.to_canonical()
}
