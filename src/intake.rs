//! From a batch of lines to the rings of their destinations: placed and counted in one commit.

mod rejected;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use crate::gate::Lane;
use crate::ledger::{Count, DropReason, Object, Writer};
use crate::pipeline::{Batch, Terms};
use crate::queue::{Append, Queue, Ring};
use crate::route::{Moment, Table};
use crate::validate::{Reason, Rules};

pub use rejected::{Rejected, Sample, printable};

/// The table in force, with what its indexes mean. Each batch sees one.
#[derive(Debug)]
pub struct Snapshot {
    /// Blocklist and routes.
    pub table: Table,
    /// What lines are held to.
    pub rules: Rules,
    /// The queue of each destination.
    pub queues: Vec<Arc<Queue>>,
    /// Which of them are taken for up, by those routes that ask.
    pub up: ArcSwap<Vec<bool>>,
    /// The ledger's object of each route.
    pub routes: Vec<Object>,
    /// The ledger's object of each blocklist rule.
    pub blocklist: Vec<Object>,
}

/// What all inputs share.
#[derive(Debug)]
pub struct Intake {
    /// The table in force.
    pub snapshot: ArcSwap<Snapshot>,
    /// The last rejected lines.
    pub rejected: Rejected,
    /// Counts batches.
    turns: AtomicU64,
}

/// Whole lines, and what was refused on the way to them.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// Each ends in a newline.
    pub text: &'a [u8],
    /// What came beside them and never was a line, by the number of its reason: each counts as a line in.
    pub refused: &'a [u64; Reason::COUNT],
}

impl<'a> From<&'a [u8]> for Lines<'a> {
    fn from(text: &'a [u8]) -> Lines<'a> {
        let refused = &[0; Reason::COUNT];
        Lines { text, refused }
    }
}

/// Whether a sender can be made to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// TCP and unix streams: while a queue that doesn't drop is full nothing is placed.
    Waits,
    /// UDP: what such a queue has no room for is dropped and counted.
    Never,
}

/// Where a batch comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The listener's counters.
    pub listener: Object,
    /// Its address, for people.
    pub address: &'a str,
    /// Who sent it, for people.
    pub peer: &'a str,
    /// Whether it can wait.
    pub patience: Patience,
}

impl Intake {
    /// With a first table.
    pub fn new(snapshot: Snapshot) -> Intake {
        Intake {
            snapshot: ArcSwap::from_pointee(snapshot),
            rejected: Rejected::default(),
            turns: AtomicU64::new(0),
        }
    }

    /// Takes whole lines: all of them are placed and counted, in one commit with what `also` adds to it; or, when a queue that doesn't
    /// drop has no room, nothing happened and that ring is returned.
    pub fn feed<'a>(
        &self,
        snapshot: &Snapshot,
        batch: &mut Batch,
        writer: &mut Writer,
        origin: Origin<'_>,
        lines: impl Into<Lines<'a>>,
        also: impl FnOnce(&mut Writer),
    ) -> Result<(), Arc<Ring>> {
        let now_ms = now_ms();
        let Lines {
            text: lines,
            refused,
        } = lines.into();
        let up = snapshot.up.load();
        let terms = Terms {
            table: &snapshot.table,
            rules: &snapshot.rules,
            now: (now_ms / 1000) as u32,
            moment: Moment {
                up: &up,
                turn: self.turns.fetch_add(1, Ordering::Relaxed),
            },
        };
        batch.run(&terms, lines);
        let mut appends = lock_queues(snapshot, batch);
        if origin.patience == Patience::Waits {
            for (at, append) in &appends {
                let placed = &batch.placed()[*at];
                let queue = &snapshot.queues[placed.destination];
                if placed.bytes as u64 > append.room() && queue.drops().is_none() {
                    return Err(queue.ring_of(append).clone());
                }
            }
        }
        for (at, append) in &mut appends {
            let placed = &batch.placed()[*at];
            let queue = &snapshot.queues[placed.destination];
            let dropped = push(append, batch, lines, &placed.spans);
            writer.add(queue.counts(), Count::Given, placed.lines);
            let reason = queue.drops().unwrap_or(DropReason::FullUdp);
            writer.add(queue.counts(), reason, dropped);
            append.publish(writer, now_ms);
        }
        count(snapshot, batch, writer, origin.listener, refused);
        also(writer);
        writer.commit();
        appends.into_iter().for_each(|(_, append)| append.finish());
        if batch.unrouted() > 0 {
            let (lines, peer) = (batch.unrouted(), origin.peer);
            tracing::debug!(listener = origin.address, peer, lines, "unrouted");
        }
        if !batch.rejections().is_empty() {
            self.rejected.note(batch, lines, origin, now_ms);
        }
        Ok(())
    }

    /// Takes lines that can't wait, from a lane of one's own.
    pub fn feed_now(&self, lane: &mut Lane, origin: Origin<'_>, lines: &[u8]) {
        let snapshot = self.snapshot.load();
        let Lane { batch, writer, .. } = lane;
        let origin = Origin {
            patience: Patience::Never,
            ..origin
        };
        let fed = self.feed(&snapshot, batch, writer, origin, lines, |_| {});
        debug_assert!(fed.is_ok(), "who can't wait isn't told to");
    }

    /// The number that the next batch has.
    pub fn next_turn(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }
}

