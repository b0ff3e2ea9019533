//! The hook of 32-bit system calls rests until there is a 32-bit program: attached, its program runs at the return of
//! every system call of the host.

use aya::{Btf, maps::Array};
use aya_obj::btf::BtfKind;
use log::{debug, warn};
use tracer_common::settings::{ABSENT, Offsets};

use super::{
    KernelError,
    attach::attach_link,
    backend::{Choice, Hook, chain},
    iterators,
    load::Kernel,
};

/// Whether the hook may rest at the start: the next 32-bit program will be seen, and none runs now. Where that is
/// unknown it may not.
pub(super) fn may_rest(choices: &[Choice], btf: Option<&Btf>, offsets: &Offsets) -> bool {
    let sees_programs = choices.iter().any(|choice| choice.hook == Hook::Processes && choice.backend.is_some());
    if !sees_programs || [offsets.task_mm, offsets.mm_task_size].contains(&ABSENT) {
        return false;
    }
    let target = btf.and_then(|btf| btf.id_by_type_name_kind("bpf_iter_task", BtfKind::Func).ok());
    match iterators::has_32_bit_programs(target, offsets) {
        Ok(found) => !found,
        Err(why) => {
            debug!("{why}");
            false
        }
    }
}

impl Kernel {
    /// Attaches the hook of 32-bit system calls if it rests and a 32-bit program has started.
    pub fn wake_compat(&mut self) {
        let Some(choice) = self.choices.iter_mut().find(|choice| choice.rests) else { return };
        let map = self.ebpf.map("COMPAT").ok_or(KernelError::Object("COMPAT"));
        let seen = map
            .and_then(|map| Array::<_, u32>::try_from(map).and_then(|seen| seen.get(&0, 0)).map_err(KernelError::Map));
        match seen {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => warn!("{error}"),
        }
        choice.rests = false;
        let link = chain(choice.hook).iter().find(|link| Some(link.backend) == choice.backend);
        if let Some(Err(why)) = link.map(|link| attach_link(&mut self.ebpf, link, None, self.preemption)) {
            warn!("32-bit system calls are not seen: {why}");
            choice.backend = None;
        }
    }
}
