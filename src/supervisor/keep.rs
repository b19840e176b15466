//! What outlives the supervisor: a copy of all that it holds, kept by systemd (FDSTORE=1, sd_pid_notify_with_fds(3)).
//!
//! systemd holds one descriptor, the end of a [`Lot`]; one by one, ten thousand sockets would cost it a minute, since it
//! compares each with every other. A supervisor that was killed (with its workers: systemd leaves none of a service that
//! failed) is started again, finds the lot among the sockets it is passed, and goes on as after the crash of a worker.
//!
//! What is on its way from a worker at that moment isn't in it.

mod found;
mod lot;

use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::holdings::{Change, Holdings};
use super::notify;
use super::sockets::Listener;
use crate::handover::Generation;
use crate::sys;
use lot::{Kept, Lot};

pub use found::{Found, Lost};

/// What the descriptors' names in systemd's store begin with; a number follows, counted by those who were killed.
const NAME: &str = "kept-";
/// How long what the kernel didn't take waits until it is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// The program and the config that last worked.
pub type LastGood = (Rc<OwnedFd>, Rc<OwnedFd>);

/// The copy, as far as there is somebody to keep it.
#[derive(Debug)]
pub struct Keep {
    lot: Option<Lot>,
    name: String,
    /// Listeners that are in it.
    listeners: HashSet<u64>,
    /// One has gone. It is to be let go of at once: its address must be free.
    left: bool,
    /// Not all could be written; when that is tried again.
    again: Option<Instant>,
    /// What was kept of a predecessor, and couldn't be used.
    pub lost: Lost,
}

/// How much of what is held is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Descriptors that are kept.
    pub kept: usize,
    /// Those that are to be.
    pub of: usize,
}

impl Share {
    /// Whether that is all.
    pub fn is_whole(self) -> bool {
        self.kept == self.of
    }
}

impl Keep {
    /// Begins a new lot and has systemd keep it, if there is a systemd. Returns what is in that of a predecessor, which is
    /// among these descriptors from systemd.
    pub fn begin(named: &[(String, OwnedFd)]) -> (Keep, Option<Found>) {
        let number = |name: &String| name.strip_prefix(NAME)?.parse::<u64>().ok();
        let last = named.iter().filter_map(|(name, _)| number(name)).max();
        let mut keep = Keep {
            lot: None,
            name: format!("{NAME}{}", last.unwrap_or(0) + 1),
            listeners: HashSet::new(),
            left: false,
            again: None,
            lost: Lost::default(),
        };
        let mut found = None;
        for (name, end) in named {
            match found::read(end, &mut keep.lost) {
                Ok(read) => found = read.or(found),
                Err(error) => {
                    tracing::error!(name, %error, "what systemd kept of the last supervisor can't be used");
                }
            }
        }
        if notify::is_heard() {
            match Lot::new().and_then(|lot| notify::store(&keep.name, lot.end()).map(|()| lot)) {
                Ok(lot) => keep.lot = Some(lot),
                Err(error) => {
                    tracing::warn!(%error, "nothing is kept for the case that this process is killed");
                }
            }
        }
        (keep, found)
    }

    /// Whether a descriptor of this name from systemd is a lot.
    pub fn is_lot(name: &str) -> bool {
        name.starts_with(NAME)
    }

    /// What was found is in the new lot: the old ones go.
    pub fn forget(named: &[(String, OwnedFd)]) {
        for (name, _) in named {
            notify::remove(name);
        }
    }

    /// By this a worker knows, when the supervisor has gone, whether what it held is kept: then its other end is held by
    /// somebody.
    pub fn token(&self) -> Option<Rc<OwnedFd>> {
        self.lot.as_ref().map(Lot::token)
    }

    /// How much of what is held is kept; nothing, if nobody keeps anything.
    pub fn share(&self) -> Option<Share> {
        let (kept, of) = self.lot.as_ref()?.counts();
        Some(Share { kept, of })
    }

    /// When what couldn't be written is tried again.
    pub fn deadline(&self) -> Option<Instant> {
        self.again
    }

