//! `explain` knows every word of tracer's output, and its commands and options exist.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::HashSet, path::Path};

use tracer_tables::discards::counter::{self, COUNTERS};

use crate::{
    cli,
    explain::{Entry, Family, entries, kernels},
    kernel::{
        backend::{Backend, Choice, Degradation, Hook, cost_of},
        btf::Btf,
    },
    privilege::missing::OPTIONAL,
    stream::{Kind, OwnerSource},
};

fn of(family: Family) -> impl Iterator<Item = &'static Entry> {
    entries().filter(move |entry| entry.family == family)
}

fn named(name: &str, families: &[Family]) -> Option<&'static Entry> {
    entries().find(|entry| families.contains(&entry.family) && entry.names().any(|other| other == name))
}

#[test]
fn no_name_is_invented() {
    // Names that end in any number are not in the lists.
    let open_ended = ["IcmpMsgInType", "IcmpMsgOutType", "Icmp6InType", "Icmp6OutType"];
    for entry in entries().filter(|entry| kernels::kind(entry.family).is_some()) {
        // Files of other kinds have these.
        let watched = |name: &str| counter::by_name(name).is_some() && !name.contains("Tcp");
        for name in entry.names().filter(|name| !open_ended.contains(name) && !watched(entry.name)) {
            assert!(kernels::having(entry, name).is_some(), "{name} is in no kernel's list");
        }
    }
}

#[test]
fn the_running_kernels_reasons_have_entries() {
    let path = Path::new("/sys/kernel/btf/vmlinux");
    let enumerations = [
        ("skb_drop_reason", Family::Drop),
        ("qdisc_drop_reason", Family::Qdisc),
        ("mac80211_drop_reason", Family::Mac80211),
        ("ovs_drop_reason", Family::Openvswitch),
        ("sk_rst_reason", Family::Reset),
    ];
    if !path.exists() {
        eprintln!("skipped: this kernel has no BTF");
        return;
    }
    let btf = Btf::read(path, &enumerations.map(|(name, _)| name)).unwrap();
    for (enumeration, family) in enumerations {
        for (name, _) in btf.enum_values(enumeration).into_iter().flatten() {
            assert!(named(name, &[family]).is_some(), "no entry for {name}");
        }
    }
}

/// Every word of the stream has an entry, and every entry is a word of the stream.
#[test]
fn every_event_counter_source_and_degradation_has_an_entry() {
    for name in Kind::NAMES.into_iter().chain(["summary"]) {
        assert!(named(name, &[Family::Event]).is_some(), "no entry for the event {name}");
    }
    assert_eq!(of(Family::Event).count(), Kind::NAMES.len() + 1);
    for counter in &COUNTERS {
        assert!(named(counter.name, &[Family::Counter]).is_some(), "no entry for {}", counter.name);
    }
    let sources = [
        OwnerSource::Connect,
        OwnerSource::Accept,
        OwnerSource::Listen,
        OwnerSource::Bind,
        OwnerSource::Fd,
        OwnerSource::Listener,
        OwnerSource::Kernel,
        OwnerSource::Unknown,
    ];
    for source in sources {
        assert!(named(source.name(), &[Family::Source]).is_some(), "no entry for {source:?}");
    }
    assert_eq!(of(Family::Source).count(), sources.len());
    let links = [None, Some(Backend::TpBtf), Some(Backend::Fentry), Some(Backend::Kprobe)].into_iter().chain([
        Some(Backend::RawTp),
        Some(Backend::Tracepoint),
        Some(Backend::Syscall),
    ]);
    let choices =
        links.flat_map(|backend| Hook::ALL.map(|hook| Choice { hook, backend, refused: Vec::new(), rests: false }));
    let mut names: HashSet<String> = choices.filter_map(|choice| cost_of(&choice)).map(|loss| loss.name()).collect();
    names.extend([Degradation::NoBtf, Degradation::NoDropReasons, Degradation::NoSeccomp].map(|loss| loss.name()));
    names.extend(Hook::ALL.into_iter().filter_map(|hook| hook.descriptor().rests).map(|loss| loss.name.to_owned()));
    names.extend(OPTIONAL.map(|lacks| Degradation::NoCapability(lacks).name()));
    names.insert(Degradation::PidNamespace { known: true }.name());
    names.insert("missing".into());
    for name in &names {
        assert!(named(name, &[Family::Degradation]).is_some(), "no entry for the degradation {name}");
    }
    assert_eq!(of(Family::Degradation).count(), names.len());
}

#[test]
fn every_tracer_command_line_is_right() {
    let lines = entries().flat_map(|entry| entry.look.iter().map(|look| (entry.name, look)));
    for (name, line) in lines.filter(|(_, look)| look.starts_with("tracer ")) {
        // A hint follows two spaces, another command a pipe.
        let line = line.split("  # ").next().unwrap();
        let words = line.split(' ').take_while(|word| !["|", ">"].contains(word));
        let words = words.map(|word| if word == "PID" { "1" } else { word });
        let parsed = cli::try_parse_from(words);
        assert!(parsed.is_ok(), "{name}: {}", parsed.unwrap_err());
    }
}
