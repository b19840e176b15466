//! A machine with Baton installed by its shipped units, senders and a store, and what of the lines came.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use baton::drill::{
    Clock, Excuse, Extent, Flow, Line, Load, Report, Senders, Sent, Sink, Status, Target,
};
use baton::handover::{Client, Request};

use super::clients::{Pickles, Visits, visit};
use super::guest::{Guest, LIMIT, source, wait_for};

/// When nothing arrives for so long, nothing will.
const QUIET: Duration = Duration::from_secs(6);
/// Where baton-line.socket listens.
pub const LINE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2003);
/// Where baton-pickle.socket listens.
pub const PICKLE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2004);
/// The units, all of them installed.
pub const UNITS: [&str; 6] = [
    "baton.service",
    "baton-line.socket",
    "baton-line-udp.socket",
    "baton-pickle.socket",
    "baton-telnet.socket",
    "baton-http.socket",
];

#[derive(Debug)]
pub struct Site {
    pub guest: Guest,
    pub sink: Sink,
    clock: Clock,
    senders: Vec<Senders>,
    pickles: Vec<Pickles>,
    sent: Sent,
    flows: u32,
}

impl Site {
    /// Installs Baton and begins to listen; the service isn't started.
    pub fn set_up() -> Option<Site> {
        Site::with("")
    }

    /// The same, with more in the service's unit.
    pub fn with(drop_in: &str) -> Option<Site> {
        let site = Site::installed(drop_in)?;
        site.guest.ok(&["systemctl", "enable", "baton.service"]);
        site.guest.ok(&["systemctl", "start", "sockets.target"]);
        for unit in &UNITS[1..] {
            site.guest.ok(&["systemctl", "start", unit]);
        }
        Some(site)
    }

    /// Installs Baton, and enables and starts nothing, as the packages do.
    pub fn installed(drop_in: &str) -> Option<Site> {
        let site = Site::bare()?;
        for unit in UNITS {
            let text = std::fs::read(source("systemd").join(unit)).unwrap();
            let path = format!("/usr/lib/systemd/system/{unit}");
            site.guest.write(&path, text, 0o644);
        }
        if !drop_in.is_empty() {
            let path = "/etc/systemd/system/baton.service.d/test.conf";
            site.guest.write(path, drop_in, 0o644);
        }
        site.install(b"");
        site.configure("");
        site.guest.ok(&["systemctl", "daemon-reload"]);
        Some(site)
    }

    /// A machine without Baton.
    pub fn bare() -> Option<Site> {
        let guest = Guest::boot()?;
        let clock = Clock::start();
        let sink = Sink::start(clock).unwrap();
        Some(Site {
            guest,
            sink,
            clock,
            senders: Vec::new(),
            pickles: Vec::new(),
            sent: Sent::default(),
            flows: 0,
        })
    }

    /// Puts a new program in the place of the old; what is added at its end makes it another file that does the same.
    pub fn install(&self, at_its_end: &[u8]) {
        let mut program = std::fs::read(env!("CARGO_BIN_EXE_baton")).unwrap();
        program.extend_from_slice(at_its_end);
        self.guest.write("/usr/bin/baton", program, 0o755);
    }

    /// Writes the config, which begins with this.
    pub fn configure(&self, more: &str) {
        let text = format!(
            "{more}\n[supervisor]\nprobation = \"100ms\"\nstop_timeout = \"5s\"\n[instrumentation]\ninterval = \"0s\"\n[log]\nlevel = \"debug\"\n\
             [[route]]\nkey = \"all\"\ntype = \"sendAllMatch\"\ndestinations = [\"{}\"]\n",
            self.sink.address()
        );
        self.guest.write("/etc/baton/baton.toml", text, 0o644);
    }

    /// Starts the service.
    pub fn start(&self) {
        self.guest.ok(&["systemctl", "start", "baton"]);
    }

    /// The status, if there is one.
    pub fn try_status(&self) -> Option<Status> {
        let control = self.guest.path("/run/baton/control.sock");
        let answer = Client::connect(&control).and_then(|c| c.ask(Request::Status, Some(LIMIT)));
        Some(Status::new(serde_json::to_value(answer.ok()?).unwrap()))
    }

    /// Waits until the status is as wanted.
    pub fn wait_status(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let mut found = None;
        wait_for(what, || {
            found = self.try_status().filter(&wanted);
            found.is_some()
        });
        found.unwrap()
    }

    pub fn serving(&self) -> Status {
        self.wait_status("a worker that serves", Status::is_serving)
    }

    /// That the worker which serves runs the program that is installed.
    pub fn runs_what_is_installed(&self, status: &Status) {
        let inode = |path: &str| std::fs::metadata(self.guest.path(path)).unwrap().ino();
        let worker = status.worker_pid().unwrap();
        assert_eq!(
            inode(&format!("/proc/{worker}/exe")),
            inode("/usr/bin/baton")
        );
    }

    /// Adds connections that send until the end, and waits until their lines arrive.
    pub fn load(&mut self, target: Target) {
        let rate = match target {
            // A datagram waits in the kernel while nobody reads it. ReceiveBuffer= holds many seconds of these.
            Target::Udp(_) => 3_000,
            Target::Tcp(_) | Target::Unix(_) => 6_000,
        };
        let load = Load {
            connections: 3,
            idle: 2,
            extent: Extent::AtLeast(1_000),
            rate,
            seed: u64::from(self.flows) + 7,
            first_flow: self.flows,
            ..Load::new(target)
        };
        self.flows += load.connections + load.idle;
        let senders = Senders::start(&load, self.clock).unwrap();
        self.senders.push(senders);
        self.more(1);
    }

