//! A worker, as its supervisor sees it.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use rustix::fs::{Mode, OFlags};

use super::holdings::Entry;
use crate::handover::{FromSupervisor, Item, Link, Outbox, Wanted};
use crate::sys::{self, Child, MAX_FDS};

/// JSON of a batch stays well below a message's limit.
const BATCH_BYTES: usize = 48 * 1024;
/// How far back a socket that is gone is looked for among those not yet passed.
const LOOK_BACK: usize = 4096;

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    /// Its process.
    pub child: Child,
    /// The conversation with it.
    pub link: Link,
    /// What waits to be said.
    pub outbox: Outbox,
    /// The binary it runs, held by inode.
    pub exe: Rc<OwnedFd>,
    /// The config that it is to use, if not the one on disk.
    pub last_worked: Option<Rc<OwnedFd>>,
    /// The config it compiled, once it is ready.
    pub config: Option<Rc<OwnedFd>>,
    /// The listeners its config names, once it said so.
    pub wanted: Vec<Wanted>,
    /// The version it said.
    pub version: String,
    /// It knows of windows that are passed on.
    pub windows: bool,
    /// It changes its table, and knows the message that keeps it from that.
    pub changes: bool,
    /// It knows of sessions.
    pub sessions: bool,
    /// It knows what to do when the supervisor has gone and what it held is kept.
    pub token: bool,
    /// It has closed its end.
    pub closed: bool,
    /// It was told to exit, and is killed when it hasn't by then.
    pub retire_by: Option<Instant>,
    /// Its end is no news: it was told to retire or to stop, or was killed and the log says why.
    pub is_told_to_end: bool,
    /// What it is still to be told of.
    feed: VecDeque<Entry>,
    feeding: bool,
    next_batch: u32,
    /// Batches told and not yet confirmed, in order, with their sizes.
    in_flight: VecDeque<(u32, usize)>,
}

