//! `baton check`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::columns::say_json;
use super::{absolute, exit_code};
use crate::admin::access::Access;
use crate::config::{Config, ListenerKind};
use crate::ruleset;
use crate::spec::{ByteSize, Destination};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The config
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// As JSON: problems, warnings, and what it has
    #[arg(long)]
    json: bool,
}

/// EX_CONFIG, sysexits.h.
pub(super) const BAD_CONFIG: i32 = 78;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = Config::load(&absolute(&args.config));
    let (problems, warnings) = match &loaded {
        Err(problems) => {
            let own = problems.problems.iter();
            (
                own.map(|one| one.in_file(&problems.path)).collect(),
                Vec::new(),
            )
        }
        Ok(config) => (refused(config), warnings(config)),
    };
    let status = match problems[..] {
        [] => ExitCode::SUCCESS,
        _ => exit_code(BAD_CONFIG),
    };
    if args.json {
        let found = loaded.as_ref().ok();
        let found = found.map(|config| Found::of(config).document());
        say_json(&json!({"problems": problems, "warnings": warnings, "config": found}))?;
        return Ok(status);
    }
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    if let (Ok(config), []) = (&loaded, &problems[..]) {
        let name = args.config.display();
        super::columns::say(&format!("{name}: fine. {}\n", Found::of(config).in_words()))?;
    }
    Ok(status)
}

/// What a worker would refuse to start with, though the file is well formed.
fn refused(config: &Config) -> Vec<String> {
    let path = config.path.display();
    let rules = ruleset::compile(config).err();
    let token = Access::read(&config.admin).err();
    let all = rules.into_iter().chain(token);
    all.map(|error| format!("{path}: {error}")).collect()
}

fn warnings(config: &Config) -> Vec<String> {
    let path = config.path.display();
    let own = config.warnings.iter();
    let own = own.map(|warning| warning.in_file(&config.path));
    let around = [no_folder(config), no_name(config)].into_iter().flatten();
    own.chain(around.map(|warning| format!("{path}: {warning}")))
        .collect()
}

/// What a config has.
struct Found<'c> {
    config: &'c Config,
    destinations: usize,
    /// Of all queues.
    memory: u64,
}

impl Found<'_> {
    fn of(config: &Config) -> Found<'_> {
        let all = config.routes.iter().flat_map(|route| &route.destinations);
        Found {
            config,
            destinations: all.clone().count(),
            memory: all.map(Destination::memory).fold(0, u64::saturating_add),
        }
    }

    fn document(&self) -> serde_json::Value {
        let state = &self.config.state;
        json!({
            "listeners": self.config.listen.len(), "routes": self.config.routes.len(), "destinations": self.destinations,
            "queue_bytes": self.memory, "state": state.path, "state_max_bytes": state.max_size,
        })
    }

    fn in_words(&self) -> String {
        let counted = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let state = &self.config.state;
        format!(
            "{}, {}, {}; their queues take up to {} MiB; state in {}, up to {}",
            counted(self.config.listen.len(), "listener"),
            counted(self.config.routes.len(), "route"),
            counted(self.destinations, "destination"),
            self.memory.div_ceil(1 << 20),
            state.path.display(),
            ByteSize(state.max_size),
        )
    }
}

/// The page is mostly asked for by the machine's name, and then refused.
fn no_name(config: &Config) -> Option<String> {
    let mut all = config.listen.iter();
    let others = all.any(|one| one.kind == ListenerKind::Http && one.address.is_for_others());
    (others && config.admin.hosts.is_empty()).then(|| {
        "admin.hosts: HTTP answers at IP addresses and as localhost; by the machine's name it answers 421 until that is here"
            .to_owned()
    })
}

/// What isn't there now may be when Baton runs, so that it is no error.
fn no_folder(config: &Config) -> Option<String> {
    let folder = config.state.path.parent()?;
    (!folder.is_dir()).then(|| {
        format!(
            "state.path: there is no folder {}: without it nothing is spooled",
            folder.display()
        )
    })
}
