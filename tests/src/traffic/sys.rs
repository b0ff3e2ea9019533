//! System calls on sockets, with errno numbers as errors.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::{Duration, Instant};

use libc::{c_int, c_void, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t};

use crate::errno;

/// How long a condition may take before it counts as a failure: 30 s, or `TRACER_TEST_PATIENCE` seconds.
#[must_use]
pub fn patience() -> Duration {
    let seconds = std::env::var("TRACER_TEST_PATIENCE").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(30))
}

/// The value of a call, or errno.
pub type Sys<T> = Result<T, i32>;

/// The value of a call, or its errno.
///
/// # Errors
/// If it is negative.
pub fn check(value: c_int) -> Sys<c_int> {
    if value < 0 { Err(errno::last()) } else { Ok(value) }
}

fn check_size(value: isize) -> Sys<usize> {
    usize::try_from(value).map_err(|_| errno::last())
}

/// An address in the kernel's form.
#[must_use]
pub fn to_kernel(addr: &SocketAddr) -> (sockaddr_storage, socklen_t) {
    // SAFETY: all zeros is a valid sockaddr_storage.
    let mut storage: sockaddr_storage = unsafe { zeroed() };
    let len = match addr {
        SocketAddr::V4(v4) => {
            let plain = sockaddr_in {
                sin_family: libc::AF_INET as _,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is larger than sockaddr_in and at least as aligned.
            unsafe { (&raw mut storage).cast::<sockaddr_in>().write(plain) };
            size_of::<sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let plain = sockaddr_in6 {
                sin6_family: libc::AF_INET6 as _,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above, for sockaddr_in6.
            unsafe { (&raw mut storage).cast::<sockaddr_in6>().write(plain) };
            size_of::<sockaddr_in6>()
        }
    };
    (storage, len as socklen_t)
}

fn from_kernel(storage: &sockaddr_storage) -> Option<SocketAddr> {
    match c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that a sockaddr_in is stored.
            let plain = unsafe { (&raw const *storage).cast::<sockaddr_in>().read() };
            let ip = Ipv4Addr::from(plain.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(plain.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that a sockaddr_in6 is stored.
            let plain = unsafe { (&raw const *storage).cast::<sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(plain.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(plain.sin6_port), 0, plain.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// A stream socket of `family` (4 or 6) and `protocol`; survives exec.
pub fn socket(family: u64, protocol: c_int, nonblock: bool) -> Sys<c_int> {
    let domain = if family == 6 { libc::AF_INET6 } else { libc::AF_INET };
    let kind = if protocol == libc::IPPROTO_UDP { libc::SOCK_DGRAM } else { libc::SOCK_STREAM };
    let kind = kind | if nonblock { libc::SOCK_NONBLOCK } else { 0 };
    // SAFETY: takes no pointers.
    check(unsafe { libc::socket(domain, kind, protocol) })
}

/// Sets an integer option.
pub fn set_option(fd: c_int, level: c_int, name: c_int, value: c_int) -> Sys<c_int> {
    // SAFETY: the pointer and size describe `value`, which lives through the call.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of::<c_int>() as socklen_t) })
}

/// Makes close() send RST.
pub fn linger_zero(fd: c_int) -> Sys<c_int> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let len = size_of::<libc::linger>() as socklen_t;
    // SAFETY: the pointer and size describe `linger`, which lives through the call.
    check(unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), len) })
}

/// bind().
pub fn bind(fd: c_int, addr: &SocketAddr) -> Sys<c_int> {
    let (storage, len) = to_kernel(addr);
    // SAFETY: the pointer and length describe `storage`, which lives through the call.
    check(unsafe { libc::bind(fd, (&raw const storage).cast(), len) })
}

/// listen().
pub fn listen(fd: c_int, backlog: c_int) -> Sys<c_int> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::listen(fd, backlog) })
}

