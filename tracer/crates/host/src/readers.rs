//! Threads for reads that other processes can block.
//!
//! A read of /proc/PID/cmdline waits for the memory map of the process, and its holder decides how long: a page fault
//! in a file of a hung server, or of a user's own file system, can take for ever. So threads that must answer (the loop
//! of a trace, above all) do not read such files; they ask here. The reader answers a question, or reports it late once
//! its thread has been blocked for [`DEADLINE`]. Time in which the thread works, or waits for a processor, does not
//! count (`readers/blocked.rs`): on a host with busy processors, owners still have their facts. Another thread replaces
//! one that hangs, and nothing waits for it, not even the end. At most [`MOST_HUNG`] may hang; then the readers refuse
//! all reads that may hang ([`Readers::read_memory`]).

mod blocked;

use std::{
    collections::{HashMap, VecDeque},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use log::debug;

use self::blocked::Blocked;
use tracer_privilege::{Duty, Sandbox, capabilities};

/// A question is late once its thread has been blocked for this long.
pub const DEADLINE: Duration = Duration::from_millis(200);
/// The most threads that may hang.
pub const MOST_HUNG: usize = 16;
/// Threads beyond those, for reads that do not hang.
const SPARE: usize = 4;
/// The number of threads that wait for questions.
const KEPT: usize = 2;
/// A read of memory that takes this long hangs.
const HANGS: Duration = Duration::from_millis(50);
/// A question that has waited this long for a thread gets a new one.
const PATIENCE: Duration = Duration::from_millis(5);

type Call = Box<dyn FnOnce() + Send>;

struct Question {
    asked: Instant,
    read: Call,
    late: Call,
}

/// A thread at work.
struct Busy {
    number: u64,
    blocked: Blocked,
    /// `None`: the question was reported late.
    late: Option<Call>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Question>,
    busy: Vec<Busy>,
    idle: usize,
    threads: usize,
    /// The next look of the watch; `None`: when it is woken.
    next_look: Option<Instant>,
    /// Whether no more questions can come.
    closed: bool,
    last: u64,
}

struct Shared {
    state: Mutex<State>,
    questions: Condvar,
    watch: Condvar,
    hung: AtomicUsize,
    /// Processes whose memory a thread is reading.
    memory: Mutex<HashMap<u32, MemoryRead>>,
    deadline: Duration,
}

/// The reader of a process's memory, and its start.
struct MemoryRead {
    thread: libc::pid_t,
    began: Instant,
}

impl MemoryRead {
    /// Whether the read hangs: during it, only the process can make the thread sleep.
    fn hangs(&self, now: Instant) -> bool {
        now >= self.began + HANGS && !blocked::is_runnable(self.thread)
    }
}

/// Marks a read of a process's memory while it lives.
pub struct Reading {
    shared: Arc<Shared>,
    /// `None`: the note of another thread's read stays.
    pid: Option<u32>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            self.shared.memory.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that panics holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the watch look after `after` at the latest.
    fn look_after(&self, state: &mut State, after: Duration) {
        let at = Instant::now() + after;
        if state.next_look.is_none_or(|next| at < next) {
            state.next_look = Some(at);
            self.watch.notify_one();
        }
    }
}

/// See the module. Ends when the last copy is dropped, without waiting for hung threads.
#[derive(Clone)]
pub struct Readers(Arc<Handle>);

struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        let left = {
            let mut state = self.0.lock();
            state.closed = true;
            std::mem::take(&mut state.queue)
        };
        self.0.questions.notify_all();
        self.0.watch.notify_all();
        for question in left {
            (question.late)();
        }
    }
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").field("hung", &self.hung()).finish_non_exhaustive()
    }
}

impl Readers {
    /// Starts the threads. They have the privileges of the calling thread, as far as `sandbox` leaves them.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(sandbox: Sandbox) -> io::Result<Self> {
        Self::with(DEADLINE, move || sandbox.confine(Duty::Looking, capabilities::LOOK))
    }

    fn with(deadline: Duration, confine: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            questions: Condvar::new(),
            watch: Condvar::new(),
            hung: AtomicUsize::new(0),
            memory: Mutex::default(),
            deadline,
        });
        let watched = Arc::clone(&shared);
        thread::Builder::new().name("watch".to_owned()).spawn(move || {
            // The threads that it starts inherit the sandbox.
            confine();
            watch(&watched);
        })?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Makes a thread call `read`. If that thread is blocked for [`DEADLINE`], or no thread is free for that long,
    /// another thread calls `late`; `read` may still return afterwards.
    pub fn ask(&self, read: impl FnOnce() + Send + 'static, late: impl FnOnce() + Send + 'static) {
        let shared = &*self.0.0;
        let mut state = shared.lock();
        state.queue.push_back(Question { asked: Instant::now(), read: Box::new(read), late: Box::new(late) });
        if state.idle > 0 {
            shared.questions.notify_one();
        } else {
            shared.look_after(&mut state, PATIENCE);
        }
    }

    /// Permits a read of the memory of process `pid`; every such read needs it. `None`: another thread already hangs
    /// in such a read, or too many threads hang.
    #[must_use]
    pub fn read_memory(&self, pid: u32) -> Option<Reading> {
        let shared = &self.0.0;
        let now = Instant::now();
        let mut memory = shared.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if self.hung() >= MOST_HUNG || memory.get(&pid).is_some_and(|read| read.hangs(now)) {
            return None;
        }
        let noted = memory.contains_key(&pid);
        if !noted {
            memory.insert(pid, MemoryRead { thread: blocked::current_thread(), began: now });
        }
        drop(memory);
        Some(Reading { shared: Arc::clone(shared), pid: Some(pid).filter(|_| !noted) })
    }

    /// Returns the number of threads that hang now.
    #[must_use]
    pub fn hung(&self) -> usize {
        self.0.0.hung.load(Ordering::Relaxed)
    }
}

