//! A map of a process's programs, to be read and changed.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _};

use super::{MAP_GET_FD_BY_ID, bpf, halves, objects_of};
use crate::errno;

const MAP_LOOKUP: u32 = 1;
const MAP_UPDATE: u32 = 2;
const MAP_DELETE: u32 = 3;
const MAP_GET_NEXT_KEY: u32 = 4;
const OBJECT_INFO: u32 = 15;

/// The beginning of `struct bpf_map_info`.
#[repr(C)]
#[derive(Default)]
struct Info {
    /// Type, id, key size.
    numbers: [u32; 3],
    value_size: u32,
    /// Room, flags.
    more: [u32; 2],
    name: [u8; 16],
}

/// A hash of eight bytes to something, on one CPU or all.
#[derive(Debug)]
pub struct Map {
    file: File,
    value_size: usize,
}

impl Map {
    /// The map with this name of the process `pid`.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    pub fn of(pid: u32, name: &str) -> Self {
        let maps = objects_of(pid).into_iter().filter(|object| object.key == "map_id");
        let found = maps.filter_map(|object| bpf(MAP_GET_FD_BY_ID, &[object.id]).ok()).find_map(|fd| {
            // SAFETY: the descriptor was just made.
            let file = unsafe { File::from_raw_fd(fd) };
            let mut info = Info::default();
            let [low, high] = halves((&raw mut info) as u64);
            bpf(OBJECT_INFO, &[fd as u32, size_of::<Info>() as u32, low, high]).ok()?;
            let named = info.name.starts_with(name.as_bytes()) && info.name[name.len()] == 0;
            named.then_some(Self { file, value_size: info.value_size as usize })
        });
        found.unwrap_or_else(|| panic!("process {pid} has no map {name}"))
    }

    fn call(&self, command: u32, key: Option<&u64>, value: *mut u8) -> Result<i32, i32> {
        let [k0, k1] = halves(key.map_or(0, |key| std::ptr::from_ref(key) as u64));
        let [v0, v1] = halves(value as u64);
        bpf(command, &[self.file.as_raw_fd() as u32, 0, k0, k1, v0, v1, 0, 0])
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: u64) -> Option<Vec<u8>> {
        let mut value = vec![0; self.value_size];
        self.call(MAP_LOOKUP, Some(&key), value.as_mut_ptr()).ok().map(|_| value)
    }

    /// Sets the value of `key`.
    ///
    /// # Panics
    /// If the kernel refuses it.
    pub fn put(&self, key: u64, value: &[u8]) {
        assert_eq!(value.len(), self.value_size, "the size of a value");
        let mut value = value.to_vec();
        self.call(MAP_UPDATE, Some(&key), value.as_mut_ptr()).map_err(errno::name).expect("it takes the value");
    }

    /// Removes `key`.
    ///
    /// # Panics
    /// If it has no value.
    pub fn take(&self, key: u64) {
        self.call(MAP_DELETE, Some(&key), std::ptr::null_mut()).map_err(errno::name).expect("the key has a value");
    }

    /// All entries.
    #[must_use]
    pub fn all(&self) -> BTreeMap<u64, Vec<u8>> {
        let mut all = BTreeMap::new();
        let mut key = None;
        let mut next = 0_u64;
        while self.call(MAP_GET_NEXT_KEY, key.as_ref(), (&raw mut next).cast()).is_ok() {
            all.extend(self.get(next).map(|value| (next, value)));
            key = Some(next);
        }
        all
    }
}
