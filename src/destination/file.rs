//! Appending a ring to a file. Acknowledged means written.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::Destination;
use super::backoff::Backoff;
use crate::gate::Lane;
use crate::ledger::{Cell, Count};

/// The most that is written at once.
const WRITE: usize = 256 * 1024;

enum Next {
    Again,
    Idle,
    Closed,
}

/// An open file and the ring position up to which it was written.
struct Open {
    file: File,
    written: u64,
}

impl Destination {
    pub(super) async fn run_file(&self, path: &Path) {
        let mut backoff = Backoff::new(self.spec.reconnect);
        let mut open = None;
        while !self.is_gone() {
            match self.step_file(path, &mut open) {
                Ok(Next::Again) => {
                    backoff.reset();
                    tokio::task::yield_now().await;
                }
                Ok(Next::Closed) => {
                    self.gate.opened().await;
                    // Another worker may have written meanwhile.
                    open = None;
                }
                Ok(Next::Idle) => {
                    tokio::select! {
                        () = self.ring.filled.notified() => {
                            if !self.is_draining() {
                                sleep_until(Instant::now() + self.spec.flush).await;
                            }
                        }
                        () = self.changed.notified() => {}
                    }
                }
                Err(error) => {
                    self.is_down(format!("{}: {error}", path.display()));
                    if let Some(mut lane) = self.gate.enter() {
                        lane.writer
                            .add(self.ring.counts(), Count::ConnectFailures, 1);
                        lane.writer.commit();
                    }
                    sleep(backoff.pause().max(Duration::from_millis(50))).await;
                }
            }
        }
    }

    fn step_file(&self, path: &Path, open: &mut Option<Open>) -> io::Result<Next> {
        let Some(mut lane) = self.gate.enter() else {
            return Ok(Next::Closed);
        };
        // Who gives the ring up holds this.
        let _link = self.link();
        if self.is_gone() {
            return Ok(Next::Idle);
        }
        let at = match open {
            Some(at) => at,
            None => {
                let at = self.open_file(path, &mut lane)?;
                self.is_up(None);
                open.insert(at)
            }
        };
        let bytes = self.ring.bytes(at.written, WRITE);
        if bytes.is_empty() {
            return Ok(match self.ring.sleep_until(at.written + 1) {
                true => Next::Idle,
                false => Next::Again,
            });
        }
        let written = match at.file.write(bytes) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            result => result,
        };
        let n = match written {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Next::Again),
            Err(error) => {
                *open = None;
                return Err(error);
            }
        };
        self.count_sent(&mut lane.writer, at.written, at.written + n as u64);
        at.written += n as u64;
        self.ring.acknowledge(&mut lane.writer, at.written);
        Ok(Next::Again)
    }

    /// Opens the file, and finds out how far a predecessor had written the ring to it.
    fn open_file(&self, path: &Path, lane: &mut Lane) -> io::Result<Open> {
        let mut file = OpenOptions::new()
            .append(true)
            .read(true)
            .create(true)
            .open(path)?;
        let meta = file.metadata()?;
        let identity = (meta.dev() << 40) ^ meta.ino() ^ (1 << 63);
        let (acked, head) = (self.ring.acked(), self.ring.head());
        let grown = meta.len().checked_sub(self.ring.cell(Cell::FileLength));
        let known = self.ring.cell(Cell::Link) == identity;
        if let Some(grown) = grown.filter(|_| known) {
            let written = self.ring.cell(Cell::LinkBase) + grown;
            // Anything else means that somebody else writes to the file, or has cut it.
            if (acked..=head).contains(&written) {
                self.ring.acknowledge(&mut lane.writer, written);
                return Ok(Open { file, written });
            }
        }
        let mut length = meta.len();
        if meta.is_file() && length > 0 && last_byte(&mut file)? != b'\n' {
            file.write_all(b"\n")?;
            length += 1;
        }
        let cells = self.ring.cells();
        lane.writer.set(cells, Cell::Link, identity);
        lane.writer.set(cells, Cell::FramedLink, 0);
        lane.writer.set(cells, Cell::LinkBase, acked);
        lane.writer.set(cells, Cell::FileLength, length);
        lane.writer.add(self.ring.counts(), Count::Connects, 1);
        lane.writer.commit();
        Ok(Open {
            file,
            written: acked,
        })
    }
}

fn last_byte(file: &mut File) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}
