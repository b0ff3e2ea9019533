//! A process cannot have the local end that it asks for: another holds the port, or it may not, or the address is not
//! there.

use tracer_stream::{Cause, Party, Place, Severity};

use super::{
    claims::Claims,
    scene::{FailedCall, Scene},
    survey::SurveySocket,
    words::{end, inside},
};

/// Ports below this one need a capability, unless `net.ipv4.ip_unprivileged_port_start` is another.
const PRIVILEGED: u16 = 1024;

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let mut found = Vec::new();
    for (number, call) in scene.calls.iter().enumerate() {
        // Without a port the kernel chooses one.
        if matches!(call.call, "bind" | "listen") && call.socket.lport.is_some() && claims.call(number) {
            found.push(cause(scene, call));
        }
    }
    found
}

fn cause(scene: &Scene, call: &FailedCall) -> Cause {
    let port = call.socket.lport.unwrap_or_default();
    let at = end(call.socket.laddr, Some(port));
    let in_use = call.errno == libc::EADDRINUSE;
    let there: Vec<&SurveySocket> = scene.listeners_of(port).filter(|socket| overlaps(call, socket)).collect();
    let is_own = |socket: &&&SurveySocket| call.by.as_ref().is_some_and(|by| socket.pids.contains(&by.pid));
    let has_it_now = there.iter().any(|socket| is_own(&socket));
    let by_survey = || there.iter().filter(|socket| !is_own(socket)).find_map(|socket| scene.holder(socket));
    let holder = call.held_by.clone().or_else(by_survey).filter(|_| in_use);
    let who = call.by.as_ref().map_or_else(|| "a process".to_owned(), Party::to_string);
    let name = tracer_stream::errno::name(call.errno).map_or_else(|| call.errno.to_string(), str::to_owned);
    let times = if call.count == 1 { "once".to_owned() } else { format!("{} times", call.count) };
    let why = why(scene, call, port, holder.as_ref());
    let verb = if call.call == "listen" { "listen on" } else { "bind" };
    let text = format!("{who} cannot {verb} {at}{} ({name}, {times}): {why}", scene.in_netns(call.socket.netns));
    let mut evidence = Vec::new();
    if has_it_now {
        evidence.push(format!("{who} listens there now"));
    }
    if let Some(holder) = &holder
        && call.by.as_ref().is_some_and(|by| by.comm != holder.comm)
        && scene.host().process(holder.pid).is_some_and(|process| process.parent == 1)
    {
        evidence.push(format!("the parent of {holder} is process 1: it may be an orphan that inherited the socket"));
    }
    let netns = call.socket.netns;
    Cause {
        certain: holder.is_some() || !in_use,
        sufferers: call.by.iter().cloned().collect(),
        culprits: holder.into_iter().collect(),
        place: Place {
            netns,
            netns_name: netns.map(|netns| scene.netns_name(netns)),
            listener: Some(at),
            reason: Some(name),
            ..Place::default()
        },
        count: call.count,
        evidence,
        next: vec![inside(scene, netns, &format!("ss -anp sport = :{port}"))],
        ..Cause::new("cannot_bind", if has_it_now { Severity::Harmless } else { Severity::Failure }, text)
    }
}

/// Whether a surveyed listener stands in the way.
fn overlaps(call: &FailedCall, socket: &SurveySocket) -> bool {
    let any = |addr: Option<std::net::IpAddr>| addr.is_none_or(|addr| addr.is_unspecified());
    call.socket.netns == Some(socket.netns)
        && (any(call.socket.laddr) || socket.laddr.is_unspecified() || call.socket.laddr == Some(socket.laddr))
}

fn why(scene: &Scene, call: &FailedCall, port: u16, holder: Option<&Party>) -> String {
    match (call.errno, holder) {
        (libc::EADDRINUSE, Some(holder)) => format!("held by {holder}"),
        (libc::EADDRINUSE, None) => "another socket has the port".to_owned(),
        (libc::EADDRNOTAVAIL, _) => {
            let homes = call.socket.laddr.map_or(&[][..], |addr| scene.homes_of(addr));
            match homes.first().filter(|_| call.socket.netns.is_none_or(|netns| !homes.contains(&netns))) {
                Some(home) => format!("only {} has this address", scene.netns_name(*home)),
                None => "no device there has this address".to_owned(),
            }
        }
        (libc::EACCES, _) if port < PRIVILEGED => {
            format!("ports below {PRIVILEGED} need CAP_NET_BIND_SERVICE")
        }
        (libc::EACCES, _) => "a security policy or a BPF program forbids it".to_owned(),
        _ => "the kernel refuses it".to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{
        super::{
            sample::{Sample, ip},
            scene::Ends,
            survey::Transport,
        },
        *,
    };

    fn failed(mut sample: Sample, errno: i32, addr: &str, port: Option<u16>) -> Sample {
        let by = Some(Party { pid: 77, comm: "gateway".into(), container: None, unit: None, netns: None });
        let socket = Ends { netns: Some(2), laddr: Some(ip(addr)), lport: port, ..Ends::default() };
        let call = FailedCall { call: "bind", errno, by, socket, held_by: None, count: 3, last_ns: 0 };
        sample.scene.calls.push(call);
        sample
    }

    fn held() -> Sample {
        let mut sample = Sample::default().bound(Transport::Tcp, 2, "0.0.0.0", 8443, 40).process("worker", 40);
        sample.survey.processes[0].parent = 1;
        sample.look()
    }

    #[test]
    fn the_holder_of_the_port_is_named() {
        let (causes, claims) = failed(held(), libc::EADDRINUSE, "10.0.2.1", Some(8443)).run(causes);
        let cause = causes.first().unwrap();
        assert_eq!(
            cause.text,
            "gateway[77] cannot bind 10.0.2.1:8443 in right (EADDRINUSE, 3 times): held by worker[40]"
        );
        assert_eq!((cause.culprits[0].pid, cause.sufferers[0].pid, cause.count), (40, 77, 3));
        assert!(cause.certain && cause.severity == Severity::Failure && claims.has_call(0));
        assert!(cause.evidence[0].contains("orphan"), "{:?}", cause.evidence);
    }

    #[test]
    fn an_address_elsewhere_and_a_privileged_port_have_their_words() {
        let text = |errno, addr, port| failed(held(), errno, addr, Some(port)).run(causes).0[0].text.clone();
        assert!(text(libc::EADDRNOTAVAIL, "10.0.1.1", 80).ends_with(": only left has this address"));
        assert!(text(libc::EADDRNOTAVAIL, "10.9.9.9", 80).ends_with(": no device there has this address"));
        assert!(text(libc::EACCES, "10.0.2.1", 80).ends_with("need CAP_NET_BIND_SERVICE"));
    }

    #[test]
    fn claimed_calls_and_ports_of_the_kernels_choice_are_others() {
        let sample = failed(held(), libc::EADDRINUSE, "10.0.2.1", Some(8443));
        let mut claims = Claims::default();
        claims.call(0);
        assert!(causes(&sample.scene, &mut claims).is_empty());
        assert!(failed(held(), libc::EADDRINUSE, "10.0.2.1", None).run(causes).0.is_empty());
    }

    #[test]
    fn a_process_that_listens_by_now_does_no_harm() {
        let sample = Sample::default().bound(Transport::Tcp, 2, "10.0.2.1", 8443, 77).process("gateway", 77).look();
        let (causes, _) = failed(sample, libc::EADDRINUSE, "10.0.2.1", Some(8443)).run(causes);
        assert_eq!(causes[0].severity, Severity::Harmless);
        assert!(causes[0].culprits.is_empty());
    }
}
