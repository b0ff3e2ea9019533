//! A question that another thread answers: at most one of its topic at a time, and rarely enough to be cheap.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::core::question::Answer;

/// The result of an errand.
#[derive(Debug)]
pub struct Done {
    /// The answer.
    pub answer: Answer,
    /// The processor time that it took; `None`: its whole duration counts.
    pub cpu: Option<Duration>,
    /// Why the answer is not complete, to be shown once.
    pub warning: Option<String>,
}

impl From<Answer> for Done {
    fn from(answer: Answer) -> Self {
        Self { answer, cpu: None, warning: None }
    }
}

/// The questions of one topic.
#[derive(Debug)]
pub struct Errand {
    under_way: Option<(Instant, oneshot::Receiver<Done>)>,
    not_before: Option<Instant>,
    /// The pause after an errand that took this long.
    pause: fn(Duration) -> Duration,
    warned: bool,
}

impl Errand {
    /// Nothing is under way.
    pub const fn new(pause: fn(Duration) -> Duration) -> Self {
        Self { under_way: None, not_before: None, pause, warned: false }
    }

    /// Whether the next question may be asked now.
    pub fn is_free(&self) -> bool {
        self.under_way.is_none() && self.not_before.is_none_or(|instant| Instant::now() >= instant)
    }

    /// Whether one is under way.
    pub const fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Begins: the other thread sends its result there.
    pub fn begin(&mut self) -> oneshot::Sender<Done> {
        let (send, receive) = oneshot::channel();
        self.under_way = Some((Instant::now(), receive));
        send
    }

    /// Allows the next one to begin at once.
    pub const fn hurry(&mut self) {
        self.not_before = None;
    }

    /// Waits for the result. If none is under way: for the time of the next one (`None`) if `wanted`, else forever.
    /// Cancel safe.
    pub async fn done(&mut self, wanted: bool) -> Option<Done> {
        match &mut self.under_way {
            Some((began, receive)) => {
                let done = receive.await.ok();
                let took = done.as_ref().and_then(|done| done.cpu).unwrap_or_else(|| began.elapsed());
                self.under_way = None;
                self.not_before = Some(Instant::now() + (self.pause)(took));
                done
            }
            None if wanted => {
                tokio::time::sleep_until(self.not_before.unwrap_or_else(Instant::now).into()).await;
                None
            }
            None => std::future::pending().await,
        }
    }

    /// Returns `warning` the first time.
    pub fn warns(&mut self, warning: Option<String>) -> Option<String> {
        let first = warning.filter(|_| !self.warned);
        self.warned |= first.is_some();
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_a_pause_after_each() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let Ok(runtime) = runtime else { panic!("no runtime") };
        runtime.block_on(async {
            let mut errand = Errand::new(|took| Duration::from_mins(1) + took);
            assert!(errand.is_free());
            let send = errand.begin();
            assert!(!errand.is_free(), "one is under way");
            assert!(send.send(Answer::Hints(Vec::new()).into()).is_ok());
            assert!(matches!(errand.done(false).await, Some(Done { answer: Answer::Hints(_), .. })));
            assert!(!errand.is_free(), "the pause");
            errand.hurry();
            assert!(errand.is_free());
            // The other thread is gone.
            drop(errand.begin());
            assert!(errand.done(false).await.is_none());
            assert_eq!(errand.warns(Some("no".into())), Some("no".into()));
            assert_eq!(errand.warns(Some("no".into())), None, "once");
        });
    }
}
