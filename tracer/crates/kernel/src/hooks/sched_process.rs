//! fork, exec, exit.

use tracer_common::audit::Audited;

use super::descriptor::{Attach, Backend, Descriptor, Lack, Lanes, Link, Watch, needed};
use super::needs::{Need, needs};

/// Without them a process would show as number 0.
const TASK: &[Need] = needs![task_tgid, task_pid, task_group_leader, task_start_boottime, task_signal, signal_live];

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "sched_process",
    chain: &[Link {
        backend: Backend::RawTp,
        needs: &[TASK],
        costs: None,
        programs: &[
            needed("exit__raw", Attach::RawTp("sched_process_exit")),
            needed("exec__raw", Attach::RawTp("sched_process_exec")),
            needed("fork__raw", Attach::RawTp("sched_process_fork")),
        ],
    }],
    without: Some(Lack {
        name: "no_processes",
        cost: "-f follows no process; the programs of short-lived processes may stay unknown",
    }),
    lanes: &[
        Lanes { first: "fork__raw", others: ["fork__lane2", "fork__lane3"] },
        Lanes { first: "exec__raw", others: ["exec__lane2", "exec__lane3"] },
        Lanes { first: "exit__raw", others: ["exit__lane2", "exit__lane3"] },
    ],
    audit: &[
        Watch { audited: Audited::Fork, name: "sched_process_fork", counter: "audit_fork" },
        Watch { audited: Audited::Exec, name: "sched_process_exec", counter: "audit_exec" },
        Watch { audited: Audited::Exit, name: "sched_process_exit", counter: "audit_exit" },
    ],
    ..Descriptor::USUAL
};
