//! The `tracer` command.

use std::{process::ExitCode, sync::atomic::Ordering};

use tracer::{
    cli::{self, Command, OutputArgs},
    command::{completions, doctor, drops, explain, live, man, net, run, schema, sockets, unwritable, why},
    process::{allocator, limits, logging, stderr},
};

/// Says so where there is no memory left.
#[global_allocator]
static ALLOCATOR: allocator::Speaking = allocator::Speaking;

fn main() -> ExitCode {
    limits::fail_beyond_file_size();
    if std::env::args_os().nth(1).is_some_and(|word| word == "run") {
        allocator::STATUS.store(run::FAILED, Ordering::Relaxed);
    }
    if let Err(error) = limits::check() {
        stderr::line(error);
        return ExitCode::from(allocator::STATUS.load(Ordering::Relaxed));
    }
    let command = cli::parse();
    let (verbose_output, failed) = match &command {
        Command::Live(args) => (&args.output, 1),
        Command::Run(args) => (&args.output, run::FAILED),
        Command::Drops(args) => (&args.output, 1),
        Command::Sockets(args) => (&args.log(), 1),
        Command::Why(args) => (&args.output(), 1),
        _ => (&OutputArgs::default(), 1),
    };
    let verbose = verbose_output.verbose;
    logging::start(verbose, verbose_output.quiet);
    let result = match command {
        Command::Live(args) => live::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Drops(args) => drops::run(&args),
        Command::Why(args) => why::run(&args),
        Command::Net(args) => net::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Sockets(args) => sockets::run(&args),
        Command::Completions { shell } => done(completions::write(shell, &mut std::io::stdout())),
        Command::Schema => done(schema::write(&mut std::io::stdout())),
        Command::Man => done(man::write(&mut std::io::stdout())),
    };
    match result {
        Ok(status) => status,
        Err(error) => {
            stderr::line(&error);
            if verbose > 0 {
                for cause in error.chain().skip(1) {
                    stderr::line(format_args!("  because: {cause}"));
                }
            } else if error.chain().len() > 1 {
                stderr::line("-v tells more");
            }
            ExitCode::from(failed)
        }
    }
}

/// The reader of a pipe may stop reading: that is no failure.
fn done(result: std::io::Result<()>) -> anyhow::Result<ExitCode> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(unwritable("text", error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}
