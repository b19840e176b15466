//! What the supervisor decides: events in, actions out, no I/O and no clock.
//!
//! What must never be true: two workers that own the sockets at one time. A worker owns them from
//! `Go` or `Thaw` until it has said `frozen` or its process is known to be dead.
//!
//! ```text
//!  Loading ──ready──► Freezing ──frozen──► Confirming ──confirmed──► Going ──running──► Probation ──► settled
//!     │                  │                     │                       │                   │
//!     └─ kill new ───────┴─ kill new, thaw ────┴───────────────────────┴── kill new, wait for its death, thaw
//! ```
//! Without a living old worker (first start, after a crash) Freezing is skipped, and there is
//! nothing to roll back to.

mod begin;
mod deaths;
mod longer;
mod stop;
mod words;

use std::mem;
use std::time::{Duration, Instant};

use crate::handover::Origin;

pub use words::{Action, Asker, Cause, Event, Id, State, Times};

/// How long the frozen worker, then the new one, may take for each step of the pause.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(2);
/// A worker that hasn't ticked for so long is killed.
pub const TICK_TIMEOUT: Duration = Duration::from_secs(5);
/// How often `progress` extends `ready_timeout`.
pub const EXTENSIONS: u32 = 5;
/// How long probation goes on beyond its time for the windows of the old worker.
pub const PASS_TIMEOUT: Duration = Duration::from_secs(10);
/// What a stop may take beyond `stop_timeout`.
pub const STOP_GRACE: Duration = Duration::from_secs(3);
/// How often `progress` extends that by as much.
pub const STOP_EXTENSIONS: u32 = 5;
/// The pauses before a crashed worker is replaced; the last one repeats.
const BACKOFF: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(5),
];
/// A worker that served so long begins the backoff anew.
const STEADY: Duration = Duration::from_secs(60);

/// It has said why, and that is in the log.
const REFUSED: Cause = Cause::Unwanted("it refused");

