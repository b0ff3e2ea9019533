//! Architectures of machines: their names in Debian, Rust and qemu, and qemu's options.

use clap::ValueEnum;

/// An architecture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Arch {
    /// 64-bit PCs
    #[default]
    #[value(name = "x86_64")]
    X86,
    /// 64-bit ARM, always emulated
    #[value(name = "aarch64")]
    Arm,
}

impl Arch {
    /// Debian's name.
    #[must_use]
    pub const fn debian(self) -> &'static str {
        match self {
            Self::X86 => "amd64",
            Self::Arm => "arm64",
        }
    }

    /// Rust's target.
    #[must_use]
    pub const fn target(self) -> &'static str {
        match self {
            Self::X86 => "x86_64-unknown-linux-gnu",
            Self::Arm => "aarch64-unknown-linux-gnu",
        }
    }

    /// qemu's program, with its package.
    #[must_use]
    pub const fn qemu(self) -> (&'static str, &'static str) {
        match self {
            Self::X86 => ("qemu-system-x86_64", "qemu-system-x86"),
            Self::Arm => ("qemu-system-aarch64", "qemu-system-arm"),
        }
    }

    /// Additions to the kernel's command line. The timers of an emulated PC look broken to a kernel that checks them.
    #[must_use]
    pub const fn command_line(self) -> &'static str {
        match self {
            Self::X86 => "no5lvl tsc=reliable no_timer_check",
            Self::Arm => "",
        }
    }

    /// The serial ports in the guest: the kernel's console, and init's output. The ARM board has one port of its own
    /// kind; the other one is a PC's, on its PCI bus.
    #[must_use]
    pub const fn ports(self) -> [&'static str; 2] {
        match self {
            Self::X86 => ["ttyS0", "ttyS1"],
            Self::Arm => ["ttyAMA0", "ttyS0"],
        }
    }
}
