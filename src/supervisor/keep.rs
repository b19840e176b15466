//! What outlives the supervisor: a copy of all that it holds, kept by systemd (FDSTORE=1, sd_pid_notify_with_fds(3)).
//!
//! systemd holds one descriptor, the end of a [`Lot`]; one by one, ten thousand sockets would cost it a minute, since it
//! compares each with every other. A supervisor that was killed (with its workers: systemd leaves none of a service that
//! failed) is started again, finds the lot among the sockets it is passed, and goes on as after the crash of a worker.
//!
//! What is on its way from a worker at that moment isn't in it.

mod lot;

use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use super::holdings::{Change, Holdings};
use super::sockets::Listener;
use super::{notify, timestamp};
use crate::handover::{Generation, Item};
use crate::{ledger, sys};
use lot::{Kept, Lot};

/// What the descriptors' names in systemd's store begin with; a number follows, counted by those who were killed.
const NAME: &str = "kept-";
/// The largest history and the like.
const MAX_MEMORY: u64 = 1 << 20;

/// The program and the config that last worked.
pub type LastGood = (Rc<OwnedFd>, Rc<OwnedFd>);

/// The copy, as far as there is somebody to keep it.
#[derive(Debug)]
pub struct Keep {
    lot: Option<Lot>,
    name: String,
    /// Listeners that are in it.
    listeners: HashSet<u64>,
    complained: bool,
}

