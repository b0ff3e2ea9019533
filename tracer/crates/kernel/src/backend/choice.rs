//! The choice among the links of a chain, by what loads and attaches. Never by version.

use tracer_common::settings::{ABSENT, Offsets};

use crate::hooks::{Backend, Hook, Link, chain};

/// The outcome for one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The hook.
    pub hook: Hook,
    /// The link that was attached; `None` if none could be.
    pub backend: Option<Backend>,
    /// The better links, with the reason for refusing each.
    pub refused: Vec<(Backend, String)>,
    /// The link's programs are loaded, and attached once they have something to see.
    pub rests: bool,
}

/// Takes the first link with which `attempt` succeeds. `forced` restricts the chain to one backend.
pub fn choose(
    hook: Hook,
    forced: Option<Backend>,
    mut attempt: impl FnMut(&'static Link) -> Result<(), String>,
) -> Choice {
    let mut choice = Choice { hook, backend: None, refused: Vec::new(), rests: false };
    for link in chain(hook).iter().filter(|link| forced.is_none_or(|backend| backend == link.backend)) {
        match attempt(link) {
            Ok(()) => {
                choice.backend = Some(link.backend);
                break;
            }
            Err(why) => choice.refused.push((link.backend, why)),
        }
    }
    choice
}

/// Whether io_uring needs its own tracepoint: it uses no system call of its own, so a hook of connect() or accept() as
/// a system call misses it.
#[must_use]
pub fn needs_io_uring(choices: &[Choice]) -> bool {
    choices.iter().any(|choice| {
        matches!(choice.hook, Hook::Connect | Hook::Accept)
            && !matches!(choice.backend, Some(Backend::Fentry | Backend::Kprobe))
    })
}

/// Whether resets without a full socket need a hook of their own: before 6.10 (b533fb9cf4f7, which also added the
/// reason) `tcp_send_reset` reported full sockets only.
#[must_use]
pub const fn needs_resets_for_nobody(offsets: &Offsets) -> bool {
    offsets.send_reset_args == ABSENT || offsets.send_reset_args < 3
}