impl Worker {
    /// Starts `binary`, to use the config that last worked or the one on disk.
    ///
    /// # Errors
    /// Says which step failed, with the path.
    pub fn spawn(binary: &Binary, last_worked: Option<Rc<OwnedFd>>) -> Result<Worker, String> {
        let exe = match binary {
            Binary::OnDisk(path) => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let exe = rustix::fs::open(*path, flags, Mode::empty());
                let exe = exe.map_err(|e| format!("cannot open {}: {e}", path.display()))?;
                if is_no_program(&exe) {
                    return Err(format!(
                        "cannot start {}: it is not a program (no ELF header)",
                        path.display()
                    ));
                }
                // In the child the control socket takes CONTROL_FD before the program is started by its descriptor.
                let exe = rustix::io::fcntl_dupfd_cloexec(&exe, sys::CONTROL_FD + 1)
                    .map_err(|e| format!("cannot hold {}: {e}", path.display()))?;
                Rc::new(exe)
            }
            Binary::Held(exe) => Rc::clone(exe),
        };
        let start = || -> io::Result<(Link, Child)> {
            let (link, theirs) = Link::pair()?;
            // By descriptor: what runs is what is held, whatever happens to the path meanwhile.
            let program = format!("/proc/self/fd/{}", exe.as_raw_fd());
            let child = sys::spawn_worker(
                OsStr::new(&program),
                &[OsStr::new("worker")],
                theirs.as_fd(),
            )?;
            Ok((link, child))
        };
        let (link, child) = start().map_err(|e| match binary {
            Binary::OnDisk(path) => format!("cannot start {}: {e}", path.display()),
            Binary::Held(_) => format!("cannot start the last working binary: {e}"),
        })?;
        Ok(Worker {
            child,
            link,
            outbox: Outbox::default(),
            exe,
            last_worked,
            config: None,
            wanted: Vec::new(),
            version: String::new(),
            windows: false,
            changes: false,
            sessions: false,
            token: false,
            closed: false,
            retire_by: None,
            is_told_to_end: false,
            feed: VecDeque::new(),
            feeding: false,
            next_batch: 0,
            in_flight: VecDeque::new(),
        })
    }

    /// Says something. That it can't be said is noticed as the worker's end.
    pub fn say(&mut self, message: &FromSupervisor, fds: Vec<Rc<OwnedFd>>) {
        if let Err(error) = self.outbox.send(&self.link, message, fds) {
            tracing::debug!(pid = self.child.pid(), %error, "a worker could not be told");
        }
    }

    /// Begins to tell it of everything in `entries`, and of what follows.
    pub fn begin_feed(&mut self, entries: Vec<Entry>) {
        let known = entries.into_iter().filter(|entry| self.knows(entry));
        self.feed = known.collect();
        self.feeding = true;
        self.pump();
    }

    /// Tells it of a change, if it is being told.
    pub fn tell_change(&mut self, entry: Entry) {
        if !self.feeding || !self.knows(&entry) {
            return;
        }
        match entry {
            Entry::Released(cookies, queues) => {
                // What it was never told of needn't be taken back; that also frees the descriptor.
                let cookies: Vec<u64> = cookies
                    .into_iter()
                    .filter(|cookie| !self.take_back(*cookie))
                    .collect();
                if !cookies.is_empty() || !queues.is_empty() {
                    self.feed.push_back(Entry::Released(cookies, queues));
                }
            }
            entry => self.feed.push_back(entry),
        }
        self.pump();
    }

    fn knows(&self, entry: &Entry) -> bool {
        self.sessions || !matches!(entry, Entry::Take(Item::Session { .. }, _))
    }

    fn take_back(&mut self, cookie: u64) -> bool {
        let from = self.feed.len().saturating_sub(LOOK_BACK);
        let found = self.feed.range(from..).position(
            |entry| matches!(entry, Entry::Take(item, _) if item.cookie() == Some(cookie)),
        );
        found.is_some_and(|at| self.feed.remove(from + at).is_some())
    }

    /// A batch has arrived.
    ///
    /// # Errors
    /// When it isn't the one in flight, or incomplete.
    pub fn taken(&mut self, batch: u32, count: usize) -> Result<(), String> {
        if self.in_flight.pop_front() != Some((batch, count)) {
            return Err(format!(
                "it confirmed {count} descriptors of batch {batch}, wrongly"
            ));
        }
        self.pump();
        Ok(())
    }

    /// Tells what is left at once, without waiting for confirmations: the pause has begun.
    pub fn flush_feed(&mut self) {
        while self.pump_one() {}
        self.feeding = false;
    }

    /// One batch is in flight at a time: descriptors in flight are limited (unix(7), ETOOMANYREFS).
    fn pump(&mut self) {
        while self.in_flight.is_empty() && self.pump_one() {}
    }

    /// Tells the next of what is left; false when nothing is.
    fn pump_one(&mut self) -> bool {
        match self.feed.front() {
            None => return false,
            Some(Entry::Take(..)) => self.say_batch(),
            Some(Entry::All) => {
                self.feed.pop_front();
                self.say(&FromSupervisor::All, Vec::new());
            }
            Some(Entry::Released(..)) => {
                if let Some(Entry::Released(cookies, queues)) = self.feed.pop_front() {
                    self.say(&FromSupervisor::Released { cookies, queues }, Vec::new());
                }
            }
        }
        true
    }

    fn say_batch(&mut self) {
        let (mut items, mut fds, mut bytes) = (Vec::new(), Vec::new(), 0);
        while items.len() < MAX_FDS
            && bytes < BATCH_BYTES
            && let Some(Entry::Take(item, fd)) = self
                .feed
                .pop_front_if(|entry| matches!(entry, Entry::Take(..)))
        {
            bytes += item_size(&item);
            items.push(item);
            fds.push(fd);
        }
        let batch = self.next_batch;
        self.next_batch += 1;
        self.in_flight.push_back((batch, items.len()));
        self.say(&FromSupervisor::Take { batch, items }, fds);
    }
}

/// An upper bound of an item's JSON.
fn item_size(item: &Item) -> usize {
    serde_json::to_string(item).map_or(0, |text| text.len() + 2)
}

/// Which binary a worker runs.
#[derive(Debug)]
pub enum Binary<'a> {
    /// What lies at this path now.
    OnDisk(&'a Path),
    /// What was held since it last worked.
    Held(Rc<OwnedFd>),
}

/// Whether it can be seen not to be a program. Starting it would fail later and say less: execvp(3) gives
/// to the shell what the kernel doesn't know, and scripts can't be read by a closed descriptor.
fn is_no_program(exe: &OwnedFd) -> bool {
    let path = format!("/proc/self/fd/{}", exe.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else {
        // A program may be executable and not readable.
        return false;
    };
    let mut head = [0; 4];
    match rustix::io::pread(file, &mut head, 0) {
        Ok(read) => head[..read] != *b"\x7fELF",
        Err(_) => false,
    }
}
