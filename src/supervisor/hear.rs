//! What workers say, and what follows from it.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use super::holdings::Entry;
use super::machine::{Event, Id};
use super::{Supervisor, sockets, timestamp};
use crate::handover::{FromSupervisor, FromWorker, Item, PROTOCOL, Wanted};

impl Supervisor {
    pub(super) fn read_worker(&mut self, id: Id) {
        loop {
            let Some(worker) = self.workers.get_mut(&id) else {
                return;
            };
            if let Err(error) = worker.outbox.flush(&worker.link) {
                tracing::debug!(generation = id, %error, "a worker can't be told any more");
            }
            match worker.link.receive::<FromWorker>(false) {
                Ok(Some((message, fds))) => self.heard(id, message, fds),
                Ok(None) => {
                    worker.closed = true;
                    // It can't be commanded any more: its death is what goes on from here.
                    worker.child.kill();
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    worker.closed = true;
                    worker.child.kill();
                    return;
                }
                Err(error) => {
                    tracing::error!(generation = id, %error, "a worker's message isn't understood");
                    self.handle(Event::Broken(id, format!("it broke the protocol: {error}")));
                    return;
                }
            }
        }
    }

    fn heard(&mut self, id: Id, message: FromWorker, mut fds: Vec<OwnedFd>) {
        match message {
            FromWorker::Hello {
                protocol_min,
                protocol_max,
                version,
                windows,
                changes,
                sessions,
                token,
            } => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    (worker.windows, worker.changes) = (windows, changes);
                    (worker.sessions, worker.token) = (sessions, token);
                }
                self.welcome(id, protocol_min, protocol_max, version);
            }
            FromWorker::Progress { step } => {
                tracing::info!(generation = id, step, "the worker takes longer");
                self.handle(Event::Progress(id));
            }
            FromWorker::Listeners { wanted } => self.provide(id, wanted),
            FromWorker::Taken { batch, count } => {
                if let Some(worker) = self.workers.get_mut(&id)
                    && let Err(why) = worker.taken(batch, count)
                {
                    self.handle(Event::Broken(id, why));
                }
            }
            FromWorker::Ready { config_hash } => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.config = fds.pop().map(Rc::new);
                }
                self.note(id, |generation| generation.config_hash = config_hash);
                self.handle(Event::Ready(id));
            }
            FromWorker::Refused { reason, status } => {
                // With one that serves it is a reload that fails, which is said with the reason.
                if self.machine.serving().is_none() {
                    tracing::error!(generation = id, "the new worker refuses: {reason}");
                }
                self.handle(Event::Refused(id, reason, status));
            }
            FromWorker::Frozen { successor } => {
                if self.machine.candidate() == Some(successor) {
                    // The last one is that of the connections.
                    self.frozen = fds.into_iter().rev().map(Rc::new).collect();
                    self.handle(Event::Frozen(id));
                }
            }
            FromWorker::Confirmed => self.handle(Event::Confirmed(id)),
            FromWorker::Running => self.handle(Event::Running(id)),
            FromWorker::Tick => self.handle(Event::Tick(id)),
            FromWorker::Register { items } => self.register(id, items, fds),
            FromWorker::Release { cookies, queues } => self.release(id, cookies, queues),
            FromWorker::Windows { successor } => self.pass_windows(id, successor, fds.pop()),
            FromWorker::Reload => self.handle(Event::Reload(None)),
            FromWorker::Report { id } => self.answer_status(id, fds.pop()),
            FromWorker::Spooled {
                id: command,
                outcome,
            } => self.command_done(id, command, outcome),
            FromWorker::Traced {
                id: question,
                outcome,
            } => self.question_answered(id, question, outcome, fds.pop()),
            FromWorker::Stopped { summary } => {
                tracing::info!(generation = id, "stopped: {summary}");
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.is_told_to_end = true;
                }
                self.handle(Event::Stopped(id));
            }
        }
    }

    fn welcome(&mut self, id: Id, min: u32, max: u32, version: String) {
        self.note(id, |generation| generation.version.clone_from(&version));
        let Some(origin) = self.history.iter().find(|g| g.id == id).map(|g| g.reason) else {
            return;
        };
        let config = self.start.config.to_string_lossy().into_owned();
        let profile = self.start.profile.as_deref().map(|path| {
            let path = path.to_string_lossy();
            // The first worker is mostly the only one; none overwrites another's.
            match id {
                1 => path.into_owned(),
                id => format!("{path}.{id}"),
            }
        });
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.version = version;
        if !(min..=max).contains(&PROTOCOL) {
            let why = format!(
                "it speaks protocol {min} to {max}, this supervisor {PROTOCOL}: this upgrade needs a full restart"
            );
            self.handle(Event::Broken(id, why));
            return;
        }
        let mut fds = vec![self.holdings.ledger.clone()];
        fds.extend(worker.last_worked.clone());
        let token = self.keep.token().filter(|_| worker.token);
        let is_kept = token.is_some();
        fds.extend(token);
        worker.say(
            &FromSupervisor::Welcome {
                protocol: PROTOCOL,
                generation: id,
                origin,
                config,
                profile,
                sessions: true,
                token: is_kept,
            },
            fds,
        );
    }

    /// Finds or binds the listeners that a new worker wants, and begins to pass everything.
    fn provide(&mut self, id: Id, wanted: Vec<Wanted>) {
        match sockets::provide(&mut self.holdings.listeners, &wanted, id) {
            Ok(()) => {
                let entries = self.holdings.all(id, &wanted);
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.wanted = wanted;
                    worker.begin_feed(entries);
                }
            }
            Err(reason) => self.tell(id, &FromSupervisor::Refuse { reason }),
        }
    }

    fn register(&mut self, id: Id, items: Vec<Item>, fds: Vec<OwnedFd>) {
        if items.len() != fds.len() {
            let why = format!(
                "it registered {} items with {} descriptors",
                items.len(),
                fds.len()
            );
            self.handle(Event::Broken(id, why));
            return;
        }
        let candidate = self.machine.candidate();
        if candidate != Some(id) && self.machine.serving() != Some(id) {
            // The last words of a worker that was given up.
            return;
        }
        for (item, fd) in items.into_iter().zip(fds) {
            let fd = Rc::new(fd);
            if candidate == Some(id) {
                match &item {
                    Item::Queue { destination, .. } => {
                        self.new_queues.insert(destination.clone());
                        if let Some(held) = self.holdings.queues.get(destination) {
                            let held = held.clone();
                            self.displaced.entry(destination.clone()).or_insert(held);
                        }
                    }
                    socket => self.new_sockets.extend(socket.cookie()),
                }
            } else if let Some(worker) = candidate.and_then(|id| self.workers.get_mut(&id)) {
                worker.tell_change(Entry::Take(item.clone(), fd.clone()));
            }
            self.holdings.register(item, fd);
        }
    }

    fn release(&mut self, id: Id, cookies: Vec<u64>, queues: Vec<String>) {
        for listener in self.holdings.release(&cookies, &queues) {
            tracing::info!(address = %listener.address, "a listener was closed: no config has it any more");
            listener.close();
        }
        match self.machine.candidate() {
            Some(candidate) if candidate == id => {
                for cookie in cookies {
                    if !self.new_sockets.remove(&cookie) {
                        self.gone.push(cookie);
                    }
                }
            }
            Some(candidate) => {
                if let Some(worker) = self.workers.get_mut(&candidate) {
                    worker.tell_change(Entry::Released(cookies, queues));
                }
            }
            None => {}
        }
    }

    fn pass_windows(&mut self, old: Id, successor: Id, windows: Option<OwnedFd>) {
        if self.windows_due != Some((old, successor)) {
            // The successor failed meanwhile.
            return;
        }
        self.windows_due = None;
        if let Some(worker) = self.workers.get_mut(&successor) {
            let beside = windows.map(Rc::new).into_iter().collect();
            worker.say(&FromSupervisor::Windows, beside);
        }
        self.handle(Event::Passed(successor));
    }

    /// A worker has died: what it still said is read first.
    pub(super) fn bury(&mut self, id: Id) {
        self.read_worker(id);
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        match worker.child.reap() {
            Ok(Some(how)) => {
                let is_told_to_end = worker.is_told_to_end;
                // What it had to do as the old one, another has done; but that it was killed is worth a look.
                let is_late = worker.retire_by.is_some_and(|at| Instant::now() >= at);
                self.workers.remove(&id);
                if let Some((_, successor)) = self.windows_due.filter(|(old, _)| *old == id) {
                    self.pass_windows(id, successor, None);
                }
                if is_told_to_end && !is_late {
                    tracing::info!(generation = id, how, "a worker has ended");
                } else {
                    tracing::warn!(generation = id, how, "a worker has ended");
                }
                self.note(id, |g| g.ended_at = Some(timestamp()));
                self.commands_cut(id);
                self.questions_cut(id);
                let asked = self.machine.serving() == Some(id);
                self.handle(Event::Exited(id, how));
                // The database's table of restarts is the serving worker's: a retired one ends after its successor was told
                // the generations.
                if let Some(serving) = self.machine.serving().filter(|serving| *serving != id) {
                    self.share_history(serving);
                }
                if asked {
                    for client in self.control.all_waiting() {
                        self.answer_status(client, None);
                    }
                }
            }
            Ok(None) => {}
            Err(error) => tracing::error!(generation = id, %error, "a worker can't be reaped"),
        }
    }
}
