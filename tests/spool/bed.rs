//! A relay whose destination is about to fail, and the verdict.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use baton::drill::{Clock, Excuse, Extent, Load, Report, Senders, Sent, Setup, Sink, Status};
use baton::state::Store;
use tempfile::TempDir;

use crate::relay::{Config, LIMIT, Relay};

/// Longer than any pause between two attempts to connect.
pub const QUIET: Duration = Duration::from_secs(10);
/// What destinations have in common: queues that an outage overflows.
const SMALL: &str = "queue=1MiB reconnect=200ms";

/// More lines than such a queue holds.
const HELD: u64 = 100_000;

/// A relay, its sinks, and the folder of its database, which outlives it.
pub struct Bed {
    pub clock: Clock,
    pub sinks: Vec<Sink>,
    pub relay: Relay,
    pub config: Config,
    folder: TempDir,
    flows: u32,
}

/// A destination's words in the config.
pub fn to(sink: &Sink, id: &str, options: &str) -> String {
    format!("{} id={id} {SMALL} {options}", sink.address())
}

impl Bed {
    /// One sink, whose destination has these options and the id `sink`.
    pub fn start(options: &str) -> Bed {
        Bed::with(&[options])
    }

    /// The same, after so many lines were sent in an outage that goes on: all but what the queue holds lie in the spool.
    pub fn in_an_outage(options: &str, lines: u64) -> (Bed, Sent) {
        let mut bed = Bed::start(options);
        bed.cut();
        let sent = bed.send(lines);
        bed.wait_spooled("sink", lines - HELD);
        (bed, sent)
    }

    /// Several, `sink`, `sink1`, `sink2`…
    pub fn with(options: &[&str]) -> Bed {
        let clock = Clock::start();
        let sinks: Vec<Sink> = options
            .iter()
            .map(|_| Sink::start(clock).unwrap())
            .collect();
        let all = options.iter().zip(&sinks).enumerate();
        let all: Vec<String> = all
            .map(|(at, (options, sink))| to(sink, &id(at), options))
            .collect();
        Bed::to(sinks, clock, &all)
    }

