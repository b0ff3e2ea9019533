//! Rules about failing calls: a service that does not start, or cannot accept.

use tracer_explain::numbers;
use tracer_stream::{Event, Kind, Role, Socket, Verdict};

use super::{
    Case, Subject, Weight,
    rule::{ONE_CONNECTION, Rule, end},
};

/// A port or an address that bind() cannot get.
pub const CANNOT_BIND: Rule = Rule {
    name: "cannot_bind",
    least: 1,
    speaks: |event, _| {
        let (failed, errno, held_by) = match event.kind {
            // An exhausted port range is another finding.
            Kind::Bind { .. } if super::ports::is_bind_to_any(event) => return None,
            Kind::Bind { errno, held_by } => ("bind", errno, held_by),
            Kind::Close(close) if close.verdict == Verdict::FailedLocal => {
                event.socket.filter(|socket| socket.role == Role::Listener)?;
                ("listen on", close.errno?, close.held_by.as_deref())
            }
            _ => return None,
        };
        let held = held_by.map_or(String::new(), |holder| format!(", held by {}[{}]", holder.comm, holder.pid));
        Some((local(event.socket.as_ref()?, &format!("{failed} {{}}: {}{held}", name(errno))), ONE_CONNECTION))
    },
    say: |case, _| said(case, case.connections),
    look: &["ss -lntup", "tracer sockets", "tracer explain ERRNO"],
};

/// Not enough descriptors or memory for a connection.
pub const CANNOT_ACCEPT: Rule = Rule {
    name: "cannot_accept",
    least: 1,
    speaks: |event, _| match event.kind {
        Kind::Error { errno, accepts: Some(times) } => {
            let why = match errno {
                libc::EMFILE => " (its limit of open files is reached)",
                libc::ENFILE => " (the host's limit of open files is reached)",
                _ => " (no memory)",
            };
            let subject = local(event.socket.as_ref()?, &format!("accept on {{}}: {}{why}", name(errno)));
            Some((subject, Weight { packets: times, certain: true, ..Weight::default() }))
        }
        _ => None,
    },
    say: |case, _| said(case, case.packets),
    look: &["grep 'open files' /proc/PID/limits", "ls /proc/PID/fd | wc -l", "tracer explain ERRNO"],
};

fn name(errno: i32) -> String {
    numbers::name(errno).map_or_else(|| format!("E{errno}"), str::to_owned)
}

/// The process and the local end, with a phrase for the failure.
fn local(socket: &Socket<'_>, what: &str) -> Subject {
    Subject {
        pid: socket.owner.map(|owner| owner.pid),
        addr: socket.laddr,
        port: socket.lport,
        netns: socket.netns,
        what: Some(what.into()),
        ..Subject::default()
    }
}

fn said(case: &Case, count: u64) -> String {
    let who = case.owners.first().map_or_else(|| "a process".to_owned(), |(pid, comm)| format!("{comm}[{pid}]"));
    let what = case.subject.what.as_deref().unwrap_or_default().replace("{}", &end(case));
    let times = if count == 1 { String::new() } else { format!(", {count} times") };
    format!("{who} cannot {what}{times}")
}

/// Whether an event belongs to a call that these rules judge.
pub const fn is_about(event: &Event<'_>) -> bool {
    matches!(event.kind, Kind::Bind { .. } | Kind::Error { accepts: Some(_), .. })
}
