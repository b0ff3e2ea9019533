//! The answer without the privileges of a trace: from two looks at the sockets, processes and namespaces that this user
//! may see.

use std::time::Duration;

use crate::{
    clock,
    core::{causes::Causes, what::What},
    proc::root::ProcRoot,
    stream::Diagnosis,
    trace::survey,
    view::summary::Summary,
};

/// Between the two looks.
const APART: Duration = Duration::from_secs(1);

/// Looks twice. `why`: no trace is possible.
pub fn diagnosis(words: &[What], why: &str) -> (Diagnosis, Summary) {
    let root = ProcRoot::default();
    let began_ns = clock::boot_ns();
    let mut causes = Causes::new(began_ns);
    causes.survey(survey::once(&root));
    std::thread::sleep(APART);
    causes.survey(survey::once(&root));
    let summary = Summary {
        duration_ns: clock::boot_ns().saturating_sub(began_ns),
        degraded: vec![("untraced".to_owned(), why.to_owned())],
        ..Summary::default()
    };
    (causes.diagnosis(words), summary)
}
