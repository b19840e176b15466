//! `baton spool replay`, `purge` and `assign`: by the daemon, or without one.

use std::fs::File;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use serde_json::{Value, json};

use super::super::columns;
use super::place::{Args, Place, Who};
use super::reads::put;
use crate::handover::{Answer, Client, Outcome, Request, SpoolCommand};
use crate::spool::{Hand, unknown};
use crate::state::{Store, StoreError};

/// How often a bar is drawn anew.
const LOOK: Duration = Duration::from_millis(100);
/// How long a replay that was cut by a restart waits for the next worker.
const NEXT_WORKER: Duration = Duration::from_secs(120);
/// Known destinations that an error names.
const NAMED: usize = 20;

const RESTARTING: &str = "a restart is under way: try again";

/// A bar on standard error, if that is a terminal. It is there at once, however soon all is done.
pub fn bar_of_bytes(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {eta} left");
    let bar = ProgressBar::new(bytes);
    let bar = match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    };
    bar.tick();
    bar
}

// --- replay ---

pub fn replay(
    args: &Args,
    path: &Path,
    id: &str,
    force: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let name = match path == Path::new("-") {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    };
    let who = args.who()?;
    let file = source(path).with_context(|| name.clone())?;
    let bar = bar_of_bytes(file.metadata()?.len());
    let told = || bar.set_position((&file).stream_position().unwrap_or(0));
    let result = match who {
        Who::Daemon(client) => replay_by_daemon(args, client, &file, (id, force), &told),
        Who::Nobody => by_hand(args, (!force).then_some(id), |hand| {
            hand.replay(id, &file, told).map(drop)
        }),
    };
    bar.finish_and_clear();
    let done = (&file).stream_position().unwrap_or(0);
    let result = result.and_then(|()| count_lines(&file, done).context("it was replayed, though"));
    let lines = result.map_err(|error| {
        let added = match done {
            0 => "nothing of it was added".to_owned(),
            done => format!("its first {done} bytes were added, up to a line's end"),
        };
        error.context(format!("replaying {name} to {id}: {added}"))
    })?;
    if json {
        return say_json(&json!({"destination": id, "added": lines}));
    }
    say(&format!("{} added to the spool of {id}", counted(lines)))
}

/// What is replayed, as a regular file: its position, which the worker shares, says how far it is.
fn source(path: &Path) -> anyhow::Result<File> {
    if path == Path::new("-") {
        return copied(&mut io::stdin().lock());
    }
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    if about.is_dir() {
        bail!("it is a directory");
    }
    match about.is_file() {
        true => Ok(file),
        false => copied(&mut file),
    }
}

/// A copy on disk without a name, which goes with the last descriptor.
fn copied(from: &mut impl Read) -> anyhow::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let folder = std::env::temp_dir();
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let temporary = open(&folder, flags, Mode::RUSR | Mode::WUSR);
    let mut file = match temporary {
        Ok(file) => File::from(file),
        // A file system that has no such files: memory.
        Err(_) => File::from(rustix::fs::memfd_create(
            "baton-replay",
            rustix::fs::MemfdFlags::CLOEXEC,
        )?),
    };
    io::copy(from, &mut file).with_context(|| format!("a copy in {}", folder.display()))?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn replay_by_daemon(
    args: &Args,
    mut client: Client,
    file: &File,
    (id, force): (&str, bool),
    told: &impl Fn(),
) -> anyhow::Result<()> {
    let mut until = None;
    loop {
        let from = { file }.stream_position()?;
        let command = SpoolCommand::Replay {
            destination: id.to_owned(),
            force,
        };
        let asked = command_daemon(&client, command, Some(file), told);
        let now = { file }.stream_position()?;
        if !matches!(asked, Err(Undone::Restarting)) {
            return asked.map(drop).map_err(Undone::into);
        }
        if now == 0 {
            bail!(RESTARTING);
        }
        // A part of it is there already: this must not be asked for again from the beginning.
        if from < now || until.is_none() {
            until = Some(Instant::now() + NEXT_WORKER);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            bail!("a restart is under way, and no worker came to go on with it");
        }
        std::thread::sleep(LOOK);
        if let Ok(Who::Daemon(again)) = args.who() {
            client = again;
        }
    }
}

