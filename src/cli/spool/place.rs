//! Where the database is, and who has it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rustix::fs::FlockOperation;
use serde_json::Value;

use super::super::{WELL_KNOWN, hint_at, named};
use crate::config::Config;
use crate::handover::{Answer, Client, Outcome, Request, SpoolCommand};
use crate::state::{Store, Total};
use crate::supervisor::Settings;

/// How long a daemon may take to say where its database is. Longer than a supervisor waits for its worker.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which daemon's spool.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The config, which says where database and control socket are [env: BATON_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database; default: what the running daemon or the config says
    #[arg(long, value_name = "PATH")]
    state: Option<PathBuf>,
    /// The daemon's control socket
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

/// A spool that was found.
#[derive(Debug)]
pub struct Place {
    /// The database.
    pub path: PathBuf,
    /// The destinations that the running daemon or the config has; `None`: nobody says.
    pub known: Option<Vec<String>>,
}

/// Who changes the database.
#[derive(Debug)]
pub enum Who {
    /// The daemon that answered.
    Daemon(Client),
    /// The command line: no daemon runs.
    Nobody,
}

impl Args {
    /// A database that was named may be a copy, which has nothing to do with the config of the environment.
    fn config(&self) -> anyhow::Result<Option<PathBuf>> {
        match (&self.config, &self.state, &self.control) {
            (None, Some(_), _) | (None, _, Some(_)) => Ok(None),
            (config, _, _) => named(config.as_deref()),
        }
    }

    fn control(&self, config: Option<&Path>) -> PathBuf {
        match (&self.control, config) {
            (Some(path), _) => path.clone(),
            (None, Some(config)) => Settings::read(config).control,
            (None, None) => WELL_KNOWN.into(),
        }
    }

    /// Finds the database and the destinations, with the daemon running or not.
    pub fn find(&self) -> anyhow::Result<Place> {
        let path = self.config()?;
        let control = self.control(path.as_deref());
        // A database that was named may be a copy, which has nothing to do with any daemon.
        let asks = self.state.is_none() || self.control.is_some() || path.is_some();
        let running = match asks {
            true => running(&control),
            false => None,
        };
        let config = path
            .as_deref()
            .map(|path| Config::load(path).map_err(|problems| anyhow!("{problems}")));
        let (theirs, ids) = running.unwrap_or_default();
        let known = ids.or_else(|| match &config {
            Some(Ok(config)) => Some(destinations(config)),
            _ => None,
        });
        let path = match (&self.state, theirs, config) {
            (Some(path), _, _) => path.clone(),
            (None, Some(path), _) => path,
            (None, None, Some(config)) => config?.state.path,
            (None, None, None) => {
                let asked = Client::connect(&control);
                let hint = asked.map_or_else(|error| hint_at(&error, ""), |_| "");
                bail!(
                    "no baton answers on {}: say which spool by --config FILE or --state PATH{hint}",
                    control.display()
                )
            }
        };
        Ok(Place { path, known })
    }

    /// The daemon, or that there is none.
    ///
    /// # Errors
    /// One runs and doesn't answer.
    pub fn who(&self) -> anyhow::Result<Who> {
        let control = self.control(self.config()?.as_deref());
        let error = match Client::connect(&control) {
            Ok(client) => return Ok(Who::Daemon(client)),
            Err(error) => error,
        };
        let lock = control.with_added_extension("lock");
        match File::open(&lock) {
            Ok(file) => {
                // Held for this moment only: a daemon that begins now would be refused.
                let free = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared);
                if free.is_err() {
                    bail!(
                        "a baton runs (it holds {}), but doesn't answer on {}: {error}",
                        lock.display(),
                        control.display()
                    );
                }
                Ok(Who::Nobody)
            }
            Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => Ok(Who::Nobody),
            Err(error) => Err(error).context(format!(
                "{}: whether a baton runs can't be told",
                lock.display()
            )),
        }
    }
}

impl Place {
    /// Opens it for reading.
    pub fn open(&self) -> anyhow::Result<Store> {
        let store = Store::open_existing(&self.path, false);
        store.with_context(|| format!("the spool {}", self.path.display()))
    }

    /// Whether the config has this destination; if nobody says, it may.
    pub fn has(&self, id: &str) -> bool {
        self.known
            .as_ref()
            .is_none_or(|known| known.iter().any(|one| one == id))
    }

    /// What is spooled for a destination; nothing for one that the config has.
    ///
    /// # Errors
    /// There is no such destination, and it has no rows.
    pub fn total(&self, store: &Store, id: &str) -> anyhow::Result<Total> {
        let totals = store
            .totals()
            .with_context(|| format!("the spool {}", self.path.display()))?;
        if let Some(total) = totals.iter().find(|total| total.destination == id) {
            return Ok(total.clone());
        }
        let known = self.known.as_ref().is_some_and(|_| self.has(id));
        if !known {
            let have: Vec<_> = totals.iter().map(|t| t.destination.as_str()).collect();
            let have = match have.as_slice() {
                [] => "it is empty".to_owned(),
                have => format!("it has lines for {}", have.join(", ")),
            };
            bail!(
                "nothing is spooled for {id} in {}: {have}",
                self.path.display()
            );
        }
        Ok(Total {
            destination: id.to_owned(),
            rows: 0,
            lines: 0,
            bytes: 0,
            oldest_ms: None,
            newest_ms: None,
        })
    }
}

/// Where the running daemon has its database, and the destinations that it has, as far as it says so.
type Running = (Option<PathBuf>, Option<Vec<String>>);

fn running(control: &Path) -> Option<Running> {
    let ask = |request| {
        let client = Client::connect(control).ok()?;
        client.ask(request, Some(PATIENCE)).ok()
    };
    let command = SpoolCommand::Where;
    let path = match ask(Request::Spool { command })? {
        Answer::Spooled {
            outcome: Outcome::Lies { path },
        } => Some(PathBuf::from(path)),
        _ => None,
    };
    let ids = match ask(Request::Status)? {
        Answer::Status { worker, .. } => worker["destinations"].as_array().map(|all| ids(all)),
        _ => None,
    };
    Some((path, ids))
}

fn ids(destinations: &[Value]) -> Vec<String> {
    let ids = destinations.iter().filter_map(|one| one["id"].as_str());
    ids.map(str::to_owned).collect()
}

fn destinations(config: &Config) -> Vec<String> {
    let all = config.routes.iter().flat_map(|route| &route.destinations);
    all.map(|destination| destination.id.clone()).collect()
}
