//! The supervisor: holds the sockets, starts and replaces workers, keeps its process id for life.
//!
//! One thread, one poll loop, no tokio, no SQLite. What it decides is in [`machine`]; this file carries events in
//! and actions out. It never waits for anybody: every send is non-blocking, every step has a deadline.

mod act;
mod control;
mod hear;
mod holdings;
mod keep;
pub mod machine;
mod notify;
mod settings;
mod sockets;
mod spool;
mod trace;
mod unavailable;
mod worker;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use crate::handover::{Answer, FromSupervisor, Generation, Item, Origin, Request};
use crate::{ledger, sys};
use control::Control;
use holdings::Holdings;
use keep::{Keep, LastGood, Share};
use machine::{Event, Id, Machine};
use notify::Notify;
use sockets::Listener;
use unavailable::Unavailable;
use worker::Worker;

pub use settings::Settings;

/// Generations that are remembered.
const HISTORY: usize = 100;
/// A worker's outcome is cut after so many bytes: the history travels in one message.
const MAX_OUTCOME: usize = 200;
/// What a killed worker may take to be dead, at the end: it may be inside of a write to a disk that hangs.
const DEATH: Duration = Duration::from_secs(2);
/// What a retired worker may take to exit.
const RETIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// The same, when it writes a profile.
const PROFILE_TIMEOUT: Duration = Duration::from_secs(60);

