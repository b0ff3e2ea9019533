//! The kernel's type information as aya reads it, for attaching by BTF.

use std::{
    cell::{OnceCell, RefCell},
    io,
    thread::{self, JoinHandle},
};

use aya::{Btf, BtfError};
use log::debug;

/// Read in a thread of its own, and waited for by whoever needs it first: it is five megabytes, and
/// there is other work to do meanwhile.
#[derive(Debug)]
pub struct KernelTypes {
    thread: RefCell<Option<JoinHandle<Result<Btf, BtfError>>>>,
    types: OnceCell<Option<Btf>>,
}

impl KernelTypes {
    /// Starts reading.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start() -> io::Result<Self> {
        let thread = thread::Builder::new().name("btf".to_owned()).spawn(Btf::from_sys_fs)?;
        Ok(Self { thread: RefCell::new(Some(thread)), types: OnceCell::new() })
    }

    /// Reads nothing: as on a kernel that has none.
    #[must_use]
    pub fn none() -> Self {
        Self { thread: RefCell::new(None), types: OnceCell::from(None) }
    }

    /// What was read; `None` if this kernel has none.
    pub fn get(&self) -> Option<&Btf> {
        let read = || match self.thread.borrow_mut().take()?.join() {
            Ok(Ok(types)) => Some(types),
            Ok(Err(error)) => {
                debug!("no BTF: {error}");
                None
            }
            Err(_) => None,
        };
        self.types.get_or_init(read).as_ref()
    }
}