/// Takes the right to write to the queues that get something: in one order for all threads and tables.
fn lock_queues<'a>(snapshot: &'a Snapshot, batch: &Batch) -> Vec<(usize, Append<'a>)> {
    let queue = |at: &usize| &snapshot.queues[batch.placed()[*at].destination];
    let mut order: Vec<usize> = (0..batch.placed().len()).collect();
    order.sort_unstable_by_key(|at| queue(at).counts());
    order
        .into_iter()
        .map(|at| (at, queue(&at).append(batch.placed()[at].bytes as u64)))
        .collect()
}

/// Pushes spans as far as there is room; returns the lines that found none.
fn push(
    append: &mut Append<'_>,
    batch: &Batch,
    input: &[u8],
    spans: &[crate::pipeline::Span],
) -> u64 {
    let mut dropped = 0;
    for span in spans {
        let (text, lines) = (batch.text(input, span), u64::from(span.lines));
        let room = usize::try_from(append.room()).unwrap_or(usize::MAX);
        if text.len() <= room {
            append.push(text, lines);
            continue;
        }
        // The newest are dropped: what comes first goes in, to the last whole line that fits.
        let fits = memchr::memrchr(b'\n', &text[..room]).map_or(0, |at| at + 1);
        let pushed = memchr::memchr_iter(b'\n', &text[..fits]).count() as u64;
        append.push(&text[..fits], pushed);
        dropped += lines - pushed;
    }
    dropped
}

fn count(
    snapshot: &Snapshot,
    batch: &Batch,
    writer: &mut Writer,
    listener: Object,
    refused: &[u64; Reason::COUNT],
) {
    let lines = batch.lines() + refused.iter().sum::<u64>();
    writer.add(listener, Count::Lines, lines);
    for reason in Reason::ALL {
        let at = reason as usize;
        writer.add(listener, reason, batch.rejected()[at] + refused[at]);
    }
    let mut blocked = 0;
    for (rule, lines) in batch.blocked() {
        blocked += lines;
        writer.add(snapshot.blocklist[rule], Count::Lines, lines);
    }
    for (route, lines) in batch.routes() {
        writer.add(snapshot.routes[route], Count::Lines, lines);
    }
    let copies = batch.placed().iter().map(|placed| placed.lines).sum();
    writer.add(listener, Count::Blocked, blocked);
    writer.add(listener, Count::Unrouted, batch.unrouted());
    writer.add(listener, Count::Routed, batch.routed());
    writer.add(listener, Count::Copies, copies);
}

/// The time, in milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
