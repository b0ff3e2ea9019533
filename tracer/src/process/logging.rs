//! The log, to stderr: warnings always, more with `-v`. Its lines may contain bytes of other people, so they are
//! escaped.

use log::{LevelFilter, Log, Metadata, Record};

use super::stderr;

struct Stderr;

static STDERR: Stderr = Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
            && (metadata.target().starts_with("tracer") || log::max_level() >= LevelFilter::Trace)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            stderr::line(format_args!("{}: {}", record.level().as_str().to_lowercase(), record.args()));
        }
    }

    fn flush(&self) {}
}

/// Starts logging: `verbose` times `-v`; `quiet` silences warnings.
pub fn start(verbose: u8, quiet: bool) {
    let level = match verbose {
        0 if quiet => LevelFilter::Error,
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    // Fails only if there is a logger already: then that one is used.
    if log::set_logger(&STDERR).is_ok() {
        log::set_max_level(level);
    }
}
