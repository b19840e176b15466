//! `baton run`.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use super::check::BAD_CONFIG;
use super::{VERSION, absolute, exit_code};
use crate::logging;
use crate::supervisor::{self, Settings, Start};
use crate::worker::fault;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The config
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where to write a CPU profile (pprof's format) when the worker ends; later
    /// workers write to FILE.N, N being their generation
    #[arg(long, value_name = "FILE")]
    cpuprofile: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    logging::tell_panics();
    match begin(args) {
        Ok(status) => Ok(status),
        Err(error) => {
            logging::last_words(&format!("{error:#}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn begin(args: &Args) -> anyhow::Result<ExitCode> {
    let config = absolute(&args.config);
    // What is wrong with it the worker says; but a folder's control socket may be that of another config.
    if let Err(error) = std::fs::File::open(&config) {
        logging::last_words(&format!("cannot read {}: {error}", args.config.display()));
        return Ok(exit_code(BAD_CONFIG));
    }
    let settings = Settings::read(&config);
    logging::init(&settings.log_level, &settings.log_format);
    let start = Start {
        binary: own_path()?,
        config,
        profile: args.cpuprofile.as_deref().map(absolute),
        version: VERSION.to_owned(),
        after_each_turn,
    };
    Ok(exit_code(supervisor::run(start, settings)?))
}

fn after_each_turn() {
    logging::tell_repeats();
    fault::point("supervisor-turn");
}

/// The path by which this program was started: what it leads to at a reload is what is started
/// then. (`/proc/self/exe` would name the file that a package manager has replaced meanwhile.)
fn own_path() -> anyhow::Result<PathBuf> {
    let name = env::args_os().next().map(PathBuf::from).unwrap_or_default();
    if name.components().count() > 1 {
        return Ok(absolute(&name));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    match env::split_paths(&path)
        .map(|dir| dir.join(&name))
        .find(|path| path.is_file())
    {
        Some(found) => Ok(absolute(&found)),
        None => Ok(env::current_exe()?),
    }
}
