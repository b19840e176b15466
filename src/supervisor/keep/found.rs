//! What a supervisor finds in the lot of one that was killed.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use serde::Serialize;

use super::LastGood;
use super::lot::{self, Kept};
use crate::handover::{Generation, Item};
use crate::supervisor::sockets::Listener;
use crate::supervisor::timestamp;
use crate::sys;

/// The largest history.
const MAX_HISTORY: u64 = 1 << 20;

/// What a supervisor that was killed had held.
#[derive(Debug)]
pub struct Found {
    /// The ledger's memfd. Only workers know its layout: the program that last worked knows this one.
    pub ledger: Rc<OwnedFd>,
    /// Connections and queues.
    pub items: Vec<(Item, Rc<OwnedFd>)>,
    /// Listeners that it had bound.
    pub listeners: Vec<Listener>,
    /// The generations there were.
    pub history: VecDeque<Generation>,
    /// What last worked.
    pub last_good: Option<LastGood>,
    /// It was killed in a stop.
    pub stopping: bool,
}

/// What was kept and is lost all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Sockets that aren't what was said of them.
    pub sockets: usize,
    /// Queues, with what lay in them.
    pub queues: usize,
    /// Descriptors of which this version doesn't know what they are.
    pub unknown: usize,
    /// Messages of up to 252 descriptors for which RLIMIT_NOFILE had no room.
    pub messages: usize,
}

/// What is in a lot of which this is the end; nothing, if it was ended in order, or before anything worked. What of it can't
/// be used is added to `lost`.
///
/// # Errors
/// When nothing of it can.
pub(super) fn read(end: &OwnedFd, lost: &mut Lost) -> io::Result<Option<Found>> {
    let Some(contents) = lot::read(end.as_fd())? else {
        return Ok(None);
    };
    let (mut ledger, mut program, mut config, mut history) = (None, None, None, None);
    let (mut items, mut listeners, mut stopping) = (Vec::new(), Vec::new(), false);
    lost.unknown += contents.unknown;
    lost.messages += contents.cut;
    if let Some(said) = contents.foreign {
        return Err(io::Error::other(format!(
            "another version wrote it, which says {said}: {lost}"
        )));
    }
    for (kept, fd) in contents.kept {
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
            Kept::Stopping => stopping = true,
            Kept::Held(item) if is_itself(&item) => items.push((item, Rc::new(fd))),
            Kept::Bound(item, file) if is_itself(&item) => {
                listeners.extend(Listener::kept(item, file, fd));
            }
            Kept::Held(_) | Kept::Bound(..) => lost.sockets += 1,
        }
    }
    let last_good = program.zip(config);
    if items.is_empty() && last_good.is_none() {
        return Ok(None);
    }
    let Some(ledger) = ledger else {
        let is_queue = |(item, _): &&(Item, _)| matches!(item, Item::Queue { .. });
        let queues = items.iter().filter(is_queue).count();
        lost.queues += queues;
        lost.sockets += items.len() - queues + listeners.len();
        // It has positions and counters: without it nobody knows how many lines lie in a queue.
        return Err(io::Error::other(format!(
            "there is no ledger in it: {lost}, with what lay in the queues, and with all counts"
        )));
    };
    if *lost != Lost::default() {
        tracing::error!("of what was kept of the last supervisor not all can be used: {lost}");
    }
    let why = match stopping {
        true => "its stop was cut short",
        false => "the supervisor was killed",
    };
    tracing::warn!(
        sockets = items.len(),
        listeners = listeners.len(),
        "of the last supervisor, {why}: what it held was kept, this one goes on with it"
    );
    Ok(Some(Found {
        ledger,
        items,
        listeners,
        history: history.map(|fd| past(&fd, why)).unwrap_or_default(),
        last_good,
        stopping,
    }))
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lost {
            sockets,
            queues,
            unknown,
            messages,
        } = self;
        write!(
            f,
            "{sockets} sockets, {queues} queues, {unknown} descriptors of unknown kinds and {messages} cut messages are lost"
        )
    }
}

/// The generations there were: none of them lives.
fn past(memory: &OwnedFd, why: &str) -> VecDeque<Generation> {
    let json = sys::read_memfd(memory.as_fd(), MAX_HISTORY).ok();
    let history = json.and_then(|json| serde_json::from_slice(&json).ok());
    let mut history: VecDeque<Generation> = history.unwrap_or_default();
    for generation in history.iter_mut().filter(|g| g.ended_at.is_none()) {
        generation.ended_at = Some(timestamp());
        generation.outcome = format!("crashed: {why}");
    }
    history
}

/// A program that is held must not be where a child finds its control socket.
fn above_control(fd: OwnedFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(&fd, sys::CONTROL_FD + 1)?)
}

#[cfg(test)]
mod tests;
