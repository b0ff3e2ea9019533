//! `tracer live`.

use std::process::ExitCode;

use super::{
    destination::{Destination, Home},
    report::{self, Report},
    runtime,
    session::{self, Extra},
};
use crate::{
    cli::{self, LiveArgs},
    clock,
    proc::root::ProcRoot,
    stderr,
    trace::{Earlier, Limits, Seeding, Trace},
};

/// Traces until the end.
///
/// # Errors
/// If no trace is possible, or its output cannot be written.
pub fn run(args: &LiveArgs) -> anyhow::Result<ExitCode> {
    let mut filter = match session::filter(&args.filter, &args.kernel) {
        Ok(filter) => filter,
        Err(error) => cli::wrong_usage(error).exit(),
    };
    if let Err(error) = args.output.check(&filter) {
        cli::wrong_usage(error).exit();
    }
    if !args.output.json {
        filter.leave_out_processes();
    }
    let mut destination = Destination::open(&args.output, Home::Stdout, &filter, args.kernel.sandbox())?;
    let root = ProcRoot::default();
    let earlier = Earlier::start(&root, Seeding::Everything, args.kernel.sandbox())?;
    let session = session::open(&filter, &args.output, &Extra::from(&args.kernel))?;
    let (choices, degradations) = (session.kernel.choices.clone(), session.degradations.clone());
    let start_ns = clock::boot_ns();
    let limits = Limits {
        duration: args.output.duration,
        count: args.output.count,
        refresh: None,
        no_counters: args.output.no_counters,
    };
    let runtime = runtime()?;
    let mut outcome = runtime.block_on(async {
        let banner = report::banner(&session, "the TCP connections of this host", &args.output);
        let trace = Trace::new(session.kernel, earlier, session.packets, filter, root, limits, &mut destination)?;
        stderr::say(banner);
        trace.run(None).await
    })?;
    let end_ns = outcome.end_ns;
    let _detaching = std::mem::take(&mut outcome.detaching);
    let mut report = report::summary(outcome, &choices, &degradations, start_ns);
    destination.summary(end_ns, &report.summary, args.output.quiet);
    let tape = report.tape.take();
    let (unwritten, written) = destination.finish(&runtime, &report.stop)?;
    if let Some((tape, written)) = tape.zip(written)
        && !written.compare(tape, &report, end_ns)
    {
        return Ok(ExitCode::from(report::DIFFERENT));
    }
    let Report { stop, lost, .. } = report;
    report::status(stop, lost || unwritten > 0, &args.output)
}
