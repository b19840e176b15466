//! Doing what the machine decided.

use std::mem;
use std::time::{Duration, Instant};

use super::holdings::Entry;
use super::keep::{LastGood, Share};
use super::machine::{self, Action, Cause, Event, Id};
use super::sockets::Listener;
use super::worker::{Binary, Worker};
use super::{
    DEATH, HISTORY, MAX_OUTCOME, PROFILE_TIMEOUT, RETIRE_TIMEOUT, Settings, Supervisor, notify,
    timestamp,
};
use crate::handover::{Answer, FromSupervisor, Generation, Origin};

impl Supervisor {
    pub(super) fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            tracing::debug!(?action, "supervisor");
            match action {
                Action::Spawn(id, origin) => self.spawn(id, origin),
                Action::Kill(id, cause) => self.kill(id, cause),
                Action::Freeze(id) => {
                    let successor = self.machine.candidate().unwrap_or_default();
                    self.has_windows = Some(id);
                    self.tell(id, &FromSupervisor::Freeze { successor });
                }
                Action::PassFrozen(id) => self.pass_frozen(id),
                Action::Recover(id) => {
                    if let Some(worker) = self.workers.get_mut(&id) {
                        worker.flush_feed();
                        worker.say(&FromSupervisor::Recover, Vec::new());
                    }
                }
                Action::Go(id) => self.go(id),
                Action::Thaw(id, stale) => self.thaw(id, stale),
                Action::Retire(id) => {
                    self.tell(id, &FromSupervisor::Retire);
                    if let Some(worker) = self.workers.get_mut(&id) {
                        // Finding the functions' names takes long.
                        let limit = match self.start.profile {
                            Some(_) => PROFILE_TIMEOUT,
                            None => RETIRE_TIMEOUT,
                        };
                        worker.retire_by = Some(Instant::now() + limit);
                        worker.is_told_to_end = true;
                    }
                }
                Action::Settle(id) => self.settle(id),
                Action::Stop(id, timeout) => {
                    let timeout_ms = timeout.as_millis() as u64;
                    self.tell(id, &FromSupervisor::Stop { timeout_ms });
                }
                Action::Discard(id) => self.discard(id),
                Action::Outcome(id, mut outcome) => {
                    outcome.truncate(outcome.floor_char_boundary(MAX_OUTCOME));
                    self.note(id, |g| g.outcome = outcome);
                }
                Action::Serves(id, pause) => self.serves(id, pause),
                Action::Watch(askers, id, probation) => self.say_watching(&askers, id, probation),
                Action::Answer(askers, result) => self.answer(&askers, result),
                Action::Extend(limit) => notify::extend(limit + DEATH),
                Action::Tell(state) => {
                    if let machine::State::Recovering { why, pause } = &state {
                        let in_ms = pause.as_millis() as u64;
                        tracing::error!(in_ms, "no worker serves, another is started: {why}");
                    }
                    if let machine::State::Refused(why) = &state {
                        tracing::error!("the reload was refused, nothing changed: {why}");
                    }
                    if state == machine::State::Stopping {
                        self.keep.stopping();
                    }
                    let serving = self.machine.serving();
                    self.notify.tell(&state, serving);
                    // Who asked for it by a worker hears from it what came of that.
                    if let (machine::State::Refused(_), Some(serving)) = (&state, serving) {
                        self.share_history(serving);
                    }
                }
                // The first word counts: a worker that has stopped as told also ends.
                Action::Exit(status) => {
                    self.exit.get_or_insert(status);
                }
            }
        }
    }

    fn spawn(&mut self, id: Id, origin: Origin) {
        let settings = Settings::read(&self.start.config);
        if settings.is_readable && settings.control != self.settings.control {
            tracing::warn!(
                now = %self.settings.control.display(), config = %settings.control.display(),
                "the control socket's path changes at the next full restart"
            );
        }
        if settings.is_readable {
            self.machine.set_times(settings.times);
        }
        self.frozen.clear();
        self.has_windows = None;
        self.forget_changes();
        self.tell_preparing(Some(id));
        let held = self.what_last_worked(id, origin);
        let binary = match &held {
            Some((exe, _)) => Binary::Held(exe.clone()),
            None => Binary::OnDisk(&self.start.binary),
        };
        let spawned = Worker::spawn(&binary, held.map(|(_, config)| config));
        self.history.push_back(Generation {
            id,
            pid: spawned.as_ref().map_or(0, |w| w.child.pid()),
            version: String::new(),
            config_hash: String::new(),
            reason: origin,
            started_at: timestamp(),
            serving_at: None,
            ended_at: None,
            outcome: "starting".into(),
            pause_us: None,
        });
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        self.keep.history(&self.history);
        match spawned {
            Ok(worker) => {
                tracing::info!(
                    generation = id,
                    pid = worker.child.pid(),
                    origin = origin.as_str(),
                    "a worker was started"
                );
                self.workers.insert(id, worker);
            }
            Err(why) => {
                tracing::error!(generation = id, "no worker could be started: {why}");
                self.handle(Event::SpawnFailed(id, why));
            }
        }
    }

    fn kill(&mut self, id: Id, cause: Cause) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        match cause {
            Cause::Fault(why) => tracing::error!(generation = id, "a worker is killed: {why}"),
            Cause::Unwanted(why) => tracing::info!(generation = id, "a worker is killed: {why}"),
        }
        worker.is_told_to_end = true;
        worker.child.kill();
    }

    /// What this worker is to be of, if it isn't what lies on disk.
    fn what_last_worked(&mut self, id: Id, origin: Origin) -> Option<LastGood> {
        let held = self.last_good.clone().filter(|_| origin == Origin::Crash)?;
        if mem::take(&mut self.disk_first) {
            self.from_disk = Some(id);
            return None;
        }
        if let Some(refused) = self.from_disk.take() {
            let generation = self.history.iter().find(|g| g.id == refused);
            let why = generation.map_or("", |g| &g.outcome);
            tracing::error!(
                generation = refused,
                "what lies on disk can't be started with what the last supervisor left ({why}): \
                 the program and the config that last worked go on"
            );
        }
        Some(held)
    }

    fn pass_frozen(&mut self, id: Id) {
        let frozen = mem::take(&mut self.frozen);
        if frozen.is_empty() {
            self.handle(Event::Broken(
                id,
                "the old worker's state is missing".into(),
            ));
            return;
        }
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.flush_feed();
            worker.say(&FromSupervisor::Frozen, frozen);
        }
    }

    fn go(&mut self, id: Id) {
        for listener in &mut self.holdings.listeners {
            if listener.pending == Some(id) {
                self.new_listeners.push(listener.cookie);
            }
            if let Err(error) = listener.open() {
                tracing::error!(address = %listener.address, %error, "cannot listen");
            }
        }
        self.tell(id, &FromSupervisor::Go);
    }

    /// The way back. Stale: the new worker had begun, so the old one is told what changed.
    fn thaw(&mut self, id: Id, stale: bool) {
        (self.has_windows, self.windows_due) = (None, None);
        let queues = self
            .new_queues
            .iter()
            .filter_map(|name| self.holdings.queues.get(name));
        let sockets = self
            .new_sockets
            .iter()
            .filter_map(|cookie| self.holdings.sockets.get(cookie));
        let mut entries: Vec<Entry> = queues
            .chain(sockets)
            .map(|(item, fd)| Entry::Take(item.clone(), fd.clone()))
            .collect();
        if let Some(worker) = self.workers.get_mut(&id) {
            if stale {
                for cookies in self.gone.chunks(2000) {
                    entries.push(Entry::Released(cookies.to_vec(), Vec::new()));
                }
                worker.begin_feed(entries);
                worker.flush_feed();
            }
            worker.say(&FromSupervisor::Thaw { stale }, Vec::new());
        }
        // Nobody accepts on what only the new config named.
        let new = mem::take(&mut self.new_listeners);
        for listener in self.holdings.release(&new, &[]) {
            listener.close();
        }
        self.forget_changes();
    }

    /// What the new worker changed needs no way back any more.
    fn forget_changes(&mut self) {
        self.new_sockets.clear();
        self.new_queues.clear();
        self.new_listeners.clear();
        self.displaced.clear();
        self.gone.clear();
    }

    /// Tells the worker that serves whether its table may change.
    fn tell_preparing(&mut self, successor: Option<Id>) {
        let serving = self.machine.serving();
        let knows = serving.filter(|id| self.workers.get(id).is_some_and(|worker| worker.changes));
        if let Some(serving) = knows {
            self.tell(serving, &FromSupervisor::Preparing { successor });
        }
    }

    /// Lets go of what was made for a worker that never had the `go`: its queues are empty, and
    /// nobody could connect to its listeners.
    fn discard(&mut self, id: Id) {
        self.tell_preparing(None);
        let (gone, kept) = mem::take(&mut self.holdings.listeners)
            .into_iter()
            .partition::<Vec<_>, _>(|l| l.pending == Some(id));
        self.holdings.listeners = kept;
        gone.into_iter().for_each(Listener::close);
        let new: Vec<String> = self.new_queues.drain().collect();
        self.holdings.release(&[], &new);
        // Queues that it was going to put into other memory stay where they were.
        for (item, memory) in self.displaced.drain().map(|(_, held)| held) {
            self.holdings.register(item, memory);
        }
    }

    fn serves(&mut self, id: Id, pause: Option<Duration>) {
        tracing::info!(
            generation = id,
            pause_us = pause.map(|p| p.as_micros() as u64),
            "the worker serves"
        );
        self.note(id, |g| {
            g.serving_at = Some(timestamp());
            g.outcome = "serving".into();
            g.pause_us = pause.map(|p| p.as_micros() as u64);
        });
        self.keep.history(&self.history);
        self.share_history(id);
        self.ask_for_windows(id);
    }

    /// Now that the pause is over, what the old worker has in windows may follow.
    fn ask_for_windows(&mut self, successor: Id) {
        let knows = |id| self.workers.get(id).is_some_and(|worker| worker.windows);
        match self.has_windows.take() {
            Some(old) if knows(&old) && knows(&successor) => {
                self.windows_due = Some((old, successor));
                self.tell(old, &FromSupervisor::PassWindows { successor });
                return;
            }
            _ if !knows(&successor) => {}
            _ => self.tell(successor, &FromSupervisor::Windows),
        }
        self.handle(Event::Passed(successor));
    }

    fn settle(&mut self, id: Id) {
        self.forget_changes();
        self.from_disk = None;
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if let Some(config) = &worker.config {
            let last_good = (worker.exe.clone(), config.clone());
            self.keep.last_good(&last_good);
            self.last_good = Some(last_good);
        }
        let listed = |l: &Listener| {
            let address = l.address.to_string();
            worker.wanted.iter().any(|w| w.address == address)
        };
        let leaving: Vec<u64> = self
            .holdings
            .listeners
            .iter()
            .filter(|l| !l.passed && !listed(l))
            .map(|l| l.cookie)
            .collect();
        worker.say(&FromSupervisor::Settled { leaving }, Vec::new());
        self.share_history(id);
    }

    pub(super) fn share_history(&mut self, id: Id) {
        let generations = self.history.iter().cloned().collect();
        let kept = self.keep.share().map(Share::is_whole);
        self.told_kept = kept;
        self.tell(id, &FromSupervisor::History { generations, kept });
    }

    fn say_watching(&mut self, askers: &[u64], id: Id, probation: Duration) {
        let answer = Answer::Watching {
            generation: id,
            probation_ms: probation.as_millis() as u64,
        };
        for asker in askers {
            if self
                .control
                .client(*asker)
                .is_some_and(|c| c.wants_watching)
            {
                self.control.say(*asker, &answer, None);
            }
        }
    }

    pub(super) fn answer(&mut self, askers: &[u64], result: Result<Id, String>) {
        let answer = match result {
            Ok(id) => {
                let pause_us = self
                    .history
                    .iter()
                    .find(|g| g.id == id)
                    .and_then(|g| g.pause_us);
                Answer::Reloaded {
                    generation: id,
                    pause_us,
                }
            }
            Err(reason) => Answer::Refused { reason },
        };
        for id in askers {
            self.control.answer(*id, &answer, None);
        }
    }
}
