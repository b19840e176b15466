//! `baton spool`.

mod changes;
mod export;
mod place;
mod reads;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what is spooled, by destination
    ///
    /// Rows whose lines are on the wire already are in it until TCP has acknowledged them. Reads the database itself, with
    /// the daemon running or not, and holds up nothing.
    List {
        #[command(flatten)]
        place: place::Args,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the first lines that are spooled for a destination, and its totals
    Show {
        #[command(flatten)]
        place: place::Args,
        /// Whose; see `baton spool list`
        destination: String,
        /// So many lines
        #[arg(long, value_name = "N", default_value_t = 10)]
        head: u64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write all lines that are spooled for a destination to a file, or to standard output, in order
    ///
    /// Of a running daemon it is a snapshot as it is read: rows that are delivered meanwhile may be missing, rows that
    /// come meanwhile may be in it. Nothing is taken out of the spool.
    Export {
        #[command(flatten)]
        place: place::Args,
        /// Whose; see `baton spool list`
        destination: String,
        /// To this file, which is there only when all is written
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Replace a file that is there
        #[arg(long, requires = "out")]
        force: bool,
        /// As JSON: how much was written
        #[arg(long, requires = "out")]
        json: bool,
    },
    /// Add the lines of a file behind a destination's spool
    ///
    /// They go out as they are: not validated, not routed. A last line without a newline gets one. A running daemon does it
    /// between its other work; if its worker is replaced meanwhile, this goes on with the next one.
    Replay {
        #[command(flatten)]
        place: place::Args,
        /// The file; `-`: standard input
        file: PathBuf,
        /// Whose they will be
        #[arg(long = "to", value_name = "DEST")]
        destination: String,
        /// Though the config has no such destination
        #[arg(long)]
        force: bool,
        /// What came of it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Drop what is spooled for a destination
    ///
    /// Counted as dropped, `purged`. What is in the destination's queue in memory is still sent.
    Purge {
        #[command(flatten)]
        place: place::Args,
        /// Whose; see `baton spool list`
        destination: String,
        /// Don't ask
        #[arg(long)]
        yes: bool,
        /// What came of it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a destination what is spooled for another, behind its own
    ///
    /// What is in the queue of a running destination stays there. The rest is counted as dropped, `purged`, by the one and
    /// as imported by the other.
    Assign {
        #[command(flatten)]
        place: place::Args,
        /// Whose it is
        from: String,
        /// Whose it will be
        #[arg(long, value_name = "DEST")]
        to: String,
        /// Though the config has no such destination
        #[arg(long)]
        force: bool,
        /// What came of it as JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::List { place, json } => reads::list(&place.find()?, *json),
        Command::Show {
            place,
            destination,
            head,
            json,
        } => reads::show(&place.find()?, destination, *head, *json),
        Command::Export {
            place,
            destination,
            out,
            force,
            json,
        } => {
            let place = place.find()?;
            export::export(&place, destination, out.as_deref(), *force, *json)
        }
        Command::Replay {
            place,
            file,
            destination,
            force,
            json,
        } => changes::replay(place, file, destination, *force, *json),
        Command::Purge {
            place,
            destination,
            yes,
            json,
        } => changes::purge(place, destination, *yes, *json),
        Command::Assign {
            place,
            from,
            to,
            force,
            json,
        } => changes::assign(place, from, to, *force, *json),
    }
}