    /// One whose destinations are these words.
    pub fn to(sinks: Vec<Sink>, clock: Clock, words: &[String]) -> Bed {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder, words);
        let relay = Relay::set_up(&config, faulty);
        Bed {
            clock,
            sinks,
            relay,
            config,
            folder,
            flows: 0,
        }
    }

    /// Where a file is that outlives the relay.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts other destinations in force.
    pub fn reconfigure(&mut self, words: &[String]) {
        self.config = config(&self.folder, words);
        self.relay.reconfigure(&self.config);
    }

    /// A reload that is to work.
    pub fn reload(&mut self) {
        self.relay.reconfigure(&self.config);
    }

    /// The faults that workers have from now on.
    pub fn faults(&self, faults: &str) {
        let new = self.relay.instance.path("faults.new");
        fs::write(&new, faults).unwrap();
        fs::rename(new, self.relay.instance.path("faults")).unwrap();
    }

    /// Senders over four connections.
    pub fn senders(&mut self, extent: Extent, rate: u64) -> Senders {
        let load = Load {
            extent,
            rate,
            first_flow: self.flows,
            seed: u64::from(self.flows) + 3,
            ..Load::new(self.relay.tcp())
        };
        self.flows += load.connections;
        Senders::start(&load, self.clock).unwrap()
    }

    /// Sends so many lines, as fast as they are taken.
    pub fn send(&mut self, lines: u64) -> Sent {
        let sent = self.senders(Extent::Exactly(lines), 0).finish(LIMIT);
        assert_eq!(sent.client_errors, 0, "{:?}", sent.samples);
        sent
    }

    /// The first sink refuses, and resets what there is.
    pub fn cut(&self) {
        self.sinks[0].refuse().unwrap();
        self.sinks[0].reset().unwrap();
    }

    /// Rows in the database, as anybody sees them.
    pub fn rows(&self) -> u64 {
        let store = Store::open_existing(&self.path("baton.db"), false).unwrap();
        store.totals().unwrap().iter().map(|total| total.rows).sum()
    }

    /// Waits until so many lines lie in the spool of a destination: in rows.
    pub fn wait_spooled(&mut self, id: &str, lines: u64) -> u64 {
        let status = self.relay.wait("lines in the spool", |status| {
            status.of_destination(id, "spooled") >= Some(lines)
        });
        assert!(self.rows() > 0, "no row in {:?}", self.path("baton.db"));
        status.of_destination(id, "spooled").unwrap()
    }

    /// Stops the relay, and tells how long that took.
    pub fn stop(&mut self) -> Duration {
        let began = Instant::now();
        let end = self.relay.instance.stop(LIMIT).unwrap();
        let log = self.relay.instance.log();
        assert_eq!(end.code(), Some(0), "{log}");
        assert!(!log.contains("not delivered"), "{log}");
        began.elapsed()
    }

    /// Kills all its processes, as a power cut does, but for what the kernel has of the files.
    pub fn kill(&mut self) {
        use nix::sys::signal::{Signal, kill};
        let worker = nix::unistd::Pid::from_raw(self.relay.instance.worker_pid().unwrap());
        self.relay.instance.signal(Signal::SIGSTOP).unwrap();
        kill(worker, Signal::SIGKILL).unwrap();
        self.relay.instance.signal(Signal::SIGKILL).unwrap();
        self.relay.instance.wait_ended(LIMIT).unwrap();
    }

    /// Starts it again, with what lies in its database.
    pub fn start_again(&mut self) {
        self.relay = Relay::set_up(&self.config, faulty);
    }

    /// After a start: waits for what the database has of a destination, and tells how many lines that is.
    pub fn wait_imported(&mut self, id: &str) -> u64 {
        let status = self.relay.wait("what was kept", |status| {
            status.of_destination(id, "imported") > Some(0)
        });
        status.of_destination(id, "imported").unwrap()
    }

    /// Waits until nothing is queued or spooled for these destinations.
    pub fn wait_empty(&mut self) -> Status {
        let deadline = Instant::now() + 3 * LIMIT;
        loop {
            let status = self.relay.status();
            let all = status.document()["worker"]["destinations"].as_array();
            let empty = |one: &serde_json::Value| one["queued"] == 0 && one["spooled"] == 0;
            if status.is_serving() && all.is_some_and(|all| all.iter().all(empty)) {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "it isn't emptied: {}\n{}",
                status.document(),
                self.relay.instance.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What must never be of the first sink's lines: one lost without excuse, torn, out of order, a client error, a duplicate
    /// beyond those sent again. Then the end.
    pub fn verdict(self, sent: &Sent) -> Report {
        self.verdict_beyond(sent, 0)
    }

    /// The same, where so many connections may have ended within a line.
    pub fn verdict_beyond(mut self, sent: &Sent, cut: u64) -> Report {
        let report = self.judge(0, "sink", sent, cut);
        self.end();
        report
    }

    /// Judges one sink of several.
    pub fn judge(&mut self, at: usize, id: &str, sent: &Sent, cut: u64) -> Report {
        let status = self.wait_empty();
        let crash_bytes = status.total("lost_by_crash_bytes").unwrap();
        if crash_bytes == 0 {
            self.sinks[at].settle(sent.lines(), QUIET);
        }
        let excuse = Excuse {
            crash_bytes,
            ..Excuse::default()
        };
        let report = Report::new(sent, &self.sinks[at].account(), excuse);
        let faults = [report.lost, report.out_of_order, report.client_errors];
        let wrong = format!("{report}\n{}", status.document());
        assert_eq!(faults, [0; 3], "{wrong}\n{}", self.relay.instance.log());
        assert!(report.torn <= cut, "{wrong}");
        let resent = status.of_destination(id, "resent").unwrap();
        assert!(report.duplicated <= resent, "{wrong}");
        report
    }

    /// The end of every test: no row is left, the books balance, the relay stops.
    pub fn end(mut self) {
        let deadline = Instant::now() + LIMIT;
        while self.rows() > 0 {
            assert!(Instant::now() < deadline, "{} rows are left", self.rows());
            std::thread::sleep(Duration::from_millis(20));
        }
        while let Err(wrong) = self.relay.status().check_books() {
            assert!(
                Instant::now() < deadline,
                "the books don't balance:\n{wrong}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = self.relay.instance.log();
        assert!(!log.contains("panicked"), "{log}");
        assert!(!log.contains("the spool takes nothing"), "{log}");
        self.stop();
    }
}

/// The id of a destination.
pub fn id(at: usize) -> String {
    match at {
        0 => "sink".to_owned(),
        at => format!("sink{at}"),
    }
}

fn faulty(setup: Setup) -> Setup {
    let faults = setup.path("faults");
    setup.env("BATON_FAULTS", faults.to_str().unwrap())
}

fn config(folder: &TempDir, destinations: &[String]) -> Config {
    let path = folder.path().join("baton.db");
    Config {
        supervisor: "stop_timeout = \"1s\"".into(),
        routes: format!(
            "[[route]]\nkey = \"all\"\ntype = \"sendAllMatch\"\ndestinations = {destinations:?}\n[state]\npath = {path:?}\n"
        ),
        ..Config::default()
    }
}

/// That each of so many lines has come, and came once.
pub fn came_once(report: &Report, lines: u64) {
    let came = (report.received, report.duplicated);
    assert_eq!(came, (lines, 0), "{report}");
}

/// A random number generator whose seed is shown.
pub struct Random(u64);

impl Random {
    pub fn new(name: &str) -> Random {
        let seed = std::env::var("SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = seed.unwrap_or(now.unwrap().as_micros() as u64 | 1);
        eprintln!("{name}: SEED={seed}");
        Random(seed)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
