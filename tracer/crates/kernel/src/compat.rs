//! The hook of 32-bit system calls rests until there is a 32-bit program: attached, its program runs at the return of
//! every system call of the host.

use aya::{Btf, Ebpf, maps::Array};
use aya_obj::btf::BtfKind;
use log::{debug, warn};
use tracer_common::settings::{ABSENT, Offsets};

use super::{
    KernelError,
    attach::{Preemption, attach_link},
    backend::Choice,
    hooks::{Hook, chain},
    iterators,
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

/// Attaches the hook that rests by `choice`, if a 32-bit program has started.
pub(super) fn wake(ebpf: &mut Ebpf, choice: &mut Choice, preemption: Preemption) {
    let map = ebpf.map("COMPAT").ok_or(KernelError::Object("COMPAT"));
    let seen =
        map.and_then(|map| Array::<_, u32>::try_from(map).and_then(|seen| seen.get(&0, 0)).map_err(KernelError::Map));
    match seen {
        Ok(0) => return,
        Ok(_) => {}
        Err(error) => warn!("{error}"),
    }
    choice.rests = false;
    let link = chain(choice.hook).iter().find(|link| Some(link.backend) == choice.backend);
    if let Some(Err(why)) = link.map(|link| attach_link(ebpf, link, None, preemption)) {
        warn!("32-bit system calls are not seen: {why}");
        choice.backend = None;
    }
}
