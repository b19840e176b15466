//! `baton trace`.

mod ask;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};

use super::{ControlArgs, absolute, exit_code};
use crate::admin::traced;
use crate::config::Config;
use crate::handover::{MAX_TRACED, MAX_TRACED_BYTES};
use crate::pipeline::Terms;
use crate::pipeline::trace::{Names, Trace, Tracer};
use crate::route::{Moment, Table};
use crate::{ruleset, validate};
use ask::Daemon;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Names, or whole lines; without any they are read from standard input
    #[arg(value_name = "METRIC")]
    metrics: Vec<String>,
    /// Ask this file, and no daemon; with --control: the config of the daemon, which is asked
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask the daemon with this control socket
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// As JSON, an object a line
    #[arg(long)]
    json: bool,
}

/// EX_CONFIG, sysexits.h.
const BAD_CONFIG: i32 = 78;
/// Of a line so much is looked at: more than any `max_line`, so what is cut is too long anyway.
const LONGEST: usize = 512 << 10;
/// So much is read at once.
const READ: usize = 64 << 10;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let source = match (&args.config, &args.control) {
        (Some(path), None) => match Config::load(&absolute(path)) {
            Ok(config) => {
                if let Some(note) = ask::differs(&config) {
                    eprintln!("note: the file was asked. {note}");
                }
                Source::Config(Box::new(Rules::of(&config)?))
            }
            Err(problems) => {
                eprintln!("{problems}");
                return Ok(exit_code(BAD_CONFIG));
            }
        },
        _ => Source::Daemon(Daemon::find(ControlArgs {
            control: args.control.clone(),
            config: args.config.clone(),
        })?),
    };
    let mut output = Output {
        source,
        json: args.json,
    };
    if args.metrics.is_empty() {
        return output.stream(io::stdin().lock());
    }
    let lines: Vec<u8> = args.metrics.join("\n").into_bytes();
    output.stream(&lines[..])
}

/// Who is asked.
enum Source {
    Config(Box<Rules>),
    Daemon(Daemon),
}

/// What a config makes of metrics.
struct Rules {
    table: Table,
    names: Names,
    rules: validate::Rules,
}

impl Rules {
    fn of(config: &Config) -> anyhow::Result<Rules> {
        let ruleset = ruleset::compile(config).map_err(|e| anyhow!("{e}"))?;
        Ok(Rules {
            table: Table::new(ruleset.entries),
            names: ruleset::names(config),
            rules: config.rules.clone(),
        })
    }

    fn trace(&self, metrics: &[Vec<u8>]) -> Vec<Trace> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let terms = Terms {
            table: &self.table,
            rules: &self.rules,
            now: now.map_or(0, |since| since.as_secs() as u32),
            // Nobody is said to be down.
            moment: Moment::default(),
            order: None,
        };
        let mut tracer = Tracer::new(terms, &self.names);
        metrics.iter().map(|metric| tracer.trace(metric)).collect()
    }
}

struct Output {
    source: Source,
    json: bool,
}

impl Output {
    /// Traces lines as they come, until they end or nobody reads on.
    fn stream(&mut self, mut from: impl Read) -> anyhow::Result<ExitCode> {
        let mut lines = Lines::default();
        let mut chunk = vec![0; READ];
        loop {
            let n = match from.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.context("standard input")?,
            };
            let ready = match n {
                0 => lines.end(),
                n => lines.take(&chunk[..n]),
            };
            for batch in batches(&ready) {
                if !self.put(batch)? {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            if n == 0 {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }

    /// Traces some and prints what comes of it. False: nobody reads on.
    fn put(&mut self, metrics: &[Vec<u8>]) -> anyhow::Result<bool> {
        let traces = match &mut self.source {
            Source::Config(rules) => rules.trace(metrics),
            Source::Daemon(daemon) => daemon.trace(metrics)?,
        };
        let mut text = String::new();
        for trace in &traces {
            match self.json {
                true => text += &(serde_json::to_string(trace)? + "\n"),
                false => text += &traced::for_people(trace),
            }
        }
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            written => written.map(|()| true).context("standard output"),
        }
    }
}

/// As many at once as a daemon takes.
fn batches(metrics: &[Vec<u8>]) -> impl Iterator<Item = &[Vec<u8>]> {
    let mut rest = metrics;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rest.iter().take(MAX_TRACED).take_while(|metric| {
            bytes += metric.len() as u64 + 1;
            bytes <= MAX_TRACED_BYTES
        });
        let (batch, after) = rest.split_at(fits.count());
        rest = after;
        (!batch.is_empty()).then_some(batch)
    })
}

/// Lines out of what is read. A line that never ends takes no more than [`LONGEST`].
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut whole = Vec::new();
        let mut parts = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            let room = LONGEST - self.begun.len();
            self.begun.extend_from_slice(&part[..part.len().min(room)]);
            if parts.peek().is_some() {
                whole.push(std::mem::take(&mut self.begun));
            }
        }
        whole
    }

    /// What has no newline at the end is a line, too.
    fn end(&mut self) -> Vec<Vec<u8>> {
        let last = std::mem::take(&mut self.begun);
        if last.is_empty() {
            Vec::new()
        } else {
            vec![last]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_however_they_are_cut() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"a\n\nb"), [b"a".to_vec(), Vec::new()]);
        assert_eq!(lines.take(b"c"), [b""; 0]);
        assert_eq!(lines.take(b"\nd"), [b"bc"]);
        assert_eq!(
            (lines.end(), lines.end()),
            (vec![b"d".to_vec()], Vec::new())
        );
    }

    #[test]
    fn a_line_that_never_ends_takes_bounded_memory() {
        let mut lines = Lines::default();
        for _ in 0..20 {
            assert_eq!(lines.take(&vec![b'x'; READ]), [b""; 0]);
        }
        let whole = lines.take(b"x\na\n");
        assert_eq!((whole[0].len(), &whole[1][..]), (LONGEST, &b"a"[..]));
    }

    #[test]
    fn batches_are_what_a_daemon_takes() {
        let sizes =
            |metrics: &[Vec<u8>]| -> Vec<usize> { batches(metrics).map(<[_]>::len).collect() };
        assert_eq!(sizes(&vec![b"a".to_vec(); 2500]), [1000, 1000, 500]);
        assert_eq!(sizes(&vec![vec![b'a'; LONGEST]; 32]), [15, 15, 2]);
        assert_eq!(sizes(&[]), [0; 0]);
    }
}
