//! A relay under load and under watch: what every test of a restart, a crash or a stop begins and ends with.
#![allow(dead_code)] // each test program uses its own part of it

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use baton::drill::{
    Clock, Excuse, Extent, Flow, Instance, Line, Load, Reload, Report, Senders, Sent, Setup, Sink,
    Status, Target, free_ports,
};
use baton::handover::{Answer, Client, Request};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Above what anything in here takes, on a machine that is busy with other things too.
pub const LIMIT: Duration = Duration::from_secs(40);
/// When nothing arrives for so long, nothing will.
const QUIET: Duration = Duration::from_secs(6);
/// How often the totals are looked at.
const WATCH: Duration = Duration::from_millis(15);

/// A config, as far as tests differ in it.
#[derive(Clone, Debug)]
pub struct Config {
    pub ready_timeout: &'static str,
    pub probation: &'static str,
    pub stop_timeout: &'static str,
    pub line: Vec<String>,
    pub pickle: Vec<String>,
    pub http: Vec<String>,
    pub input: String,
    /// As a route names them.
    pub destinations: Vec<String>,
}

impl Config {
    pub fn text(&self) -> String {
        format!(
            "[supervisor]\ncontrol = \"unix:control.sock\"\nready_timeout = {:?}\nprobation = {:?}\nstop_timeout = {:?}\n\
             [listen]\nline = {:?}\npickle = {:?}\nhttp = {:?}\n[input]\n{}\n[instrumentation]\ninterval = \"0s\"\n[log]\nlevel = \"debug\"\n\
             [[route]]\nkey = \"all\"\ntype = \"sendAllMatch\"\ndestinations = {:?}\n",
            self.ready_timeout,
            self.probation,
            self.stop_timeout,
            self.line,
            self.pickle,
            self.http,
            self.input,
            self.destinations,
        )
    }
}

/// What may have been lost at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing, not even with an excuse.
    None,
    /// What the relay itself counts as lost by a crash.
    Crash,
    /// That, and what so many workers had in hand of unix streams, whose bytes the kernel doesn't count.
    UnixCrashes(u64),
    /// What the kernel counts as dropped in front of a UDP socket.
    Kernel,
}

/// An instance whose load goes on, and whose totals are watched.
#[derive(Debug)]
pub struct Trial {
    pub clock: Clock,
    pub sink: Sink,
    pub instance: Instance,
    pub config: Config,
    pub tcp: SocketAddr,
    pub http: SocketAddr,
    senders: Vec<Senders>,
    /// What was sent beside the senders.
    sent: Sent,
    flows: u32,
    bytes: u64,
    watch: Watch,
}

impl Trial {
    pub fn start() -> Trial {
        Trial::with(|_| {})
    }

    /// Starts an instance whose config is changed by `change` first.
    pub fn with(change: impl FnOnce(&mut Config)) -> Trial {
        Trial::set_up(change, |setup| setup)
    }

    pub fn set_up(change: impl FnOnce(&mut Config), prepare: impl FnOnce(Setup) -> Setup) -> Trial {
        let clock = Clock::start();
        let sink = Sink::start(clock).unwrap();
        let [tcp, http] = free_ports().unwrap();
        let mut config = Config {
            ready_timeout: "10s",
            probation: "100ms",
            stop_timeout: "10s",
            line: vec![
                format!("tcp://127.0.0.1:{tcp}"),
                format!("udp://127.0.0.1:{tcp}"),
                "unix:line.sock".into(),
            ],
            pickle: vec!["unix:pickle.sock".into()],
            http: vec![format!("tcp://127.0.0.1:{http}")],
            input: String::new(),
            destinations: vec![sink.address().to_string()],
        };
        change(&mut config);
        let setup = Setup::new(env!("CARGO_BIN_EXE_baton"), &config.text()).unwrap();
        let setup = setup.linked().unwrap();
        let faults = setup.path("faults");
        let setup = prepare(setup.env("BATON_FAULTS", faults.to_str().unwrap()));
        let instance = setup.start().unwrap();
        let watch = Watch::begin(instance.path("control.sock"));
        Trial {
            clock,
            sink,
            instance,
            config,
            tcp: (Ipv4Addr::LOCALHOST, tcp).into(),
            http: (Ipv4Addr::LOCALHOST, http).into(),
            senders: Vec::new(),
            sent: Sent::default(),
            flows: 0,
            bytes: 0,
            watch,
        }
    }

