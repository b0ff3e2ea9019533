//! Writes many lines with several threads: writing a large table costs as much as reading it.

use std::io;
use std::sync::mpsc;
use std::thread;

/// Lines in a block, a thread's unit of work.
const BLOCK: usize = 1024;
/// Bytes of most lines.
const LINE: usize = 100;
/// The most threads: more would wait for the thread that passes the lines on.
const THREADS: usize = 4;

/// Passes the lines of `shown` to `sink`, in order: `write` appends the lines of a block, given with its
/// place in `shown`. Memory holds no more than a few blocks.
///
/// # Errors
/// Errors of `sink`.
pub fn write(
    shown: &[u32],
    write: impl Fn(usize, &[u32], &mut Vec<u8>) + Sync,
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let blocks = || (0..).step_by(BLOCK).zip(shown.chunks(BLOCK));
    if threads < 2 || blocks().nth(1).is_none() {
        let mut out = Vec::new();
        for (at, block) in blocks() {
            out.clear();
            write(at, block, &mut out);
            sink(&out)?;
        }
        return Ok(());
    }
    thread::scope(|scope| {
        let write = &write;
        let written: Vec<_> = (0..threads)
            .map(|first| {
                let (to, from) = mpsc::sync_channel(1);
                let (back, used) = mpsc::channel::<Vec<u8>>();
                scope.spawn(move || {
                    for (at, block) in blocks().skip(first).step_by(threads) {
                        // New memory costs as much as the lines in it.
                        let mut out = used.try_recv().unwrap_or_else(|_| Vec::with_capacity(BLOCK * LINE));
                        out.clear();
                        write(at, block, &mut out);
                        // The receiver is gone: the sink has failed.
                        if to.send(out).is_err() {
                            return;
                        }
                    }
                });
                (from, back)
            })
            .collect();
        // The threads take blocks in turn; the first missing block is behind the last one.
        written.iter().cycle().map_while(|(from, back)| Some((from.recv().ok()?, back))).try_for_each(|(out, back)| {
            sink(&out)?;
            // The thread may have written its last block.
            let _ = back.send(out);
            Ok(())
        })
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<u32> {
        let shown: Vec<u32> = (0..).map(|number| number * 7 % 1000).take(count).collect();
        let mut told = Vec::new();
        let each = |at: usize, block: &[u32], out: &mut Vec<u8>| {
            assert_eq!(shown.get(at..at + block.len()), Some(block));
            out.extend(block.iter().flat_map(|number| number.to_ne_bytes()));
        };
        write(&shown, each, |bytes| {
            told.extend(bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_ne_bytes(*bytes)));
            Ok(())
        })
        .unwrap();
        assert_eq!(told, shown);
        told
    }

    #[test]
    fn the_order_stays() {
        for count in [0, 1, BLOCK, BLOCK + 1, 2 * BLOCK, 7 * BLOCK + 3, 64 * BLOCK] {
            assert_eq!(lines(count).len(), count);
        }
    }

    #[test]
    fn a_sink_that_fails_ends_it() {
        let shown = vec![0; 64 * BLOCK];
        let mut taken = 0;
        let failed = write(
            &shown,
            |_, _, out| out.push(b'x'),
            |_| {
                taken += 1;
                if taken == 3 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
            },
        );
        assert_eq!((failed.unwrap_err().kind(), taken), (io::ErrorKind::BrokenPipe, 3));
    }
}
