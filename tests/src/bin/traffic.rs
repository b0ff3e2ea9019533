//! Makes traffic and says what it did: `actor SOCKET`, `once ADDR LEN`,
//! `churn [--connections N] --threads T [--hold MICROSECONDS] [--facts FILE]`.

use std::process::ExitCode;
use std::time::Duration;

use tracer_tests::errno;
use tracer_tests::traffic::churn::Churn;
use tracer_tests::traffic::{actor, churn, once};

const USAGE: &str = "usage: traffic actor SOCKET | once ADDR LEN | \
    churn [--connections N] --threads T [--hold MICROSECONDS] [--facts FILE]";

fn parse_churn(mut args: impl Iterator<Item = String>) -> Option<Churn> {
    let mut parsed = Churn { connections: None, threads: 1, hold: Duration::ZERO, facts: None };
    while let Some(name) = args.next() {
        let value = args.next()?;
        match name.as_str() {
            "--connections" => parsed.connections = Some(value.parse().ok().filter(|n| *n > 0)?),
            "--threads" => parsed.threads = value.parse().ok().filter(|n| *n > 0)?,
            "--hold" => parsed.hold = Duration::from_micros(value.parse().ok()?),
            "--facts" => parsed.facts = Some(value.into()),
            _ => return None,
        }
    }
    Some(parsed)
}

fn run() -> Option<Result<(), String>> {
    let mut args = std::env::args().skip(1);
    match args.next()?.as_str() {
        "actor" => Some(actor::run(&args.next()?).map_err(|e| e.to_string())),
        "once" => Some(once::run(args.next()?.parse().ok()?, args.next()?.parse().ok()?).map_err(errno::name)),
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
