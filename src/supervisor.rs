//! The supervisor: holds the sockets, starts and replaces workers, keeps its process id for life.
//!
//! One thread, one poll loop, no tokio, no SQLite. What it decides is in [`machine`]; this file carries events in
//! and actions out. It never waits for anybody: every send is non-blocking, every step has a deadline.

mod control;
mod holdings;
pub mod machine;
mod notify;
mod settings;
mod sockets;
mod unavailable;
mod worker;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use crate::handover::{
    Answer, FromSupervisor, FromWorker, Generation, Item, Origin, PROTOCOL, Request,
};
use crate::{ledger, sys};
use control::Control;
use holdings::{Entry, Holdings};
use machine::{Action, Event, Id, Machine};
use notify::Notify;
use sockets::Listener;
use unavailable::Unavailable;
use worker::{Binary, Worker};

pub use settings::{Settings, default_control};

/// Generations that are remembered.
const HISTORY: usize = 100;
/// A worker's outcome is cut after so many bytes: the history travels in one message.
const MAX_OUTCOME: usize = 200;
/// What a retired worker may take to exit.
const RETIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// What `baton run` was started with.
#[derive(Clone, Debug)]
pub struct Start {
    /// The binary, absolute, its symlinks unresolved: a reload starts what it then leads to.
    pub binary: PathBuf,
    /// The config, likewise.
    pub config: PathBuf,
    /// The version of this process.
    pub version: String,
}

/// Runs the daemon to its end; returns the exit status.
///
/// # Errors
/// When it can't even begin: the control socket is taken, no memory for the ledger.
pub fn run(start: Start, settings: Settings) -> io::Result<i32> {
    Supervisor::new(start, settings)?.turn_until_exit()
}

struct Supervisor {
    start: Start,
    settings: Settings,
    machine: Machine,
    workers: BTreeMap<Id, Worker>,
    holdings: Holdings,
    control: Control,
    notify: Notify,
    unavailable: Unavailable,
    signals: SignalFd,
    history: VecDeque<Generation>,
    started_at: String,
    /// The binary and config that last worked.
    last_good: Option<(Rc<OwnedFd>, Rc<OwnedFd>)>,
    /// What the frozen worker said.
    frozen: Option<Rc<OwnedFd>>,
    /// What the new worker registered and released since it was started, for the way back.
    new_sockets: HashSet<u64>,
    new_queues: HashSet<String>,
    gone: Vec<u64>,
    exit: Option<i32>,
}

/// What woke the loop.
#[derive(Clone, Copy, Debug)]
enum Source {
    Signal,
    ControlSocket,
    Client(u64),
    Link(Id),
    Death(Id),
    Http(usize),
    Unavailable,
}

