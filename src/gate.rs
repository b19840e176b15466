//! The gate: whoever reads, writes or accepts passes it, and a hand-over closes it.
//!
//! It is made of lanes. A lane has what a thread needs to move a batch (a read buffer, the pipeline's scratch, a ledger
//! writer) behind one lock that is held for the length of a batch. So the gate is closed when the
//! closer has said so and then has held every lane once: nobody is inside any more, and whoever comes later sees
//! it closed. No task is woken for it and no socket is touched.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use crate::decode::pickle::Decoder;
use crate::ledger::{LANES, Ledger, Writer};
use crate::pipeline::Batch;

/// The most that is read at once.
pub const READ: usize = 256 * 1024;
/// Room for a partial line before what is read, and for the largest datagram behind.
const BUFFER: usize = READ + 256 * 1024 + 64 * 1024;

/// What a thread needs to move a batch.
#[derive(Debug)]
pub struct Lane {
    /// Bytes that were read.
    pub buffer: Box<[u8]>,
    /// The pipeline's scratch.
    pub batch: Batch,
    /// The ledger's writer of this lane.
    pub writer: Writer,
    /// Where pickles are decoded, and the lines that they become.
    pub pickles: (Decoder, Vec<u8>),
}

/// See the module's text.
#[derive(Debug)]
pub struct Gate {
    lanes: Vec<Mutex<Lane>>,
    open: AtomicBool,
    opened: watch::Sender<bool>,
}

impl Gate {
    /// A closed gate for so many threads, at most [`LANES`] − 1; more share.
    pub fn new(ledger: &Arc<Ledger>, threads: usize) -> Gate {
        // One more than threads, for the control thread.
        let lanes = (0..(threads + 1).clamp(2, LANES))
            .map(|lane| {
                Mutex::new(Lane {
                    buffer: vec![0; BUFFER].into_boxed_slice(),
                    batch: Batch::new(),
                    writer: Writer::new(ledger.clone(), lane),
                    pickles: Default::default(),
                })
            })
            .collect();
        Gate {
            lanes,
            open: AtomicBool::new(false),
            opened: watch::Sender::new(false),
        }
    }

    /// Goes in; `None` while it is closed. Not to be held across anything that waits.
    #[inline]
    pub fn enter(&self) -> Option<MutexGuard<'_, Lane>> {
        let lane = self.lane();
        self.open.load(Ordering::SeqCst).then_some(lane)
    }

    /// A lane while the gate is closed, for whoever closed it.
    pub fn inside_closed(&self) -> MutexGuard<'_, Lane> {
        self.lane()
    }

    /// Waits until it is open.
    pub async fn opened(&self) {
        // The sender lives as long as `self`, so this ends by the gate's opening alone.
        let mut opened = self.opened.subscribe();
        let _open = opened.wait_for(|open| *open).await;
    }

    /// Opens it.
    pub fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
        self.opened.send_replace(true);
    }

    /// Closes it, and returns when nobody is inside.
    pub fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
        self.opened.send_replace(false);
        self.pass();
    }

    /// Returns when everybody who was inside has left.
    pub fn pass(&self) {
        for lane in &self.lanes {
            drop(lock(lane));
        }
    }

    /// How many lanes there are.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    fn lane(&self) -> MutexGuard<'_, Lane> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static MINE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed)));
        lock(&self.lanes[MINE.get() % self.lanes.len()])
    }
}

fn lock(lane: &Mutex<Lane>) -> MutexGuard<'_, Lane> {
    // A panic inside a lane aborts the process (see the worker), so there is no poisoned state to
    // go on with.
    lane.lock().unwrap_or_else(|e| e.into_inner())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn after_close_nobody_is_inside() {
        let memory = crate::sys::memfd("ledger", crate::ledger::BYTES).unwrap();
        let ledger = Arc::new(Ledger::open(memory.as_fd()).unwrap());
        let gate = Gate::new(&ledger, 4);
        let (inside, entries) = (AtomicU64::new(0), AtomicU64::new(0));
        let end = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !end.load(Ordering::Relaxed) {
                        if let Some(lane) = gate.enter() {
                            inside.fetch_add(1, Ordering::SeqCst);
                            entries.fetch_add(1, Ordering::SeqCst);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(lane);
                        }
                    }
                });
            }
            for _ in 0..50 {
                gate.open();
                let before = entries.load(Ordering::SeqCst);
                while entries.load(Ordering::SeqCst) < before + 10 {
                    std::thread::yield_now();
                }
                gate.close();
                let closed_at = entries.load(Ordering::SeqCst);
                assert_eq!(inside.load(Ordering::SeqCst), 0);
                std::thread::yield_now();
                assert_eq!(entries.load(Ordering::SeqCst), closed_at);
            }
            end.store(true, Ordering::Relaxed);
        });
    }
}