fn fault(why: &str) -> Cause {
    Cause::Fault(why.to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Loading,
    Freezing,
    Confirming,
    Going,
    Probation,
    /// The new one is being killed after it owned everything.
    RollingBack,
}

#[derive(Debug)]
struct Takeover {
    new: Id,
    /// The living worker it takes over from.
    old: Option<Id>,
    origin: Origin,
    step: Step,
    deadline: Instant,
    extensions: u32,
    ready: bool,
    frozen_at: Option<Instant>,
    /// In probation: the old worker is kept until it has passed its windows, or then.
    passing_until: Option<Instant>,
    askers: Vec<Asker>,
    /// Why it failed, once it did.
    failure: String,
}

impl Takeover {
    /// When the step is over.
    fn due(&self) -> Instant {
        let passing = self.passing_until.unwrap_or(self.deadline);
        self.deadline.max(passing)
    }
}

/// The state machine.
#[derive(Debug)]
pub struct Machine {
    times: Times,
    last_id: Id,
    /// The worker that owns the sockets.
    serving: Option<Id>,
    serving_since: Instant,
    last_tick: Instant,
    takeover: Option<Takeover>,
    /// A reload asked for during another.
    follow_up: Option<Vec<Asker>>,
    crashes: usize,
    respawn_at: Option<Instant>,
    stopping: bool,
    /// When the worker that was told to stop is killed.
    stop_deadline: Option<Instant>,
    stop_extensions: u32,
    /// The service manager waits for the end of the start.
    is_starting: bool,
    /// Until when it knows that a start or stop may take.
    extended: Option<Instant>,
    out: Vec<Action>,
}

impl Machine {
    /// Times as the config now has them; for the next takeover and stop.
    pub fn set_times(&mut self, times: Times) {
        self.times = times;
    }

    /// The worker that owns the sockets.
    pub fn serving(&self) -> Option<Id> {
        self.serving
    }

    /// The worker that prepares, or whose probation it is.
    pub fn candidate(&self) -> Option<Id> {
        self.takeover.as_ref().map(|t| t.new)
    }

    /// No worker serves, and none that could is frozen for just a moment.
    pub fn nobody_serves(&self) -> bool {
        self.serving.is_none() && self.takeover.as_ref().is_none_or(|t| t.old.is_none())
    }

    /// In a word, for the status.
    pub fn phase(&self) -> &'static str {
        match (
            self.stopping,
            self.takeover.as_ref().map(|t| t.step),
            self.serving,
        ) {
            (true, ..) => "stopping",
            (_, Some(Step::Probation), _) => "probation",
            (_, Some(_), Some(_)) => "reloading",
            (_, Some(_), None) => "starting",
            (_, None, Some(_)) => "serving",
            (_, None, None) => "recovering",
        }
    }

    /// When `Event::Time` is due at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let tick = self.watches_ticks().then(|| self.last_tick + TICK_TIMEOUT);
        let takeover = self.takeover.as_ref().map(Takeover::due);
        [tick, takeover, self.respawn_at, self.stop_deadline]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes one event.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        match event {
            Event::Reload(asker) => self.reload(asker, now),
            Event::Terminate => self.terminate(now),
            Event::SpawnFailed(id, why) => self.spawn_failed(id, why, now),
            Event::Exited(id, why) => self.exited(id, &why, now),
            Event::Progress(id) => self.progress(id, now),
            Event::Ready(id) => self.ready(id, now),
            Event::Refused(id, reason, status) => self.refused(id, reason, status, now),
            Event::Frozen(id) => self.frozen(id, now),
            Event::Confirmed(id) => self.confirmed(id, now),
            Event::Running(id) => self.running(id, now),
            Event::Passed(id) => {
                if let Some(takeover) = self.at(id, Step::Probation) {
                    takeover.passing_until = None;
                    self.time(now);
                }
            }
            Event::Tick(id) => {
                if self.serving == Some(id) {
                    self.last_tick = now;
                }
            }
            Event::Stopped(id) => self.stopped(id),
            Event::Broken(id, why) => self.broken(id, why, now),
            Event::Time => self.time(now),
        }
        self.extend(now);
        mem::take(&mut self.out)
    }

    fn push(&mut self, action: Action) {
        self.out.push(action);
    }

    fn reload(&mut self, asker: Option<Asker>, now: Instant) {
        if self.stopping {
            self.push(Action::Answer(
                asker.into_iter().collect(),
                Err("stopping".into()),
            ));
        } else if self.takeover.is_some() || self.serving.is_none() {
            self.follow_up.get_or_insert_default().extend(asker);
        } else {
            self.push(Action::Tell(State::Reloading));
            self.begin(Origin::Reload, asker.into_iter().collect(), now);
        }
    }

    fn begin(&mut self, origin: Origin, askers: Vec<Asker>, now: Instant) {
        self.last_id += 1;
        self.respawn_at = None;
        self.takeover = Some(Takeover {
            new: self.last_id,
            old: self.serving,
            origin,
            step: Step::Loading,
            deadline: now + self.times.ready,
            extensions: 0,
            ready: false,
            frozen_at: None,
            passing_until: None,
            askers,
            failure: String::new(),
        });
        self.push(Action::Spawn(self.last_id, origin));
    }

    /// The takeover under way, if `id` is its new worker and it has come to `step`.
    fn at(&mut self, id: Id, step: Step) -> Option<&mut Takeover> {
        self.takeover
            .as_mut()
            .filter(|t| t.new == id && t.step == step)
    }

    fn ready(&mut self, id: Id, now: Instant) {
        let Some(takeover) = self.at(id, Step::Loading) else {
            return;
        };
        takeover.ready = true;
        takeover.deadline = now + STEP_TIMEOUT;
        match takeover.old {
            Some(old) => {
                takeover.step = Step::Freezing;
                takeover.frozen_at = Some(now);
                self.push(Action::Freeze(old));
            }
            None => {
                takeover.step = Step::Confirming;
                self.push(Action::Recover(id));
            }
        }
    }

    fn frozen(&mut self, id: Id, now: Instant) {
        let Some(takeover) = self.takeover.as_mut() else {
            return;
        };
        if takeover.old == Some(id) && takeover.step == Step::Freezing {
            takeover.step = Step::Confirming;
            takeover.deadline = now + STEP_TIMEOUT;
            let new = takeover.new;
            self.push(Action::PassFrozen(new));
        }
    }

    fn confirmed(&mut self, id: Id, now: Instant) {
        if let Some(takeover) = self.at(id, Step::Confirming) {
            takeover.step = Step::Going;
            takeover.deadline = now + STEP_TIMEOUT;
            self.serving = None;
            self.push(Action::Go(id));
        }
    }

    fn running(&mut self, id: Id, now: Instant) {
        let probation = self.times.probation;
        let Some(takeover) = self.at(id, Step::Going) else {
            return;
        };
        takeover.step = Step::Probation;
        // Without an old worker there is nothing to go back to, so nothing to wait for.
        let probation = match takeover.old {
            Some(_) => probation,
            None => Duration::ZERO,
        };
        takeover.deadline = now + probation;
        takeover.passing_until = takeover.old.map(|_| now + PASS_TIMEOUT);
        let askers = takeover.askers.clone();
        let pause = takeover.frozen_at.map(|at| now - at);
        self.serving = Some(id);
        self.serving_since = now;
        self.last_tick = now;
        self.push(Action::Serves(id, pause));
        if self.stopping {
            self.stop_in_probation(now);
        } else {
            if !probation.is_zero() && !askers.is_empty() {
                self.push(Action::Watch(askers, id, probation));
            }
            self.time(now);
        }
    }

    fn refused(&mut self, id: Id, reason: String, status: i32, now: Instant) {
        let Some(takeover) = self.takeover.as_ref().filter(|t| t.new == id) else {
            return;
        };
        let first = takeover.origin == Origin::Start && takeover.step == Step::Loading;
        if first {
            self.push(Action::Outcome(id, format!("refused: {reason}")));
            self.push(Action::Kill(id, REFUSED));
            self.push(Action::Exit(if self.stopping { 0 } else { status }));
        } else {
            self.fail(reason, REFUSED, now);
        }
    }

    fn broken(&mut self, id: Id, why: String, now: Instant) {
        if self.candidate() == Some(id) {
            self.fail_by_fault(why, now);
        } else {
            // Its death will be noticed as an exit.
            self.push(Action::Kill(id, Cause::Fault(why)));
        }
    }

    fn fail_by_fault(&mut self, reason: String, now: Instant) {
        self.fail(reason.clone(), Cause::Fault(reason), now);
    }

    /// The new worker won't do.
    fn fail(&mut self, reason: String, cause: Cause, now: Instant) {
        let Some(takeover) = self.takeover.as_mut() else {
            return;
        };
        let new = takeover.new;
        takeover.failure = reason;
        match takeover.step {
            Step::RollingBack => {}
            Step::Going | Step::Probation => {
                // It may own the sockets until it is dead: `exited` goes on.
                takeover.step = Step::RollingBack;
                takeover.deadline = now + STEP_TIMEOUT;
                if self.serving == Some(new) {
                    self.serving = None;
                }
                self.push(Action::Kill(new, cause));
            }
            Step::Loading | Step::Freezing | Step::Confirming => {
                self.push(Action::Kill(new, cause));
                self.back_to_old(now);
            }
        }
    }

    /// The new worker is dead, or never owned anything: the old one goes on, if it lives.
    fn back_to_old(&mut self, now: Instant) {
        let Some(takeover) = self.takeover.take() else {
            return;
        };
        let reason = takeover.failure;
        self.push(Action::Outcome(takeover.new, format!("refused: {reason}")));
        if matches!(
            takeover.step,
            Step::Loading | Step::Freezing | Step::Confirming
        ) {
            self.push(Action::Discard(takeover.new));
        }
        self.push(Action::Answer(takeover.askers, Err(reason.clone())));
        match takeover.old {
            Some(old) => {
                match takeover.step {
                    Step::Loading => {}
                    Step::Freezing | Step::Confirming => self.push(Action::Thaw(old, false)),
                    _ => self.push(Action::Thaw(old, true)),
                }
                self.serving = Some(old);
                self.last_tick = now;
                self.push(Action::Tell(State::Refused(reason)));
                self.go_on(now);
            }
            None if takeover.origin == Origin::Start => {
                self.push(Action::Exit(if self.stopping { 0 } else { 1 }));
            }
            None => self.crashed(reason, now),
        }
    }

    /// A takeover has ended and a worker serves.
    fn go_on(&mut self, now: Instant) {
        if self.stopping {
            self.stop_serving(now);
        } else if let Some(askers) = self.follow_up.take() {
            self.push(Action::Tell(State::Reloading));
            self.begin(Origin::Reload, askers, now);
        }
    }

    fn time(&mut self, now: Instant) {
        if self.watches_ticks()
            && now >= self.last_tick + TICK_TIMEOUT
            && let Some(serving) = self.serving
        {
            self.last_tick = now;
            self.push(Action::Kill(serving, fault("it hasn't ticked for 5 s")));
        }
        if let Some(takeover) = self.takeover.as_mut()
            && now >= takeover.due()
        {
            match takeover.step {
                Step::Loading => {
                    self.fail_by_fault("it was not ready within ready_timeout".into(), now);
                }
                Step::Freezing => {
                    // The old worker hangs. Its death, not this, makes the new one the owner.
                    takeover.deadline = now + STEP_TIMEOUT;
                    if let Some(old) = takeover.old {
                        self.push(Action::Kill(old, fault("it did not freeze within 2 s")));
                    }
                }
                Step::Confirming => {
                    self.fail_by_fault(
                        "it did not confirm what it was handed within 2 s".into(),
                        now,
                    );
                }
                Step::Going => {
                    self.fail_by_fault("it did not begin to serve within 2 s".into(), now);
                }
                Step::RollingBack => {
                    takeover.deadline = now + STEP_TIMEOUT;
                    let new = takeover.new;
                    self.extended = self.extended.max(Some(takeover.deadline));
                    let cause = fault("it was killed 2 s ago and isn't dead");
                    self.push(Action::Kill(new, cause));
                }
                Step::Probation if self.stopping => self.stop_serving(now),
                Step::Probation => self.settle(now),
            }
        }
        if self.respawn_at.is_some_and(|at| now >= at) {
            self.begin(Origin::Crash, Vec::new(), now);
        }
        if self.stop_deadline.is_some_and(|at| now >= at)
            && let Some(serving) = self.serving
        {
            self.stop_deadline = Some(now + STOP_GRACE);
            // One that can't even be killed isn't waited for.
            self.extended = self.extended.max(self.stop_deadline);
            let cause = fault("it has not stopped in time: what it still had is lost");
            self.push(Action::Kill(serving, cause));
        }
    }

    fn settle(&mut self, now: Instant) {
        let Some(takeover) = self.takeover.take() else {
            return;
        };
        if let Some(old) = takeover.old {
            self.push(Action::Retire(old));
            self.push(Action::Outcome(old, "retired".into()));
        }
        self.push(Action::Settle(takeover.new));
        self.push(Action::Answer(takeover.askers, Ok(takeover.new)));
        self.push(Action::Tell(State::Ready));
        self.is_starting = false;
        self.go_on(now);
    }

    fn watches_ticks(&self) -> bool {
        // In the steps of the pause the step's own deadline counts.
        self.serving.is_some()
            && self.stop_deadline.is_none()
            && self
                .takeover
                .as_ref()
                .is_none_or(|t| matches!(t.step, Step::Loading | Step::Probation))
    }
}

#[cfg(test)]
mod tests;
