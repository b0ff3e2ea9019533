//! The holders of sockets, by the best iterator of this kernel.
//!
//! | | | from |
//! | --- | --- | --- |
//! | `iter/task`, plain | reads the file tables without a lock | 6.2 (`bpf_rdonly_cast`) |
//! | `iter/task` | the same with helpers | 5.17 (`bpf_loop`) |
//! | `iter/task_file` | the kernel goes from file to file | 5.8 |

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use tracer_common::iterator::HolderRecord;

use super::program::{Constants, Program};
use super::types::Types;
use super::{call, read};
use tracer_host::sockets::iterators::Pair;

/// The most pairs with reserved room: unwritten room costs nothing.
const ROOM: usize = 64 * 1024;

/// The iterators over holders.
#[derive(Debug)]
pub(super) struct Holders {
    constants: Constants,
    /// The type that `iter/task_file` is attached to.
    task_file: Option<u32>,
    loaded: Loaded,
}

#[derive(Debug)]
enum Loaded {
    Task(OwnedFd),
    TaskFile(OwnedFd),
}

impl Holders {
    /// Loads the best one.
    pub(super) fn load(types: &Types) -> Result<Self, String> {
        let (task, task_file) = (types.btf.function("bpf_iter_task"), types.btf.function("bpf_iter_task_file"));
        let constants = types.constants(None)?;
        // On other processors the last read may have been executed first.
        let loaded = if cfg!(target_arch = "x86_64") {
            by_table(task, types.plain().is_some(), &constants).map(Loaded::Task)
        } else {
            Err("iter/task: not on this processor".to_owned())
        };
        let loaded = loaded.or_else(|why| {
            log::debug!("{why}");
            by_file(task_file, &constants).map(Loaded::TaskFile)
        })?;
        Ok(Self { constants, task_file, loaded })
    }

    /// The holders of each socket, with repetitions, and the name of the iterator that found them.
    pub(super) fn pairs(&self) -> Result<(Vec<Pair>, &'static str), String> {
        match &self.loaded {
            Loaded::Task(link) => match tables(link) {
                Ok(Some(pairs)) => return Ok((pairs, "holders by iter/task")),
                Ok(None) => log::debug!("iter/task: a table changed while it was read"),
                // E2BIG: a process has more sockets than the kernel has room for at a time.
                Err(error) => log::debug!("iter/task: {error}"),
            },
            Loaded::TaskFile(_) => {}
        }
        let later;
        let link = match &self.loaded {
            Loaded::TaskFile(link) => link,
            Loaded::Task(_) => {
                later = by_file(self.task_file, &self.constants)?;
                &later
            }
        };
        let pairs = files(link).map_err(|error| format!("iter/task_file: {error}"))?;
        Ok((pairs, "holders by iter/task_file"))
    }
}

fn by_table(target: Option<u32>, is_plain: bool, constants: &Constants) -> Result<OwnedFd, String> {
    let plain = if is_plain { link("iter/task_plain", target, constants) } else { Err("no plain loads".to_owned()) };
    plain.or_else(|why| {
        log::debug!("{why}");
        link("iter/task", target, constants)
    })
}

fn by_file(target: Option<u32>, constants: &Constants) -> Result<OwnedFd, String> {
    link("iter/task_file", target, constants).or_else(|why| {
        log::debug!("{why}");
        link("iter/task_file_mode", target, constants)
    })
}

/// Attaches the program in `section`, an iterator over the type `target`.
pub(super) fn link(section: &str, target: Option<u32>, constants: &Constants) -> Result<OwnedFd, String> {
    let target = target.ok_or_else(|| format!("this kernel has no {section}"))?;
    let program = Program::load(section, target, constants)?;
    call::link_create(program.as_fd(), None).map_err(|error| format!("{section}: {error}"))
}

fn files(link: &OwnedFd) -> io::Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    read(link, |bytes| {
        let record = HolderRecord::decode(bytes);
        pairs.push((record.inode, record.pid));
    })?;
    Ok(pairs)
}

/// `None` if a table changed meanwhile: the result is uncertain.
fn tables(link: &OwnedFd) -> io::Result<Option<Vec<Pair>>> {
    let mut words = Words::default();
    read(link, |word: &[u8; 4]| words.take(u32::from_ne_bytes(*word)))?;
    Ok(words.certain.then_some(words.pairs))
}

/// The words that `iter/task` writes: 0 and a process, then the inodes of its sockets; 0 and 0 if the last table
/// changed.
struct Words {
    pairs: Vec<Pair>,
    /// The next word is a process.
    begins: bool,
    pid: u32,
    certain: bool,
}

impl Default for Words {
    fn default() -> Self {
        Self { pairs: Vec::with_capacity(ROOM), begins: false, pid: 0, certain: true }
    }
}

impl Words {
    fn take(&mut self, word: u32) {
        if self.begins {
            self.begins = false;
            self.certain &= word != 0;
            self.pid = word;
        } else if word == 0 {
            self.begins = true;
        } else {
            self.pairs.push((word.into(), self.pid));
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::fs;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn taken(words: &[u32]) -> Option<Vec<Pair>> {
        let mut taken = Words::default();
        words.iter().for_each(|word| taken.take(*word));
        taken.certain.then_some(taken.pairs)
    }

    #[test]
    fn words_are_pairs() {
        assert_eq!(taken(&[]), Some(vec![]));
        assert_eq!(taken(&[0, 1, 0, 7, 100, 101, 0, 8, 101]), Some(vec![(100, 7), (101, 7), (101, 8)]));
    }

    #[test]
    fn what_is_not_certain_is_not_taken() {
        assert_eq!(taken(&[0, 7, 100, 0, 0, 0, 8, 101]), None);
    }

    /// A path to a socket has an inode of its file system, and is no socket. All iterators agree.
    #[test]
    fn a_path_to_a_socket_is_none() {
        let types = match Types::read() {
            Err(why) => return eprintln!("not here: {why}"),
            Ok(types) => types,
        };
        if let Err(why) = Holders::load(&types) {
            return eprintln!("not here: {why}");
        }
        let folder = std::env::temp_dir().join(format!("tracer-path-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("socket");
        let held = UnixListener::bind(&path).unwrap();
        let flags = rustix::fs::OFlags::PATH;
        let opened = rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = |fd: i32| fs::metadata(format!("/proc/self/fd/{fd}")).unwrap().ino();
        let [path, bound, tcp] = [opened.as_raw_fd(), held.as_raw_fd(), other.as_raw_fd()].map(inode);
        let constants = types.constants(None).unwrap();
        let link = |section, target| link(section, types.btf.function(target), &constants);
        let mut ways = vec![Holders::load(&types).unwrap().pairs().unwrap().0];
        for section in ["iter/task_file", "iter/task_file_mode"] {
            ways.push(files(&link(section, "bpf_iter_task_file").unwrap()).unwrap());
        }
        // From 5.17, from 6.2 on.
        for section in ["iter/task", "iter/task_plain"] {
            // A table that changed meanwhile, of any process, is read again.
            let read = |link| (0..10).find_map(|_| tables(&link).unwrap()).unwrap();
            ways.extend(link(section, "bpf_iter_task").map(read));
        }
        for pairs in ways {
            let own = |number| pairs.contains(&(number, std::process::id()));
            assert_eq!([own(path), own(bound), own(tcp)], [false, true, true]);
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
