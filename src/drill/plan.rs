//! A whole drill: load, restarts and kills, and the verdict.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{
    Clock, Error, Excuse, Extent, Instance, Load, Reload, Report, Senders, Setup, Sink, Step,
    Target, free_ports,
};

/// How long the senders may take to get rid of the last lines.
const FINISH: Duration = Duration::from_secs(60);
/// When nothing has come for so long, nothing will.
const QUIET: Duration = Duration::from_secs(5);
/// Crashes in a row are answered later and later.
const REPLACED: Duration = Duration::from_secs(30);
/// Above what the config allows for a stop.
const STOP: Duration = Duration::from_secs(30);
/// How often the progress is shown while nothing else is to be done.
const SHOW: Duration = Duration::from_millis(50);

/// What a drill shall do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The Baton under test.
    pub binary: PathBuf,
    /// The least lines to send; the load goes on until all restarts are done.
    pub lines: u64,
    /// Connections that share them.
    pub connections: u32,
    /// Connections beside those that send a line every few seconds.
    pub idle: u32,
    /// Lines a second; 0: as fast as they are taken.
    pub rate: u64,
    /// Restarts, spread over the lines.
    pub restarts: u32,
    /// Workers to kill, spread among the restarts.
    pub kills: u32,
    /// How the lines are sent.
    pub transport: Transport,
    /// Whether the folder is left behind.
    pub keep: bool,
}

/// How lines are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Over TCP connections.
    Tcp,
    /// In UDP datagrams.
    Udp,
}

/// How far a drill is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Lines sent.
    pub sent: u64,
    /// Different lines received.
    pub received: u64,
    /// Restarts done.
    pub restarts: u32,
    /// Workers killed.
    pub kills: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Restart,
    Kill,
}

impl Plan {
    /// Carries it out. `watch` is told of the progress now and then.
    pub fn run(&self, mut watch: impl FnMut(Progress)) -> Result<Report, Error> {
        let clock = Clock::start();
        let sink = Sink::start(clock).step("start the sink")?;
        let [line, http] = free_ports().step("find free ports")?;
        let mut setup = Setup::new(&self.binary, &self.config(line, http, &sink))?;
        if self.keep {
            setup = setup.keep();
        }
        let mut instance = setup.start()?;
        let senders = Senders::start(&self.load(line), clock).step("connect the senders")?;

        let mut acted = Report::default();
        let mut show = |acted: &Report, sent: u64| {
            watch(Progress {
                sent,
                received: sink.account().distinct(),
                restarts: (acted.restarts + acted.refused) as u32,
                kills: acted.kills as u32,
            });
        };
        let acts = self.acts();
        for (index, act) in acts.iter().enumerate() {
            let due = self.lines * (index as u64 + 1) / (acts.len() as u64 + 1);
            await_sent(&senders, due, |sent| show(&acted, sent));
            act.carry_out(&mut instance, &mut acted)?;
        }
        await_sent(&senders, self.lines, |sent| show(&acted, sent));

        let sent = senders.finish(FINISH);
        show(&acted, sent.lines());
        sink.settle(sent.lines(), QUIET);
        show(&acted, sent.lines());
        let status = instance.status()?;
        let excuse = Excuse {
            kernel_dropped: status.kernel_dropped().unwrap_or(0),
            crash_bytes: status.total("lost_by_crash_bytes").unwrap_or(0),
        };
        let end = instance.stop(STOP)?;
        if !end.success() {
            return Err(Error::Ended {
                binary: self.binary.clone(),
                status: end,
                log: instance.log_end(),
            });
        }
        // What it wrote last, and whether it ended in the middle of a line.
        sink.wait_closed(QUIET);
        let mut report = Report::new(&sent, &sink.account(), excuse);
        report.restarts = acted.restarts;
        report.refused = acted.refused;
        report.kills = acted.kills;
        report.pauses = acted.pauses;
        report.details.extend(acted.details);
        report.kept = self.keep.then(|| instance.folder().to_owned());
        Ok(report)
    }

    fn config(&self, line: u16, http: u16, sink: &Sink) -> String {
        let sink = sink.address();
        format!(
            r#"[supervisor]
control = "unix:control.sock"
probation = "100ms"

[listen]
line = ["tcp://127.0.0.1:{line}", "udp://127.0.0.1:{line}", "unix:line.sock"]
http = ["tcp://127.0.0.1:{http}"]

[instrumentation]
interval = "0s"

[[route]]
key = "drill"
type = "sendAllMatch"
destinations = ["{sink} full=block"]
"#
        )
    }

    fn load(&self, port: u16) -> Load {
        let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
        let target = match self.transport {
            Transport::Tcp => Target::Tcp(address),
            Transport::Udp => Target::Udp(address),
        };
        Load {
            connections: self.connections,
            idle: self.idle,
            extent: Extent::AtLeast(self.lines),
            rate: self.rate,
            ..Load::new(target)
        }
    }

    /// Restarts and kills, mixed evenly.
    fn acts(&self) -> Vec<Act> {
        let (restarts, kills) = (u64::from(self.restarts), u64::from(self.kills));
        let all = restarts + kills;
        let kills_by = |index: u64| index * kills / all;
        (0..all)
            .map(|index| match kills_by(index + 1) > kills_by(index) {
                true => Act::Kill,
                false => Act::Restart,
            })
            .collect()
    }
}

/// Waits until so many lines were sent, or none is any more: what keeps lines from being taken must not keep
/// the drill from its verdict.
fn await_sent(senders: &Senders, due: u64, mut show: impl FnMut(u64)) {
    let mut last = (senders.sent(), Instant::now());
    while !senders.wait(due, SHOW) && last.1.elapsed() < QUIET {
        let sent = senders.sent();
        if sent > last.0 {
            last = (sent, Instant::now());
        }
        show(sent);
    }
}

impl Act {
    fn carry_out(self, instance: &mut Instance, acted: &mut Report) -> Result<(), Error> {
        match self {
            Act::Restart => match instance.reload()? {
                Reload::Done { pause, .. } => {
                    acted.restarts += 1;
                    acted.pauses.extend(pause);
                }
                Reload::Refused { reason } => {
                    acted.refused += 1;
                    if acted.details.len() < 8 {
                        acted.details.push(format!("refused: {reason}"));
                    }
                }
            },
            Act::Kill => {
                instance.kill_worker(REPLACED)?;
                acted.kills += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acts(restarts: u32, kills: u32) -> Vec<Act> {
        let plan = Plan {
            binary: PathBuf::new(),
            lines: 1,
            connections: 1,
            idle: 0,
            rate: 0,
            restarts,
            kills,
            transport: Transport::Tcp,
            keep: false,
        };
        plan.acts()
    }

    #[test]
    fn restarts_and_kills_are_mixed() {
        use Act::{Kill, Restart};
        assert_eq!(acts(4, 2), [Restart, Restart, Kill, Restart, Restart, Kill]);
        assert_eq!(acts(0, 2), [Kill, Kill]);
        assert_eq!(acts(2, 0), [Restart, Restart]);
        assert_eq!(acts(0, 0), []);
    }
}
