use std::sync::mpsc::{self, Receiver, Sender};

use super::*;

/// The deadline of the tests: a busy machine needs a while to start a thread.
const SHORT: Duration = Duration::from_millis(300);

fn readers() -> Readers {
    Readers::with(SHORT, || {}).unwrap()
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Said {
    Read(usize),
    Late(usize),
}

fn ask(readers: &Readers, number: usize, to: &Sender<Said>, read: impl FnOnce() + Send + 'static) {
    let (done, late) = (to.clone(), to.clone());
    let read = move || {
        read();
        let _ = done.send(Said::Read(number));
    };
    readers.ask(read, move || {
        let _ = late.send(Said::Late(number));
    });
}

/// Makes a read that hangs until the sender is dropped.
fn hang() -> (Sender<()>, impl FnOnce() + Send + 'static) {
    let (release, hung): (Sender<()>, Receiver<()>) = mpsc::channel();
    (release, move || {
        let _ = hung.recv();
    })
}

#[test]
fn every_question_is_answered_once() {
    let (readers, (to, said)) = (readers(), mpsc::channel());
    for number in 0..500 {
        ask(&readers, number, &to, || {});
    }
    drop(to);
    let mut read: Vec<usize> = said
        .iter()
        .map(|said| match said {
            Said::Read(number) => number,
            Said::Late(number) => panic!("{number} is late"),
        })
        .collect();
    read.sort_unstable();
    assert_eq!(read, (0..500).collect::<Vec<_>>());
}

#[test]
fn who_hangs_is_late_and_delays_nobody() {
    let (readers, (to, said)) = (readers(), mpsc::channel());
    let mut released = Vec::new();
    for number in 0..MOST_HUNG {
        let (release, read) = hang();
        released.push(release);
        ask(&readers, number, &to, read);
    }
    // More threads hang than wait for questions: this question is still answered.
    ask(&readers, 100, &to, || {});
    let mut all: Vec<Said> = said.iter().take(MOST_HUNG + 1).collect();
    assert!(all.contains(&Said::Read(100)), "{all:?}");
    all.retain(|said| *said != Said::Read(100));
    all.sort_unstable_by_key(|said| format!("{said:?}"));
    assert!(all.iter().all(|said| matches!(said, Said::Late(_))), "{all:?}");
    assert_eq!(readers.hung(), MOST_HUNG);
    assert!(readers.read_memory(1).is_none());
    ask(&readers, 101, &to, || {});
    assert_eq!(said.recv(), Ok(Said::Read(101)));
    // They return, and no longer count as hung.
    drop(released);
    for _ in 0..MOST_HUNG {
        assert!(matches!(said.recv(), Ok(Said::Read(_))));
    }
    while readers.hung() > 0 {
        thread::yield_now();
    }
    assert!(readers.read_memory(1).is_some());
}

#[test]
fn memory_that_hangs_is_not_read_by_another_thread() {
    let readers = readers();
    let first = readers.read_memory(7).unwrap();
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            while readers.read_memory(7).is_some() {
                thread::yield_now();
            }
            readers.read_memory(8).is_some()
        });
        // This thread reads it, and sleeps until then.
        assert!(other.join().unwrap());
    });
    drop(first);
    assert!(readers.read_memory(7).is_some());
}

#[test]
fn when_all_threads_hang_a_question_is_late_all_the_same() {
    let (readers, (to, said)) = (readers(), mpsc::channel());
    let mut released = Vec::new();
    for number in 0..MOST_HUNG + SPARE + 3 {
        let (release, read) = hang();
        released.push(release);
        ask(&readers, number, &to, read);
    }
    for _ in 0..MOST_HUNG + SPARE + 3 {
        assert!(matches!(said.recv(), Ok(Said::Late(_))));
    }
    assert_eq!(readers.0.0.lock().threads, MOST_HUNG + SPARE);
}

#[test]
fn a_read_that_panics_is_late() {
    let (readers, (to, said)) = (readers(), mpsc::channel());
    ask(&readers, 1, &to, || panic!("as a test of this wants it"));
    assert_eq!(said.recv(), Ok(Said::Late(1)));
    ask(&readers, 2, &to, || {});
    assert_eq!(said.recv(), Ok(Said::Read(2)));
}

#[test]
fn nobody_waits_for_what_hangs_at_the_end() {
    let (to, said) = mpsc::channel();
    let readers = readers();
    let (release, read) = hang();
    ask(&readers, 1, &to, read);
    drop(readers);
    drop(release);
    assert!(said.recv().is_ok());
}

/// As on a host with busy processors: a long wall-clock time does not mean that a read hangs.
#[test]
fn a_read_that_takes_long_because_it_works_is_not_late() {
    let (readers, (to, said)) = (readers(), mpsc::channel());
    let until = Instant::now() + SHORT * 3;
    for number in 0..MOST_HUNG + SPARE + 3 {
        ask(&readers, number, &to, move || while Instant::now() < until {});
    }
    drop(to);
    assert!(said.iter().all(|said| matches!(said, Said::Read(_))));
    assert_eq!(readers.hung(), 0);
}
