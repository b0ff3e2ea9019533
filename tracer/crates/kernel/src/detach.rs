//! Detaches programs, many at a time. A program at a classic tracepoint or on a probe is detached once the kernel has
//! waited for its readers, and closing the file waits, too: 20 to 80 ms each time. Parallel waits share the same grace
//! periods: eight such programs took 326 ms one after the other, and 33 together.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use aya::{Ebpf, programs::Program};
use log::debug;

use super::hooks::Lanes;

/// Detaches and unloads the program `name`, and its lanes.
pub fn detach(ebpf: &mut Ebpf, name: &str) {
    side_by_side(ebpf, |program| program == name);
}

/// Detaches and unloads the programs that `which` selects, and their lanes: programs of different names in any order,
/// lanes before the program that they stand in for.
pub fn side_by_side(ebpf: &mut Ebpf, which: impl Fn(&str) -> bool) {
    let mut places: HashMap<&str, Vec<(&str, &mut Program)>> = HashMap::new();
    for (name, program) in ebpf.programs_mut() {
        let first = Lanes::with(name).map_or(name, |lanes| lanes.first);
        if which(first) && program.fd().is_ok() {
            places.entry(first).or_default().push((name, program));
        }
    }
    let threads = places.len();
    let queue = Mutex::new(places.into_iter().collect::<Vec<_>>());
    let work = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((first, mut programs)) = next else { break };
            programs.sort_by_key(|(name, _)| *name == first);
            programs.into_iter().for_each(|(name, program)| unload(name, program));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // If no thread can be started, this one does the work.
            let _ = thread::Builder::new().name("detach".to_owned()).spawn_scoped(scope, work);
        }
        work();
    });
}

/// A kernel side being detached, while the rest of the end is shown. Dropping this waits until it is gone: a process
/// that exits before its threads have finished leaves the files to its exit, which closes one after the other.
#[derive(Debug, Default)]
pub struct Detaching(Option<JoinHandle<()>>);

impl Detaching {
    /// Starts detaching: `kernel` is not used any more.
    #[must_use]
    pub fn begin(kernel: impl Send + 'static) -> Self {
        // If no thread can be started, it is detached at once.
        Self(thread::Builder::new().name("detach".to_owned()).spawn(move || drop(kernel)).ok())
    }
}

impl Drop for Detaching {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // A thread that panicked has reported it.
            let _ = thread.join();
        }
    }
}

fn unload(name: &str, program: &mut Program) {
    let result = match program {
        Program::BtfTracePoint(program) => program.unload(),
        Program::FEntry(program) => program.unload(),
        Program::FExit(program) => program.unload(),
        Program::KProbe(program) => program.unload(),
        Program::RawTracePoint(program) => program.unload(),
        Program::TracePoint(program) => program.unload(),
        _ => Ok(()),
    };
    if let Err(error) = result {
        debug!("{name}: {error}");
    }
}
