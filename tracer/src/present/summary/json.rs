//! The keys of the `summary` object.

use std::io::Write as _;

use super::super::{
    json::{string, write_finding},
    number::append as number,
};
use super::{Audit, ProgramCost, RingUse, Summary};

impl Summary {
    /// Appends the keys, each with a comma before it.
    pub(in crate::present) fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"duration_ns\":");
        number(out, self.duration_ns);
        counts(out, ",\"events\":", self.events.iter().copied());
        counts(out, ",\"lost\":", self.lost.iter().copied());
        counts(out, ",\"incomplete\":", self.incomplete.named().into_iter().map(|(name, count, _)| (name, count)));
        out.extend_from_slice(b",\"filtered\":");
        number(out, self.filtered);
        out.extend_from_slice(b",\"connections\":");
        number(out, self.connections);
        out.extend_from_slice(b",\"unanswered\":");
        number(out, self.unanswered);
        counts(out, ",\"verdicts\":", self.verdicts.iter().map(|(verdict, count)| (verdict.name(), *count)));
        out.extend_from_slice(b",\"findings\":[");
        separated(out, self.findings.iter(), |out, finding| {
            out.push(b'{');
            write_finding(out, finding);
            out.push(b'}');
        });
        out.push(b']');
        counts(out, ",\"drops\":", self.drops.iter().map(|(reason, count)| (reason.as_str(), *count)));
        counts(out, ",\"discards\":", self.discards.iter().copied());
        out.extend_from_slice(b",\"cost\":{\"programs\":[");
        separated(out, self.cost.programs.iter(), program);
        out.extend_from_slice(b"],\"cpu_seconds\":");
        if self.cost.cpu_seconds.is_finite() {
            // Writing to a Vec does not fail.
            drop(write!(out, "{:.6}", self.cost.cpu_seconds));
        } else {
            out.extend_from_slice(b"null");
        }
        out.extend_from_slice(b",\"peak_rss_bytes\":");
        number(out, self.cost.peak_rss_bytes);
        out.extend_from_slice(b"},\"rings\":[");
        separated(out, self.rings.iter(), ring);
        out.push(b']');
        if let Some(audit) = &self.audit {
            out.extend_from_slice(b",\"audit\":[");
            separated(out, audit.iter(), account);
            out.extend_from_slice(b"],\"unaudited\":[");
            separated(out, self.unaudited.iter(), |out, (hook, why)| {
                out.extend_from_slice(b"{\"hook\":");
                string(out, hook);
                out.extend_from_slice(b",\"why\":");
                string(out, why);
                out.push(b'}');
            });
            out.push(b']');
        }
        out.extend_from_slice(b",\"backends\":{");
        separated(out, self.backends.iter(), |out, (hook, backend)| {
            string(out, hook);
            out.push(b':');
            string(out, backend);
        });
        out.extend_from_slice(b"},\"degraded\":[");
        separated(out, self.degraded.iter(), |out, (name, why)| {
            out.extend_from_slice(b"{\"name\":");
            string(out, name);
            out.extend_from_slice(b",\"why\":");
            string(out, why);
            out.push(b'}');
        });
        out.push(b']');
    }
}