/// connect(), with only the first `cut` bytes of the address if given.
pub fn connect(fd: c_int, addr: &SocketAddr, cut: Option<socklen_t>) -> Sys<c_int> {
    let (storage, len) = to_kernel(addr);
    // SAFETY: the length is at most that of `storage`, which lives through the call.
    check(unsafe { libc::connect(fd, (&raw const storage).cast(), cut.unwrap_or(len).min(len)) })
}

/// connect() to `AF_UNSPEC`: dissolves the association.
pub fn disconnect(fd: c_int) -> Sys<c_int> {
    let unspec = sockaddr { sa_family: libc::AF_UNSPEC as _, sa_data: [0; 14] };
    // SAFETY: the pointer and length describe `unspec`, which lives through the call.
    check(unsafe { libc::connect(fd, &raw const unspec, size_of::<sockaddr>() as socklen_t) })
}

/// accept4().
pub fn accept(fd: c_int) -> Sys<c_int> {
    // SAFETY: no address is asked for.
    check(unsafe { libc::accept4(fd, std::ptr::null_mut(), std::ptr::null_mut(), 0) })
}

/// The local (`getsockname`) or remote (`getpeername`) address.
pub fn address(fd: c_int, remote: bool) -> Sys<SocketAddr> {
    // SAFETY: all zeros is a valid sockaddr_storage.
    let mut storage: sockaddr_storage = unsafe { zeroed() };
    let mut len = size_of::<sockaddr_storage>() as socklen_t;
    let (at, len_at) = ((&raw mut storage).cast::<sockaddr>(), &raw mut len);
    // SAFETY: both pointers are to live locals of the stated size.
    check(unsafe { if remote { libc::getpeername(fd, at, len_at) } else { libc::getsockname(fd, at, len_at) } })?;
    from_kernel(&storage).ok_or(libc::EAFNOSUPPORT)
}

/// send() of the first `len` bytes of `data`, with `MSG_NOSIGNAL`.
pub fn send(fd: c_int, data: &[u8]) -> Sys<usize> {
    // SAFETY: the pointer and length describe `data`.
    check_size(unsafe { libc::send(fd, data.as_ptr().cast(), data.len(), libc::MSG_NOSIGNAL) })
}

/// sendto() with `MSG_FASTOPEN`.
pub fn send_fast_open(fd: c_int, data: &[u8], addr: &SocketAddr) -> Sys<usize> {
    let (storage, len) = to_kernel(addr);
    let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    let to = (&raw const storage).cast::<sockaddr>();
    // SAFETY: both pointers and lengths describe values that live through the call.
    check_size(unsafe { libc::sendto(fd, data.as_ptr().cast(), data.len(), flags, to, len) })
}

/// recv(); 0 is the end of the stream.
pub fn recv(fd: c_int, data: &mut [u8]) -> Sys<usize> {
    // SAFETY: the pointer and length describe `data`.
    check_size(unsafe { libc::recv(fd, data.as_mut_ptr().cast(), data.len(), 0) })
}

/// shutdown().
pub fn shutdown(fd: c_int, how: c_int) -> Sys<c_int> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::shutdown(fd, how) })
}

/// close().
pub fn close(fd: c_int) -> Sys<c_int> {
    // SAFETY: takes no pointers; the caller names a descriptor that it made.
    check(unsafe { libc::close(fd) })
}

/// `TCP_INFO`.
pub fn tcp_info(fd: c_int) -> Sys<libc::tcp_info> {
    // SAFETY: all zeros is a valid tcp_info.
    let mut info: libc::tcp_info = unsafe { zeroed() };
    let mut len = size_of::<libc::tcp_info>() as socklen_t;
    let at = (&raw mut info).cast::<c_void>();
    // SAFETY: the pointers are to live locals of the stated size.
    check(unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, at, &raw mut len) })?;
    Ok(info)
}

