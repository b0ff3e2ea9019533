//! The kernel's type information as aya reads it, for attaching by BTF.

use std::{
    cell::{OnceCell, RefCell},
    fmt, io,
    thread::{self, JoinHandle},
};

use aya::{Btf, BtfError, EbpfLoader};
use log::debug;

/// The types, read in threads of their own; the first user waits for them. They take five megabytes, and there is other
/// work to do meanwhile.
pub struct KernelTypes {
    thread: RefCell<Option<JoinHandle<Result<Btf, BtfError>>>>,
    types: OnceCell<Option<Btf>>,
    loader: RefCell<Option<JoinHandle<EbpfLoader<'static>>>>,
}

impl fmt::Debug for KernelTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelTypes").field("types", &self.types.get().is_some()).finish_non_exhaustive()
    }
}

impl KernelTypes {
    /// Starts reading.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start() -> io::Result<Self> {
        let thread = thread::Builder::new().name("btf".to_owned()).spawn(Btf::from_sys_fs)?;
        Ok(Self { thread: RefCell::new(Some(thread)), types: OnceCell::new(), loader: start_loader()? })
    }

    /// Reads nothing, as on a kernel without type information.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn none() -> io::Result<Self> {
        Ok(Self { thread: RefCell::new(None), types: OnceCell::from(None), loader: start_loader()? })
    }

    /// A loader.
    #[must_use]
    pub fn loader(&self) -> EbpfLoader<'static> {
        let made = self.loader.borrow_mut().take().and_then(|thread| thread.join().ok());
        made.unwrap_or_default()
    }

    /// The types; `None` if this kernel has none.
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

/// Starts making aya's loader, which reads all types of the kernel at once, needed or not.
fn start_loader() -> io::Result<RefCell<Option<JoinHandle<EbpfLoader<'static>>>>> {
    thread::Builder::new().name("loader".to_owned()).spawn(EbpfLoader::new).map(|thread| RefCell::new(Some(thread)))
}
