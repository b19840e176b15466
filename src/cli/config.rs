//! `baton config`: configs for people who move, and the one in force beside the file.

mod running;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::change::Terms;
use super::check::BAD_CONFIG;
use super::{absolute, api, exit_code};
use crate::config::{self, Config};
use crate::convert::{self, Converted, Source};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a config in Baton's canonical form, also that of another relay
    ///
    /// Baton's and carbon-relay-ng's files are printed with what differs from the defaults. Of the other relays' what
    /// has a meaning here is converted; the rest is told, on standard error and at the top of the config.
    Convert(Convert),
    /// Show what was changed at run time: the rules in force beside those of the file
    Diff {
        /// As JSON: the rules that differ, as they are before and after
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        api: api::Args,
    },
    /// Print the config file with the rules in force
    ///
    /// It makes lasting what was changed at run time: --out FILE --force in place of the file that runs, then `baton
    /// reload`, and only then `baton config reset`. A shell empties the file behind `>` before anything is asked, so
    /// `> FILE` is no way to replace the config.
    ///
    /// What is written has no comments: those of the file are gone where it replaces it. Keep a copy, or write to another
    /// file and take from it what was changed.
    Export {
        /// To this file, which is there only when all is written
        #[arg(long, value_name = "FILE", conflicts_with = "json")]
        out: Option<PathBuf>,
        /// Replace a file that is there
        #[arg(long, requires = "out")]
        force: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        api: api::Args,
    },
    /// Forget what was changed at run time: the file's rules are in force again
    ///
    /// Those of the file as it was last loaded: after an export, `baton reload` comes first.
    Reset {
        #[command(flatten)]
        which: running::Which,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        api: api::Args,
    },
}

#[derive(Debug, clap::Args)]
struct Convert {
    /// Whose file it is
    #[arg(long, value_name = "RELAY", default_value = "carbon-relay-ng")]
    from: From,
    /// As JSON: the config, notes on what is different or missing in it, and what keeps it from running
    #[arg(long)]
    json: bool,
    /// The file; - for standard input
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// Baton's own, or carbon-relay-ng's
    CarbonRelayNg,
    CarbonCRelay,
    /// Graphite's own relay or aggregator: carbon.conf, with its rules beside it
    Carbon,
}

/// No config is larger, and `/dev/zero` is.
const MAX_SOURCE: u64 = 64 << 20;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Convert(args) => convert(args),
        Command::Diff { json, api } => running::show_diff(&api.find()?, *json),
        Command::Export {
            out: Some(path),
            force,
            api,
            ..
        } => running::export_to(&api.find()?, path, *force),
        Command::Export { json, api, .. } => running::export(&api.find()?, *json),
        Command::Reset { which, terms, api } => running::reset(api, which, terms),
    }
}

/// What a file came to.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    /// Baton's config; `None`: there is nothing to be made of the file.
    config: Option<String>,
    /// What has another meaning here, or none.
    notes: Vec<String>,
    /// Why the config doesn't run as it is, or why there is none.
    problems: Vec<String>,
}

fn convert(args: &Convert) -> anyhow::Result<ExitCode> {
    let source = match args.file.as_os_str() == "-" {
        true => read(std::io::stdin(), "standard input")?,
        false => read_file(&args.file)?,
    };
    let outcome = match args.from {
        From::CarbonRelayNg => canonical(&args.file, &source),
        From::CarbonCRelay => other(&args.file, &source, convert::carbon_c_relay),
        From::Carbon => other(&args.file, &source, convert::carbon),
    };
    outcome.print(args.json)?;
    match outcome.problems.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(exit_code(BAD_CONFIG)),
    }
}

impl Outcome {
    #[expect(clippy::print_stdout, reason = "what was asked for")]
    fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        for note in &self.notes {
            eprintln!("{note}");
        }
        if let Some(config) = &self.config {
            print!("{config}");
            if !self.problems.is_empty() {
                eprintln!("what was printed doesn't run as it is:");
            }
        }
        for problem in &self.problems {
            eprintln!("{problem}");
        }
        Ok(())
    }
}

fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    let file = fs::File::open(path)
        .map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display()))?;
    read(file, &path.display().to_string())
}

fn read(from: impl Read, name: &str) -> anyhow::Result<Vec<u8>> {
    let mut source = Vec::new();
    from.take(MAX_SOURCE + 1)
        .read_to_end(&mut source)
        .map_err(|error| anyhow::anyhow!("cannot read {name}: {error}"))?;
    anyhow::ensure!(
        source.len() as u64 <= MAX_SOURCE,
        "{name} is larger than 64MiB"
    );
    Ok(source)
}

fn canonical(path: &Path, source: &[u8]) -> Outcome {
    match Config::compile(&absolute(path), source) {
        Ok(config) => {
            let notes: Vec<String> = config
                .warnings
                .iter()
                .map(|warning| warning.in_file(path))
                .collect();
            Outcome {
                config: Some(convert::comments(&notes) + &config::print(&config)),
                notes,
                ..Outcome::default()
            }
        }
        Err(found) => {
            let mut problems = vec![found.to_string()];
            if found.are_of_no_toml() {
                problems.push(format!(
                    "{}: if it is another relay's file, say whose: --from",
                    path.display()
                ));
            }
            Outcome {
                problems,
                ..Outcome::default()
            }
        }
    }
}

type Converter = fn(&Source, &convert::Load) -> Result<Converted, convert::Unreadable>;

fn other(path: &Path, source: &[u8], converter: Converter) -> Outcome {
    // As it was given: notes name files as people do.
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let source = Source {
        name: path.display().to_string(),
        text: String::from_utf8_lossy(source).into_owned(),
    };
    let load = |wanted: &str| load(&folder, wanted);
    let converted = match converter(&source, &load) {
        Ok(converted) => converted,
        Err(unreadable) => {
            return Outcome {
                problems: vec![unreadable.to_string()],
                ..Outcome::default()
            };
        }
    };
    let notes: Vec<String> = converted.notes.iter().map(ToString::to_string).collect();
    let config = convert::comments(&notes) + &converted.toml;
    // What was wrong there may be wrong here.
    let found = Config::compile(&absolute(Path::new("baton.toml")), config.as_bytes()).err();
    let problems = found.into_iter().flat_map(|found| found.problems);
    Outcome {
        problems: problems
            .map(|problem| problem.in_file(Path::new("standard output")))
            .collect(),
        config: Some(config),
        notes,
    }
}

/// The files that a name stands for, relative ones beside the first file; the last part may be a glob.
fn load(folder: &Path, wanted: &str) -> Result<Vec<Source>, String> {
    let path = folder.join(wanted);
    let last = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let paths = match last.contains(['*', '?']) {
        false => vec![path],
        true => matching(path.parent().unwrap_or(folder), &last)?,
    };
    let read = |path: PathBuf| {
        let bytes = read_file(&path).map_err(|error| format!("{error:#}"))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Source {
            name: path.display().to_string(),
            text,
        })
    };
    paths.into_iter().map(read).collect()
}

fn matching(folder: &Path, glob: &str) -> Result<Vec<PathBuf>, String> {
    let pattern = regex::escape(glob).replace(r"\*", ".*").replace(r"\?", ".");
    let pattern = regex::Regex::new(&format!("^(?s:{pattern})$")).map_err(|e| e.to_string())?;
    let here = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let entries =
        fs::read_dir(here).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut paths = Vec::new();
    for entry in entries.take(10_000) {
        let entry = entry.map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
        if pattern.is_match(&entry.file_name().to_string_lossy()) {
            paths.push(folder.join(entry.file_name()));
        }
    }
    paths.sort();
    Ok(paths)
}
