//! Loads and attaches the programs of a link.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
};

use aya::{Btf, Ebpf, programs::Program};
use log::debug;

use super::{
    detach::detach,
    hooks::{Attach, Backend, Hook, Lanes, Link, ProgramSpec, SECOND_SET_STATE, SET_STATE_AHEAD, chain},
};

/// The reason for refusing a link without the kernel's types.
pub const NO_BTF: &str = "it needs the kernel's type information, which is not there (CONFIG_DEBUG_INFO_BTF)";

/// Number of threads that load in advance.
const LOADERS: usize = 2;

/// Loads the programs of `links`, several at a time: the verifier takes most of a start. [`attach_link`] loads refused
/// ones again, and reports the reason.
pub fn load_in_advance(ebpf: &mut Ebpf, links: &[&Link], btf: Option<&Btf>) {
    let specs: Vec<&ProgramSpec> = links.iter().flat_map(|link| link.programs).collect();
    let mut programs: Vec<(&ProgramSpec, &mut Program)> = ebpf
        .programs_mut()
        .filter_map(|(name, program)| {
            let first = Lanes::with(name).map_or(name, |lanes| lanes.first);
            Some((*specs.iter().find(|spec| spec.program == first)?, program))
        })
        .collect();
    // The links come in the order of their weight, and the workers take from the end.
    programs.sort_by_key(|(spec, _)| std::cmp::Reverse(specs.iter().position(|other| other.program == spec.program)));
    let queue = Mutex::new(programs);
    let work = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((spec, program)) = next else { break };
            if let Err(why) = load_program(program, spec, btf) {
                debug!("{}: {why}", spec.program);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..LOADERS {
            // If no thread can be started, this one does the work.
            let _ = thread::Builder::new().name("load".to_owned()).spawn_scoped(scope, work);
        }
        work();
    });
}

/// The links by which functions will most likely be hooked, as far as one small program and the lack of kprobes tell.
/// Only the attachment decides.
pub fn likely_for_functions(ebpf: &mut Ebpf, btf: Option<&Btf>) -> Backend {
    let fentry = chain(Hook::Listen).iter().find(|link| link.backend == Backend::Fentry);
    let loads = fentry.and_then(|link| link.programs.last()).is_some_and(|spec| {
        program_named(ebpf, spec.program).and_then(|program| load_program(program, spec, btf)).is_ok()
    });
    match loads {
        true => Backend::Fentry,
        false if has_kprobes() => Backend::Kprobe,
        false => Backend::Syscall,
    }
}

/// Loads all programs of a link, which [`attach_link`] attaches later. None of them has lanes.
pub fn load_link(ebpf: &mut Ebpf, link: &'static Link, btf: Option<&Btf>) -> Result<(), String> {
    link.programs.iter().try_for_each(|spec| load_program(program_named(ebpf, spec.program)?, spec, btf))
}

/// Attaches all programs of a link, or none.
pub fn attach_link(
    ebpf: &mut Ebpf,
    link: &'static Link,
    btf: Option<&Btf>,
    preemption: Preemption,
) -> Result<(), String> {
    for (index, spec) in link.programs.iter().enumerate() {
        if !preemption.wants(spec.program) {
            continue;
        }
        let Err(why) = attach_in_lanes(ebpf, spec, btf, preemption) else { continue };
        if spec.optional {
            debug!("{}: {why}", spec.program);
            continue;
        }
        for spec in &link.programs[..=index] {
            detach(ebpf, spec.program);
        }
        return Err(why);
    }
    Ok(())
}

/// Whether a task may be preempted inside a program; then the program has lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemption {
    Never,
    Possible,
}

impl Preemption {
    /// The lanes attached beside a program.
    fn lanes_of(self, program: &str) -> Option<&'static Lanes> {
        if self == Self::Possible { Lanes::of(program) } else { None }
    }

    /// Whether a program is needed: the second program only without lanes, the "ahead" program only with them.
    pub fn wants(self, program: &str) -> bool {
        match self {
            Self::Never => program != SET_STATE_AHEAD && Lanes::with(program).is_none(),
            Self::Possible => program != SECOND_SET_STATE,
        }
    }
}