/// What a supervisor that was killed had held.
#[derive(Debug)]
pub struct Found {
    /// The ledger's memfd.
    pub ledger: Rc<OwnedFd>,
    /// Connections and queues.
    pub items: Vec<(Item, Rc<OwnedFd>)>,
    /// Listeners that it had bound.
    pub listeners: Vec<Listener>,
    /// The generations there were.
    pub history: VecDeque<Generation>,
    /// What last worked.
    pub last_good: Option<LastGood>,
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
            complained: false,
        };
        let mut found = None;
        for (name, end) in named {
            match read(end) {
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

    /// Follows what was registered and released since the last time.
    pub fn follow(&mut self, holdings: &mut Holdings) {
        let changes = std::mem::take(&mut holdings.changes);
        if self.lot.is_none() {
            return;
        }
        let mut taken = Vec::new();
        for change in changes {
            match change {
                Change::Held(item, fd) => taken.push((Kept::Held(item), fd)),
                Change::Gone(cookies, queues) => {
                    self.take(std::mem::take(&mut taken));
                    if let Some(lot) = &mut self.lot {
                        let kept = lot.gone(cookies, queues);
                        self.complain(kept);
                    }
                }
            }
        }
        self.take(taken);
        self.follow_listeners(&holdings.listeners);
    }

    /// A listener that has gone is let go of at once: its address must be free.
    fn follow_listeners(&mut self, listeners: &[Listener]) {
        let own = |l: &&Listener| !l.passed && l.pending.is_none();
        let now: HashSet<u64> = listeners.iter().filter(own).map(|l| l.cookie).collect();
        if now == self.listeners {
            return;
        }
        let new = |l: &&Listener| own(l) && !self.listeners.contains(&l.cookie);
        let new = listeners.iter().filter(new);
        let taken = new.map(|l| (Kept::Bound(l.item(), l.file()), l.fd.clone()));
        let taken = taken.collect();
        let gone: Vec<u64> = self.listeners.difference(&now).copied().collect();
        self.listeners = now;
        self.take(taken);
        if let Some(lot) = self.lot.as_mut().filter(|_| !gone.is_empty()) {
            let kept = lot.gone(gone, Vec::new()).and_then(|()| lot.tidy_all());
            self.complain(kept);
        }
    }

    /// Keeps the ledger.
    pub fn ledger(&mut self, ledger: &Rc<OwnedFd>) {
        self.take(vec![(Kept::Ledger, ledger.clone())]);
    }

    /// Keeps what last worked.
    pub fn last_good(&mut self, (program, config): &LastGood) {
        let program = (Kept::Program, program.clone());
        self.take(vec![program, (Kept::Config, config.clone())]);
    }

    /// Keeps the generations there were.
    pub fn history(&mut self, history: &VecDeque<Generation>) {
        if self.lot.is_none() {
            return;
        }
        let json = serde_json::to_vec(history).map_err(io::Error::from);
        match json.and_then(|json| sys::memfd_with("baton-history", &[json])) {
            Ok(memory) => self.take(vec![(Kept::History, Rc::new(memory))]),
            Err(error) => self.complain(Err(error)),
        }
    }

    /// Everything was delivered or is on disk, and the listeners close: there is nothing to keep.
    pub fn end(&mut self) {
        if let Some(lot) = self.lot.take() {
            // Whoever finds it all the same sees that it is at its end.
            self.complain(lot.end_it());
            notify::remove(&self.name);
        }
    }

    fn take(&mut self, taken: Vec<(Kept, Rc<OwnedFd>)>) {
        if let Some(lot) = &mut self.lot {
            let kept = lot.take(taken);
            self.complain(kept);
        }
    }

    /// Says once that something isn't kept: there may be ten thousand more.
    fn complain(&mut self, kept: io::Result<()>) {
        if let Err(error) = kept
            && !std::mem::replace(&mut self.complained, true)
        {
            tracing::warn!(%error, "not all is kept for the case that this process is killed");
        }
    }
}

/// What is in a lot of which this is the end; nothing, if it was ended in order.
fn read(end: &OwnedFd) -> io::Result<Option<Found>> {
    let Some(all) = lot::read(end.as_fd())? else {
        return Ok(None);
    };
    let (mut ledger, mut program, mut config, mut history) = (None, None, None, None);
    let (mut items, mut listeners, mut strange) = (Vec::new(), Vec::new(), 0);
    for (kept, fd) in all {
        // A worker would refuse all of it for one socket that isn't what it is said to be.
        let is_itself = |item: &Item| {
            let cookie = item.cookie();
            cookie.is_none_or(|cookie| sys::cookie(fd.as_fd()).is_ok_and(|found| found == cookie))
        };
        match kept {
            Kept::Ledger => ledger = Some(Rc::new(fd)),
            Kept::Program => program = Some(Rc::new(above_control(fd)?)),
            Kept::Config => config = Some(Rc::new(fd)),
            Kept::History => history = Some(fd),
            Kept::Held(item) if is_itself(&item) => items.push((item, Rc::new(fd))),
            Kept::Bound(item, file) if is_itself(&item) => {
                listeners.extend(Listener::kept(item, file, fd));
            }
            Kept::Held(_) | Kept::Bound(..) => strange += 1,
        }
    }
    if strange > 0 {
        tracing::error!(sockets = strange, "kept, and not what they were: closed");
    }
    let size = |memory: &Rc<OwnedFd>| rustix::fs::fstat(&**memory).map(|meta| meta.st_size as u64);
    let ledger = ledger.filter(|memory| size(memory) == Ok(ledger::BYTES));
    let ledger = ledger.ok_or_else(|| io::Error::other("it has no ledger of this version"))?;
    let history = history
        .and_then(|memory| sys::read_memfd(memory.as_fd(), MAX_MEMORY).ok())
        .and_then(|json| serde_json::from_slice::<VecDeque<Generation>>(&json).ok());
    let mut history = history.unwrap_or_default();
    for generation in history.iter_mut().filter(|g| g.ended_at.is_none()) {
        generation.ended_at = Some(timestamp());
        generation.outcome = "crashed: the supervisor was killed".into();
    }
    tracing::warn!(
        sockets = items.len(),
        listeners = listeners.len(),
        "the last supervisor was killed: what it held was kept, this one goes on with it"
    );
    Ok(Some(Found {
        ledger,
        items,
        listeners,
        history,
        last_good: program.zip(config),
    }))
}

/// A program that is held must not be where a child finds its control socket.
fn above_control(fd: OwnedFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(&fd, sys::CONTROL_FD + 1)?)
}
