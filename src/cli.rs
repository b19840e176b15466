//! The command line: one file a subcommand.

mod check;
mod config;
pub mod drill;
mod reload;
mod run;
mod spool;
mod status;
mod trace;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::handover::Client;
use crate::supervisor::Settings;

/// The version that `--version` shows and generations carry.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A relay for Graphite metric streams that is restarted, reloaded and upgraded under full load
/// without losing a line or a connection.
#[derive(Debug, Parser)]
#[command(name = "baton", version = VERSION, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the relay: the supervisor, which starts its worker
    Run(run::Args),
    /// Say everything that is wrong with a config; exit status 78 if anything is
    Check(check::Args),
    /// Print a config in its canonical form, or convert another relay's
    Config(config::Args),
    /// Start the binary and config on disk, and hand everything over to them without a loss
    ///
    /// Waits until the new worker has proven itself. Exit status 0: it serves. 1: it was refused or rolled back, and the
    /// old one serves on; the reason is printed.
    Reload(ControlArgs),
    /// Show what a running daemon does
    Status(status::Args),
    /// Show what becomes of metrics: rewritten to, blocked by, aggregated in, routes, destinations
    ///
    /// A metric is a name, or a whole line "NAME VALUE TIMESTAMP". Without any they are read from standard input, one a
    /// line. With --config alone the config is asked, no daemon is needed, and everything is taken to be up; otherwise the
    /// running daemon is asked, by what it has in force and who is up now.
    ///
    /// Exit status 0: they were traced, whatever becomes of them. 78: the config is bad. 1: no daemon answers.
    Trace(trace::Args),
    /// Look into the spool on disk, and change it
    Spool(spool::Args),
    /// Restart a private instance under load, and count every line
    Drill(drill::Args),
    /// A worker, which a supervisor starts
    #[command(hide = true)]
    Worker,
}

/// Where the running daemon is found.
#[derive(Debug, Args)]
struct ControlArgs {
    /// The daemon's control socket
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// The config it runs, which says where its control socket is
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The control socket that systemd's unit makes.
const WELL_KNOWN: &str = "/run/baton/control.sock";

impl ControlArgs {
    fn path(&self) -> PathBuf {
        match (&self.control, &self.config) {
            (Some(path), _) => path.clone(),
            (None, Some(config)) => Settings::read(&absolute(config)).control,
            (None, None) => WELL_KNOWN.into(),
        }
    }

    fn connect(&self) -> anyhow::Result<Client> {
        let path = self.path();
        Client::connect(&path).map_err(|error| {
            let hint = match self.control.is_none() && self.config.is_none() {
                true => " (say which daemon by --control PATH or --config FILE)",
                false => "",
            };
            anyhow::anyhow!("no baton answers on {}: {error}{hint}", path.display())
        })
    }
}

/// Absolute, with symlinks as they are: where they lead may change until the next reload.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Runs the program; returns its exit status.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Spool(args) => spool::run(&args),
        Command::Drill(args) => drill::run(&args),
        Command::Worker => Ok(exit_code(crate::worker::run(VERSION))),
    };
    result.unwrap_or_else(|error| {
        eprintln!("baton: {error:#}");
        ExitCode::FAILURE
    })
}

fn exit_code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}
