//! A process whose memory map stays locked: one thread waits in a page fault for a file system that never answers, and
//! another one for the lock that the first one holds. Every reader of the process's memory waits, too, including one of
//! /proc/PID/cmdline. `stuck DIR ADDR` is the file system, and starts `stuck-in FILE ADDR`, which becomes the process.
//!
//! Both write lines to stdout: `no fuse: WHY`, or `process PID`; `thread TID`, the one that will want the lock; `held`
//! when the file system keeps the answer. The process obeys letters on stdin: `t` touches the file, `w` wants the lock,
//! `c` connects to ADDR. Both end when the file system is killed.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::ptr::null;
use std::sync::atomic::{AtomicBool, Ordering};

use super::sys::{self, Sys};
use crate::errno;

/// From `include/uapi/linux/fuse.h`.
mod opcode {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const RELEASE: u32 = 18;
    pub const FLUSH: u32 = 25;
    pub const INIT: u32 = 26;
    pub const INTERRUPT: u32 = 36;
    pub const BATCH_FORGET: u32 = 42;
}

const ROOT: u64 = 1;
const FILE: u64 = 2;
const SIZE: u64 = 1 << 20;
/// The largest request; more than the kernel requires.
const REQUEST: usize = 1 << 17;

fn say(line: &str) {
    // A reader that is gone ends this process.
    let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
    let _ = std::io::stdout().flush();
}

fn mount(source: &str, target: &str, kind: &str, flags: libc::c_ulong, data: &str) -> Sys<()> {
    let text = |text: &str| CString::new(text).map_err(|_| libc::EINVAL);
    let (source, target, kind, data) = (text(source)?, text(target)?, text(kind)?, text(data)?);
    // SAFETY: C strings that live until the call returns.
    let result = unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) };
    sys::check(result).map(drop)
}

/// The device, and the file system mounted at `dir`/mnt, in a mount namespace of this process.
fn mounted(dir: &str) -> Sys<File> {
    // SAFETY: takes no pointers.
    sys::check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    mount("none", "/", "none", libc::MS_REC | libc::MS_PRIVATE, "")?;
    mount("stuck", dir, "tmpfs", 0, "")?;
    let device = CString::new(format!("{dir}/fuse")).map_err(|_| libc::EINVAL)?;
    // SAFETY: a C string that lives until the calls return; a descriptor that was just made has no other owner.
    let device = unsafe {
        sys::check(libc::mknod(device.as_ptr(), libc::S_IFCHR | 0o600, libc::makedev(10, 229)))?;
        File::from_raw_fd(sys::check(libc::open(device.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC))?)
    };
    let at = format!("{dir}/mnt");
    std::fs::create_dir(&at).map_err(|e| sys::errno_of(&e))?;
    let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    mount("stuck", &at, "fuse", libc::MS_NOSUID | libc::MS_NODEV, &data)?;
    Ok(device)
}

/// `stuck DIR ADDR`.
///
/// # Errors
/// The errno of the call that failed.
pub fn run(dir: &str, to: SocketAddr) -> Sys<()> {
    let device = match mounted(dir) {
        Ok(device) => device,
        Err(error) => {
            say(&format!("no fuse: {}", errno::name(error)));
            return Ok(());
        }
    };
    let server = std::thread::spawn(move || serve(device));
    let program = std::env::current_exe().map_err(|e| sys::errno_of(&e))?;
    let mut command = Command::new(program);
    command.args(["stuck-in", &format!("{dir}/mnt/file"), &to.to_string()]);
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    let child = command.spawn().map_err(|e| sys::errno_of(&e))?;
    say(&format!("process {}", child.id()));
    server.join().map_err(|_| libc::EIO)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// Answers everything but the second READ. The first one fails, so that the kernel retries the fault: then it keeps the
/// lock while it waits (`FAULT_FLAG_TRIED`).
fn serve(mut device: File) {
    let mut request = vec![0; REQUEST];
    let mut reads = 0;
    loop {
        let len = match device.read(&mut request) {
            Ok(len) => len,
            // The kernel may have withdrawn a request.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOENT)) => continue,
            Err(_) => return,
        };
        let request = &request[..len];
        let node = u64::from(word(request, 16));
        let (error, body) = match word(request, 4) {
            opcode::INIT => (0, init(word(request, 44))),
            opcode::GETATTR => (0, [valid().as_slice(), &attributes(node)].concat()),
            opcode::LOOKUP => (0, entry()),
            opcode::OPEN => (0, vec![0; 16]),
            opcode::RELEASE | opcode::FLUSH => (0, Vec::new()),
            opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT => continue,
            opcode::READ => {
                reads += 1;
                if reads == 2 {
                    say("held");
                }
                if reads > 1 {
                    continue;
                }
                (-libc::EIO, Vec::new())
            }
            _ => (-libc::ENOSYS, Vec::new()),
        };
        let header = [((16 + body.len()) as u32).to_ne_bytes(), error.to_ne_bytes()].concat();
        let answer = [&header, request.get(8..16).unwrap_or_default(), &body].concat();
        if device.write_all(&answer).is_err() {
            return;
        }
    }
}

/// `struct fuse_init_out`.
fn init(minor: u32) -> Vec<u8> {
    let mut out = vec![0; 64];
    let numbers = [(0, 7), (4, minor.min(31)), (16, 8 << 16 | 10), (20, 4096)];
    for (at, number) in numbers {
        out[at..at + 4].copy_from_slice(&number.to_ne_bytes());
    }
    out
}

/// The time for which attributes are valid, as `struct fuse_attr_out` begins.
fn valid() -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&1000_u64.to_ne_bytes());
    out
}

