//! `baton spool export`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use indicatif::{HumanBytes, HumanCount, ProgressBar};
use rustix::fs::{CWD, FlockOperation, RenameFlags, renameat_with};

use super::changes::bar_of_bytes;
use super::place::Place;
use crate::state::{RowError, Store};

/// What was written.
#[derive(Default)]
struct Written {
    lines: u64,
    bytes: u64,
    /// Rows that can't be read.
    damaged: u64,
}

#[expect(clippy::print_stdout, reason = "what was asked for")]
pub fn export(
    place: &Place,
    id: &str,
    out: Option<&Path>,
    force: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let store = place.open()?;
    let total = place.total(&store, id)?;
    let bar = bar_of_bytes(total.bytes);
    let written = match out {
        None => {
            let mut out = io::stdout().lock();
            match write_rows(&store, id, &mut out, &bar) {
                // Whoever read it has read enough.
                Err(error) if is_closed(&error) => return Ok(ExitCode::SUCCESS),
                written => written.with_context(|| format!("exporting {id}"))?,
            }
        }
        Some(path) => to_file(&store, id, path, force, &bar)
            .with_context(|| format!("exporting {id} to {}", path.display()))?,
    };
    bar.finish_and_clear();
    if let Some(path) = out.filter(|_| json) {
        let Written {
            lines,
            bytes,
            damaged,
        } = written;
        println!(
            "{}",
            serde_json::json!({ "destination": id, "file": path, "lines": lines, "bytes": bytes, "unreadable_rows": damaged })
        );
    } else if let Some(path) = out {
        eprintln!(
            "{} lines ({}) of {id} are in {}",
            HumanCount(written.lines),
            HumanBytes(written.bytes),
            path.display()
        );
    }
    if written.damaged > 0 {
        bail!(
            "{} rows of {id} can't be read: they are missing",
            written.damaged
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn is_closed(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Row by row: no transaction lasts longer than it takes to read one.
fn write_rows(
    store: &Store,
    id: &str,
    out: &mut impl Write,
    bar: &ProgressBar,
) -> anyhow::Result<Written> {
    let (mut written, mut after) = (Written::default(), None);
    loop {
        let row = match store.next_row(id, after) {
            Ok(None) => break,
            Ok(Some(row)) => row,
            Err(RowError::Row { seq, reason }) => {
                eprintln!("baton: row {seq} of {id} can't be read: {reason}");
                written.damaged += 1;
                after = Some(seq);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        after = Some(row.seq);
        out.write_all(&row.payload)?;
        written.bytes += row.payload.len() as u64;
        written.lines += row.lines;
        if row.payload.last().is_some_and(|last| *last != b'\n') {
            out.write_all(b"\n")?;
            written.bytes += 1;
        }
        bar.set_position(written.bytes);
    }
    out.flush()?;
    Ok(written)
}

/// The file has its name only when it is whole.
fn to_file(
    store: &Store,
    id: &str,
    path: &Path,
    force: bool,
    bar: &ProgressBar,
) -> anyhow::Result<Written> {
    let there = || anyhow!("it is there already (--force replaces it)");
    match path.symlink_metadata() {
        Ok(about) if about.is_dir() => bail!("it is a directory"),
        Ok(_) if !force => return Err(there()),
        _ => {}
    }
    let part = path.with_added_extension("part");
    let (written, file) = match write_part(store, id, &part, bar) {
        Ok(done) => done,
        Err(Abandoned::Theirs(error)) => return Err(error),
        Err(Abandoned::Ours(error)) => {
            let _it_says_what_is_wrong = std::fs::remove_file(&part);
            return Err(error);
        }
    };
    let flags = match force {
        true => RenameFlags::empty(),
        false => RenameFlags::NOREPLACE,
    };
    match renameat_with(CWD, &part, CWD, path, flags) {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => {
            std::fs::remove_file(&part)?;
            return Err(there());
        }
        // A file system that doesn't know the flag.
        Err(rustix::io::Errno::INVAL) => std::fs::rename(&part, path)?,
        Err(error) => return Err(error).context(format!("renaming {}", part.display())),
    }
    // The lock is let go of when the file has its name.
    drop(file);
    Ok(written)
}

/// Why there is no whole file.
enum Abandoned {
    /// What is there is another's.
    Theirs(anyhow::Error),
    /// What is there is of no use.
    Ours(anyhow::Error),
}

fn write_part(
    store: &Store,
    id: &str,
    part: &PathBuf,
    bar: &ProgressBar,
) -> Result<(Written, File), Abandoned> {
    let theirs = |error: io::Error| Abandoned::Theirs(anyhow!("{}: {error}", part.display()));
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(part)
        .map_err(theirs)?;
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let busy = anyhow!("another export writes {}", part.display());
        return Err(Abandoned::Theirs(busy));
    }
    let write = || -> anyhow::Result<Written> {
        file.set_len(0)?;
        let mut out = BufWriter::new(&file);
        let written = write_rows(store, id, &mut out, bar)?;
        drop(out);
        file.sync_all()?;
        Ok(written)
    };
    match write() {
        Ok(written) => Ok((written, file)),
        Err(error) => Err(Abandoned::Ours(error)),
    }
}
