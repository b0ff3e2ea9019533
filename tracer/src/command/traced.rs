//! From the arguments that every tracing command has to the description of its trace.

use crate::{
    cli::{self, KernelArgs, OutputArgs},
    filter::{self, Filter, FilterArgs, FilterError},
    trace::{Asks, Course, Limits, Seeding, running},
};

/// Builds the filter. Wrong usage ends the process.
pub fn filter(args: &FilterArgs, kernel: &KernelArgs) -> Filter {
    resolve(args, kernel).unwrap_or_else(|error| cli::wrong_usage(error).exit())
}

/// Builds the filter of a command that shows events. Wrong usage ends the process.
pub fn filter_of_events(args: &FilterArgs, output: &OutputArgs, kernel: &KernelArgs) -> Filter {
    let mut filter = filter(args, kernel);
    if let Err(error) = output.check(&filter) {
        cli::wrong_usage(error).exit();
    }
    if !output.json {
        filter.leave_out_processes();
    }
    filter
}

fn resolve(args: &FilterArgs, kernel: &KernelArgs) -> Result<Filter, FilterError> {
    // Without type information there are no names; a later check reports that.
    if !args.reason.is_empty()
        && let Some(reasons) = running::reasons(kernel.btf.as_ref())
    {
        filter::check_reasons(&args.reason, &reasons)?;
    }
    args.resolve(&filter::Host::default())
}

/// Describes the trace of a command that shows events of `what`, from the existing sockets on.
pub fn course(what: &'static str, filter: Filter, output: &OutputArgs, kernel: &KernelArgs) -> Course {
    let text = output.text_options(&filter, false);
    // Only JSON has `drops` of a `close`, which counts harmless drops, too.
    let quiet_drops =
        if output.json { filter.shows_kind("drop") || filter.shows_kind("close") } else { text.quiet_drops };
    let asks = Asks {
        states: output.states,
        stacks: output.stack,
        quiet_drops,
        // Text leaves resets out unless the user asks for them: the verdict implies them.
        resets: output.json || text.resets,
        audit: output.audit,
        buffer: output.buffer,
        ..asks(kernel)
    };
    let limits = Limits {
        duration: output.duration,
        count: output.count,
        no_counters: output.no_counters,
        diagnose: false,
        refresh: None,
    };
    Course { what, quiet: output.quiet, brief: false, filter, seeding: Seeding::Everything, limits, asks }
}

/// The options that every use of the kernel side has.
pub fn asks(kernel: &KernelArgs) -> Asks {
    Asks {
        forced: kernel.backend.clone(),
        types: kernel.btf.clone(),
        sockets: kernel.sockets,
        sandbox: kernel.sandbox(),
        ..Asks::default()
    }
}