/// Reads and clears `SO_ERROR`: 0 if there is none.
pub fn take_error(fd: c_int) -> Sys<i32> {
    let mut error: c_int = 0;
    let mut len = size_of::<c_int>() as socklen_t;
    let at = (&raw mut error).cast::<c_void>();
    // SAFETY: the pointers are to live locals of the stated size.
    check(unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, at, &raw mut len) })?;
    Ok(error)
}

/// An integer from an ioctl: `FIONREAD` unread bytes, `TIOCOUTQ` bytes not yet acknowledged.
pub fn queued(fd: c_int, request: libc::c_ulong) -> Sys<c_int> {
    let mut value: c_int = 0;
    // SAFETY: both requests write one int.
    check(unsafe { libc::ioctl(fd, request, &raw mut value) })?;
    Ok(value)
}

/// poll() for `events`; returns the events that came, 0 at the end of patience.
pub fn poll(fd: c_int, events: i16) -> Sys<i16> {
    let mut one = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one pollfd is passed, and it lives through the call.
    check(unsafe { libc::poll(&raw mut one, 1, patience().as_millis() as c_int) })?;
    Ok(one.revents)
}

/// Keeps a load to its rate: no condition is waited for.
#[expect(clippy::disallowed_methods, reason = "the rate of a load is a time")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Polls `condition` until it holds; `ETIMEDOUT` at the end of patience.
#[expect(clippy::disallowed_methods, reason = "the place at which tests wait")]
pub fn until(mut condition: impl FnMut() -> Sys<bool>) -> Sys<()> {
    let end = Instant::now() + patience();
    while !condition()? {
        if Instant::now() > end {
            return Err(libc::ETIMEDOUT);
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    Ok(())
}

/// Whether this thread of the calling process has exited.
#[must_use]
pub fn has_left(tid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// Ends the calling thread only.
pub fn exit_thread() -> ! {
    // SAFETY: the thread's stack stays in place; none of its code runs any more.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("exit() does not return")
}

/// Sets the effective uid of the calling thread only.
pub fn set_effective_user(uid: u32) -> Sys<c_int> {
    // SAFETY: takes no pointers. Not the C library's function, which sets that of all threads.
    check(unsafe { libc::syscall(libc::SYS_setresuid, u32::MAX, uid, u32::MAX) } as c_int)
}

/// `CLOCK_BOOTTIME` in nanoseconds.
#[must_use]
pub fn boot_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live local; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The calling thread's id.
#[must_use]
pub fn thread_id() -> i32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::gettid() }
}

/// The calling process's effective user.
#[must_use]
pub fn user_id() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Sends one descriptor over a Unix stream socket.
pub fn give_descriptor(over: c_int, fd: c_int) -> Sys<usize> {
    with_descriptor_message(|message| {
        // SAFETY: the control buffer has room for one header with one int.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size_of::<c_int>() as u32) as _;
            libc::CMSG_DATA(header).cast::<c_int>().write_unaligned(fd);
            check_size(libc::sendmsg(over, message, 0))
        }
    })
}

/// Receives one descriptor from a Unix stream socket.
pub fn take_descriptor(over: c_int) -> Sys<c_int> {
    with_descriptor_message(|message| {
        // SAFETY: the message's buffers live through the call; a header is only read if there is one.
        unsafe {
            check_size(libc::recvmsg(over, message, 0))?;
            let header = libc::CMSG_FIRSTHDR(message);
            if header.is_null() {
                return Err(libc::EBADF);
            }
            Ok(libc::CMSG_DATA(header).cast::<c_int>().read_unaligned())
        }
    })
}

fn with_descriptor_message<T>(call: impl FnOnce(*mut libc::msghdr) -> Sys<T>) -> Sys<T> {
    let mut byte = [0_u8; 1];
    let mut control = [0_u64; 8];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: all zeros is a valid msghdr.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: pure arithmetic.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<c_int>() as u32) } as _;
    call(&raw mut message)
}

/// The errno of an `io::Error`, `EIO` if it has none.
#[must_use]
pub fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
