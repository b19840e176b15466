//! The command line: one file a subcommand.

mod api;
mod change;
mod check;
mod columns;
mod config;
mod destination;
mod diff;
pub mod drill;
mod examples;
mod history;
mod papers;
mod reload;
mod rules;
mod run;
mod spool;
mod status;
mod tail;
mod top;
mod trace;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::handover::Client;
use crate::supervisor::Settings;

/// The version that generations carry.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// With the commit, as `--version` shows it.
const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BATON_COMMIT"), ")");

/// A relay for Graphite metric streams that is restarted, reloaded and upgraded under full load
/// without losing a line or a connection.
#[derive(Debug, Parser)]
#[command(name = "baton", version = BUILD, arg_required_else_help = true)]
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
    #[command(visible_alias = "restart")]
    Reload(reload::Args),
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
    /// Show the lines that flow, live: those that match
    ///
    /// A line is shown as it is sent, once however many routes take it; or as it came in, or as it was rejected (--at). Who
    /// reads slowly loses lines, and is told how many on standard error; no metric waits. Through restarts of the daemon it
    /// connects again.
    Tail(tail::Args),
    /// Look into the spool on disk, and change it
    Spool(spool::Args),
    /// Show and change where lines go, while it runs
    Route(rules::Args<rules::NewRoute>),
    /// Show and change the destinations of routes, while it runs
    Destination(destination::Args),
    /// Show and change which names go nowhere, while it runs
    Blocklist(rules::Args<rules::NewBlock>),
    /// Show and change which names become others, while it runs
    Rewriter(rules::Args<rules::NewRewriter>),
    /// Show and change what is computed, while it runs
    Aggregation(rules::Args<rules::NewAggregation>),
    /// Show what was changed while it ran, and undo it
    History(history::Args),
    /// Show what flows, live in the terminal: destinations, inputs, what is rejected and dropped
    Top(top::Args),
    /// Restart a private instance under load, and count every line
    Drill(drill::Args),
    /// Print a script that completes commands in a shell
    Completions(papers::Completions),
    /// Write the man pages, one for each subcommand
    Man(papers::Man),
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
    /// The config it runs, which says where its control socket is [env: BATON_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The control socket that systemd's unit makes.
const WELL_KNOWN: &str = "/run/baton/control.sock";

impl ControlArgs {
    fn path(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.control {
            return Ok(path.clone());
        }
        match named(self.config.as_deref())? {
            Some(config) => Ok(Settings::read(&config).control),
            None => Ok(WELL_KNOWN.into()),
        }
    }

    fn connect(&self) -> anyhow::Result<Client> {
        let path = self.path()?;
        Client::connect(&path).map_err(|error| {
            let hint = match path == Path::new(WELL_KNOWN) {
                true => " (say which daemon by --config FILE, BATON_CONFIG=FILE or --control PATH)",
                false => "",
            };
            let hint = hint_at(&error, hint);
            anyhow::anyhow!("no baton answers on {}: {error}{hint}", path.display())
        })
    }
}

/// What can be done about a daemon that can't be asked: another user, else this.
fn hint_at(error: &std::io::Error, else_this: &'static str) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => " (the daemon's user and root may ask: try sudo)",
        _ => else_this,
    }
}

/// The config that says where a daemon is, absolute: this one, else that of `$BATON_CONFIG`.
///
/// # Errors
/// It can't be read, or isn't TOML: it says nothing, and the daemon that its folder may have is perhaps another's. What else
/// is wrong with it doesn't matter here.
fn named(config: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    let variable = std::env::var_os("BATON_CONFIG").filter(|value| !value.is_empty());
    let variable = variable.map(PathBuf::from);
    let Some(given) = config.or(variable.as_deref()) else {
        return Ok(None);
    };
    let path = absolute(given);
    let cannot = |error: String| anyhow::anyhow!("cannot read {}: {error}", given.display());
    let text = std::fs::read_to_string(&path).map_err(|error| cannot(error.to_string()))?;
    text.parse::<toml::Table>()
        .map_err(|error| cannot(format!("not TOML: {}", error.to_string().trim_end())))?;
    Ok(Some(path))
}

/// Absolute, with symlinks as they are: where they lead may change until the next reload.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Runs the program; returns its exit status.
pub fn main() -> ExitCode {
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Spool(args) => spool::run(&args),
        Command::Route(args) => rules::run(&args),
        Command::Destination(args) => destination::run(&args),
        Command::Blocklist(args) => rules::run(&args),
        Command::Rewriter(args) => rules::run(&args),
        Command::Aggregation(args) => rules::run(&args),
        Command::History(args) => history::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Completions(args) => papers::completions(&args),
        Command::Man(args) => papers::man(&args),
        Command::Drill(args) => drill::run(&args),
        Command::Worker => Ok(exit_code(crate::worker::run(VERSION))),
    };
    result.unwrap_or_else(|error| {
        eprintln!("baton: {error:#}");
        match error.downcast_ref::<api::Failed>() {
            Some(failed) => ExitCode::from(failed.exit_status()),
            None => ExitCode::FAILURE,
        }
    })
}

/// All that can be said to the program, with an example of each.
fn command() -> clap::Command {
    examples::with_examples(Cli::command())
}

fn exit_code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}
