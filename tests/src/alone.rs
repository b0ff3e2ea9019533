//! Tests run beside others, each in a process of its own. A test that counts what the whole machine does, or loads it,
//! runs alone.
//!
//! Every test holds a lock from its first use of the harness to its end. Most share it; [`alone`] takes it exclusively.
//! The lock holds between processes, so that two runs of the tests keep out of each other's way, too.

use std::cell::RefCell;
use std::fs::{File, TryLockError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::traffic::sys::pause;

/// Taken for a moment before [`HELD`]: shared holders that come later do not overtake a test that waits to be alone.
const TURN: &str = "/run/tracer-test.turn";
/// Held by every test.
const HELD: &str = "/run/tracer-test.held";

/// Longer than all tests take that run alone: beyond that, another run hangs.
const LIMIT: Duration = Duration::from_secs(20 * 60);

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

/// Opens the lock `path` and waits until `try_lock` takes it.
fn wait(path: &str, try_lock: impl Fn(&File) -> Result<(), TryLockError>) -> File {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.unwrap_or_else(|e| panic!("{path}: {e}; the live tests run as root"));
    let end = Instant::now() + LIMIT;
    while let Err(error) = try_lock(&file) {
        let waits = matches!(error, TryLockError::WouldBlock) && Instant::now() < end;
        assert!(waits, "{path}: {error}; another run of the tests hangs (fuser {path})");
        pause(Duration::from_millis(5));
    }
    file
}

fn take(lock: &mut Option<File>, try_lock: impl Fn(&File) -> Result<(), TryLockError>) {
    let turn = wait(TURN, File::try_lock);
    *lock = Some(wait(HELD, try_lock));
    drop(turn);
    MINE.replace(Some(Release));
}

/// Lets the running test go on beside others, unless it is alone. The harness calls it.
pub(crate) fn share() {
    let mut lock = lock();
    if lock.is_none() {
        take(&mut lock, File::try_lock_shared);
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
    take(&mut lock, File::try_lock);
}
