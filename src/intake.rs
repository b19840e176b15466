//! From a batch of lines to the rings of their destinations: placed and counted in one commit.

mod rejected;
mod shown;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use crate::aggregate::{Refused, Rule};
use crate::aggregating::{Aggregating, Point};
use crate::gate::Lane;
use crate::ledger::{Count, DropReason, Object, Writer};
use crate::pipeline::{Batch, Placed, Terms};
use crate::queue::{Append, Queue, Ring};
use crate::route::{Moment, Table};
use crate::tap::{At, Tap};
use crate::validate::order::SharedOrder;
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
    /// The aggregators of the table.
    pub aggregations: Vec<Rule>,
    /// The ledger's object of each.
    pub aggregation_counts: Vec<Object>,
}

/// What all inputs share.
#[derive(Debug)]
pub struct Intake {
    /// The table in force.
    pub snapshot: ArcSwap<Snapshot>,
    /// The last rejected lines.
    pub rejected: Rejected,
    /// The open windows of the aggregations.
    pub windows: Aggregating,
    /// The last timestamp of each name, once this worker serves, if older points are refused.
    pub order: OnceLock<SharedOrder>,
    /// Who looks on.
    pub tap: Arc<Tap>,
    /// Counts batches.
    turns: AtomicU64,
}

/// So often a batch is run whose points others pass, before it is placed all the same: more than is likely, unless it has
/// more names than there is room for.
const ATTEMPTS: u32 = 16;

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
    pub fn new(snapshot: Arc<Snapshot>, windows: Aggregating) -> Intake {
        Intake {
            snapshot: ArcSwap::new(snapshot),
            rejected: Rejected::default(),
            windows,
            order: OnceLock::new(),
            tap: Arc::default(),
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
        let lines = lines.into();
        let up = snapshot.up.load();
        let order = self.order.get();
        let watched = self.tap.watched();
        batch.keep(watched.has(At::Routed), watched.has(At::Rejected));
        let mut also = Some(also);
        for attempt in 1.. {
            batch.run(&self.terms(snapshot, &up, order, now_ms), lines.text);
            let order = order.map(|order| (order, attempt == ATTEMPTS));
            let also = |writer: &mut Writer| {
                if let Some(also) = also.take() {
                    also(writer);
                }
            };
            let terms = (origin, now_ms, order);
            if self.place(snapshot, batch, writer, terms, lines, also)? {
                break;
            }
        }
        if watched.is_any() {
            self.show(watched, batch, lines.text);
        }
        Ok(())
    }

    /// Takes lines that aggregations made, as [`feed`](Intake::feed) takes others: they go to the routes directly.
    pub fn feed_outputs(
        &self,
        snapshot: &Snapshot,
        lane: &mut Lane,
        origin: Origin<'_>,
        lines: &[u8],
        also: impl FnOnce(&mut Writer),
    ) -> Result<(), Arc<Ring>> {
        let Lane { batch, writer, .. } = lane;
        let now_ms = now_ms();
        let up = snapshot.up.load();
        let is_watched = self.tap.watched().has(At::Routed);
        batch.keep(is_watched, false);
        batch.run_outputs(&self.terms(snapshot, &up, None, now_ms), lines);
        let whole = lines.into();
        let terms = (origin, now_ms, None);
        let _placed = self.place(snapshot, batch, writer, terms, whole, also)?;
        if is_watched {
            self.show_routed(batch, lines, &mut self.tap.time(lines.len()));
        }
        Ok(())
    }

    fn terms<'a>(
        &self,
        snapshot: &'a Snapshot,
        up: &'a [bool],
        order: Option<&'a SharedOrder>,
        now_ms: u64,
    ) -> Terms<'a> {
        Terms {
            table: &snapshot.table,
            rules: &snapshot.rules,
            now: (now_ms / 1000) as u32,
            moment: Moment {
                up,
                turn: self.turns.fetch_add(1, Ordering::Relaxed),
            },
            order,
        }
    }

    /// Places what the batch came to: all of it, or nothing. False: points of it were passed by others since their order was
    /// seen.
    fn place(
        &self,
        snapshot: &Snapshot,
        batch: &Batch,
        writer: &mut Writer,
        (origin, now_ms, order): (Origin<'_>, u64, Option<(&SharedOrder, bool)>),
        lines: Lines<'_>,
        also: impl FnOnce(&mut Writer),
    ) -> Result<bool, Arc<Ring>> {
        let Lines {
            text: lines,
            refused,
        } = lines;
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
        if order.is_some_and(|(order, anyway)| !batch.note_order(order, anyway)) {
            return Ok(false);
        }
        for (at, append) in &mut appends {
            let placed = &batch.placed()[*at];
            let queue = &snapshot.queues[placed.destination];
            let dropped = push(append, batch, lines, placed);
            writer.add(queue.counts(), Count::Given, placed.lines);
            let reason = queue.drops().unwrap_or(DropReason::FullUdp);
            writer.add(queue.counts(), reason, dropped);
            append.publish(writer, now_ms);
        }
        count(snapshot, batch, writer, origin.listener, refused);
        self.gather(snapshot, batch, writer, lines, now_ms);
        also(writer);
        writer.commit();
        // The last first: a batch of another thread that waits for the first of them then finds the others free.
        let appends = appends.into_iter().rev();
        appends.for_each(|(_, append)| append.finish());
        if batch.unrouted() > 0 {
            let (lines, peer) = (batch.unrouted(), origin.peer);
            tracing::debug!(listener = origin.address, peer, lines, "unrouted");
        }
        if !batch.rejections().is_empty() {
            self.rejected.note(batch, lines, origin, now_ms);
        }
        Ok(true)
    }

    /// Puts the points that aggregations take into their windows. Windows die with the worker; what is counted as put
    /// there stays in the ledger, in the commit of its batch, so that a successor sees what was lost.
    fn gather(
        &self,
        snapshot: &Snapshot,
        batch: &Batch,
        writer: &mut Writer,
        input: &[u8],
        now_ms: u64,
    ) {
        let mut gathered = batch.gathered(input).peekable();
        if gathered.peek().is_none() {
            return;
        }
        let mut taken = vec![0; snapshot.aggregations.len()];
        let mut refused = vec![[0; Refused::COUNT]; taken.len()];
        let points = gathered.map(|point| {
            let (value, timestamp) = point.numbers();
            Point {
                rule: &snapshot.aggregations[point.rule],
                number: point.rule,
                output: point.output,
                value,
                timestamp,
            }
        });
        let now = (now_ms / 1000) as u32;
        self.windows.add(points, now, |point, told| match told {
            Ok(()) => taken[point.number] += 1,
            Err(reason) => refused[point.number][reason as usize] += 1,
        });
        for (at, object) in snapshot.aggregation_counts.iter().enumerate() {
            writer.add(*object, Count::Lines, taken[at]);
            for reason in Refused::ALL {
                writer.add(*object, reason, refused[at][reason as usize]);
            }
        }
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

/// Pushes what a destination gets as far as there is room; returns the lines that found none.
fn push(append: &mut Append<'_>, batch: &Batch, input: &[u8], placed: &Placed) -> u64 {
    let Placed { spans, bytes, .. } = placed;
    if *bytes as u64 <= append.room() {
        let texts = spans.iter().map(|span| batch.text(input, span));
        append.push_all(texts, *bytes, placed.lines);
        return 0;
    }
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
    writer.add(listener, Count::Consumed, batch.consumed());
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