/// `struct fuse_attr`.
fn attributes(node: u64) -> Vec<u8> {
    let mut out = vec![0; 88];
    let (mode, size) = if node == ROOT { (libc::S_IFDIR | 0o755, 0) } else { (libc::S_IFREG | 0o644, SIZE) };
    out[0..8].copy_from_slice(&node.to_ne_bytes());
    out[8..16].copy_from_slice(&size.to_ne_bytes());
    for (at, number) in [(60, mode), (64, 1), (80, 4096)] {
        out[at..at + 4].copy_from_slice(&number.to_ne_bytes());
    }
    out
}

/// `struct fuse_entry_out`.
fn entry() -> Vec<u8> {
    let mut out = vec![0; 40];
    for (at, number) in [(0, FILE), (16, 1000), (24, 1000)] {
        out[at..at + 8].copy_from_slice(&number.to_ne_bytes());
    }
    out.extend_from_slice(&attributes(FILE));
    out
}

static TOUCH: AtomicBool = AtomicBool::new(false);
static WANT: AtomicBool = AtomicBool::new(false);

fn wait_for(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        std::thread::park();
    }
}

/// `stuck-in FILE ADDR`. Once the lock is held this process must not need a missing page, because older kernels take
/// the lock to fetch one: so it brings all pages in before, and allocates nothing afterwards.
///
/// # Errors
/// The errno of the call that failed.
pub fn run_in(file: &str, to: SocketAddr) -> Sys<()> {
    const LEN: usize = SIZE as usize;
    let (told, tid) = std::sync::mpsc::channel();
    let writer = std::thread::spawn(move || {
        let _ = told.send(sys::thread_id());
        wait_for(&WANT);
        let (access, flags) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping without any user.
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, flags, -1, 0) };
    });
    let tid = tid.recv().map_err(|_| libc::EIO)?;
    let file = File::open(file).map_err(|e| sys::errno_of(&e))?;
    let (told, place) = std::sync::mpsc::channel::<usize>();
    let toucher = std::thread::spawn(move || {
        let Ok(place) = place.recv() else { return };
        wait_for(&TOUCH);
        // SAFETY: the mapping is as long as this process; if it cannot be read a signal ends the process.
        let _ = unsafe { (place as *const u8).read_volatile() };
    });
    // One call beforehand, so that its whole path is in memory; a datagram socket makes no connection.
    let family = if to.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    // SAFETY: takes no pointers.
    let before = sys::check(unsafe { libc::socket(family, libc::SOCK_DGRAM, 0) })?;
    let _ = sys::connect(before, &to, None);
    sys::close(before)?;
    // SAFETY: takes no pointers.
    sys::check(unsafe { libc::mlockall(libc::MCL_CURRENT) })?;
    // SAFETY: a new mapping of an open file.
    let place =
        unsafe { libc::mmap(std::ptr::null_mut(), LEN, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    if place == libc::MAP_FAILED {
        return Err(errno::last());
    }
    // SAFETY: the mapping that was just made.
    unsafe { libc::madvise(place, LEN, libc::MADV_RANDOM) };
    told.send(place as usize).map_err(|_| libc::EIO)?;
    say(&format!("thread {tid}"));
    let mut letter = [0_u8];
    // SAFETY: the pointer and length describe `letter`.
    while unsafe { libc::read(0, letter.as_mut_ptr().cast(), 1) } == 1 {
        match letter[0] {
            b't' => {
                TOUCH.store(true, Ordering::Release);
                toucher.thread().unpark();
            }
            b'w' => {
                WANT.store(true, Ordering::Release);
                writer.thread().unpark();
            }
            _ => {
                sys::connect(sys::socket(if to.is_ipv6() { 6 } else { 4 }, 0, false)?, &to, None)?;
            }
        }
    }
    // SAFETY: ends at a signal.
    unsafe { libc::poll(null::<libc::pollfd>().cast_mut(), 0, -1) };
    Ok(())
}