/// Reports late questions, and starts threads.
fn watch(shared: &Arc<Shared>) {
    let mut state = shared.lock();
    for _ in 0..KEPT {
        state.threads += 1;
        state = start(shared, state);
    }
    while !state.closed {
        let now = Instant::now();
        let mut late: Vec<Call> = Vec::new();
        for busy in state.busy.iter_mut().filter(|busy| busy.late.is_some()) {
            if busy.blocked.for_so_long(now, shared.deadline) {
                shared.hung.fetch_add(1, Ordering::Relaxed);
                late.extend(busy.late.take());
            }
        }
        // While one thread does not hang, the queue shrinks.
        let all_hang = state.threads <= shared.hung.load(Ordering::Relaxed);
        while all_hang && state.queue.front().is_some_and(|question| now >= question.asked + shared.deadline) {
            late.extend(state.queue.pop_front().map(|question| question.late));
        }
        let waited = state.queue.front().is_some_and(|question| now >= question.asked + PATIENCE);
        let another = (waited || !state.queue.is_empty() && state.threads == 0) && state.threads < MOST_HUNG + SPARE;
        if another {
            state.threads += 1;
            state = start(shared, state);
        }
        if !late.is_empty() {
            drop(state);
            for say in late {
                // A panic has printed its message, and must not end the watch.
                let _ = catch_unwind(AssertUnwindSafe(say));
            }
            state = shared.lock();
            continue;
        }
        if another {
            continue;
        }
        let running = state.busy.iter().filter(|busy| busy.late.is_some()).map(|busy| busy.blocked.next_look());
        let grows = state.threads < MOST_HUNG + SPARE;
        let patience = if grows { Some(PATIENCE) } else { all_hang.then_some(shared.deadline) };
        let waiting = state.queue.front().zip(patience).map(|(question, patience)| question.asked + patience);
        let next = running.chain(waiting).min();
        state.next_look = next;
        state = match next {
            Some(at) => {
                let wait = at.saturating_duration_since(now);
                shared.watch.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
            }
            None => shared.watch.wait(state).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

/// Starts a thread, which `state` already counts.
fn start<'s>(shared: &'s Arc<Shared>, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
    drop(state);
    let its = Arc::clone(shared);
    let started = thread::Builder::new().name("reader".to_owned()).spawn(move || answer(&its));
    let mut state = shared.lock();
    if let Err(error) = started {
        debug!("cannot start a thread: {error}");
        state.threads -= 1;
        // Waits before the next attempt.
        state = shared.watch.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
    }
    state
}

/// Answers questions until no more can come, or enough other threads wait for them.
fn answer(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        let Some(question) = state.queue.pop_front() else {
            if state.closed || state.idle >= KEPT {
                break;
            }
            state.idle += 1;
            state = shared.questions.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            continue;
        };
        state.last += 1;
        let number = state.last;
        let blocked = Blocked::begin(Instant::now(), shared.deadline);
        state.busy.push(Busy { number, blocked, late: Some(question.late) });
        let more = !state.queue.is_empty() && state.idle == 0;
        shared.look_after(&mut state, if more { PATIENCE } else { blocked::interval(shared.deadline) });
        drop(state);
        // A panic has printed its message; the question is late.
        let done = catch_unwind(AssertUnwindSafe(question.read));
        state = shared.lock();
        let Some(at) = state.busy.iter().position(|busy| busy.number == number) else { continue };
        let busy = state.busy.swap_remove(at);
        if busy.late.is_none() {
            shared.hung.fetch_sub(1, Ordering::Relaxed);
        } else if done.is_err() {
            drop(state);
            busy.late.into_iter().for_each(|late| late());
            state = shared.lock();
        }
    }
    state.threads -= 1;
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
