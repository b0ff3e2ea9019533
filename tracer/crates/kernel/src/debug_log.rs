//! The kernel side's debug log; only an object of `cargo xtask build-ebpf --log` has it.

use std::io;

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{LevelFilter, Log, Metadata, Record};
use tokio::io::unix::AsyncFd;

use super::KernelError;

/// The level at which the programs log: the one that this process shows. The verifier knows the value, and skips lines
/// below it.
pub(super) fn level() -> u8 {
    // Both count from 1 (error) to 5 (trace); 0 is nothing.
    log::max_level() as u8
}

/// The log as it comes out of the kernel.
pub struct DebugLog(AsyncFd<EbpfLogger<Prefixed>>);

impl std::fmt::Debug for DebugLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DebugLog").finish_non_exhaustive()
    }
}

impl DebugLog {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Option<Self>, KernelError> {
        match EbpfLogger::init_with_logger(ebpf, Prefixed) {
            Ok(logger) => {
                // SAFETY: the descriptor is the map's own; it stays open and the same as long as
                // `logger` lives, and `logger` lives in the `AsyncFd`.
                let fd = unsafe { AsyncFd::register(logger) };
                fd.map(|fd| Some(Self(fd))).map_err(|error| KernelError::Poll(error.into()))
            }
            // A release object.
            Err(aya_log::Error::MapNotFound) => Ok(None),
            Err(error) => Err(KernelError::Poll(io::Error::other(error))),
        }
    }

    /// Passes on all available lines.
    pub fn flush(&mut self) {
        self.0.get_mut().flush();
    }

    /// Waits for a line, and passes it on. Cancel safe.
    ///
    /// # Errors
    /// If polling fails.
    pub async fn pass_on(&mut self) -> io::Result<()> {
        self.0.readable_mut().await?.clear_ready();
        self.flush();
        Ok(())
    }
}

/// This process's logger, with a prefix for the kernel side.
struct Prefixed;

impl Log for Prefixed {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        log::log!(target: "tracer::kernel_side", record.level(), "in the kernel: {}", record.args());
    }

    fn flush(&self) {}
}

const _: () = assert!(LevelFilter::Debug as u8 == aya_log::Level::Debug as u8);