    /// Adds a connection that sends pickles until the end, and waits until their points arrive.
    pub fn load_pickles(&mut self) {
        self.flows += 1;
        let pickles = Pickles::begin(self.flows - 1, self.clock);
        self.pickles.push(pickles);
        self.more(1);
    }

    /// Connections of all kinds that send until the end, and datagrams.
    pub fn load_all(&mut self) {
        self.load(Target::Tcp(LINE));
        self.load(Target::Udp(LINE));
        self.load_pickles();
    }

    /// Waits until this many more lines have arrived: the load goes on.
    pub fn more(&self, lines: u64) {
        let before = self.sink.account().distinct();
        let more = |account: &baton::drill::Account| account.distinct() >= before + lines;
        assert!(self.sink.wait(LIMIT, more), "the load has stopped");
    }

    /// A client that connects anew for every few lines, from now on, and is never to be refused.
    pub fn visits(&mut self) -> Visits {
        self.visits_to(LINE)
    }

    /// The same, at one of two addresses: `PICKLE` gets pickles.
    pub fn visits_to(&mut self, address: SocketAddr) -> Visits {
        self.flows += 1;
        Visits::begin(self.flows - 1, address, self.clock)
    }

    /// Ends visits; what they sent is due at the sink.
    pub fn enter(&mut self, visits: Visits) {
        self.sent.flows.push(visits.end());
    }

    /// Sends so many lines over a connection of its own, to its end.
    pub fn send(&mut self, lines: u64) {
        self.flows += 1;
        let flow = self.flows - 1;
        visit(LINE, flow, 0..lines, &self.clock).unwrap();
        self.sent.flows.push(Flow {
            number: flow,
            lines,
            datagrams: false,
        });
    }

    /// Sends so many lines over a connection that goes on; `number` is its own, from [`flow`](Site::flow).
    pub fn send_over(&mut self, stream: &mut UnixStream, number: u32, lines: std::ops::Range<u64>) {
        let mut text = Vec::new();
        for seq in lines.clone() {
            let (flow, micros) = (number, 0);
            Line { flow, seq, micros }.write(&self.clock, &mut text);
        }
        stream.write_all(&text).unwrap();
        self.sent.flows.retain(|flow| flow.number != number);
        self.sent.flows.push(Flow {
            number,
            lines: lines.end,
            datagrams: false,
        });
    }

    /// The number of a connection to come.
    pub fn flow(&mut self) -> u32 {
        self.flows += 1;
        self.flows - 1
    }

    /// What the service wrote to the journal.
    pub fn journal(&self) -> String {
        self.guest.ok(&["journalctl", "--no-pager", "--unit=baton"])
    }

    /// Ends all load and waits until what was sent has arrived, but for what `excuse` covers; stops the service, and judges.
    pub fn end(mut self, excuse: impl FnOnce(&Status) -> Excuse) -> Report {
        let excuse = self.finish(excuse);
        self.guest.ok(&["systemctl", "stop", "baton"]);
        assert_eq!(self.guest.show("baton", "Result"), "success");
        self.judge(excuse)
    }

    /// Ends all load and waits until what was sent has arrived, but for what `excuse` covers.
    pub fn finish(&mut self, excuse: impl FnOnce(&Status) -> Excuse) -> Excuse {
        for senders in self.senders.drain(..) {
            self.sent.merge(senders.finish(LIMIT));
        }
        for pickles in self.pickles.drain(..) {
            let (flow, sent) = pickles.end();
            self.sent.flows.push(flow);
            if let Err(error) = sent {
                self.sent.client_errors += 1;
                self.sent.samples.push(format!("pickles: {error}"));
            }
        }
        let sent = self.sent.lines();
        // Nobody hears that a datagram was read; and books balance when nothing is on its way.
        if self.sent.flows.iter().any(|flow| flow.datagrams) {
            self.sink.settle(sent, QUIET);
        }
        let drained = |status: &Status| {
            let all = status.document()["worker"]["destinations"].as_array();
            let empty = |d: &serde_json::Value| d["queued"] == 0 && d["spooled"] == 0;
            status.is_serving() && all.is_some_and(|all| all.iter().all(empty))
        };
        let status = self.wait_status("the last acknowledgement", drained);
        status.check_books().unwrap();
        let excuse = excuse(&status);
        if excuse.crash_bytes == 0 && excuse.kernel_dropped == 0 {
            self.sink.settle(sent, QUIET);
        }
        excuse
    }

    /// The verdict over what arrived, of a service that has stopped.
    pub fn judge(&self, excuse: Excuse) -> Report {
        assert!(self.sink.wait_closed(QUIET), "a connection is left");
        let report = Report::new(&self.sent, &self.sink.account(), excuse);
        assert!(report.is_clean(), "{report}");
        report
    }

    /// The same, where nothing is excused.
    pub fn end_whole(self) {
        let report = self.end(nothing);
        assert_eq!(report.sent, report.received);
    }
}

/// The excuse where nothing happened that may cost a line.
pub fn nothing(status: &Status) -> Excuse {
    assert_eq!(status.total("lost_by_crash_bytes"), Some(0));
    assert_eq!(status.kernel_dropped(), Some(0), "UDP was too much");
    Excuse::default()
}