/// Attaches a program and its lanes, in the order in which they are to be called.
fn attach_in_lanes(
    ebpf: &mut Ebpf,
    spec: &ProgramSpec,
    btf: Option<&Btf>,
    preemption: Preemption,
) -> Result<(), String> {
    let others = preemption.lanes_of(spec.program).into_iter().flat_map(|lanes| lanes.others);
    let mut programs: Vec<&str> = std::iter::once(spec.program).chain(others).collect();
    // The kernel calls the programs of a function in the reverse order of their attachment.
    if matches!(spec.attach, Attach::Fentry(_) | Attach::Fexit(_)) {
        programs.reverse();
    }
    programs.into_iter().try_for_each(|program| attach_program(ebpf, program, spec, btf))
}

/// Attaches the program `name` where `spec` is attached: that one, or one of its lanes.
fn attach_program(ebpf: &mut Ebpf, name: &str, spec: &ProgramSpec, btf: Option<&Btf>) -> Result<(), String> {
    let program = program_named(ebpf, name)?;
    load_program(program, spec, btf)?;
    let result = match (program, spec.attach) {
        (Program::BtfTracePoint(program), Attach::TpBtf(_)) => program.attach().map(drop),
        (Program::FEntry(program), Attach::Fentry(_)) => program.attach().map(drop),
        (Program::FExit(program), Attach::Fexit(_)) => program.attach().map(drop),
        (Program::KProbe(program), Attach::Kprobe(name)) => program.attach(name, 0).map(drop),
        (Program::RawTracePoint(program), Attach::RawTp(name)) => program.attach(name).map(drop),
        (Program::TracePoint(program), Attach::Tracepoint(category, name)) => program.attach(category, name).map(drop),
        _ => return Err(of_another_type(spec)),
    };
    result.map_err(|error| super::reason(&error))
}

fn program_named<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Program, String> {
    ebpf.program_mut(name).ok_or_else(|| format!("no program {name} in the object"))
}

/// Loads a program, unless it is loaded: one may serve two tracepoints, and some are loaded in advance.
fn load_program(program: &mut Program, spec: &ProgramSpec, btf: Option<&Btf>) -> Result<(), String> {
    const NO_KPROBES: &str = "this kernel has no kprobes (CONFIG_KPROBES)";
    if program.fd().is_ok() {
        return Ok(());
    }
    let result = match (program, spec.attach) {
        (Program::BtfTracePoint(program), Attach::TpBtf(name)) => program.load(name, btf.ok_or(NO_BTF)?),
        (Program::FEntry(program), Attach::Fentry(name)) => program.load(name, btf.ok_or(NO_BTF)?),
        (Program::FExit(program), Attach::Fexit(name)) => program.load(name, btf.ok_or(NO_BTF)?),
        (Program::KProbe(_), Attach::Kprobe(_)) if !has_kprobes() => return Err(NO_KPROBES.to_owned()),
        (Program::KProbe(program), Attach::Kprobe(_)) => program.load(),
        (Program::RawTracePoint(program), Attach::RawTp(_)) => program.load(),
        (Program::TracePoint(program), Attach::Tracepoint(..)) => program.load(),
        _ => return Err(of_another_type(spec)),
    };
    result.map_err(|error| super::reason(&error))
}

fn of_another_type(spec: &ProgramSpec) -> String {
    format!("{} is of another type in the object", spec.program)
}

/// Whether kprobes can be attached: by the perf device, or by the older file of tracefs. Without either, loading the
/// programs only to see the attachment refused would take milliseconds of the start.
fn has_kprobes() -> bool {
    [
        "/sys/bus/event_source/devices/kprobe",
        "/sys/kernel/tracing/kprobe_events",
        "/sys/kernel/debug/tracing/kprobe_events",
    ]
    .iter()
    .any(|path| Path::new(path).exists())
}
