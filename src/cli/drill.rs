//! `baton drill`: restarts a private Baton under load and counts every line.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use crate::drill::{Plan, Transport};

/// Restart a private Baton under full load and check every line at its sink.
///
/// Everything happens in a temporary folder and on free ports of loopback; a Baton that runs already is not
/// touched. The exit status is 1 if anything was lost, duplicated, torn or out of order, or if a client
/// noticed anything; only what a killed worker had in hand may be missing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Send at least this many lines; the load goes on until all restarts are done
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    lines: u64,
    /// Send them over this many connections
    #[arg(long, value_name = "C", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    connections: u32,
    /// Keep this many connections beside those, each sending a line every few seconds
    #[arg(long, value_name = "I", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=50_000))]
    idle: u32,
    /// Send this many lines a second in all; 0: as fast as they are taken
    #[arg(long, value_name = "R", default_value_t = 200_000)]
    rate: u64,
    /// Restart the worker this often
    #[arg(long, value_name = "K", default_value_t = 20)]
    restarts: u32,
    /// Kill the worker (SIGKILL) this often
    #[arg(long, value_name = "K", default_value_t = 0)]
    kill: u32,
    /// Send UDP datagrams of three lines each
    #[arg(long)]
    udp: bool,
    /// Drill this program; default: the one that is running
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Leave the temporary folder with config and log behind
    #[arg(long)]
    keep: bool,
}

/// Carries out the drill and prints its table.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let binary = match &args.binary {
        Some(path) => std::path::absolute(path)?,
        None => std::env::current_exe().context("cannot find the running program")?,
    };
    let plan = Plan {
        binary,
        lines: args.lines,
        connections: args.connections,
        idle: args.idle,
        rate: args.rate,
        restarts: args.restarts,
        kills: args.kill,
        transport: match args.udp {
            true => Transport::Udp,
            false => Transport::Tcp,
        },
        keep: args.keep,
    };
    // Draws on standard error, and only if that is a terminal.
    let bar = ProgressBar::new(plan.lines).with_style(ProgressStyle::with_template(
        "{wide_bar} {human_pos} of {human_len} lines, {msg}",
    )?);
    let outcome = plan.run(|now| {
        // The load outlasts its lines when the restarts take longer.
        bar.set_length(plan.lines.max(now.sent));
        bar.set_position(now.received);
        bar.set_message(format!("{} restarts, {} kills", now.restarts, now.kills));
    });
    bar.finish_and_clear();
    let report = outcome.context("the drill could not be carried out")?;
    write!(io::stdout().lock(), "{report}")?;
    Ok(match report.is_clean() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
