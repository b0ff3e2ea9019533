//! Tests run beside others, each in a process of its own. A test that counts what the whole machine does, or loads it,
//! runs alone.
//!
//! Every test holds a lock from its first use of the harness to its end. Most share it; [`alone`] takes it exclusively.
//! The lock holds between processes, so that two runs of the tests keep out of each other's way, too.

use std::cell::RefCell;
use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Taken for a moment before [`HELD`]: shared holders that come later do not overtake a test that waits to be alone.
const TURN: &str = "/run/tracer-test.turn";
/// Held by every test.
const HELD: &str = "/run/tracer-test.held";

/// With the value `later`, a test that has to be alone ends at once with the status [`LATER`].
const WHEN: &str = "TRACER_TEST_ALONE";
/// `EX_TEMPFAIL`: the runner starts the test again once the others have ended.
const LATER: i32 = 75;

/// The lock of this process, whose tests run one after another.
static LOCK: Mutex<Option<File>> = Mutex::new(None);

thread_local! {
    /// Set in the thread of the test that has taken the lock.
    static MINE: RefCell<Option<Release>> = const { RefCell::new(None) };
}

/// Releases the lock at the end of the test's thread.
struct Release;

impl Drop for Release {
    fn drop(&mut self) {
        *lock() = None;
    }
}

fn lock() -> MutexGuard<'static, Option<File>> {
    // A failed test has left it consistent.
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(path: &str) -> File {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    file.unwrap_or_else(|e| panic!("{path}: {e}; the live tests run as root"))
}

fn take(lock: &mut Option<File>, how: impl FnOnce(&File) -> std::io::Result<()>) {
    let (turn, held) = (open(TURN), open(HELD));
    turn.lock().expect("the test has its turn");
    how(&held).expect("the lock is held");
    *lock = Some(held);
    MINE.replace(Some(Release));
}

/// Lets the running test go on beside others, unless it is alone. The harness calls it.
pub(crate) fn share() {
    let mut lock = lock();
    if lock.is_none() {
        take(&mut lock, File::lock_shared);
    }
}

/// Waits until no other test runs, and keeps others from starting until this one has ended. The first statement of a
/// test.
pub fn alone() {
    if std::env::var_os(WHEN).is_some_and(|when| when == "later") {
        std::process::exit(LATER);
    }
    let mut lock = lock();
    // Converting a shared lock could wait for another test that does the same.
    *lock = None;
    take(&mut lock, File::lock);
}
