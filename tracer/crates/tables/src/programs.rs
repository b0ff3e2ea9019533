//! The BPF programs that others have attached to a device or to a control group.

/// A loaded BPF program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The kernel's number of it.
    pub id: u32,
    /// The name that its loader gave it, at most 15 letters, digits, `_` or `.`; empty if it has none or is gone.
    pub name: String,
}

/// The way of a packet through a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Towards this host's sockets.
    In,
    /// Away from them.
    Out,
}
