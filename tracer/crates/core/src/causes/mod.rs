//! Why: causes from joined evidence, ranked, for `tracer why`.
//!
//! [`scene`] joins the events and the surveys of the host. Each rule reads the scene, and says the causes that it sees;
//! what it explains it claims ([`claims::Claims`]), so that a failure has one cause: the rules of [`RULES`] go from the
//! most specific one to the most general one.

pub mod claims;
mod diagnosis;
mod rank;
pub mod scene;
pub mod survey;
mod words;

mod accept_queue;
mod bpf_program;
mod cannot_bind;
mod case;
mod conntrack_full;
mod descriptors;
mod does_not_read;
mod forgotten;
mod local_ports;
mod mtu;
mod no_answer;
mod nobody_listens;
mod policer;
mod prober;
mod qdisc;
mod receive_buffer;
mod rejected;
mod resets;
mod rp_filter;
mod rule_drop;
#[cfg(test)]
mod sample;
mod tcp_signature;
mod udp_unanswered;
mod unanswered;
mod unreachable;
mod unread;

use tracer_stream::{Cause, Event};

use self::{claims::Claims, scene::Scene, survey::Survey};

/// A rule: the causes that it sees in the scene, beyond what others have claimed.
pub type Rule = fn(&Scene, &mut Claims) -> Vec<Cause>;

/// The rules, in order.
pub const RULES: [Rule; 24] = [
    prober::causes,
    descriptors::causes,
    accept_queue::causes,
    does_not_read::causes,
    unread::causes,
    cannot_bind::causes,
    local_ports::causes,
    conntrack_full::causes,
    rejected::causes,
    forgotten::causes,
    policer::causes,
    qdisc::causes,
    mtu::causes,
    rule_drop::causes,
    rp_filter::causes,
    tcp_signature::causes,
    bpf_program::causes,
    receive_buffer::causes,
    unreachable::causes,
    udp_unanswered::causes,
    no_answer::causes,
    resets::causes,
    unanswered::causes,
    nobody_listens::causes,
];

/// The evidence of one trace, and its causes.
#[derive(Debug, Default)]
pub struct Causes {
    scene: Scene,
}

impl Causes {
    /// No evidence; the trace began then (`CLOCK_BOOTTIME`, ns).
    #[must_use]
    pub fn new(began_ns: u64) -> Self {
        Self { scene: Scene { began_ns, now_ns: began_ns, ..Scene::default() } }
    }

    /// The trace sees accept(), or does not.
    pub const fn hooked(&mut self, accept: bool) {
        self.scene.sees_accepts = accept;
    }

    /// Takes an event.
    pub fn event(&mut self, event: &Event<'_>) {
        self.scene.event(event);
    }

    /// Takes a survey.
    pub fn survey(&mut self, survey: Survey) {
        self.scene.survey(survey);
    }

    /// The evidence.
    #[must_use]
    pub const fn scene(&self) -> &Scene {
        &self.scene
    }

    /// The causes, ranked.
    #[must_use]
    pub fn all(&self) -> Vec<Cause> {
        self.drawn().0
    }

    /// The causes, and what they explain.
    fn drawn(&self) -> (Vec<Cause>, Claims) {
        let mut claims = Claims::default();
        let causes = RULES.iter().flat_map(|rule| rule(&self.scene, &mut claims)).collect();
        (rank::ranked(causes), claims)
    }
}