    /// Follows what was registered and released since the last time.
    pub fn follow(&mut self, holdings: &mut Holdings) {
        let changes = std::mem::take(&mut holdings.changes);
        let Some(lot) = &mut self.lot else {
            return;
        };
        for change in changes {
            match change {
                Change::Held(item, fd) => lot.take([(Kept::Held(item), fd)]),
                Change::Gone(cookies, queues) => lot.gone(cookies, queues),
            }
        }
        self.left |= self.follow_listeners(&holdings.listeners);
        // Else `tick` does.
        if self.again.is_none() {
            self.write();
        }
    }

    /// Tries again what couldn't be written, when that is due.
    pub fn tick(&mut self, now: Instant) {
        if self.again.is_some_and(|at| now >= at) {
            self.write();
        }
    }

    /// Whether one has gone.
    fn follow_listeners(&mut self, listeners: &[Listener]) -> bool {
        let own = |l: &&Listener| !l.passed && l.pending.is_none();
        let now: HashSet<u64> = listeners.iter().filter(own).map(|l| l.cookie).collect();
        let Some(lot) = self.lot.as_mut().filter(|_| now != self.listeners) else {
            return false;
        };
        let new = |l: &&Listener| own(l) && !self.listeners.contains(&l.cookie);
        let new = listeners.iter().filter(new);
        lot.take(new.map(|l| (Kept::Bound(l.item(), l.file()), l.fd.clone())));
        let gone: Vec<u64> = self.listeners.difference(&now).copied().collect();
        self.listeners = now;
        let left = !gone.is_empty();
        lot.gone(gone, Vec::new());
        left
    }

    /// Keeps the ledger.
    pub fn ledger(&mut self, ledger: &Rc<OwnedFd>) {
        self.take([(Kept::Ledger, ledger.clone())]);
    }

    /// Keeps what last worked.
    pub fn last_good(&mut self, (program, config): &LastGood) {
        let program = (Kept::Program, program.clone());
        self.take([program, (Kept::Config, config.clone())]);
    }

    /// Keeps the generations there were.
    pub fn history(&mut self, history: &VecDeque<Generation>) {
        let json = || serde_json::to_vec(history).map_err(io::Error::from);
        self.take_made(Kept::History, json);
    }

    /// Keeps that a stop was asked for. Should it be cut short, what comes next is what lies on disk: a stop that is half
    /// of a restart is there to bring that in force.
    pub fn stopping(&mut self) {
        self.take_made(Kept::Stopping, || Ok(Vec::new()));
    }

    /// There is nothing to keep: everything was delivered or is on disk and the listeners close, or nothing ever worked.
    pub fn end(&mut self) {
        if let Some(mut lot) = self.lot.take() {
            // Whoever finds it all the same sees that it is at its end.
            let ended = lot.end_it();
            self.note(ended);
            notify::remove(&self.name);
        }
    }

    fn take_made(&mut self, kept: Kept, content: impl FnOnce() -> io::Result<Vec<u8>>) {
        if self.lot.is_none() {
            return;
        }
        let memory = content().and_then(|content| sys::memfd_with("baton-kept", &[content]));
        match memory {
            Ok(memory) => self.take([(kept, Rc::new(memory))]),
            Err(error) => self.note(Err(error)),
        }
    }

    fn take<const N: usize>(&mut self, taken: [(Kept, Rc<OwnedFd>); N]) {
        if let Some(lot) = &mut self.lot {
            lot.take(taken);
            self.write();
        }
    }

    fn write(&mut self) {
        let Some(lot) = &mut self.lot else {
            return;
        };
        let mut written = lot.write();
        if written.is_ok() && self.left {
            written = lot.tidy_all();
            self.left = written.is_err();
        }
        self.note(written);
    }

    /// Says when something isn't kept, and when all is again.
    fn note(&mut self, written: io::Result<()>) {
        match written {
            Ok(()) => {
                if self.again.take().is_some() {
                    tracing::info!("all is kept again for the case that this process is killed");
                }
            }
            Err(error) => {
                let before = self.again.replace(Instant::now() + AGAIN);
                if before.is_none() {
                    let share = self.share();
                    tracing::warn!(
                        %error, kept = share.map(|s| s.kept), of = share.map(|s| s.of),
                        "not all is kept for the case that this process is killed"
                    );
                }
            }
        }
    }
}
