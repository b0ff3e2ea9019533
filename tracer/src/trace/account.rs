//! The account of the whole trace, for its summary.

use super::Trace;
use crate::{
    clock,
    core::TraceAccount,
    kernel::{audit::Accounts, backend::degradations_since, cost},
    stream::summary::{Cost, Incomplete, ProgramCost, RingUse},
};
use tracer_common::counter::Counter;

impl Trace<'_> {
    /// The account of the trace that ended at `end_ns`, with the cost of its programs and the audit's result, if there
    /// was one.
    pub(super) fn account(
        &self,
        end_ns: u64,
        programs: Vec<cost::ProgramCost>,
        accounts: Option<Accounts>,
    ) -> TraceAccount {
        let rings = self.rings(accounts.as_ref().map(|accounts| accounts.taken));
        let late = degradations_since(&self.degradations, &self.kernel.choices);
        let (audit, unaudited) = accounts.map(|accounts| (accounts.hooks, accounts.unaudited)).unzip();
        TraceAccount {
            duration_ns: end_ns.saturating_sub(self.opened_ns),
            lost: self.lost,
            incomplete: self.incomplete(),
            filtered: self.known.get(Counter::Filtered),
            cost: cost_of(programs),
            rings,
            audit,
            unaudited,
            backends: self
                .kernel
                .choices
                .iter()
                .filter_map(|choice| Some((choice.hook.name().to_owned(), choice.backend?.name().to_owned())))
                .collect(),
            degraded: self
                .degradations
                .iter()
                .chain(&late)
                .map(|degradation| (degradation.name(), degradation.cost()))
                .collect(),
        }
    }

    /// The use of each ring; `taken`: the number of records that the kernel side put into each, if known.
    fn rings(&self, taken: Option<[u64; 2]>) -> Vec<RingUse> {
        let drops = self.feed.as_ref().map(|feed| ("drops", feed.fill(), feed.received().0));
        let rings = [("events", self.ring.fill(), self.ring.received())].into_iter().chain(drops).enumerate();
        rings
            .map(|(index, (name, fill, received))| RingUse {
                name: name.to_owned(),
                bytes: fill.bytes.into(),
                highest: fill.highest.into(),
                taken: taken.and_then(|taken| taken.get(index).copied()),
                received,
            })
            .collect()
    }

    fn incomplete(&self) -> Incomplete {
        Incomplete {
            sockets_untracked: self.known.get(Counter::SocketsUntracked),
            closes_recovered: self.known.get(Counter::ClosesRecovered),
            calls_unnoted: self.known.get(Counter::CallsUnnoted),
            stacks_missing: self.known.get(Counter::StacksMissing),
            namespaces_renewed: self.names.renewed(),
            ..Incomplete::default()
        }
    }
}

fn cost_of(programs: Vec<cost::ProgramCost>) -> Cost {
    let (cpu_seconds, peak_rss_bytes) = clock::own_cost();
    let programs = programs.into_iter().map(|program| ProgramCost {
        name: program.name,
        run_ns: program.run_ns,
        runs: program.runs,
        missed: Some(program.missed),
    });
    Cost { programs: programs.collect(), cpu_seconds, peak_rss_bytes }
}
