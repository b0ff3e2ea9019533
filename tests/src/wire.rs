//! A wire between two namespaces that can be held: packets wait in it until it is released, so that segments of both
//! sides cross on the way.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use crate::errno;
use crate::netns::Netns;
use crate::skip::lacks;

/// Linux' `TUNSETIFF`.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;

struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

/// Two `tun` devices named `wire`, each in one namespace, and the threads that carry packets between
/// them. The addresses are those of [`Netns::pair`].
pub struct Wire {
    gate: Arc<Gate>,
    stop: Arc<OwnedFd>,
    carriers: Vec<JoinHandle<()>>,
}

/// Makes a `tun` device named `wire` in a namespace; the holder of the descriptor is its other end. It has no address
/// yet.
///
/// # Errors
/// The reason to skip, if this kernel has no tun devices.
pub fn tun(namespace: &Netns) -> Result<OwnedFd, String> {
    namespace.within(|| {
        // SAFETY: the path is a C string.
        let fd = unsafe { libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        if fd < 0 {
            return Err(lacks("tun", errno::name(errno::last())));
        }
        // SAFETY: the descriptor was just opened and has no other owner.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all zeros is a valid ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (at, byte) in request.ifr_name.iter_mut().zip(b"wire") {
            *at = *byte as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as _;
        // SAFETY: TUNSETIFF reads and writes one ifreq.
        if unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETIFF, &raw mut request) } < 0 {
            return Err(lacks("tun", format!("TUNSETIFF: {}", errno::name(errno::last()))));
        }
        Ok(fd)
    })
}

/// Carries packets until `stop` is readable.
fn carry(from: &OwnedFd, to: &OwnedFd, stop: &OwnedFd, gate: &Gate) {
    let mut packet = vec![0_u8; 65536];
    loop {
        let mut wait = [from, stop].map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
        // SAFETY: the array has two entries and lives through the call.
        unsafe { libc::poll(wait.as_mut_ptr(), 2, -1) };
        if wait[1].revents != 0 {
            return;
        }
        // SAFETY: the pointer and length describe `packet`.
        let len = unsafe { libc::read(from.as_raw_fd(), packet.as_mut_ptr().cast(), packet.len()) };
        let Ok(len) = usize::try_from(len) else { continue };
        drop(gate.changed.wait_while(gate.open.lock().unwrap(), |open| !*open).unwrap());
        // SAFETY: `len` bytes of `packet` have just been read. A device that is gone loses the packet.
        unsafe { libc::write(to.as_raw_fd(), packet.as_ptr().cast(), len) };
    }
}

impl Wire {
    /// Joins two new namespaces by a working wire.
    ///
    /// # Errors
    /// The reason to skip, if this kernel has no tun devices.
    ///
    /// # Panics
    /// If the namespaces cannot be made.
    pub fn between_two() -> Result<(Netns, Netns, Self), String> {
        let (a, b) = (Netns::new(), Netns::new());
        let (left, right) = (Arc::new(tun(&a)?), Arc::new(tun(&b)?));
        a.configure("wire", 1);
        b.configure("wire", 2);
        // SAFETY: takes no pointers.
        let stop = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        // SAFETY: the descriptor was just made and has no other owner.
        let stop = Arc::new(unsafe { OwnedFd::from_raw_fd(stop) });
        let gate = Arc::new(Gate { open: Mutex::new(true), changed: Condvar::new() });
        let carriers = [(Arc::clone(&left), Arc::clone(&right)), (right, left)]
            .map(|(from, to)| {
                let (stop, gate) = (Arc::clone(&stop), Arc::clone(&gate));
                std::thread::spawn(move || carry(&from, &to, &stop, &gate))
            })
            .into();
        Ok((a, b, Self { gate, stop, carriers }))
    }

    /// Makes packets wait.
    pub fn hold(&self) {
        *self.gate.open.lock().unwrap() = false;
    }

    /// Releases waiting packets and later ones.
    pub fn release(&self) {
        *self.gate.open.lock().unwrap() = true;
        self.gate.changed.notify_all();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: an eventfd takes eight bytes.
        unsafe { libc::write(self.stop.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        self.release();
        for carrier in self.carriers.drain(..) {
            let _ = carrier.join();
        }
    }
}
