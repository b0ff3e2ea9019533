//! Explains drops by attached BPF programs. It reads the programs of a device or of a control group once in a round.

use std::collections::HashMap;

use tracer_host::programs;
use tracer_rules::hint::{self, Hint, Open, Question, Tables};
use tracer_tables::{
    netlink::{link::Link, qdisc::Qdisc},
    programs::{Program, Way},
};

use super::read::cannot_read;
use crate::{netlink, proc::root::ProcRoot};

type Programs = Option<Vec<Program>>;

/// The attached programs of the namespace that this thread is in, as far as drops asked for them.
pub struct Attached<'r> {
    root: &'r ProcRoot,
    links: Option<Option<Vec<Link>>>,
    qdiscs: Option<Option<Vec<Qdisc>>>,
    /// `None` as the way: the XDP program.
    of_device: HashMap<(u32, Option<Way>), Programs>,
    /// By the owner's process id: the path of its group, and the programs there.
    of_group: HashMap<(u32, Way), (Option<String>, Programs)>,
}

impl<'r> Attached<'r> {
    /// Whether programs answer this question.
    pub fn explains(question: Question) -> bool {
        matches!(question, Question::Xdp | Question::Tc | Question::Group)
    }

    /// Nothing is read yet.
    pub fn new(root: &'r ProcRoot) -> Self {
        Self { root, links: None, qdiscs: None, of_device: HashMap::new(), of_group: HashMap::new() }
    }

    /// The hint of a drop.
    pub fn explain(&mut self, open: &Open) -> Option<Hint> {
        let ifindex = open.record.ifindex;
        let way = if open.is_out() { Way::Out } else { Way::In };
        match open.question {
            Question::Xdp => {
                let read = || netlink::links().map(|table| table.rows).inspect_err(cannot_read("devices")).ok();
                let links = self.links.get_or_insert_with(read).as_deref()?;
                let id = links.iter().find(|link| link.ifindex == ifindex)?.xdp?;
                let attached =
                    self.of_device.entry((ifindex, None)).or_insert_with(|| Some(vec![programs::program(id)]));
                hint::explain(open, &Tables { programs: attached.as_deref(), ..Tables::default() })
            }
            Question::Tc => {
                let read = || netlink::qdiscs().map(|table| table.rows).inspect_err(cannot_read("qdiscs")).ok();
                let qdiscs = self.qdiscs.get_or_insert_with(read).as_deref();
                let attached = self.of_device.entry((ifindex, Some(way))).or_insert_with(|| {
                    programs::of_device(ifindex, way).inspect_err(cannot_read("the programs of a device")).ok()
                });
                hint::explain(open, &Tables { qdiscs, programs: attached.as_deref(), ..Tables::default() })
            }
            Question::Group => {
                let pid = open.owner?;
                let (group, attached) = self.of_group.entry((pid, way)).or_insert_with(|| {
                    let Some((path, directory)) = programs::group_of_process(self.root.path(), pid) else {
                        return (None, None);
                    };
                    let read = programs::of_group(&directory, way);
                    (Some(path), read.inspect_err(cannot_read("the programs of a control group")).ok())
                });
                let (group, programs) = (group.as_deref(), attached.as_deref());
                hint::explain(open, &Tables { group, programs, ..Tables::default() })
            }
            Question::Rules | Question::Qdiscs | Question::Neighbours => None,
        }
    }
}
