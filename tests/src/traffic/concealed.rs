//! Calls that can mislead a tracer of system calls.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use libc::c_int;

use super::sys::{self, Sys};
use crate::errno;

/// Begins `count` connect() calls, each in a thread of its own, that wait for an answer as long as this process lives.
///
/// # Errors
/// The errno of a thread or a socket that could not be made.
pub fn wait_in_connect(count: usize, addr: SocketAddr) -> Sys<c_int> {
    for _ in 0..count {
        let fd = sys::socket(if addr.is_ipv6() { 6 } else { 4 }, 0, false)?;
        let thread = std::thread::Builder::new().stack_size(64 << 10);
        thread.spawn(move || sys::connect(fd, &addr, None)).map_err(|e| sys::errno_of(&e))?;
    }
    Ok(0)
}

/// connect() to an address in a page that is not in this process's page table yet.
///
/// # Errors
/// The errno of the call.
pub fn connect_unread(fd: c_int, addr: &SocketAddr) -> Sys<c_int> {
    const PAGE: usize = 4096;
    let (storage, len) = sys::to_kernel(addr);
    // SAFETY: the name is a C string; a descriptor that was just made has no other owner.
    let file = unsafe {
        let file = libc::memfd_create(c"address".as_ptr(), 0);
        if file < 0 {
            return Err(errno::last());
        }
        OwnedFd::from_raw_fd(file)
    };
    // SAFETY: the pointer and length describe `storage`.
    let written = unsafe { libc::write(file.as_raw_fd(), (&raw const storage).cast(), size_of_val(&storage)) };
    if usize::try_from(written) != Ok(size_of_val(&storage)) {
        return Err(errno::last());
    }
    // SAFETY: a new mapping of a file that is this process's own; nothing is read through it here.
    let result = unsafe {
        let page = libc::mmap(std::ptr::null_mut(), PAGE, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0);
        if page == libc::MAP_FAILED {
            return Err(errno::last());
        }
        let result = sys::check(libc::connect(fd, page.cast(), len));
        libc::munmap(page, PAGE);
        result
    };
    drop(file);
    result
}

/// Lets a child call accept(), whose result its own seccomp supervisor replaces by `fd`.
///
/// # Errors
/// The errno of the call that failed, or `EPROTO` if the child got another descriptor.
pub fn accept_forged(fd: c_int) -> Sys<c_int> {
    // SAFETY: the child makes system calls only, and ends by itself.
    match unsafe { libc::fork() } {
        0 => {
            let result = forge(fd);
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(result.err().unwrap_or(0)) }
        }
        child => outcome(child),
    }
}

fn outcome(child: libc::pid_t) -> Sys<c_int> {
    let mut status = 0;
    // SAFETY: a child of this process, and a live local.
    if child < 0 || unsafe { libc::waitpid(child, &raw mut status, 0) } < 0 {
        return Err(errno::last());
    }
    match libc::WEXITSTATUS(status) {
        0 => Ok(0),
        error => Err(error),
    }
}

/// `struct seccomp_notif` and `struct seccomp_notif_resp`.
#[repr(C)]
#[derive(Default)]
struct Notification {
    id: u64,
    pid: u32,
    flags: u32,
    data: [u64; 8],
}

#[repr(C)]
struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const NOTIFY_RECEIVE: libc::c_ulong = 0xc050_2100;
const NOTIFY_SEND: libc::c_ulong = 0xc018_2101;

fn forge(fd: c_int) -> Sys<c_int> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: libc::SYS_accept as u32,
        },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the pointers are to live locals of the sizes that the kernel expects; the grandchild only calls accept().
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        let notify = libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program);
        let notify = sys::check(notify as c_int)?;
        let thief = sys::check(libc::fork())?;
        if thief == 0 {
            let result = libc::accept(-1, std::ptr::null_mut(), std::ptr::null_mut());
            libc::_exit(if result == fd { 0 } else { libc::EPROTO });
        }
        let mut notification = Notification::default();
        sys::check(libc::ioctl(notify, NOTIFY_RECEIVE, &raw mut notification))?;
        let answer = Answer { id: notification.id, value: i64::from(fd), error: 0, flags: 0 };
        sys::check(libc::ioctl(notify, NOTIFY_SEND, &raw const answer))?;
        outcome(thief)
    }
}

/// Calls accept() `times` times while this process may have no further descriptor.
///
/// # Errors
/// If a call fails for another reason, or the limit cannot be set.
pub fn accept_without_descriptors(listener: c_int, times: usize) -> Sys<c_int> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live local.
    unsafe { sys::check(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit))? };
    let none = libc::rlimit { rlim_cur: 0, ..limit };
    // SAFETY: as above.
    unsafe { sys::check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const none))? };
    let failed = (0..times).all(|_| sys::accept(listener) == Err(libc::EMFILE));
    // SAFETY: as above.
    unsafe { sys::check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit))? };
    if failed { Ok(0) } else { Err(libc::EPROTO) }
}

/// Makes a system call in the way of a 32-bit program.
#[cfg(target_arch = "x86_64")]
fn call_32(number: u32, first: c_int, second: usize, third: u32) -> Sys<c_int> {
    let result: c_int;
    // SAFETY: the kernel reads memory that the caller gives; `rbx` is the compiler's own and is put back.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}", "int 0x80", "xchg rbx, {first}",
            first = inout(reg) first as i64 => _,
            inlateout("eax") number => result,
            in("ecx") second as u32, in("edx") third, in("esi") 0,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    if result < 0 { Err(-result) } else { Ok(result) }
}

#[cfg(not(target_arch = "x86_64"))]
fn call_32(_: u32, _: c_int, _: usize, _: u32) -> Sys<c_int> {
    Err(libc::ENOSYS)
}

/// connect() in the way of a 32-bit program.
///
/// # Errors
/// The errno of the call; `ENOSYS` where there are no 32-bit programs.
pub fn connect_32(fd: c_int, addr: &SocketAddr) -> Sys<c_int> {
    let (storage, len) = sys::to_kernel(addr);
    let size = size_of_val(&storage);
    // SAFETY: a new mapping, below 4 GiB and large enough for the copy.
    let low = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | MAP_LOW;
        let low = libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        if low == libc::MAP_FAILED {
            return Err(errno::last());
        }
        std::ptr::copy_nonoverlapping((&raw const storage).cast::<u8>(), low.cast(), size);
        low
    };
    let result = call_32(362, fd, low as usize, len);
    // SAFETY: the mapping that was made above.
    unsafe { libc::munmap(low, size) };
    result
}

#[cfg(target_arch = "x86_64")]
const MAP_LOW: c_int = libc::MAP_32BIT;
#[cfg(not(target_arch = "x86_64"))]
const MAP_LOW: c_int = 0;

/// accept() in the way of a 32-bit program.
///
/// # Errors
/// As for [`connect_32`].
pub fn accept_32(listener: c_int) -> Sys<c_int> {
    call_32(364, listener, 0, 0)
}
