//! What is done to rows on somebody's request: by the worker that serves, or by the command line when no daemon runs.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::account::{FIRST, STEP};
use crate::intake::now_ms;
use crate::state::{Change, Deleted, NewRow, Row, RowError, Store, StoreError};

/// The largest row, and the longest line.
pub(super) const PIECE: usize = 1 << 20;
/// Rows that are moved in one transaction, and bytes.
const ROWS: usize = 16;
const BYTES: u64 = 4 << 20;
/// Rows that one step of sweeping deletes.
const SWEEP: u32 = 64;

/// Lines that were added.
#[derive(Clone, Copy, Debug)]
pub(super) struct Added {
    pub lines: u64,
    pub bytes: u64,
}

/// Rows that were given to another destination.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given {
    pub rows: u64,
    pub lines: u64,
    pub bytes: u64,
    /// One that couldn't be read, and was set aside.
    pub damaged: Deleted,
}

/// Who changes the rows, and what that takes.
pub(super) trait Begin {
    /// What can be wrong.
    type Error: From<StoreError>;
    /// Begins a transaction, if they may still.
    fn begin<'s>(&self, store: &'s mut Store) -> Result<Change<'s>, Self::Error>;
}

/// Nobody else has the database.
struct Alone;

impl Begin for Alone {
    type Error = StoreError;

    fn begin<'s>(&self, store: &'s mut Store) -> Result<Change<'s>, StoreError> {
        store.begin()
    }
}

/// The number of a new row behind all that a destination has or had.
pub(super) fn behind(store: &Store, id: &str) -> Result<i64, StoreError> {
    let highest = store.bounds(id)?.map(|(_, highest)| highest);
    let taken = highest.max(store.purged_through(id)?);
    // Never 0, which says that there is none.
    Ok(taken.map_or(FIRST, |seq| seq.max(FIRST) + STEP))
}

/// Makes a row of the next lines of a file, about `size` bytes, and moves the file's position behind them once that is
/// committed. `None`: there are no more.
pub(super) fn add_piece<B: Begin>(
    store: &mut Store,
    who: &B,
    id: &str,
    mut file: &File,
    size: usize,
    seq: i64,
) -> Result<Option<Added>, B::Error> {
    let failed = |error: io::Error| StoreError::Unavailable(format!("the file: {error}"));
    let at = file.stream_position().map_err(failed)?;
    let Some((payload, read)) = piece(file, at, size.min(PIECE)).map_err(failed)? else {
        return Ok(None);
    };
    let (now, lines) = (now_ms(), count(&payload));
    let mut change = who.begin(store)?;
    change.insert(&NewRow {
        destination: id,
        seq,
        first_at_ms: now,
        last_at_ms: now,
        lines,
        payload: &payload,
    })?;
    change.commit()?;
    file.seek(SeekFrom::Start(at + read)).map_err(failed)?;
    Ok(Some(Added {
        lines,
        bytes: payload.len() as u64,
    }))
}

/// Whole lines, and how many bytes of the file they are. The last one may lack its newline, and gets it.
fn piece(file: &File, at: u64, size: usize) -> io::Result<Option<(Vec<u8>, u64)>> {
    for size in [size, PIECE] {
        let mut text = read_at(file, at, size)?;
        let whole = memchr::memrchr(b'\n', &text).map(|at| at + 1);
        match whole {
            _ if text.is_empty() => return Ok(None),
            Some(whole) => {
                text.truncate(whole);
                return Ok(Some((text, whole as u64)));
            }
            None if text.len() < size => {
                let read = text.len() as u64;
                text.push(b'\n');
                return Ok(Some((text, read)));
            }
            None => {}
        }
    }
    let why = format!("at byte {at} begins a line of more than {PIECE} bytes");
    Err(io::Error::other(why))
}

