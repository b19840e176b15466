//! The config: a file as it was written → compiled, every problem at once → [`Config`], proven.
//!
//! What a [`Config`] holds needs no further check: paths are absolute, expressions compile, sizes
//! and durations lie in their ranges, and no two things claim the same address, path, key or id.
//! Nothing in a file is accepted and then ignored.

mod admin;
mod choice;
mod compile;
mod keys;
mod listen;
mod memory;
mod print;
mod problem;
mod read;
mod relay_ng;
mod routes;
mod rule;
mod rules;
mod state;

pub use admin::Admin;
pub use keys::keys;
pub use listen::{BadListenAddress, ListenAddress, Listener, ListenerKind};
pub use print::print;
pub use problem::{Problem, Problems, Weight};
pub use rule::{Rule, RuleKind};

use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{spec, validate};

/// A config that was proven to make sense.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read from: absolute, symlinks unresolved.
    pub path: PathBuf,
    /// The bytes that were compiled. After a crash they are compiled again, whatever the file holds
    /// by then.
    pub source: Vec<u8>,
    /// Where to listen; may be empty, when systemd passes the sockets.
    pub listen: Vec<Listener>,
    /// Who may see and change it.
    pub admin: Admin,
    /// Limits of input.
    pub input: Input,
    /// What a line must hold to.
    pub rules: validate::Rules,
    /// Of how many names the last timestamp is kept, so that older points can be refused; `None`: none are refused.
    pub order: Option<usize>,
    /// What to log, and how.
    pub log: Log,
    /// Baton's own metrics; `None` when they are off.
    pub instrumentation: Option<Instrumentation>,
    /// Each is a rule that `route::BlockRule::parse` reads.
    pub blocklist: Vec<String>,
    /// In order. All can be compiled.
    pub rewriters: Vec<spec::Rewriter>,
    /// In order. All can be compiled, and no two have the same text.
    pub aggregations: Vec<spec::Aggregation>,
    /// How many windows the aggregations may have open.
    pub max_windows: usize,
    /// Whether only the first route that matches takes a line.
    pub first_only: bool,
    /// In order.
    pub routes: Vec<spec::Route>,
    /// What the supervisor reads.
    pub supervisor: Supervisor,
    /// What is kept on disk.
    pub state: State,
    /// What can be run and is most likely not meant.
    pub warnings: Vec<Problem>,
}

/// Limits of input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The longest line, in bytes.
    pub max_line: usize,
    /// The longest pickle, in bytes, without the length before it.
    pub max_frame: usize,
    /// How many connections there may be; when it is reached, accepting pauses.
    pub max_connections: usize,
    /// After how long a silent connection is closed; `None`: never.
    pub idle_timeout: Option<Duration>,
}

/// What to log, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least that is logged.
    pub level: LogLevel,
    /// In which form.
    pub format: LogFormat,
}

/// The least severe records that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say all")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The form of log records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// To the journal where standard error leads there, else text.
    Auto,
    /// A line for people, on standard error.
    Text,
    /// A JSON object a line, on standard error.
    Json,
    /// Fields, to systemd's journal.
    Journald,
}

/// Baton's own counters as Graphite metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrumentation {
    /// What their names begin with, without a dot at its end. `{host}` is still in it.
    pub prefix: String,
    /// How often they are sent.
    pub interval: Duration,
}

/// What the supervisor reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervisor {
    /// The control socket's absolute path.
    pub control: PathBuf,
    /// How long a new worker may take to be ready.
    pub ready_timeout: Duration,
    /// How long a new worker is watched before the old one is let go.
    pub probation: Duration,
    /// How long queues are written out at a stop.
    pub stop_timeout: Duration,
}

/// What is kept on disk: the spools and the events, in one SQLite database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The database's absolute path.
    pub path: PathBuf,
    /// When what was written must have reached the disk.
    pub synchronous: Synchronous,
    /// How large it may become, in bytes: all spools together, with what the file and its log need.
    pub max_size: u64,
    /// How many events are kept; older ones go.
    pub events_kept: u64,
}

/// When what was written must have reached the disk, as SQLite's `PRAGMA synchronous` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// At each checkpoint: a power cut loses what was written since, the end of a process nothing.
    Normal,
    /// At each commit.
    Full,
}

/// No table of rules is larger than this, and `/dev/zero` is.
const MAX_SOURCE: u64 = 64 << 20;

impl Config {
    /// Reads and compiles a file.
    pub fn load(path: &Path) -> Result<Config, Problems> {
        let source = read_source(path).map_err(|e| {
            let message = format!("cannot read the config: {e}");
            Problems::of(path, vec![Problem::without_line("", message)])
        })?;
        Config::compile(path, &source)
    }

    /// Compiles a config. The path is named in problems, and relative paths in the config are
    /// beside it.
    pub fn compile(path: &Path, source: &[u8]) -> Result<Config, Problems> {
        compile::compile(path, source, &compile::Surroundings::of(path))
    }
}

impl Config {
    /// Of what the file says: another text has another one.
    pub fn hash(&self) -> String {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        format!("{:016x}", hasher.hash_one(&self.source))
    }

    /// The first unix socket that HTTP is served on: where the command line asks.
    pub fn api_socket(&self) -> Option<&Path> {
        let mut own = self.listen.iter().filter(|one| admin::is_api(one));
        own.find_map(|one| match &one.address {
            ListenAddress::Unix(path) => Some(&**path),
            _ => None,
        })
    }
}

fn read_source(path: &Path) -> io::Result<Vec<u8>> {
    let mut source = Vec::new();
    File::open(path)?
        .take(MAX_SOURCE + 1)
        .read_to_end(&mut source)?;
    if source.len() as u64 > MAX_SOURCE {
        let limit = spec::ByteSize(MAX_SOURCE);
        return Err(io::Error::other(format!("it is larger than {limit}")));
    }
    Ok(source)
}

impl LogLevel {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl LogFormat {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            LogFormat::Auto => "auto",
            LogFormat::Text => "text",
            LogFormat::Json => "json",
            LogFormat::Journald => "journald",
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Synchronous {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Synchronous::Normal => "normal",
            Synchronous::Full => "full",
        }
    }
}

impl fmt::Display for Synchronous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