impl Supervisor {
    fn new(start: Start, settings: Settings) -> io::Result<Supervisor> {
        sys::raise_open_files();
        let now = Instant::now();
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT] {
            mask.add(signal);
        }
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let control = Control::open(&settings.control).map_err(|e| {
            io::Error::new(
                e.kind(),
                format!("control socket {}: {e}", settings.control.display()),
            )
        })?;
        let holdings = Holdings {
            ledger: Rc::new(sys::memfd("baton-ledger", ledger::BYTES)?),
            listeners: passed_by_systemd(),
            sockets: Default::default(),
            queues: Default::default(),
        };
        let (machine, actions) = Machine::start(settings.times, now);
        let mut supervisor = Supervisor {
            start,
            settings,
            machine,
            workers: BTreeMap::new(),
            holdings,
            control,
            notify: Notify::new(now),
            unavailable: Unavailable::default(),
            signals,
            history: VecDeque::new(),
            started_at: timestamp(),
            last_good: None,
            frozen: None,
            new_sockets: HashSet::new(),
            new_queues: HashSet::new(),
            gone: Vec::new(),
            exit: None,
        };
        supervisor.act(actions);
        Ok(supervisor)
    }

    fn turn_until_exit(mut self) -> io::Result<i32> {
        loop {
            if let Some(status) = self.exit {
                return Ok(self.end(status));
            }
            let woken = self.wait()?;
            for source in woken {
                self.serve(source);
            }
            let now = Instant::now();
            self.notify.tick(now);
            self.unavailable.turn(now);
            for id in self.control.overdue(now) {
                self.answer_status(id, None);
            }
            for worker in self
                .workers
                .values()
                .filter(|w| w.retire_by.is_some_and(|at| now >= at))
            {
                worker.child.kill();
            }
            if self.machine.deadline().is_some_and(|at| now >= at) {
                self.handle(Event::Time);
            }
        }
    }

    /// Waits until something happens or is due.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut sources = vec![Source::Signal];
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let mut add = |source, fd| {
            sources.push(source);
            fds.push(fd);
        };
        if self.control.accepts() {
            add(
                Source::ControlSocket,
                PollFd::new(&self.control.socket, PollFlags::IN),
            );
        }
        for client in &self.control.clients {
            add(
                Source::Client(client.id),
                PollFd::from_borrowed_fd(client.link.fd(), PollFlags::IN),
            );
        }
        for (id, worker) in &self.workers {
            if !worker.closed {
                let mut flags = PollFlags::IN;
                if !worker.outbox.is_empty() {
                    flags |= PollFlags::OUT;
                }
                add(
                    Source::Link(*id),
                    PollFd::from_borrowed_fd(worker.link.fd(), flags),
                );
            }
            add(
                Source::Death(*id),
                PollFd::from_borrowed_fd(worker.child.pidfd(), PollFlags::IN),
            );
        }
        if matches!(self.machine.phase(), "recovering" | "starting") && self.unavailable.accepts() {
            for (at, listener) in self.holdings.listeners.iter().enumerate() {
                if listener.kind == "http" && listener.pending.is_none() {
                    add(Source::Http(at), PollFd::new(&*listener.fd, PollFlags::IN));
                }
            }
        }
        for fd in self.unavailable.fds() {
            add(
                Source::Unavailable,
                PollFd::from_borrowed_fd(fd, PollFlags::IN),
            );
        }
        let due = [
            self.machine.deadline(),
            self.notify.deadline(),
            self.control.deadline(),
            self.unavailable.deadline(),
            self.workers.values().filter_map(|w| w.retire_by).min(),
        ];
        let timeout = due.into_iter().flatten().min().map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let woken = fds
            .iter()
            .zip(sources)
            .filter(|(fd, _)| !fd.revents().is_empty());
        let mut woken: Vec<Source> = woken.map(|(_, source)| source).collect();
        // What a worker said comes before the news of its death.
        woken.sort_by_key(|source| matches!(source, Source::Death(_)));
        Ok(woken)
    }

    fn serve(&mut self, source: Source) {
        match source {
            Source::Signal => self.read_signals(),
            Source::ControlSocket => self.control.accept(),
            Source::Client(id) => {
                if let Some(request) = self.control.read(id) {
                    self.request(id, request);
                }
            }
            Source::Link(id) => self.read_worker(id),
            Source::Death(id) => self.bury(id),
            Source::Http(at) => {
                if let Some(listener) = self.holdings.listeners.get(at) {
                    self.unavailable.accept(listener.fd.as_fd(), Instant::now());
                }
            }
            Source::Unavailable => {}
        }
    }

    fn handle(&mut self, event: Event) {
        let actions = self.machine.handle(event, Instant::now());
        self.act(actions);
    }

    fn read_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if info.ssi_signo == Signal::SIGHUP as u32 {
                self.handle(Event::Reload(None));
            } else {
                self.handle(Event::Terminate);
            }
        }
    }

    // --- the command line ---

    fn request(&mut self, id: u64, request: Request) {
        match request {
            Request::Reload => {
                if let Some(client) = self.control.client(id) {
                    client.waits_reload = true;
                }
                self.handle(Event::Reload(Some(id)));
            }
            Request::Status => match self.machine.serving() {
                Some(serving) => {
                    self.control.wait_report(id, Instant::now());
                    self.tell(serving, &FromSupervisor::Report { id });
                }
                None => self.answer_status(id, None),
            },
            Request::Stop => {
                self.control.answer(id, &Answer::Stopping, None);
                self.handle(Event::Terminate);
            }
        }
    }

    fn answer_status(&mut self, id: u64, report: Option<OwnedFd>) {
        let worker = self.machine.serving().and_then(|id| self.workers.get(&id));
        let worker_version = worker.map(|w| w.version.clone());
        let supervisor = json!({
            "pid": std::process::id(),
            "version": self.start.version,
            "full_restart_due": worker_version.as_ref().is_some_and(|v| *v != self.start.version),
            "started_at": self.started_at,
            "binary": self.start.binary,
            "config": self.start.config,
            "control": self.settings.control,
            "state": self.machine.phase(),
            "generation": self.machine.serving(),
            "held_sockets": self.holdings.sockets.len(),
            "held_queues": self.holdings.queues.len(),
            "listeners": self.holdings.listeners.iter().map(|l| json!({
                "kind": l.kind, "address": l.address.to_string(), "from_systemd": l.passed,
            })).collect::<Vec<_>>(),
        });
        let generations = self.history.iter().cloned().collect();
        let worker = serde_json::Value::Null;
        let answer = Answer::Status {
            supervisor,
            generations,
            worker,
        };
        self.control.answer(id, &answer, report.as_ref());
    }

    // --- workers ---

    fn tell(&mut self, id: Id, message: &FromSupervisor) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.say(message, Vec::new());
        }
    }

    fn read_worker(&mut self, id: Id) {
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
            } => {
                self.welcome(id, protocol_min, protocol_max, version);
            }
            FromWorker::Progress { step } => {
                tracing::info!(generation = id, step, "the new worker prepares");
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
                tracing::error!(generation = id, "the new worker refuses: {reason}");
                self.handle(Event::Refused(id, reason, status));
            }
            FromWorker::Frozen { successor } => {
                if self.machine.candidate() == Some(successor) {
                    self.frozen = fds.pop().map(Rc::new);
                    self.handle(Event::Frozen(id));
                }
            }
            FromWorker::Confirmed => self.handle(Event::Confirmed(id)),
            FromWorker::Running => self.handle(Event::Running(id)),
            FromWorker::Tick => self.handle(Event::Tick(id)),
            FromWorker::Register { items } => self.register(id, items, fds),
            FromWorker::Release { cookies, queues } => self.release(id, cookies, queues),
            FromWorker::Reload => self.handle(Event::Reload(None)),
            FromWorker::Report { id } => self.answer_status(id, fds.pop()),
            FromWorker::Stopped { summary } => {
                tracing::info!(generation = id, "stopped: {summary}");
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
        if origin == Origin::Crash
            && let Some((_, config)) = &self.last_good
        {
            fds.push(config.clone());
        }
        worker.say(
            &FromSupervisor::Welcome {
                protocol: PROTOCOL,
                generation: id,
                origin,
                config,
            },
            fds,
        );
    }

    /// Finds or binds the listeners that a new worker wants, and begins to pass everything.
    fn provide(&mut self, id: Id, wanted: Vec<crate::handover::Wanted>) {
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
        for (item, fd) in items.into_iter().zip(fds) {
            let fd = Rc::new(fd);
            if candidate == Some(id) {
                match &item {
                    Item::Queue { destination, .. } => {
                        self.new_queues.insert(destination.clone());
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
            tracing::info!(address = %listener.address, "no longer listening");
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

    /// A worker has died: what it still said is read first.
    fn bury(&mut self, id: Id) {
        self.read_worker(id);
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        match worker.child.reap() {
            Ok(Some(how)) => {
                self.workers.remove(&id);
                let retired = self
                    .history
                    .iter()
                    .any(|g| g.id == id && g.outcome != "serving");
                if retired {
                    tracing::info!(generation = id, how, "a worker has ended");
                } else {
                    tracing::warn!(generation = id, how, "a worker has ended");
                }
                self.note(id, |g| g.ended_at = Some(timestamp()));
                self.handle(Event::Exited(id, how));
            }
            Ok(None) => {}
            Err(error) => tracing::error!(generation = id, %error, "a worker can't be reaped"),
        }
    }

    fn note(&mut self, id: Id, change: impl FnOnce(&mut Generation)) {
        if let Some(generation) = self.history.iter_mut().find(|g| g.id == id) {
            change(generation);
        }
    }

    // --- what the machine decided ---

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            tracing::debug!(?action, "supervisor");
            match action {
                Action::Spawn(id, origin) => self.spawn(id, origin),
                Action::Kill(id) => {
                    if let Some(worker) = self.workers.get(&id) {
                        worker.child.kill();
                    }
                }
                Action::Freeze(id) => {
                    let successor = self.machine.candidate().unwrap_or_default();
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
                        worker.retire_by = Some(Instant::now() + RETIRE_TIMEOUT);
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
                Action::Answer(askers, result) => self.answer(&askers, result),
                Action::Tell(state) => {
                    if let machine::State::Refused(why) = &state {
                        tracing::error!("the reload was refused, nothing changed: {why}");
                    }
                    self.notify.tell(&state, self.machine.serving());
                }
                Action::Exit(status) => self.exit = Some(status),
            }
        }
    }

    fn spawn(&mut self, id: Id, origin: Origin) {
        let settings = Settings::read(&self.start.config);
        if settings.control != self.settings.control {
            tracing::warn!(
                now = %self.settings.control.display(), config = %settings.control.display(),
                "the control socket's path changes at the next full restart"
            );
        }
        self.machine.set_times(settings.times);
        self.frozen = None;
        self.new_sockets.clear();
        self.new_queues.clear();
        self.gone.clear();
        let held = self.last_good.as_ref().filter(|_| origin == Origin::Crash);
        let binary = match held {
            Some((exe, _)) => Binary::Held(exe.clone()),
            None => Binary::OnDisk(&self.start.binary),
        };
        let spawned = Worker::spawn(&binary);
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
        match spawned {
            Ok(worker) => {
                tracing::info!(
                    generation = id,
                    pid = worker.child.pid(),
                    ?origin,
                    "worker started"
                );
                self.workers.insert(id, worker);
            }
            Err(why) => self.handle(Event::SpawnFailed(id, why)),
        }
    }

    fn pass_frozen(&mut self, id: Id) {
        let Some(frozen) = self.frozen.take() else {
            self.handle(Event::Broken(
                id,
                "the old worker's state is missing".into(),
            ));
            return;
        };
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.flush_feed();
            worker.say(&FromSupervisor::Frozen, vec![frozen]);
        }
    }

    fn go(&mut self, id: Id) {
        for listener in &mut self.holdings.listeners {
            if let Err(error) = listener.open() {
                tracing::error!(address = %listener.address, %error, "cannot listen");
            }
        }
        self.tell(id, &FromSupervisor::Go);
    }

    /// The way back. Stale: the new worker had begun, so the old one is told what changed.
    fn thaw(&mut self, id: Id, stale: bool) {
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
        self.new_queues.clear();
        self.new_sockets.clear();
        self.gone.clear();
    }

    /// Lets go of what was made for a worker that never had the `go`: its queues are empty, and
    /// nobody could connect to its listeners.
    fn discard(&mut self, id: Id) {
        let (gone, kept) = std::mem::take(&mut self.holdings.listeners)
            .into_iter()
            .partition::<Vec<_>, _>(|l| l.pending == Some(id));
        self.holdings.listeners = kept;
        gone.into_iter().for_each(Listener::close);
        for queue in self.new_queues.drain() {
            self.holdings.queues.remove(&queue);
        }
    }

    fn serves(&mut self, id: Id, pause: Option<Duration>) {
        tracing::info!(
            generation = id,
            pause_us = pause.map(|p| p.as_micros() as u64),
            "serving"
        );
        self.note(id, |g| {
            g.serving_at = Some(timestamp());
            g.outcome = "serving".into();
            g.pause_us = pause.map(|p| p.as_micros() as u64);
        });
        self.share_history(id);
    }

    fn settle(&mut self, id: Id) {
        self.new_sockets.clear();
        self.new_queues.clear();
        self.gone.clear();
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if let Some(config) = &worker.config {
            self.last_good = Some((worker.exe.clone(), config.clone()));
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

    fn share_history(&mut self, id: Id) {
        let generations = self.history.iter().cloned().collect();
        self.tell(id, &FromSupervisor::History { generations });
    }

    fn answer(&mut self, askers: &[u64], result: Result<Id, String>) {
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

    /// The last things: nothing of ours is left behind.
    fn end(&mut self, status: i32) -> i32 {
        for worker in self.workers.values() {
            worker.child.kill();
        }
        let waiting: Vec<u64> = self
            .control
            .clients
            .iter()
            .filter(|c| c.waits_reload)
            .map(|c| c.id)
            .collect();
        self.answer(&waiting, Err("stopping".into()));
        self.holdings.listeners.drain(..).for_each(Listener::close);
        tracing::info!(status, "the supervisor ends");
        status
    }
}

/// The sockets that systemd passed (sd_listen_fds(3)).
fn passed_by_systemd() -> Vec<Listener> {
    let passed = match sd_notify::listen_fds_with_names() {
        Ok(passed) => passed,
        Err(error) => {
            tracing::error!(%error, "systemd's sockets can't be taken");
            return Vec::new();
        }
    };
    let take = |(fd, name): (i32, String)| {
        let listener = sys::inherited(fd).and_then(|fd| Listener::passed(fd, &name));
        match listener {
            Ok(listener) if matches!(listener.kind.as_str(), "line" | "http") => {
                tracing::info!(address = %listener.address, kind = name, "from systemd");
                Some(listener)
            }
            Ok(listener) => {
                tracing::error!(
                    address = %listener.address, kind = name,
                    "a socket from systemd whose FileDescriptorName is neither line nor http isn't served"
                );
                None
            }
            Err(error) => {
                tracing::error!(fd, name, %error, "a socket from systemd can't be used");
                None
            }
        }
    };
    passed.filter_map(take).collect()
}

/// Now, RFC 3339, UTC.
fn timestamp() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
