//! What the machine does when a worker dies.

use std::time::Instant;

use super::{Action, BACKOFF, Cause, Id, Machine, Origin, STEADY, STEP_TIMEOUT, State, Step};

impl Machine {
    pub(super) fn crashed(&mut self, why: String, now: Instant) {
        if now.saturating_duration_since(self.serving_since) > STEADY {
            self.crashes = 0;
        }
        let pause = BACKOFF[self.crashes.min(BACKOFF.len() - 1)];
        self.crashes += 1;
        self.serving = None;
        self.push(Action::Tell(State::Recovering { why, pause }));
        if pause.is_zero() || (self.stopping && self.crashes <= BACKOFF.len()) {
            self.begin(Origin::Crash, Vec::new(), now);
        } else if self.stopping {
            self.push(Action::Exit(1));
        } else {
            self.respawn_at = Some(now + pause);
        }
    }

    /// It never lived: `why` says all there is to say.
    pub(super) fn spawn_failed(&mut self, id: Id, why: String, now: Instant) {
        if let Some(takeover) = self.takeover.as_mut().filter(|t| t.new == id) {
            takeover.failure.clone_from(&why);
        }
        self.exited(id, &why, now);
    }

    pub(super) fn exited(&mut self, id: Id, why: &str, now: Instant) {
        if self.stop_deadline.is_some() && self.serving == Some(id) {
            self.push(Action::Outcome(id, format!("crashed: {why}")));
            self.push(Action::Exit(1));
            return;
        }
        if let Some(takeover) = self.takeover.as_mut() {
            if takeover.new == id {
                if takeover.failure.is_empty() {
                    takeover.failure = format!("the new worker ended: {why}");
                }
                if takeover.step == Step::Probation && takeover.old.is_none() {
                    // The old one is gone: an ordinary crash.
                    let askers = std::mem::take(&mut takeover.askers);
                    self.takeover = None;
                    self.push(Action::Answer(
                        askers,
                        Err(format!("the new worker died: {why}")),
                    ));
                    self.worker_died(id, why, now);
                } else {
                    if self.serving == Some(id) {
                        self.serving = None;
                    }
                    self.back_to_old(now);
                }
                return;
            }
            if takeover.old == Some(id) {
                self.old_died(id, why, now);
                return;
            }
        }
        if self.serving == Some(id) {
            self.worker_died(id, why, now);
        }
    }

    pub(super) fn worker_died(&mut self, id: Id, why: &str, now: Instant) {
        self.push(Action::Outcome(id, format!("crashed: {why}")));
        self.crashed(why.to_owned(), now);
    }

    /// The worker that is being replaced died.
    pub(super) fn old_died(&mut self, id: Id, why: &str, now: Instant) {
        let Some(takeover) = self.takeover.as_mut() else {
            return;
        };
        takeover.old = None;
        takeover.passing_until = None;
        let (step, new) = (takeover.step, takeover.new);
        if step == Step::Freezing {
            takeover.step = Step::Confirming;
            takeover.deadline = now + STEP_TIMEOUT;
        }
        if self.serving == Some(id) {
            self.serving = None;
        }
        self.push(Action::Outcome(id, format!("crashed: {why}")));
        match step {
            Step::Freezing => self.push(Action::Recover(new)),
            Step::Loading => self.replace_at_once(why, now),
            // What it knew was passed already; only the way back is gone.
            Step::Confirming | Step::Going | Step::Probation | Step::RollingBack => {}
        }
    }

    /// The serving worker died while another prepares with a binary and a config that may never work: what last worked
    /// comes first, and the reload begins anew behind it.
    fn replace_at_once(&mut self, why: &str, now: Instant) {
        let Some(takeover) = self.takeover.take() else {
            return;
        };
        let cause = Cause::Unwanted("the worker it was to replace died");
        self.push(Action::Kill(takeover.new, cause));
        let outcome = format!("refused: the worker it was to replace died: {why}");
        self.push(Action::Outcome(takeover.new, outcome));
        self.push(Action::Discard(takeover.new));
        if !self.stopping {
            self.follow_up
                .get_or_insert_default()
                .extend(takeover.askers);
        }
        self.crashed(why.to_owned(), now);
    }
}
