//! Makes traffic and prints what it did: `actor SOCKET`, `once ADDR LEN`,
//! `churn [--connections N] --threads T [--rate N] [--hold MICROSECONDS] [--facts FILE]`,
//! `storm --to ADDR --seconds S [--threads T] [--flows N] [--rate N]`,
//! `swarm PROCESSES ADDR EVERY`, `stuck DIR ADDR`, `stuck-in FILE ADDR`.

use std::process::ExitCode;
use std::time::Duration;

use tracer_tests::errno;
use tracer_tests::traffic::churn::Churn;
use tracer_tests::traffic::storm::Storm;
use tracer_tests::traffic::swarm::Swarm;
use tracer_tests::traffic::{actor, churn, once, storm, stuck, swarm};

const USAGE: &str = "usage: traffic actor SOCKET | once ADDR LEN | \
     churn [--connections N] --threads T [--rate N] [--hold MICROSECONDS] [--facts FILE] | \
     storm --to ADDR --seconds S [--threads T] [--flows N] [--rate N] | swarm PROCESSES ADDR EVERY | \
     stuck DIR ADDR | stuck-in FILE ADDR";

fn parse_churn(mut args: impl Iterator<Item = String>) -> Option<Churn> {
    let mut parsed = Churn { connections: None, threads: 1, rate: None, hold: Duration::ZERO, facts: None };
    while let Some(name) = args.next() {
        let value = args.next()?;
        match name.as_str() {
            "--connections" => parsed.connections = Some(value.parse().ok().filter(|n| *n > 0)?),
            "--threads" => parsed.threads = value.parse().ok().filter(|n| *n > 0)?,
            "--rate" => parsed.rate = Some(value.parse().ok().filter(|n| *n > 0)?),
            "--hold" => parsed.hold = Duration::from_micros(value.parse().ok()?),
            "--facts" => parsed.facts = Some(value.into()),
            _ => return None,
        }
    }
    Some(parsed)
}

fn parse_storm(mut args: impl Iterator<Item = String>) -> Option<Storm> {
    let mut parsed = Storm { to: ([0, 0, 0, 0], 0).into(), time: Duration::ZERO, threads: 1, flows: 1, rate: None };
    while let Some(name) = args.next() {
        let value = args.next()?;
        match name.as_str() {
            "--to" => parsed.to = value.parse().ok()?,
            "--seconds" => parsed.time = Duration::try_from_secs_f64(value.parse().ok()?).ok()?,
            "--threads" => parsed.threads = value.parse().ok().filter(|n| *n > 0)?,
            "--rate" => parsed.rate = Some(value.parse().ok().filter(|n| *n > 0)?),
            "--flows" => parsed.flows = value.parse().ok().filter(|n| *n > 0)?,
            _ => return None,
        }
    }
    let fits = parsed.to.port() != 0 && parsed.to.port().checked_add(parsed.flows - 1).is_some();
    (fits && parsed.time > Duration::ZERO).then_some(parsed)
}

fn run() -> Option<Result<(), String>> {
    let mut args = std::env::args().skip(1);
    match args.next()?.as_str() {
        "actor" => Some(actor::run(&args.next()?).map_err(|e| e.to_string())),
        "once" => Some(once::run(args.next()?.parse().ok()?, args.next()?.parse().ok()?).map_err(errno::name)),
        "storm" => Some(storm::run(&parse_storm(args)?).map_err(errno::name)),
        "swarm" => {
            let processes = args.next()?.parse().ok()?;
            let (to, every) = (args.next()?.parse().ok()?, args.next()?.parse().ok().filter(|n| *n > 0)?);
            Some(swarm::run(&Swarm { processes, to, every }).map_err(errno::name))
        }
        "stuck" => Some(stuck::run(&args.next()?, args.next()?.parse().ok()?).map_err(errno::name)),
        "stuck-in" => Some(stuck::run_in(&args.next()?, args.next()?.parse().ok()?).map_err(errno::name)),
        "churn" => Some(churn::run(&parse_churn(args)?).map_err(errno::name)),
        _ => None,
    }
}

fn main() -> ExitCode {
    match run() {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(why)) => {
            eprintln!("traffic: {why}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
