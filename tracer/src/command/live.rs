//! `tracer live`.

use std::process::ExitCode;

use super::{
    destination::{Destination, Home},
    report, runtime,
    session::{self, Extra},
};
use crate::{
    cli::{self, LiveArgs},
    proc::root::ProcRoot,
    stderr,
    trace::{Earlier, Limits, Outcome, Seeding, Trace},
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
    let opened = session::open(&filter, &args.output, &Extra::from(&args.kernel))?;
    let limits = Limits {
        duration: args.output.duration,
        count: args.output.count,
        refresh: None,
        no_counters: args.output.no_counters,
    };
    let runtime = runtime()?;
    let mut outcome = runtime.block_on(async {
        let banner = report::banner(&opened, "the TCP connections of this host", &args.output);
        let trace = Trace::new(opened, earlier, filter, root, limits, &mut destination)?;
        stderr::say(banner);
        trace.run(None).await
    })?;
    let end_ns = outcome.end_ns;
    let _detaching = std::mem::take(&mut outcome.detaching);
    destination.summary(end_ns, &outcome.summary, args.output.quiet);
    let rehearsal = outcome.rehearsal.take();
    let (unwritten, written) = destination.finish(&runtime, &outcome.stop)?;
    if let Some((rehearsal, written)) = rehearsal.zip(written)
        && !written.compare(rehearsal, &outcome.summary, end_ns)
    {
        return Ok(ExitCode::from(report::DIFFERENT));
    }
    let Outcome { stop, lost, .. } = outcome;
    report::status(stop, lost || unwritten > 0, &args.output)
}