/// Less than `size` bytes only at the end of the file.
fn read_at(file: &File, at: u64, size: usize) -> io::Result<Vec<u8>> {
    let (mut text, mut end) = (vec![0; size], 0);
    while end < size {
        match file.read_at(&mut text[end..], at + end as u64) {
            Ok(0) => break,
            Ok(n) => end += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    text.truncate(end);
    Ok(text)
}

/// How many lines these are.
fn count(payload: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', payload).count() as u64
}

/// Gives some rows, those behind `after`, to another destination, numbered from `first` on. `None`: there are none.
pub(super) fn give<B: Begin>(
    store: &mut Store,
    who: &B,
    from: &str,
    after: Option<i64>,
    to: &str,
    first: i64,
) -> Result<Option<Given>, B::Error> {
    let (mut rows, mut bytes, mut at) = (Vec::<Row>::new(), 0, after);
    // Empty ones don't tell how far to delete.
    while bytes < BYTES && (bytes == 0 || rows.len() < ROWS) {
        match store.next_row(from, at) {
            Ok(None) => break,
            Ok(Some(row)) => {
                at = Some(row.seq);
                bytes += row.payload.len() as u64;
                if !row.payload.is_empty() {
                    rows.push(row);
                }
            }
            Err(RowError::Row { seq, reason }) if at == after => {
                let mut change = who.begin(store)?;
                let damaged = change.set_aside(from, seq, &reason)?;
                change.commit()?;
                tracing::error!(
                    destination = from,
                    row = seq,
                    reason,
                    "a row can't be moved: set aside"
                );
                return Ok(Some(Given {
                    damaged,
                    ..Given::default()
                }));
            }
            // The next step begins with it.
            Err(RowError::Row { .. }) => break,
            Err(RowError::Store(error)) => return Err(error.into()),
        }
    }
    if at == after {
        return Ok(None);
    }
    let mut given = Given::default();
    let mut change = who.begin(store)?;
    for (row, seq) in rows.iter().zip((first..).step_by(STEP as usize)) {
        change.insert(&NewRow {
            destination: to,
            seq,
            first_at_ms: row.first_at_ms,
            last_at_ms: row.last_at_ms,
            lines: row.lines,
            payload: &row.payload,
        })?;
        given.rows += 1;
        given.lines += row.lines;
    }
    given.bytes = bytes;
    change.delete_oldest(from, after, bytes.max(1))?;
    change.commit()?;
    Ok(Some(given))
}

/// Drops all rows of a destination; they are deleted later. Returns up to which number, too.
pub(super) fn purge<B: Begin>(
    store: &mut Store,
    who: &B,
    id: &str,
) -> Result<Option<(i64, Deleted)>, B::Error> {
    let Some((_, last)) = store.bounds(id)? else {
        return Ok(None);
    };
    let mut change = who.begin(store)?;
    let gone = change.purge(id, last)?;
    change.commit()?;
    Ok(Some((last, gone)))
}

/// The spool of a daemon that doesn't run. No other process has the database open while there is this.
#[derive(Debug)]
pub struct Hand {
    store: Store,
}

impl Hand {
    /// Takes the database.
    ///
    /// # Errors
    /// It isn't there, or isn't Baton's; [`StoreError::Busy`]: another process has it open.
    pub fn open(path: &Path) -> Result<Hand, StoreError> {
        let store = Store::open_alone(path)?;
        Ok(Hand { store })
    }

    /// Adds a file's lines, from where it stands, behind a destination's rows. Returns how many; `told` hears of each step.
    ///
    /// # Errors
    /// What was committed stays, and the file stands behind it.
    pub fn replay(&mut self, id: &str, file: &File, told: impl Fn()) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            let seq = behind(&self.store, id)?;
            let Some(added) = add_piece(&mut self.store, &Alone, id, file, PIECE, seq)? else {
                return Ok(total);
            };
            total += added.lines;
            told();
        }
    }

    /// Gives a destination the rows of another, behind its own. Returns how many lines; `told` hears of the bytes of each step.
    ///
    /// # Errors
    /// What was committed stays.
    pub fn assign(&mut self, from: &str, to: &str, told: impl Fn(u64)) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            let first = behind(&self.store, to)?;
            let Some(given) = give(&mut self.store, &Alone, from, None, to, first)? else {
                return Ok(total);
            };
            total += given.lines;
            told(given.bytes);
        }
    }

    /// Drops all rows of a destination. Returns how many lines.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn purge(&mut self, id: &str) -> Result<u64, StoreError> {
        let gone = purge(&mut self.store, &Alone, id)?;
        while self.store.sweep(SWEEP)? {}
        Ok(gone.map_or(0, |(_, gone)| gone.lines))
    }
}
