//! Measures how long a thread of this process is blocked: neither runs nor waits for a processor.
//!
//! The wall clock cannot distinguish a hung read from a thread that gets no processor. A thread is blocked from one
//! look to the next if it is not runnable (`/proc/self/task/TID/stat`) and the scheduler has not run it meanwhile
//! (`schedstat` beside it: time on a processor, time in a run queue, number of times; CONFIG_SCHED_INFO). The state
//! alone would confuse a thread that sleeps often with one that sleeps long. `schedstat` alone would take a thread in
//! a run queue for blocked, because the kernel adds that time only when the thread gets a processor.

use std::{
    fs,
    time::{Duration, Instant},
};

/// The number of looks in the time after which a thread hangs.
const LOOKS: u32 = 4;

/// Returns the time between two looks at a thread that hangs once it is blocked for `limit`.
pub fn interval(limit: Duration) -> Duration {
    limit / LOOKS
}

/// Measures the time for which a thread is blocked without a break.
#[derive(Debug)]
pub struct Blocked {
    thread: libc::pid_t,
    looked: Instant,
    next_look: Instant,
    /// `None` before the first look.
    seen: Option<Scheduled>,
    blocked: Duration,
}

/// The scheduler's account of a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scheduled {
    is_runnable: bool,
    /// The line of `schedstat`, empty where the kernel has none.
    account: String,
}

impl Blocked {
    /// Begins to watch the calling thread, whose next call may block for `limit`.
    pub fn begin(now: Instant, limit: Duration) -> Self {
        Self {
            thread: current_thread(),
            looked: now,
            next_look: now + interval(limit),
            seen: None,
            blocked: Duration::ZERO,
        }
    }

    /// Returns the time of the next look.
    pub const fn next_look(&self) -> Instant {
        self.next_look
    }

    /// Looks at the thread if it is time. Returns whether the thread has been blocked for `limit`.
    pub fn for_so_long(&mut self, now: Instant, limit: Duration) -> bool {
        if now >= self.next_look {
            self.look(now, Scheduled::read(self.thread));
            self.next_look = now + interval(limit);
        }
        // The first look does not show the beginning: the interval before it counts as blocked.
        self.blocked + interval(limit) >= limit
    }

    fn look(&mut self, now: Instant, scheduled: Scheduled) {
        let slept = !scheduled.is_runnable && self.seen.as_ref() == Some(&scheduled);
        let passed = now.saturating_duration_since(self.looked);
        self.blocked = if slept { self.blocked + passed } else { Duration::ZERO };
        self.looked = now;
        self.seen = Some(scheduled);
    }
}

/// Returns the number of the calling thread.
pub fn current_thread() -> libc::pid_t {
    // SAFETY: gettid() has no arguments and cannot fail.
    unsafe { libc::gettid() }
}

/// Whether a thread of this process runs or waits for a processor.
pub fn is_runnable(thread: libc::pid_t) -> bool {
    Scheduled::read(thread).is_runnable
}

impl Scheduled {
    fn read(thread: libc::pid_t) -> Self {
        let file = |name: &str| fs::read_to_string(format!("/proc/self/task/{thread}/{name}")).unwrap_or_default();
        // A thread's name may have a parenthesis; the fields behind it have none.
        let is_runnable = file("stat").rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('R'));
        Self { is_runnable, account: file("schedstat") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    fn scheduled(is_runnable: bool, account: &str) -> Scheduled {
        Scheduled { is_runnable, account: account.to_owned() }
    }

    /// Returns the result after `looks`, one after another.
    fn hangs(looks: &[Scheduled]) -> bool {
        let start = Instant::now();
        let mut blocked = Blocked::begin(start, LIMIT);
        for (number, scheduled) in (1..).zip(looks) {
            blocked.look(start + interval(LIMIT) * number, scheduled.clone());
        }
        blocked.blocked + interval(LIMIT) >= LIMIT
    }

    #[test]
    fn a_thread_that_sleeps_all_the_time_hangs() {
        assert!(hangs(&vec![scheduled(false, "10 20 3"); 4]));
        assert!(!hangs(&vec![scheduled(false, "10 20 3"); 3]));
        assert!(hangs(&vec![scheduled(false, ""); 4]), "where the kernel has no account");
    }

    #[test]
    fn a_thread_that_works_or_waits_for_a_processor_does_not_hang() {
        assert!(!hangs(&vec![scheduled(true, "10 20 3"); 100]), "it waits in a run queue");
        let works: Vec<Scheduled> = (0..100).map(|ran| scheduled(ran % 2 == 0, &format!("{ran} 20 3"))).collect();
        assert!(!hangs(&works));
        let sleeps_often: Vec<Scheduled> = (0..100).map(|times| scheduled(false, &format!("10 20 {times}"))).collect();
        assert!(!hangs(&sleeps_often));
    }

    #[test]
    fn the_kernel_tells_a_thread_that_runs_from_one_that_sleeps() {
        assert!(is_runnable(current_thread()));
        let (send, thread) = std::sync::mpsc::channel();
        let (_release, hangs) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            let _ = send.send(current_thread());
            let _ = hangs.recv();
        });
        let thread = thread.recv().unwrap_or_default();
        // The scheduler counts a sleep a moment after it begins.
        loop {
            let seen = Scheduled::read(thread);
            if !seen.is_runnable && seen == Scheduled::read(thread) {
                break;
            }
            std::thread::yield_now();
        }
    }
}
