//! connect() had no answer: its owner gave up, or the kernel did.

use tracer_stream::{Event, Kind, Role, Verdict};
use tracer_words::unit::Micros;

use super::{
    Case, Weight,
    rule::{Rule, counted, end, of_owners, remote},
};

/// The shortest wait that counts. An earlier end (by a scanner, or of the loser of a race between addresses) leaves
/// hardly any time for an answer.
const PATIENCE_US: u64 = 100_000;

/// One case for each destination.
pub const RULE: Rule = Rule {
    name: "no_answer",
    least: 1,
    speaks: |event, _| {
        let weight = weight(event)?;
        let socket = event.socket.as_ref().filter(|socket| socket.role == Role::Client)?;
        Some((remote(socket), weight))
    },
    say,
    look: &["ip route get ADDRESS", "tcpdump -ni DEV host ADDRESS", "tracer explain no_answer"],
};

fn weight(event: &Event<'_>) -> Option<Weight> {
    let Kind::Close(close) = event.kind else { return None };
    // A connection that was established and timed out later is another matter.
    let waited = match close.verdict {
        Verdict::NoAnswer => true,
        Verdict::TimedOut => {
            close.syns.is_some() || close.connect_us.is_none() && !(close.preexisting || close.incomplete)
        }
        _ => false,
    };
    let patient = close.duration_us.is_some_and(|us| us >= PATIENCE_US) || close.syns.is_some_and(|syns| syns > 1);
    if close.verdict == Verdict::NoAnswer && !patient {
        return None;
    }
    let (syns, waited_us) = (close.syns.unwrap_or(0).into(), close.duration_us.unwrap_or(0));
    // The kernel's verdict is conclusive: it has waited for its configured time.
    let certain = close.verdict == Verdict::TimedOut;
    waited.then_some(Weight { connections: 1, certain, syns, waited_us, ..Weight::NONE })
}

fn say(case: &Case, _: &super::Facts) -> String {
    let count = counted(case.connections, "connection");
    let ended = match (case.timed_out, case.connections) {
        (0, 1) => "was given up".to_owned(),
        (0, _) => "were given up".to_owned(),
        (timed_out, all) if timed_out == all => "timed out".to_owned(),
        (timed_out, all) => {
            let given_up = all - timed_out;
            format!(
                "had no answer: {given_up} {} given up, {timed_out} timed out,",
                if given_up == 1 { "was" } else { "were" }
            )
        }
    };
    let waited = match case.longest_us {
        0 => String::new(),
        us => format!(" after {}{}", if case.connections > 1 { "at most " } else { "" }, Micros(us)),
    };
    let syns = match case.syns {
        0 => String::new(),
        syns => format!(", {}", counted(syns, "SYN")),
    };
    format!("{} does not answer: {count}{} {ended}{waited}{syns}", end(case), of_owners(case))
}
