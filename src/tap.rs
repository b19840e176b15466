//! What flows, for those who want to see it: a live stream of lines as they come in, as they are sent, or as they are
//! rejected.
//!
//! A metric is never slowed by who looks on. Without a subscriber a batch costs one relaxed load. With some, the thread
//! that moved a batch copies the lines that match into each one's queue, which has an end: what it has no room for is lost
//! to that subscriber, and counted. Nobody is waited for, and no lock is held longer than such a copy. All of them together
//! have a limited [time](Time) for each batch; expressions are small ones.

mod glob;
mod look;
mod printable;
mod sample;
mod subscription;
mod time;
mod wanted;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use subscription::Subscriber;

pub use glob::{BadGlob, Glob};
pub use look::Seen;
pub use printable::printable;
pub use subscription::{Event, QUEUE, Subscription};
pub use time::Time;
pub use wanted::{At, KEYS, MAX_PATTERN, Wanted};

/// So many may look on at one time.
pub const MAX_SUBSCRIBERS: usize = 64;

/// Who looks on.
#[derive(Debug, Default)]
pub struct Tap {
    /// At which points anybody does: bits of [`At`].
    watched: AtomicU8,
    subscribers: ArcSwap<Vec<Arc<Subscriber>>>,
    /// Held while those are changed.
    changing: Mutex<()>,
    closed: AtomicBool,
    /// Who is asked first.
    turn: AtomicUsize,
    /// What looking on may take beyond what a batch has by its size.
    savings: Arc<time::Savings>,
    /// Lines that were lost, and aren't in the ledger yet.
    lost: AtomicU64,
}

/// At which points somebody looks on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watched(u8);

impl Watched {
    /// Whether somebody does there.
    #[inline]
    pub fn has(self, at: At) -> bool {
        self.0 & at.bit() != 0
    }

    /// Whether somebody does anywhere.
    #[inline]
    pub fn is_any(self) -> bool {
        self.0 != 0
    }
}

impl Tap {
    /// Without subscribers.
    pub fn new() -> Tap {
        Tap::default()
    }

    /// Begins a subscription. It ends when it is dropped. Compiles patterns, which may take milliseconds.
    ///
    /// # Errors
    /// In words: a pattern is none, there are too many subscribers, or this worker serves no more.
    pub fn subscribe(self: &Arc<Self>, wanted: &Wanted) -> Result<Subscription, String> {
        let subscriber = Arc::new(Subscriber::new(wanted)?);
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::SeqCst) {
            return Err("restart under way: ask again when it is over".to_owned());
        }
        let mut subscribers = Vec::clone(&self.subscribers.load());
        if subscribers.len() >= MAX_SUBSCRIBERS {
            return Err(format!(
                "there are {MAX_SUBSCRIBERS} subscribers already, and there may be no more"
            ));
        }
        subscribers.push(subscriber.clone());
        self.replace(subscribers);
        Ok(Subscription::new(self.clone(), subscriber))
    }

    /// How many look on.
    pub fn subscribers(&self) -> usize {
        self.subscribers.load().len()
    }

    /// How many lines subscribers have lost since this was asked last.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    /// Ends all subscriptions, once they have had what is queued for them, and takes no new ones: this worker serves no more.
    pub fn close(&self) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.closed.store(true, Ordering::SeqCst);
        for subscriber in self.subscribers.load().iter() {
            subscriber.end();
        }
    }

    /// It serves, perhaps again.
    pub fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    fn remove(&self, gone: &Arc<Subscriber>) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut subscribers = Vec::clone(&self.subscribers.load());
        subscribers.retain(|subscriber| !Arc::ptr_eq(subscriber, gone));
        self.replace(subscribers);
    }

    fn replace(&self, subscribers: Vec<Arc<Subscriber>>) {
        let bits = subscribers
            .iter()
            .fold(0, |bits, subscriber| bits | subscriber.at().bit());
        self.subscribers.store(Arc::new(subscribers));
        self.watched.store(bits, Ordering::Relaxed);
    }

    /// At which points somebody looks on: asked once a batch.
    #[inline]
    pub fn watched(&self) -> Watched {
        Watched(self.watched.load(Ordering::Relaxed))
    }
}