    /// Adds connections that send until the end, and waits until their lines arrive.
    pub fn load(&mut self, target: Target, connections: u32, rate: u64) {
        let load = Load {
            connections,
            idle: 2,
            extent: Extent::AtLeast(1_000),
            rate,
            seed: u64::from(self.flows) + 7,
            first_flow: self.flows,
            ..Load::new(target)
        };
        self.flows += connections + load.idle;
        let before = self.sink.account().distinct();
        let senders = Senders::start(&load, self.clock).unwrap();
        self.senders.push(senders);
        assert!(
            self.sink.wait(LIMIT, |account| account.distinct() > before),
            "nothing arrives"
        );
    }

    /// A load over TCP that is enough to be hurt.
    pub fn load_tcp(&mut self) {
        self.load(Target::Tcp(self.tcp), 3, 12_000);
    }

    pub fn target(&self) -> Target {
        Target::Tcp(self.tcp)
    }

    pub fn unix(&self) -> PathBuf {
        self.instance.path("line.sock")
    }

    /// Lines of the senders, up to now.
    pub fn lines(&self) -> u64 {
        self.senders.iter().map(Senders::sent).sum()
    }

    /// Waits until a worker carries out a fault.
    pub fn reached(&self, point: &str) {
        let mark = self.instance.path("faults").with_extension(point);
        wait_for(point, || mark.exists());
    }

    /// Waits until this many more lines have arrived: the load goes on.
    pub fn more(&self, lines: u64) {
        let before = self.sink.account().distinct();
        let more = |account: &baton::drill::Account| account.distinct() >= before + lines;
        assert!(self.sink.wait(LIMIT, more), "the load has stopped");
    }

    /// A connection whose bytes the test sends itself.
    pub fn scribe(&mut self) -> Scribe {
        self.scribe_to(&self.target())
    }

    pub fn scribe_to(&mut self, target: &Target) -> Scribe {
        let socket = match target {
            Target::Tcp(address) => Socket::Tcp(TcpStream::connect(address).unwrap()),
            Target::Unix(path) => Socket::Unix(UnixStream::connect(path).unwrap()),
            Target::Udp(_) => unreachable!("a datagram has no parts"),
        };
        if let Socket::Tcp(socket) = &socket {
            socket.set_nodelay(true).unwrap();
        }
        self.flows += 1;
        Scribe {
            socket,
            clock: self.clock,
            flow: self.flows - 1,
            seq: 0,
        }
    }

    /// Sends so many lines to a sink that hangs, and waits until all are counted: most are queued. Returns the status then.
    pub fn pile_up(&mut self, lines: u64) -> Status {
        // A connection that is still to be made may come after what the test does next: a stop spools then, and does not deliver.
        wait_for("the destination", || {
            self.instance.log().contains("up destination=")
        });
        self.sink.hang().unwrap();
        let mut scribe = self.scribe();
        for _ in 0..lines {
            let line = scribe.line();
            scribe.write(&line);
        }
        let status = self.counted(lines);
        self.enter(scribe);
        status
    }

    /// The status, once so many lines more than were entered are counted, delivered or not.
    pub fn counted(&mut self, lines: u64) -> Status {
        let due = self.sent.lines() + lines;
        let all = |s: &Status| s.total("in") == Some(due);
        let Ok(status) = self.instance.wait_status("all lines", LIMIT, all) else {
            let status = self.instance.status().unwrap();
            panic!("{due} lines are due: {}", status.document());
        };
        books(&status);
        status
    }

    /// Ends all load so far, and waits until every line of it is acknowledged.
    pub fn settle_lines(&mut self) {
        for senders in self.senders.drain(..) {
            self.sent.merge(senders.finish(LIMIT));
        }
        assert!(
            self.sink.settle(self.sent.lines(), QUIET),
            "not all arrived"
        );
        let drained = |status: &Status| {
            let all = status.document()["worker"]["destinations"].as_array();
            status.is_serving() && all.is_some_and(|all| all.iter().all(|d| d["queued"] == 0))
        };
        self.instance
            .wait_status("the last acknowledgement", LIMIT, drained)
            .unwrap();
    }

