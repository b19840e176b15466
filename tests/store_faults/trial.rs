//! Numbered lines through a relay to sinks that go down, and a database that is hurt meanwhile.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use baton::drill::{Clock, Excuse, Extent, Load, Report, Senders, Sent, Setup, Sink, Status};
use serde_json::Value;

use crate::relay::{Config, LIMIT, Relay};

/// After this long without a byte nothing more is expected.
const QUIET: Duration = Duration::from_secs(8);

/// A relay that gives every line to each of the sinks, `s0`, `s1`, …
pub struct Trial {
    pub clock: Clock,
    pub sinks: Vec<Sink>,
    pub relay: Relay,
    /// The number of the next connection.
    flow: u32,
}

/// What a trial is about.
pub struct Plan<'a> {
    pub sinks: usize,
    /// Of each destination.
    pub options: &'a str,
    /// Of the section `[state]`, dotted.
    pub state: &'a str,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Plan {
            sinks: 1,
            options: "queue=1MiB",
            state: "",
        }
    }
}

impl Trial {
    pub fn start(plan: &Plan<'_>) -> Trial {
        Trial::set_up(plan, |setup| setup)
    }

    pub fn set_up(plan: &Plan<'_>, change: impl FnOnce(Setup) -> Setup) -> Trial {
        let clock = Clock::start();
        let sinks: Vec<Sink> = (0..plan.sinks)
            .map(|_| Sink::start(clock).unwrap())
            .collect();
        let relay = Relay::set_up(&config(&sinks, plan), change);
        Trial {
            clock,
            sinks,
            relay,
            flow: 0,
        }
    }

    /// All sinks go down, and the relay has seen it.
    pub fn down(&mut self) {
        for sink in &self.sinks {
            sink.refuse().unwrap();
            sink.reset().unwrap();
        }
        self.relay.wait("the destinations to be down", |status| {
            each(status).all(|one| one["state"] == "down")
        });
    }

    /// All sinks are there again.
    pub fn up(&self) {
        self.sinks.iter().for_each(|sink| sink.resume().unwrap());
    }

    /// Sends so many lines over four connections, at this rate; 0: as fast as they are taken.
    pub fn senders(&mut self, lines: u64, rate: u64) -> Senders {
        let load = Load {
            extent: Extent::Exactly(lines),
            rate,
            first_flow: self.flow,
            ..Load::new(self.relay.tcp())
        };
        self.flow += load.connections;
        Senders::start(&load, self.clock).unwrap()
    }

    /// Sends so many lines, which are taken at once.
    pub fn send(&mut self, lines: u64) -> Sent {
        self.senders(lines, 0).finish(LIMIT)
    }

    /// Waits until so many lines that came in aren't on their way in memory to the database any more.
    pub fn wait_spooled(&mut self, what: &'static str, lines: u64) -> Status {
        self.relay.wait(what, |status| {
            each(status).all(|one| one["spooled"].as_u64() >= Some(lines))
        })
    }

    /// Waits until everything has left, and checks what must never be: a line torn or out of order, a client error, a
    /// duplicate that was not sent again, a line that is missing and not counted as dropped for one of these reasons.
    /// Returns how many were dropped, by all sinks together.
    pub fn end(mut self, sent: &Sent, reasons: &[&str]) -> u64 {
        let status = self.relay.wait("everything to have left", |status| {
            status.total("in") == Some(sent.lines())
                && each(status).all(|one| one["queued"] == 0 && one["spooled"] == 0)
        });
        let mut all = 0;
        for (at, sink) in self.sinks.iter().enumerate() {
            let id = format!("s{at}");
            let dropped = status.of_destination(&id, "dropped").unwrap();
            sink.settle(sent.lines() - dropped, QUIET);
            let report = Report::new(sent, &sink.account(), Excuse::default());
            let faults = [report.torn, report.out_of_order, report.client_errors];
            assert_eq!(faults, [0; 3], "{report}\n{}", status.document());
            assert_eq!(report.lost, dropped, "{report}\n{}", status.document());
            let resent = status.of_destination(&id, "resent").unwrap();
            assert!(report.duplicated <= resent, "{resent} sent again, {report}");
            let counted = reasons
                .iter()
                .map(|reason| dropped_for(&status, at, reason));
            assert_eq!(counted.sum::<u64>(), dropped, "{}", status.document());
            all += dropped;
        }
        self.relay.check_books();
        all
    }
}

/// Puts it together as [`Trial::start`] does.
pub fn config(sinks: &[Sink], plan: &Plan<'_>) -> Config {
    let to: Vec<String> = (0..)
        .zip(sinks)
        .map(|(at, sink)| {
            let (address, options) = (sink.address(), plan.options);
            format!("{address} id=s{at} reconnect=100ms {options}")
        })
        .collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    Config {
        top: plan.state.to_owned(),
        ..Config::to(&to)
    }
}

pub fn each(status: &Status) -> impl Iterator<Item = &Value> {
    let all = status.document()["worker"]["destinations"].as_array();
    all.into_iter().flatten()
}

/// Lines that a sink's destination has dropped for this reason.
pub fn dropped_for(status: &Status, at: usize, reason: &str) -> u64 {
    let destination = status.destination(&format!("s{at}")).unwrap();
    destination["dropped"][reason].as_u64().unwrap_or(0)
}

/// What the status says of the database.
pub fn state(status: &Status) -> &Value {
    &status.document()["worker"]["state"]
}

pub fn says(status: &Status, what: &str) -> bool {
    let error = state(status)["error"].as_str();
    error.is_some_and(|error| error.contains(what))
}

/// Waits until nothing was sent for a while: the relay reads no more.
pub fn wait_stalled(senders: &Senders) {
    let deadline = Instant::now() + LIMIT;
    let (mut last, mut since) = (senders.sent(), Instant::now());
    while since.elapsed() < Duration::from_millis(1500) {
        assert!(Instant::now() < deadline, "it reads on and on");
        std::thread::sleep(Duration::from_millis(10));
        if senders.sent() != last {
            (last, since) = (senders.sent(), Instant::now());
        }
    }
}

/// Files that another process moved aside.
pub fn moved_aside(folder: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).unwrap();
    let names = all.map(|entry| entry.unwrap().path());
    names
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.contains("baton.db.damaged-") && !name.ends_with("-wal")
        })
        .collect()
}

/// Runs `sqlite3` and returns what it says.
pub fn sqlite(database: &Path, sql: &str) -> String {
    let done = Command::new("sqlite3")
        .args(["-cmd", ".timeout 10000"])
        .arg(database)
        .arg(sql)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{sql}: {said}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Somebody who works in the database with `sqlite3`.
pub struct Shell {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    pub fn open(database: &Path) -> Shell {
        let mut process = Command::new("sqlite3")
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (
            process.stdin.take().unwrap(),
            process.stdout.take().unwrap(),
        );
        let mut shell = Shell {
            process,
            input,
            output: BufReader::new(output),
        };
        shell.run(".timeout 20000");
        shell
    }

    /// Runs this, and returns what it says when it is done.
    pub fn run(&mut self, sql: &str) -> String {
        writeln!(self.input, "{sql}\nselect 'done with it';").unwrap();
        let mut said = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "it has ended");
            if line == "done with it\n" {
                return said;
            }
            said.push_str(&line);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Whatever it was in the middle of.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
