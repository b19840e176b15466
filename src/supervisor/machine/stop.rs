//! How the machine stops, at every moment of a hand-over.

use std::mem;
use std::time::{Duration, Instant};

use super::{Action, Cause, Id, Machine, Origin, STOP_GRACE, State, Step, fault};

/// It hadn't begun to serve when the stop came.
const STOPPING: Cause = Cause::Unwanted("stopping");

impl Machine {
    pub(super) fn terminate(&mut self, now: Instant) {
        if let (true, Some(serving)) = (self.stop_deadline.is_some(), self.serving) {
            // Asked twice: whoever asks doesn't want to wait for slow destinations.
            self.stop_deadline = Some(now + STOP_GRACE);
            self.push(Action::Stop(serving, Duration::ZERO));
            return;
        }
        if mem::replace(&mut self.stopping, true) {
            // Asked twice while a worker is still to come that could deliver, or for what the old one may still have:
            // whoever asks has waited enough.
            match (self.serving, &self.takeover) {
                (None, Some(takeover)) if takeover.step == Step::Loading => {
                    let new = takeover.new;
                    self.push(Action::Kill(new, STOPPING));
                    self.push(Action::Exit(1));
                }
                (Some(_), Some(takeover)) if takeover.step == Step::Probation => {
                    self.stop_serving(now);
                }
                _ => {}
            }
            return;
        }
        self.push(Action::Tell(State::Stopping));
        self.extended = None;
        let waiting = self.follow_up.take().unwrap_or_default();
        self.push(Action::Answer(waiting, Err("stopping".into())));
        match self.takeover.as_mut() {
            None if self.serving.is_some() => self.stop_serving(now),
            // A backoff: what was accepted lies in the queues, so a worker has to come and
            // deliver it.
            None => self.begin(Origin::Crash, Vec::new(), now),
            Some(takeover) if takeover.step == Step::Loading && takeover.old.is_some() => {
                self.fail("stopping".into(), STOPPING, now);
            }
            Some(takeover)
                if takeover.step == Step::Loading && takeover.origin == Origin::Start =>
            {
                let new = takeover.new;
                self.push(Action::Kill(new, STOPPING));
                self.push(Action::Outcome(new, "stopped".into()));
                self.push(Action::Exit(0));
            }
            Some(takeover) if takeover.step == Step::Probation => self.stop_in_probation(now),
            // In the pause, or a worker that takes over from a dead one: it is let through,
            // and then stopped.
            Some(_) => {}
        }
    }

    /// Windows that the old worker still has would be lost with it: they may come first.
    pub(super) fn stop_in_probation(&mut self, now: Instant) {
        let passing = self.takeover.as_mut().and_then(|takeover| {
            takeover.deadline = now;
            takeover.passing_until.as_mut()
        });
        match passing {
            Some(until) => *until = (now + STOP_GRACE).min(*until),
            None => self.stop_serving(now),
        }
    }

    pub(super) fn stop_serving(&mut self, now: Instant) {
        if let Some(takeover) = self.takeover.take() {
            if let Some(old) = takeover.old {
                self.push(Action::Retire(old));
                self.push(Action::Outcome(old, "retired".into()));
            }
            self.push(Action::Answer(takeover.askers, Err("stopping".into())));
        }
        if let Some(serving) = self.serving {
            self.stop_deadline = Some(now + self.times.stop + STOP_GRACE);
            self.push(Action::Stop(serving, self.times.stop));
        }
    }

    pub(super) fn stopped(&mut self, id: Id) {
        if self.stopping && self.serving == Some(id) {
            // Its death is no news any more.
            self.serving = None;
            self.push(Action::Outcome(id, "stopped".into()));
            self.push(Action::Exit(0));
        } else {
            self.push(Action::Kill(id, fault("it stopped, and was not told to")));
        }
    }
}