/// What `baton run` was started with.
#[derive(Clone, Debug)]
pub struct Start {
    /// The binary, absolute, its symlinks unresolved: a reload starts what it then leads to.
    pub binary: PathBuf,
    /// The config, likewise.
    pub config: PathBuf,
    /// Where workers write, at their end, what their CPU time went to.
    pub profile: Option<PathBuf>,
    /// The version of this process.
    pub version: String,
    /// Called whenever something has happened: to tell what the log held back.
    pub after_each_turn: fn(),
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
    last_good: Option<LastGood>,
    /// The next worker is one of what lies on disk though its predecessor died: the stop that it died in was half of a
    /// restart, perhaps.
    disk_first: bool,
    /// That worker, until it has settled or failed.
    from_disk: Option<Id>,
    /// A copy of what is held, in case this process is killed.
    keep: Keep,
    /// What the serving worker was told of that.
    told_kept: Option<bool>,
    /// What the frozen worker said.
    frozen: Vec<Rc<OwnedFd>>,
    /// The worker that was frozen, until its successor serves: it has windows.
    has_windows: Option<Id>,
    /// A worker that was asked for its windows, and its successor.
    windows_due: Option<(Id, Id)>,
    /// What the new worker registered and released since it was started, for the way back.
    new_sockets: HashSet<u64>,
    new_queues: HashSet<String>,
    new_listeners: Vec<u64>,
    /// Queues that the new worker put into other memory: as they were.
    displaced: HashMap<String, (Item, Rc<OwnedFd>)>,
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
        let (listeners, lots) = sockets::passed_by_systemd();
        let (mut keep, found) = Keep::begin(&lots);
        let (machine, actions) = match &found {
            // What has worked will work: whatever the config says by now, it isn't given up.
            Some(found) => {
                let last = found.history.back().map_or(0, |generation| generation.id);
                Machine::go_on_from(last, settings.times, now)
            }
            None => Machine::start(settings.times, now),
        };
        let disk_first = found.as_ref().is_some_and(|found| found.stopping);
        let (holdings, history, last_good) = match found {
            Some(found) => {
                let holdings = Holdings::found(found.ledger, found.listeners, found.items);
                (holdings, found.history, found.last_good)
            }
            None => {
                let ledger = Rc::new(sys::memfd("baton-ledger", ledger::BYTES)?);
                let holdings = Holdings::found(ledger, Vec::new(), Vec::new());
                (holdings, VecDeque::new(), None)
            }
        };
        keep.ledger(&holdings.ledger);
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
            history,
            started_at: timestamp(),
            last_good,
            disk_first,
            from_disk: None,
            keep,
            told_kept: None,
            frozen: Vec::new(),
            new_sockets: HashSet::new(),
            has_windows: None,
            windows_due: None,
            new_queues: HashSet::new(),
            new_listeners: Vec::new(),
            displaced: HashMap::new(),
            gone: Vec::new(),
            exit: None,
        };
        supervisor.holdings.listeners.extend(listeners);
        supervisor.copy_found(&lots);
        supervisor.act(actions);
        Ok(supervisor)
    }

    /// What was found in the lots of a killed predecessor is copied to ours, and then only let go of there.
    fn copy_found(&mut self, lots: &[(String, OwnedFd)]) {
        if let Some(last_good) = &self.last_good {
            self.keep.last_good(last_good);
        }
        self.keep.follow(&mut self.holdings);
        Keep::forget(lots);
    }

    fn turn_until_exit(mut self) -> io::Result<i32> {
        loop {
            if let Some(status) = self.exit {
                return Ok(self.end(status));
            }
            self.ask_for_reports();
            let woken = self.wait()?;
            for source in woken {
                self.serve(source);
                self.keep.follow(&mut self.holdings);
            }
            let now = Instant::now();
            self.tend_keep(now);
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
            (self.start.after_each_turn)();
        }
    }

    /// Whether all is kept is among the metrics.
    fn tend_keep(&mut self, now: Instant) {
        self.keep.tick(now);
        let kept = self.keep.share().map(Share::is_whole);
        if let Some(serving) = self.machine.serving().filter(|_| kept != self.told_kept) {
            self.share_history(serving);
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
        if self.machine.nobody_serves() && self.unavailable.accepts() {
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
            self.keep.deadline(),
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
                if let Some((request, beside)) = self.control.read(id) {
                    self.request(id, request, beside);
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

    fn request(&mut self, id: u64, request: Request, beside: Vec<OwnedFd>) {
        match request {
            Request::Reload { watched } => {
                if let Some(client) = self.control.client(id) {
                    client.waits_reload = true;
                    client.wants_watching = watched;
                }
                self.handle(Event::Reload(Some(id)));
            }
            Request::Status => {
                self.control.wait_report(id, Instant::now());
                self.ask_for_reports();
            }
            Request::Stop => {
                self.control.answer(id, &Answer::Stopping, None);
                self.handle(Event::Terminate);
            }
            Request::Spool { command } => self.pass_command(id, command, beside),
            Request::Trace => self.pass_question(id, beside),
        }
    }

    /// Asks whoever serves for its part of the status. In a pause it is asked as soon as that is over.
    fn ask_for_reports(&mut self) {
        match self.machine.serving() {
            Some(serving) => {
                for id in self.control.ask_for_rest() {
                    self.tell(serving, &FromSupervisor::Report { id });
                }
            }
            None if self.machine.nobody_serves() => {
                for id in self.control.ask_for_rest() {
                    self.answer_status(id, None);
                }
            }
            None => {}
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
            "kept": self.keep.share(),
            "lost_at_start": self.keep.lost,
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

    fn note(&mut self, id: Id, change: impl FnOnce(&mut Generation)) {
        if let Some(generation) = self.history.iter_mut().find(|g| g.id == id) {
            change(generation);
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
            .filter(|c| c.waits_reload || c.waits_spool.is_some() || c.waits_trace.is_some())
            .map(|c| c.id)
            .collect();
        self.answer(&waiting, Err("stopping".into()));
        self.holdings.listeners.drain(..).for_each(Listener::close);
        self.outlive_workers();
        // After a start that was refused there is nothing to go on with; after a stop that was cut short there is.
        let is_start = |generation: &Generation| generation.reason == Origin::Start;
        let never_worked = self.last_good.is_none() && self.history.iter().all(is_start);
        if status == 0 || never_worked {
            self.keep.end();
        }
        tracing::info!(status, "the supervisor ends");
        status
    }

    /// Waits for the deaths of workers, as long as that may take: whoever starts the next Baton finds the addresses free.
    fn outlive_workers(&self) {
        let deadline = Instant::now() + DEATH;
        let lives = |worker: &Worker| matches!(worker.child.reap(), Ok(None));
        for worker in self.workers.values() {
            while lives(worker) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Now, RFC 3339, UTC.
fn timestamp() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