/// The lines up to there. The last one may lack its newline.
fn count_lines(mut file: &File, end: u64) -> io::Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    let (mut lines, mut last) = (0, b'\n');
    let mut text = vec![0; 1 << 20];
    let mut rest = file.take(end);
    loop {
        match rest.read(&mut text) {
            Ok(0) => break,
            Ok(n) => {
                lines += memchr::memchr_iter(b'\n', &text[..n]).count() as u64;
                last = text[n - 1];
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(lines + u64::from(last != b'\n'))
}

// --- purge ---

pub fn purge(args: &Args, id: &str, yes: bool, json: bool) -> anyhow::Result<ExitCode> {
    if !yes && !io::stdin().is_terminal() {
        bail!("purging {id}: nobody can be asked without a terminal: say --yes");
    }
    let place = args.find()?;
    let total = place.total(&place.open()?, id)?;
    if total.rows == 0 && json {
        return say_json(&json!({"destination": id, "dropped": 0}));
    }
    if total.rows == 0 {
        return say(&format!("nothing is spooled for {id}"));
    }
    if !yes {
        eprint!(
            "Drop {} lines ({}) for {id}? [y/N] ",
            HumanCount(total.lines),
            HumanBytes(total.bytes)
        );
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            bail!("purging {id}: not confirmed, nothing was dropped");
        }
    }
    let lines = match args.who()? {
        Who::Daemon(client) => {
            let command = SpoolCommand::Purge {
                destination: id.to_owned(),
            };
            command_daemon(&client, command, None, &|| ()).map_err(anyhow::Error::from)
        }
        Who::Nobody => by_hand(args, None, |hand| hand.purge(id)),
    };
    let lines = lines.with_context(|| format!("purging {id}"))?;
    if json {
        return say_json(&json!({"destination": id, "dropped": lines}));
    }
    say(&format!("dropped for {id}: {}", counted(lines)))
}

// --- assign ---

pub fn assign(
    args: &Args,
    from: &str,
    to: &str,
    force: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let context = || format!("assigning the spool of {from} to {to}");
    if from == to {
        return Err(anyhow!("that is the same destination")).with_context(context);
    }
    let place = args.find()?;
    let store = place.open()?;
    let total = place.total(&store, from)?;
    let bar = bar_of_bytes(total.bytes);
    let lines = match args.who()? {
        Who::Daemon(client) => {
            let command = SpoolCommand::Assign {
                from: from.to_owned(),
                to: to.to_owned(),
                force,
            };
            let told = || {
                let left = bytes_left(&store, from);
                bar.set_position(total.bytes.saturating_sub(left));
            };
            command_daemon(&client, command, None, &told).map_err(anyhow::Error::from)
        }
        Who::Nobody => {
            // Nobody else may have it open.
            drop(store);
            by_hand(args, (!force).then_some(to), |hand| {
                hand.assign(from, to, |bytes| bar.inc(bytes))
            })
        }
    };
    bar.finish_and_clear();
    let lines = lines.with_context(context)?;
    if json {
        return say_json(&json!({"from": from, "to": to, "lines": lines}));
    }
    say(&format!("given by {from} to {to}: {}", counted(lines)))
}

fn bytes_left(store: &Store, id: &str) -> u64 {
    let totals = store.totals().unwrap_or_default();
    let own = totals.iter().find(|total| total.destination == id);
    own.map_or(0, |total| total.bytes)
}

// --- by whom ---

/// Why a daemon didn't do it.
#[derive(Debug, thiserror::Error)]
enum Undone {
    #[error("{RESTARTING}")]
    Restarting,
    #[error("{0}")]
    Refused(String),
    #[error("the daemon can't be asked: {0}")]
    Io(#[from] io::Error),
}

/// Has the daemon do it, for as long as that takes; `told` is called while it is being done.
fn command_daemon(
    client: &Client,
    command: SpoolCommand,
    file: Option<&File>,
    told: &impl Fn(),
) -> Result<u64, Undone> {
    client.wait_at_most(Some(LOOK))?;
    client.say(&Request::Spool { command }, file.map(|file| file.as_fd()))?;
    loop {
        match client.hear() {
            Ok(Answer::Spooled { outcome }) => {
                return match outcome {
                    Outcome::Done { lines } => Ok(lines),
                    Outcome::Restarting => Err(Undone::Restarting),
                    Outcome::Failed { reason } => Err(Undone::Refused(reason)),
                    other => Err(Undone::Refused(format!("it answered {other:?}"))),
                };
            }
            Ok(Answer::Refused { reason }) => return Err(Undone::Refused(reason)),
            Ok(other) => return Err(Undone::Refused(format!("it answered {other:?}"))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => told(),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Does it to the database of a daemon that doesn't run. `wanted` must be a destination of the config, if there is one.
fn by_hand<T>(
    args: &Args,
    wanted: Option<&str>,
    act: impl FnOnce(&mut Hand) -> Result<T, StoreError>,
) -> anyhow::Result<T> {
    let Place { path, known } = args.find()?;
    if let (Some(id), Some(known)) = (wanted, &known)
        && !known.iter().any(|one| one == id)
    {
        let known: Vec<_> = known.iter().map(String::as_str).collect();
        bail!(unknown(id, &known, NAMED));
    }
    let context = || format!("no baton runs; the spool {}", path.display());
    let open = || {
        let mut hand = Hand::open(&path).map_err(|error| match error {
            StoreError::Busy => anyhow!("another process has it open"),
            error => error.into(),
        })?;
        anyhow::Ok(act(&mut hand)?)
    };
    open().with_context(context)
}

fn counted(lines: u64) -> String {
    match lines {
        1 => "1 line".to_owned(),
        lines => format!("{} lines", HumanCount(lines)),
    }
}

fn say_json(document: &Value) -> anyhow::Result<ExitCode> {
    columns::say_json(document)?;
    Ok(ExitCode::SUCCESS)
}

fn say(text: &str) -> anyhow::Result<ExitCode> {
    put(&mut io::stdout().lock(), format!("{text}\n"))?;
    io::stdout().flush()?;
    Ok(ExitCode::SUCCESS)
}