    /// Waits until so many bytes more were read from clients than when this was last called.
    pub fn read_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
        let due = self.bytes;
        let read = |status: &Status| {
            let all = status.document()["worker"]["listeners"].as_array();
            let bytes = all
                .into_iter()
                .flatten()
                .filter_map(|l| l["bytes"].as_u64());
            bytes.sum::<u64>() == due
        };
        self.instance.wait_status("the bytes", LIMIT, read).unwrap();
    }

    /// Waits until the senders have stood still: nobody reads them.
    pub fn held_back(&self) {
        let mut last = (self.lines(), Instant::now());
        wait_for("the senders to be held back", || {
            let lines = self.lines();
            if lines != last.0 {
                last = (lines, Instant::now());
            }
            last.1.elapsed() > Duration::from_millis(300)
        });
    }

    /// A client that connects anew for every line, from now on.
    pub fn visits(&mut self) -> Visits {
        self.flows += 1;
        let (flow, clock, target) = (self.flows - 1, self.clock, self.tcp);
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let thread = std::thread::spawn(move || {
            let mut seq = 0;
            while !ended.load(Ordering::Relaxed) {
                let socket = Socket::Tcp(TcpStream::connect(target).unwrap());
                let mut scribe = Scribe {
                    socket,
                    clock,
                    flow,
                    seq,
                };
                let line = scribe.line();
                scribe.write(&line);
                seq = scribe.seq;
                scribe.end();
            }
            Flow {
                number: flow,
                lines: seq,
                datagrams: false,
            }
        });
        Visits { end, thread }
    }

    /// From here on, what this connection sent is due at the sink.
    pub fn enter(&mut self, scribe: Scribe) {
        self.sent.flows.push(Flow {
            number: scribe.flow,
            lines: scribe.seq,
            datagrams: false,
        });
        scribe.end();
    }

    /// The faults that workers have from now on, a line each.
    pub fn faults(&self, faults: &str) {
        let new = self.instance.path("faults.new");
        fs::write(&new, faults).unwrap();
        fs::rename(new, self.instance.path("faults")).unwrap();
    }

    /// Changes the config on disk.
    pub fn rewrite(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.instance.rewrite(&self.config.text()).unwrap();
    }

    /// A reload that is to work. Returns the generation.
    pub fn reload(&mut self) -> u64 {
        match self.instance.reload().unwrap() {
            Reload::Done { generation, .. } => generation,
            Reload::Refused { reason } => panic!("refused: {reason}"),
        }
    }

    /// Begins a reload, up to the probation of the new worker, which the config makes long.
    pub fn probation(&mut self) -> Status {
        self.instance.signal(Signal::SIGHUP).unwrap();
        // The worker's part may still be the old one's.
        let probation = |s: &Status| {
            let serving = s.number("/supervisor/generation");
            s.text("/supervisor/state") == Some("probation") && s.generation() == serving
        };
        self.instance
            .wait_status("probation", LIMIT, probation)
            .unwrap()
    }

    /// A reload that is to be refused while everything goes on. Returns the reason.
    pub fn refused(&mut self) -> String {
        let before = self.instance.worker_pid().unwrap();
        let reason = match self.instance.reload().unwrap() {
            Reload::Refused { reason } => reason,
            Reload::Done { generation, .. } => panic!("generation {generation} serves"),
        };
        assert!(!reason.is_empty());
        let status = self.instance.wait_serving(LIMIT).unwrap();
        assert_eq!(
            status.worker_pid(),
            Some(before),
            "the old worker is to serve on"
        );
        let refused = status.document()["generations"].as_array().unwrap();
        let outcome = refused.last().unwrap()["outcome"].as_str().unwrap();
        assert!(outcome.starts_with("refused: "), "{outcome}");
        reason
    }

    /// Successors that fail, each at another step.
    pub fn successors_fail(&mut self) {
        for point in [
            "before-ready",
            "on-frozen",
            "after-confirmed",
            "on-go",
            "before-running",
        ] {
            self.faults(&format!("{point} exit\n"));
            self.refused();
            self.faults("");
        }
    }

    /// Ends all load and waits until what was sent has arrived and is acknowledged.
    pub fn settle(&mut self, loss: Loss) -> Status {
        for senders in self.senders.drain(..) {
            self.sent.merge(senders.finish(LIMIT));
        }
        let sent = self.sent.lines();
        let settled = match loss {
            Loss::None => self.sink.settle(sent, QUIET),
            Loss::Kernel => self.sink.settle(sent, Duration::from_secs(1)),
            // Its connections have ended, so what it hasn't counted by now it never will.
            Loss::Crash | Loss::UnixCrashes(_) => true,
        };
        if loss == Loss::None && !settled {
            let status = self.instance.status().map(|s| s.document().to_string());
            let account = self.sink.account();
            let report = Report::new(&self.sent, &account, Excuse::default());
            drop(account);
            panic!("not all arrived\n{report}\n{status:?}");
        }
        let drained = |status: &Status| {
            let all = status.document()["worker"]["destinations"].as_array();
            status.is_serving() && all.is_some_and(|all| all.iter().all(|d| d["queued"] == 0))
        };
        let status = self
            .instance
            .wait_status("the last acknowledgement", LIMIT, drained);
        let status = status.unwrap();
        books(&status);
        status
    }

    /// Ends the load, then the instance, and judges: nothing lost, duplicated, torn or out of order, no
    /// client error, the books balanced, no total that ever went back, exit status 0, no process left.
    pub fn end(mut self, loss: Loss) -> Report {
        let status = self.settle(loss);
        self.end_settled(&status, loss)
    }

    /// As `end_settled`, where some of the lines in were none of those that are numbered.
    pub fn end_counted(mut self, status: &Status) -> Report {
        assert_eq!(self.instance.stop(LIMIT).unwrap().code(), Some(0));
        self.judge(status, Loss::None)
    }

    /// As `end`, where a destination has gone, and its part of the books with it.
    pub fn end_gone(mut self) -> Report {
        let status = self.instance.status().unwrap();
        self.end_counted(&status)
    }

    pub fn end_settled(mut self, status: &Status, loss: Loss) -> Report {
        let end = self.instance.stop(LIMIT).unwrap();
        assert_eq!(end.code(), Some(0), "{}", self.instance.log());
        let report = self.judge(status, loss);
        if loss == Loss::None {
            assert_eq!(status.total("in"), Some(report.sent));
        }
        report
    }

    /// For an instance that has ended: the verdict over what arrived.
    pub fn judge(mut self, status: &Status, loss: Loss) -> Report {
        for senders in self.senders.drain(..) {
            self.sent.merge(senders.finish(LIMIT));
        }
        no_process_left(self.instance.folder());
        assert!(self.sink.wait_closed(QUIET), "a connection is left");
        let crash_bytes = status.total("lost_by_crash_bytes").unwrap();
        let in_hand = match loss {
            Loss::None | Loss::Kernel => {
                assert_eq!(crash_bytes, 0, "nothing was to be lost by a crash");
                0
            }
            Loss::Crash => 0,
            Loss::UnixCrashes(workers) => workers * 256 * 1024,
        };
        let kernel_dropped = match loss {
            Loss::Kernel => status.kernel_dropped().unwrap(),
            _ => 0,
        };
        let excuse = Excuse {
            kernel_dropped,
            crash_bytes: crash_bytes + in_hand,
        };
        let report = Report::new(&self.sent, &self.sink.account(), excuse);
        assert!(report.is_clean(), "{report}\n{}", self.instance.log());
        let complaints = self.watch.end();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        report
    }

    /// One HTTP request of its own; the status line and the body, or why there is none.
    pub fn get(&self, page: &str) -> io::Result<String> {
        let mut socket = TcpStream::connect(self.http)?;
        socket.set_read_timeout(Some(LIMIT))?;
        write!(
            socket,
            "GET {page} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

/// Both equations of the books, of an instance at rest.
pub fn books(status: &Status) {
    let total = |name| {
        status
            .total(name)
            .unwrap_or_else(|| panic!("no total {name}"))
    };
    assert_eq!(
        total("in"),
        total("rejected")
            + total("blocked")
            + total("consumed")
            + total("unrouted")
            + total("routed"),
        "{}",
        status.document()
    );
    let mut given = 0;
    for destination in status.document()["worker"]["destinations"]
        .as_array()
        .unwrap()
    {
        let count = |name: &str| destination[name].as_u64().unwrap();
        let dropped: u64 = destination["dropped"]
            .as_object()
            .unwrap()
            .values()
            .map(|lines| lines.as_u64().unwrap())
            .sum();
        assert_eq!(
            count("given") + count("imported"),
            count("acknowledged") + count("queued") + count("spooled") + count("moved") + dropped,
            "{destination}"
        );
        given += count("given");
    }
    assert_eq!(given, total("copies"), "{}", status.document());
}

/// Every process of an instance works in its folder.
pub fn no_process_left(folder: &Path) {
    wait_for("the processes to go", || processes_in(folder).is_empty());
}

pub fn processes_in(folder: &Path) -> Vec<i32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn signal(pid: i32, signal: Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

/// A client that comes and goes.
#[derive(Debug)]
pub struct Visits {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Flow>,
}

impl Visits {
    pub fn end(self, trial: &mut Trial) {
        self.end.store(true, Ordering::Relaxed);
        let flow = self.thread.join().unwrap();
        assert!(flow.lines > 0);
        trial.sent.flows.push(flow);
    }
}

/// Writes numbered lines byte by byte as the test wants.
#[derive(Debug)]
pub struct Scribe {
    socket: Socket,
    clock: Clock,
    flow: u32,
    seq: u64,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Scribe {
    /// The next line, which is taken as sent.
    pub fn line(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        Line {
            flow: self.flow,
            seq: self.seq,
            micros: 0,
        }
        .write(&self.clock, &mut text);
        self.seq += 1;
        text
    }

    pub fn write(&mut self, bytes: &[u8]) {
        match &mut self.socket {
            Socket::Tcp(socket) => socket.write_all(bytes).unwrap(),
            Socket::Unix(socket) => socket.write_all(bytes).unwrap(),
        }
    }

    /// The relay answers an end with its own, and nothing else.
    fn end(self) {
        let mut rest = Vec::new();
        match self.socket {
            Socket::Tcp(mut socket) => {
                socket.shutdown(std::net::Shutdown::Write).unwrap();
                socket.set_read_timeout(Some(LIMIT)).unwrap();
                socket.read_to_end(&mut rest).unwrap();
            }
            Socket::Unix(mut socket) => {
                socket.shutdown(std::net::Shutdown::Write).unwrap();
                socket.set_read_timeout(Some(LIMIT)).unwrap();
                socket.read_to_end(&mut rest).unwrap();
            }
        }
        assert!(rest.is_empty(), "the relay said {rest:?}");
    }
}

/// Asks for the status all the time and complains about totals that go back.
#[derive(Debug)]
struct Watch {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<String>>>,
}

impl Watch {
    fn begin(control: PathBuf) -> Watch {
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let thread = std::thread::spawn(move || {
            let mut complaints = Vec::new();
            let mut last = BTreeMap::new();
            while !ended.load(Ordering::Relaxed) {
                let answer =
                    Client::connect(&control).and_then(|c| c.ask(Request::Status, Some(LIMIT)));
                // While it starts, stops or hangs there may be no answer; others count that.
                if let Ok(Answer::Status { worker, .. }) = answer {
                    let now = totals(&worker);
                    for (name, before) in &last {
                        if let Some(value) = now.get(name)
                            && value < before
                        {
                            complaints.push(format!("{name} went from {before} to {value}"));
                        }
                    }
                    last.extend(now);
                }
                std::thread::sleep(WATCH);
            }
            complaints
        });
        Watch {
            end,
            thread: Some(thread),
        }
    }

    fn end(&mut self) -> Vec<String> {
        self.end.store(true, Ordering::Relaxed);
        self.thread.take().map_or(Vec::new(), |t| t.join().unwrap())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say any more to a test that fails.
            let _ = thread.join();
        }
    }
}

/// A thread with a scribe of its own.
pub struct Writing {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Scribe>,
}

impl Writing {
    /// What is given writes for as long as the function that it is passed says so, and gives back its scribe.
    pub fn start(write: impl FnOnce(&dyn Fn() -> bool) -> Scribe + Send + 'static) -> Writing {
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let thread = std::thread::spawn(move || write(&|| !ended.load(Ordering::Relaxed)));
        Writing { end, thread }
    }

    /// Ends it.
    pub fn finish(self) -> Scribe {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// All counters that only ever grow.
fn totals(worker: &Value) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    let mut add = |owner: &str, part: &Value| {
        for (name, value) in part.as_object().into_iter().flatten() {
            let grows = !matches!(
                name.as_str(),
                "connections" | "queued" | "queued_bytes" | "queue_bytes" | "spooled" | "spool"
            );
            let sum = match value {
                Value::Object(parts) => parts.values().filter_map(Value::as_u64).sum(),
                Value::Number(_) if value.is_u64() => value.as_u64().unwrap_or_default(),
                _ => continue,
            };
            if grows {
                all.insert(format!("{owner} {name}"), sum);
            }
        }
    };
    add("totals", &worker["totals"]);
    for (list, key) in [("listeners", "address"), ("destinations", "id")] {
        for part in worker[list].as_array().into_iter().flatten() {
            add(part[key].as_str().unwrap_or_default(), part);
        }
    }
    for part in worker["routes"].as_array().into_iter().flatten() {
        all.insert(
            format!("route {}", part["key"]),
            part["lines"].as_u64().unwrap_or_default(),
        );
    }
    all
}