fn program(out: &mut Vec<u8>, program: &ProgramCost) {
    out.extend_from_slice(b"{\"name\":");
    string(out, &program.name);
    for (key, value) in [("run_ns", program.run_ns), ("runs", program.runs), ("missed", program.missed)] {
        drop(write!(out, ",\"{key}\":"));
        match value {
            Some(value) => number(out, value),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
}

fn ring(out: &mut Vec<u8>, ring: &RingUse) {
    out.extend_from_slice(b"{\"ring\":");
    string(out, ring.name);
    let RingUse { bytes, highest, taken, received, .. } = *ring;
    for (key, value) in
        [("bytes", Some(bytes)), ("highest", Some(highest)), ("taken", taken), ("received", Some(received))]
    {
        if let Some(value) = value {
            drop(write!(out, ",\"{key}\":"));
            number(out, value);
        }
    }
    out.push(b'}');
}

fn account(out: &mut Vec<u8>, account: &Audit) {
    out.extend_from_slice(b"{\"hook\":");
    string(out, account.hook);
    for (key, value) in [
        ("happened", account.happened),
        ("delivered", account.delivered),
        ("filtered", account.filtered),
        ("aside", account.aside),
        ("folded", account.folded),
        ("lost", account.lost),
        ("missed", account.missed),
        ("edges", account.edges),
    ] {
        drop(write!(out, ",\"{key}\":"));
        number(out, value);
    }
    drop(write!(out, ",\"exact\":{}}}", account.exact));
}

fn counts<'a>(out: &mut Vec<u8>, key: &str, counts: impl Iterator<Item = (&'a str, u64)>) {
    out.extend_from_slice(key.as_bytes());
    out.push(b'{');
    separated(out, counts, |out, (name, count)| {
        string(out, name);
        out.push(b':');
        number(out, count);
    });
    out.push(b'}');
}

fn separated<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, write: impl Fn(&mut Vec<u8>, T)) {
    for (n, item) in items.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write(out, item);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::{Value, json};

    use crate::present::clock::WallClock;
    use crate::present::json::JsonSink;

    use super::super::{Audit, Summary, sample};

    #[test]
    fn an_audit_has_a_member_for_each_hook() {
        let account = Audit { hook: "kfree_skb", happened: 5, folded: 3, missed: 2, exact: true, ..Audit::default() };
        let unaudited = vec![("inet_csk_accept", "why".to_owned())];
        let mut sink = JsonSink::new(Vec::new(), WallClock { offset_ns: 0 });
        sink.summary(1, &Summary { audit: Some(vec![account]), unaudited, ..sample() });
        let value: Value = serde_json::from_slice(&sink.into_inner()).unwrap();
        let expected = json!([{
            "hook": "kfree_skb", "happened": 5, "delivered": 0, "filtered": 0, "aside": 0, "folded": 3, "lost": 0,
            "missed": 2, "edges": 0, "exact": true,
        }]);
        assert_eq!(value["audit"], expected);
        assert_eq!(value["unaudited"], json!([{"hook": "inet_csk_accept", "why": "why"}]));
    }

    #[test]
    fn the_last_line() {
        let mut sink = JsonSink::new(Vec::new(), WallClock { offset_ns: 0 });
        sink.summary(1_000_000_001, &sample());
        let value: Value = serde_json::from_slice(&sink.into_inner()).unwrap();
        let expected = json!({
            "v": 1, "event": "summary", "time": "1970-01-01T00:00:01.000000001Z", "boot_ns": 1_000_000_001,
            "duration_ns": 12_400_000_000_u64,
            "events": {"connect": 1204, "close": 1204}, "lost": {},
            "incomplete": {"sockets_untracked": 0, "closes_recovered": 0, "calls_unnoted": 0, "stacks_missing": 0,
                "findings_untold": 0, "hints_given_up": 0, "namespaces_renewed": 0},
            "filtered": 88, "connections": 1204, "unanswered": 0,
            "verdicts": {"closed_local": 1192, "refused": 12}, "findings": [], "drops": {}, "discards": {},
            "cost": {
                "programs": [
                    {"name": "inet_sock_set_state", "run_ns": 366_000_000, "runs": 1_000_000, "missed": 0},
                    {"name": "sys_exit_connect", "run_ns": null, "runs": null, "missed": null},
                ],
                "cpu_seconds": 1.25, "peak_rss_bytes": 23_400_000,
            },
            "rings": [{"ring": "events", "bytes": 8_388_608, "highest": 70_000, "received": 2408}],
            "backends": {"state": "tp_btf", "connect": "syscall"},
            "degraded": [{"name": "fentry", "why": "the kernel refused to load the program: EPERM"}],
        });
        assert_eq!(value, expected);
    }
}
