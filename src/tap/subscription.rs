//! One who looks on: what it wants, and the queue between the threads that move metrics and it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::sample::Picks;
use super::time::Debt;
use super::{At, Glob, Tap, Wanted};
use crate::route::Matcher;

/// So many bytes of lines may wait for a subscriber.
pub const QUEUE: usize = 1024 * 1024;
/// A compiled expression may take so much memory: what a larger one may take to be asked about a name is felt.
pub(super) const EXPRESSION: usize = 256 * 1024;
/// Before it is told of lines it is waited so long for more: a wake for each batch would cost more than the batch.
const GATHER: Duration = Duration::from_millis(10);

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Whole lines, each ending in a newline, in the order in which batches were placed. They may hold any bytes:
    /// [`printable`](super::printable) makes text of them. Rejected ones begin with their reason, `reason: line`.
    Lines(Vec<u8>),
    /// So many lines were lost here: they matched and found no room, or there was no time to look at them.
    Lost(u64),
}

/// A stream of what matches.
#[derive(Debug)]
pub struct Subscription {
    tap: Arc<Tap>,
    subscriber: Arc<Subscriber>,
    /// Lost behind the lines that were told last.
    lost: u64,
}

impl Subscription {
    pub(super) fn new(tap: Arc<Tap>, subscriber: Arc<Subscriber>) -> Subscription {
        Subscription {
            tap,
            subscriber,
            lost: 0,
        }
    }

    /// Waits for the next event. `None`: this worker serves no more, and all that was queued has been told; ask the next
    /// one. Whoever gives up waiting loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            // Looked at before the queue: nothing is queued after the end.
            let over = self.subscriber.ended.load(Ordering::SeqCst);
            if let Some(event) = self.try_next() {
                return Some(event);
            }
            if over {
                return None;
            }
            self.subscriber.woken.notified().await;
            if !self.subscriber.ended.load(Ordering::SeqCst) {
                sleep(GATHER).await;
            }
        }
    }

    /// What is there now, without waiting; `None`: nothing, or it [is over](Subscription::is_over).
    pub fn try_next(&mut self) -> Option<Event> {
        if self.lost > 0 {
            return Some(Event::Lost(std::mem::take(&mut self.lost)));
        }
        let Queue { lines, lost } = std::mem::take(&mut *self.subscriber.lock());
        if lines.is_empty() {
            return (lost > 0).then_some(Event::Lost(lost));
        }
        self.lost = lost;
        Some(Event::Lines(lines))
    }

    /// Gives up all that is still there; so many lines are lost by it, and before.
    pub fn lose(&mut self) -> u64 {
        let mut lost = 0;
        while let Some(event) = self.try_next() {
            match event {
                Event::Lines(lines) => {
                    let lines = memchr::memchr_iter(b'\n', &lines).count() as u64;
                    self.tap.lost.fetch_add(lines, Ordering::Relaxed);
                    lost += lines;
                }
                // They are counted already.
                Event::Lost(lines) => lost += lines,
            }
        }
        lost
    }

    /// Waits for that.
    pub async fn over(&self) {
        while !self.is_over() {
            self.subscriber.woken.notified().await;
        }
    }

    /// Whether this worker serves no more; there may still be something [to be told](Subscription::try_next).
    pub fn is_over(&self) -> bool {
        self.subscriber.ended.load(Ordering::SeqCst)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.tap.remove(&self.subscriber);
    }
}

/// What the threads that move metrics see of it.
#[derive(Debug)]
pub(super) struct Subscriber {
    at: At,
    matcher: Matcher,
    glob: Option<Glob>,
    is_costly: bool,
    debt: Debt,
    sample: u32,
    /// Another one for each batch.
    seed: AtomicU64,
    queue: Mutex<Queue>,
    woken: Notify,
    ended: AtomicBool,
}

/// Lines, and how many were lost behind them.
#[derive(Debug, Default)]
struct Queue {
    lines: Vec<u8>,
    lost: u64,
}

impl Subscriber {
    /// Compiles what is wanted.
    pub fn new(wanted: &Wanted) -> Result<Subscriber, String> {
        let Wanted {
            at,
            patterns,
            glob,
            sample,
        } = wanted;
        let matcher = Matcher::within(EXPRESSION, patterns).map_err(|bad| bad.to_string())?;
        let glob = match &glob[..] {
            "" => None,
            glob => Some(Glob::new(glob).map_err(|bad| bad.to_string())?),
        };
        let regexes = [&patterns.regex[..], &patterns.not_regex];
        Ok(Subscriber {
            at: *at,
            matcher,
            is_costly: glob.is_some() || !regexes.concat().is_empty(),
            glob,
            debt: Debt::default(),
            sample: sample.unwrap_or(1),
            seed: AtomicU64::new(std::process::id().into()),
            queue: Mutex::default(),
            woken: Notify::new(),
            ended: AtomicBool::new(false),
        })
    }

    pub fn at(&self) -> At {
        self.at
    }

    /// Whether every line is wanted.
    pub fn takes_all(&self) -> bool {
        self.sample == 1 && self.matcher.accepts_all() && self.glob.is_none()
    }

    /// Whether its patterns may be slow.
    pub fn is_costly(&self) -> bool {
        self.is_costly
    }

    /// What it took too much of the time of batches.
    pub fn debt(&self) -> &Debt {
        &self.debt
    }

    /// How many of so many lines it would have been asked about.
    pub fn share_of(&self, lines: u64) -> u64 {
        lines / u64::from(self.sample)
    }

    /// Which lines of a batch are looked at.
    pub fn picks(&self) -> Picks {
        Picks::new(self.sample, self.seed.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether this name is wanted.
    pub fn wants(&self, name: &[u8]) -> bool {
        self.matcher.matches(name) && self.glob.as_ref().is_none_or(|glob| glob.matches(name))
    }

    /// Queues whole lines as far as there is room. Once some were lost no others come before that is told, so that it is
    /// told at its place. Returns how many were.
    pub fn push(&self, lines: &[u8], mut lost: u64) -> u64 {
        let mut queue = self.lock();
        let was_empty = queue.lines.is_empty() && queue.lost == 0;
        let room = match queue.lost {
            0 => QUEUE - queue.lines.len(),
            _ => 0,
        };
        let fits = match lines.len() <= room {
            true => lines.len(),
            false => memchr::memrchr(b'\n', &lines[..room]).map_or(0, |at| at + 1),
        };
        queue.lines.extend_from_slice(&lines[..fits]);
        if fits < lines.len() {
            lost += memchr::memchr_iter(b'\n', &lines[fits..]).count() as u64;
        }
        queue.lost += lost;
        let is_empty = queue.lines.is_empty() && queue.lost == 0;
        drop(queue);
        if was_empty && !is_empty {
            self.woken.notify_one();
        }
        lost
    }

    /// Nothing comes any more.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.woken.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
