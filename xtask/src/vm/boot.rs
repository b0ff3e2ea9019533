//! Runs a kernel in qemu to its end.

use super::arch::Arch;
use super::unpack::Kernel;
use anyhow::{Context as _, Result};
use clap::ValueEnum;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The most starts of a machine that dies before its first process has begun.
const ATTEMPTS: u32 = 4;
/// How long a machine may take to begin.
const BEGIN_LIMIT: Duration = Duration::from_secs(120);

/// A panic reboots at once, which ends qemu.
const COMMAND_LINE: &str = "quiet loglevel=4 panic=-1 mitigations=off nokaslr";

/// How the processor is provided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Accelerator {
    /// Emulated: works everywhere, some ten times slower
    #[default]
    Tcg,
    /// The machine's own (an existing /dev/kvm need not work)
    Kvm,
}

/// The parts of a machine.
#[derive(Debug)]
pub struct Machine<'a> {
    /// Its kind.
    pub arch: Arch,
    /// Its kernel.
    pub kernel: &'a Kernel,
    /// Its first and only file system.
    pub initramfs: &'a Path,
    /// The folder for its output.
    pub folder: &'a Path,
    /// Its processor.
    pub accelerator: Accelerator,
    /// Additions to the kernel's command line.
    pub append: &'a str,
    /// The time after which it is stopped.
    pub limit: Duration,
}

/// The way in which a machine has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It ended by itself.
    Done,
    /// Its kernel died.
    Died,
    /// It was stopped after its time.
    OutOfTime,
}

/// The output of a machine that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Init's output.
    pub told: String,
    /// The end of the kernel's console.
    pub console: String,
    /// The way in which it ended.
    pub end: End,
    /// The number of its deaths before it began.
    pub false_starts: u32,
}

impl Machine<'_> {
    fn start(&self, told: &Path, console: &Path) -> Result<Child> {
        // thread=multi lets one processor run code that the other is patching: a few boots in a hundred die. And qemu
        // 7.2 may leave garbage in the flags after cmpxchg16b, which the allocator of 6.12 uses: one boot in three
        // died. A kernel does without the instruction if the processor lacks it.
        let [machine, memory, accelerator, processor] = match (self.arch, self.accelerator) {
            (Arch::X86, Accelerator::Tcg) => ["pc", "1G", "tcg,thread=single", "max,-cx16"],
            (Arch::X86, Accelerator::Kvm) => ["pc", "1G", "kvm", "host"],
            // Authenticating pointers with the architecture's algorithm takes most of an emulated machine's time. More
            // memory, because all packages of the tools are in it.
            (Arch::Arm, _) => ["virt", "2G", "tcg,thread=single", "max,pauth-impdef=on"],
        };
        let (program, package) = self.arch.qemu();
        let file = |path: &Path| format!("file:{}", path.display());
        let mut qemu = Command::new(program);
        qemu.args(["-machine", machine, "-accel", accelerator, "-cpu", processor, "-smp", "2", "-m", memory])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .arg("-kernel")
            .arg(self.kernel.image())
            .arg("-initrd")
            .arg(self.initramfs)
            .arg("-append")
            .arg(format!(
                "console={} {COMMAND_LINE} {} {}",
                self.arch.ports()[0],
                self.arch.command_line(),
                self.append
            ))
            .args(["-serial", &file(console)])
            .stdin(Stdio::null());
        match self.arch {
            Arch::X86 => qemu.args(["-serial", &file(told)]),
            Arch::Arm => qemu
                .args(["-chardev", &format!("file,id=told,path={}", told.display())])
                .args(["-device", "pci-serial,chardev=told"]),
        };
        qemu.spawn().with_context(|| format!("cannot start {program} (package {package})"))
    }

    fn once(&self) -> Result<Ended> {
        let (told, console) = (self.folder.join("told"), self.folder.join("console"));
        for file in [&told, &console] {
            fs::write(file, "").with_context(|| file.display().to_string())?;
        }
        let start = Instant::now();
        let mut qemu = self.start(&told, &console)?;
        let mut begun = false;
        let end = loop {
            if let Some(status) = qemu.try_wait()? {
                break if status.success() { End::Done } else { End::Died };
            }
            begun = begun || fs::metadata(&told)?.len() > 0;
            let limit = if begun { self.limit } else { BEGIN_LIMIT };
            if start.elapsed() > limit {
                qemu.kill()?;
                qemu.wait()?;
                break End::OutOfTime;
            }
            sleep(Duration::from_millis(100));
        };
        let text = |path: &Path| -> Result<String> { Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned()) };
        let told = text(&told)?;
        let end = if end == End::Done && !told.lines().any(|line| line == "@@done") { End::Died } else { end };
        Ok(Ended { told, console: text(&console)?, end, false_starts: 0 })
    }

    /// Boots the machine and waits for its end. A death before its first process has begun says nothing about the
    /// tracer: emulation causes a few in a hundred boots. The machine is then started again, a few times; later deaths
    /// are results.
    ///
    /// # Errors
    /// When qemu cannot be started or its files cannot be read.
    pub fn run(&self) -> Result<Ended> {
        let mut false_starts = 0;
        loop {
            let ended = self.once()?;
            if ended.end == End::Done || !ended.told.is_empty() || false_starts + 1 == ATTEMPTS {
                return Ok(Ended { false_starts, ..ended });
            }
            false_starts += 1;
            println!("vm: {}: died before it began, attempt {false_starts} of {ATTEMPTS}:", self.kernel.release);
            last_lines(&ended.console, 5).for_each(|line| println!("      {line}"));
        }
    }
}

/// The end of a text.
pub fn last_lines(text: &str, count: usize) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let first = lines.len().saturating_sub(count);
    lines.into_iter().skip(first)
}
