//! The contents of the filter maps.

use aya::{
    Ebpf,
    maps::{Array, HashMap, LpmTrie, MapData, lpm_trie::Key},
};

use super::KernelError;

/// The filter prefixes.
type Prefixes<'a, K> = LpmTrie<&'a mut MapData, K, u32>;

/// The members of the kernel side's filter sets. Empty for an unused filter.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Processes.
    pub pids: Vec<u32>,
    /// Users.
    pub uids: Vec<u32>,
    /// Network namespaces.
    pub netns: Vec<u32>,
    /// Entries of `PORTS` that are not zero: `PORT_*` bits of sixteen ports each.
    pub ports: Vec<(u32, u64)>,
    /// Entries of `REASONS` that are not zero.
    pub reasons: Vec<(u32, u8)>,
    /// `PREFIX_*` bits by IPv4 prefix.
    pub prefixes4: Vec<(u32, [u8; 4], u32)>,
    /// `PREFIX_*` bits by IPv6 prefix.
    pub prefixes6: Vec<(u32, [u8; 16], u32)>,
}

impl Selection {
    /// Writes them, before any hook is attached.
    pub(super) fn write(&self, ebpf: &mut Ebpf) -> Result<(), KernelError> {
        for (name, members) in [("PIDS", &self.pids), ("UIDS", &self.uids), ("NETNS", &self.netns)] {
            let map = ebpf.map_mut(name).ok_or(KernelError::Object(name))?;
            let mut set = HashMap::<_, u32, u8>::try_from(map).map_err(KernelError::Map)?;
            for member in members {
                set.insert(member, 1, 0).map_err(KernelError::Map)?;
            }
        }
        if !self.ports.is_empty() {
            let map = ebpf.map_mut("PORTS").ok_or(KernelError::Object("PORTS"))?;
            let mut array = Array::<_, u64>::try_from(map).map_err(KernelError::Map)?;
            for (index, word) in &self.ports {
                array.set(*index, *word, 0).map_err(KernelError::Map)?;
            }
        }
        if !self.reasons.is_empty() {
            let map = ebpf.map_mut("REASONS").ok_or(KernelError::Object("REASONS"))?;
            let mut array = Array::<_, u8>::try_from(map).map_err(KernelError::Map)?;
            for (place, action) in &self.reasons {
                array.set(*place, *action, 0).map_err(KernelError::Map)?;
            }
        }
        let map = ebpf.map_mut("PREFIXES4").ok_or(KernelError::Object("PREFIXES4"))?;
        let mut trie = Prefixes::<[u8; 4]>::try_from(map).map_err(KernelError::Map)?;
        for (bits, addr, allowed) in &self.prefixes4 {
            trie.insert(&Key::new(*bits, *addr), allowed, 0).map_err(KernelError::Map)?;
        }
        let map = ebpf.map_mut("PREFIXES6").ok_or(KernelError::Object("PREFIXES6"))?;
        let mut trie = Prefixes::<[u8; 16]>::try_from(map).map_err(KernelError::Map)?;
        for (bits, addr, allowed) in &self.prefixes6 {
            trie.insert(&Key::new(*bits, *addr), allowed, 0).map_err(KernelError::Map)?;
        }
        Ok(())
    }
}
