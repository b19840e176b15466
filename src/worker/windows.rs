//! Aggregation windows and the order of points through a worker's life: lines out each second, over to a successor, and
//! over a stop.
//!
//! A successor serves at once, and holds its windows until it has its predecessor's (`Aggregating`). The ledger says how
//! many points lie in windows that nobody has closed: what of those doesn't come is lost, and counted.

mod parcel;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::relay::{Relay, lock};
use crate::aggregate::Rule;
use crate::aggregating::Due;
use crate::intake::{Origin, Patience, now_ms};
use crate::ledger::{Cell, Count, Kind, Object, Writer};
use crate::spool::{Errand, RESTART};
use crate::validate::order::SharedOrder;

pub(super) use parcel::{Parcel, pack};

/// A predecessor's windows that haven't come by then never will.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often it is tried to read what a stop left, and how long one may take.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// How long to wait where there was no room for lines.
const NO_ROOM: Duration = Duration::from_millis(50);
/// So many bytes of lines are placed at once, and a line more.
const PIECE: usize = 16 << 10;

/// What a worker knows of its windows beside what is in them.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// When it began to serve, while windows are held.
    held_since: Mutex<Option<Instant>>,
    /// Somebody sees to it that they are held no longer: only one may.
    claimed: AtomicBool,
    /// The windows of a predecessor are on their way.
    succeeds: AtomicBool,
    /// Points in the windows of a predecessor, by what the ledger says.
    inherited: Mutex<Vec<(Object, u64)>>,
    /// What is to be counted when the gate is next passed.
    uncounted: Mutex<Vec<(Object, Count, u64)>>,
    /// What a stop had left, and was merged here, but perhaps not yet forgotten there.
    restored: Mutex<Vec<String>>,
    merging: Mutex<Option<JoinHandle<()>>>,
    /// They are being kept over a stop: nothing is closed any more.
    ended: Mutex<bool>,
}

impl Gathering {
    /// There is a frozen worker, which will pass its windows.
    pub fn succeed(&self) {
        self.succeeds.store(true, Ordering::SeqCst);
    }

    /// Whether the predecessor's windows are still to come.
    pub fn awaits(&self) -> bool {
        self.succeeds.load(Ordering::SeqCst) && lock(&self.held_since).is_some()
    }

    /// Whether windows are held.
    pub fn is_held(&self) -> bool {
        lock(&self.held_since).is_some()
    }

    /// This worker is about to serve; the gate is closed.
    pub fn begin(&self, relay: &Arc<Relay>) {
        let intake = &relay.inputs.intake;
        if let Some(names) = relay.config.order {
            let mut seed = relay.ledger.cell(relay.aggregated, Cell::OrderSeed);
            if seed == 0 {
                use std::hash::{BuildHasher, RandomState};
                seed = RandomState::new().hash_one(relay.generation) | 1;
                let mut lane = relay.inputs.gate.inside_closed();
                lane.writer.set(relay.aggregated, Cell::OrderSeed, seed);
                lane.writer.commit();
            }
            // A second `go` finds it there.
            let _there = intake.order.set(SharedOrder::new(names, seed));
        }
        *lock(&self.inherited) = in_windows(relay);
        self.claimed.store(false, Ordering::SeqCst);
        *lock(&self.held_since) = Some(Instant::now());
    }

    /// Whether windows are held, and it is for the caller to release them.
    fn claim(&self) -> bool {
        let held = lock(&self.held_since);
        held.is_some() && !self.claimed.swap(true, Ordering::SeqCst)
    }

    /// Reads what a stop left, if no windows of a predecessor are on their way. This worker serves.
    pub fn serve(&self, relay: &Arc<Relay>) {
        if !self.succeeds.load(Ordering::SeqCst) && self.claim() {
            self.merge_in_background(relay, |relay| {
                relay
                    .gathering
                    .give_up_inherited(&relay, "the worker that had them has died");
                recall(&relay);
                relay.gathering.release(&relay);
            });
        }
    }

    /// The predecessor's windows have come; `None`: they won't.
    pub fn take(&self, relay: &Arc<Relay>, parcel: Option<Vec<u8>>) {
        if !self.claim() {
            tracing::warn!("the predecessor's aggregation windows come too late");
            return;
        }
        self.merge_in_background(relay, move |relay| {
            match parcel {
                Some(parcel) => merge(&relay, &parcel, None),
                None => relay
                    .gathering
                    .give_up_inherited(&relay, "the old worker couldn't pass them"),
            }
            relay.gathering.release(&relay);
            recall(&relay);
        });
    }

    fn merge_in_background(
        &self,
        relay: &Arc<Relay>,
        merge: impl FnOnce(Arc<Relay>) + Send + 'static,
    ) {
        let (relay, serving) = (relay.clone(), relay.clone());
        let thread = std::thread::Builder::new().name("baton-windows".into());
        match thread.spawn(move || merge(relay)) {
            Ok(thread) => *lock(&self.merging) = Some(thread),
            Err(error) => {
                tracing::error!(%error, "aggregation windows can't be merged");
                self.give_up_inherited(&serving, "there can't be one more thread");
                self.release(&serving);
            }
        }
    }

    /// Waits until what has come is merged.
    pub fn join(&self) {
        let merging = lock(&self.merging).take();
        if merging.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("aggregation windows weren't merged");
        }
    }

    fn release(&self, relay: &Relay) {
        *lock(&self.held_since) = None;
        relay.inputs.intake.windows.release();
    }

    /// Nobody has what the ledger says is in windows.
    fn give_up_inherited(&self, relay: &Relay, why: &str) {
        let lost = std::mem::take(&mut *lock(&self.inherited));
        self.lose(relay, lost, why);
    }

    fn lose(&self, relay: &Relay, lost: Vec<(Object, u64)>, why: &str) {
        let points: u64 = lost.iter().map(|(_, points)| points).sum();
        if points > 0 {
            let generation = relay.generation;
            tracing::warn!(
                points,
                why,
                generation,
                "points in aggregation windows are lost"
            );
            let lost = lost.into_iter().map(|(object, n)| (object, Count::Lost, n));
            lock(&self.uncounted).extend(lost);
        }
    }

    /// Counts what is known by now. Inside of the gate, or by whoever has closed it.
    pub fn count(&self, writer: &mut Writer) {
        for (object, count, n) in lock(&self.uncounted).drain(..) {
            writer.add(object, count, n);
            writer.commit();
        }
    }

    /// The successor had begun, and has failed: what it closed is done, what it took in is lost. The gate is closed.
    pub fn thawed(&self, relay: &Relay) {
        self.join();
        let windows = &relay.inputs.intake.windows;
        let through = relay.ledger.cell(relay.aggregated, Cell::ClosedTo);
        windows.forget_due(u32::try_from(through).unwrap_or(u32::MAX));
        lock(&self.uncounted).clear();
        lock(&self.inherited).clear();
        self.release(relay);
        let snapshot = relay.inputs.intake.snapshot.load();
        let open = windows.points_of(&snapshot.aggregations);
        let mut lost = in_windows(relay);
        for (object, points) in &mut lost {
            let counts = &snapshot.aggregation_counts;
            let mine = counts.iter().position(|mine| mine == object);
            *points = points.saturating_sub(mine.map_or(0, |at| open[at]));
        }
        self.lose(relay, lost, "the successor that had taken them failed");
    }
}

/// How many points are in windows that were not closed, by what the ledger says: of every aggregation there ever was.
fn in_windows(relay: &Relay) -> Vec<(Object, u64)> {
    let of = |object| {
        let total = |count: Count| relay.ledger.total(object, count);
        let came = total(Count::Lines) + total(Count::Restored);
        came.saturating_sub(total(Count::Flushed) + total(Count::Lost))
    };
    let objects = relay.ledger.objects(Kind::Aggregation).into_iter();
    objects.map(|object| (object, of(object))).collect()
}

/// Merges what came: of the predecessor, or (`restored`) what a stop had left under this name.
fn merge(relay: &Relay, bytes: &[u8], restored: Option<&str>) {
    let gathering = &relay.gathering;
    let snapshot = relay.inputs.intake.snapshot.load();
    let (rules, objects) = (&snapshot.aggregations[..], &snapshot.aggregation_counts);
    let mut came = vec![0; rules.len()];
    let Some(parcel) = Parcel::open(bytes) else {
        gathering.give_up_inherited(relay, "what came of them is malformed");
        return;
    };
    let windows = &relay.inputs.intake.windows;
    match windows.merge(parcel.windows, rules, &mut came) {
        Ok(merged) => {
            tracing::info!(
                windows = merged.windows,
                points = merged.points,
                gone = merged.gone_points,
                refused = merged.refused_points,
                "aggregation windows merged"
            );
        }
        Err(error) => tracing::error!(%error, "not all aggregation windows were merged"),
    }
    if let Some(due) = parcel.due() {
        for tally in &due.tallies {
            if let Some(at) = position(rules, tally.rule) {
                came[at] += tally.points;
            }
        }
        windows.put_before(due);
    }
    if let (Some(order), [_, ..]) = (relay.inputs.intake.order.get(), parcel.order) {
        match order.merge(parcel.order) {
            Ok(names) => tracing::info!(names, "order of points merged"),
            Err(error) => tracing::error!(%error, "the order of points begins anew"),
        }
    }
    if restored.is_some() {
        let counts = objects.iter().zip(came);
        let counts = counts.map(|(object, points)| (*object, Count::Restored, points));
        lock(&gathering.uncounted).extend(counts);
        return;
    }
    lock(&gathering.restored).extend(parcel.head.restored);
    let mut lost = std::mem::take(&mut *lock(&gathering.inherited));
    for (object, points) in &mut lost {
        let mine = objects.iter().position(|mine| mine == object);
        *points = points.saturating_sub(mine.map_or(0, |at| came[at]));
    }
    gathering.lose(
        relay,
        lost,
        "their aggregation is gone, or there was no room for them",
    );
}

fn position(rules: &[Rule], id: u64) -> Option<usize> {
    rules.iter().position(|rule| rule.id() == id)
}

/// Merges what stops have left in the database, and has it forgotten there.
fn recall(relay: &Relay) {
    let began = Instant::now();
    let saved = Arc::new(Mutex::new(Vec::new()));
    loop {
        let answer = relay.spool.ask(Errand::Recall(saved.clone()));
        match answer.recv_timeout(DEADLINE) {
            Ok(Ok(_)) => break,
            // A successor will ask again, or the next start: nothing waits for this.
            Ok(Err(_)) if !relay.serving.load(Ordering::SeqCst) => return,
            Ok(Err(error)) if error == RESTART => return,
            Ok(Err(error)) if began.elapsed() > DEADLINE => {
                tracing::warn!(
                    error,
                    "aggregation windows that a stop has left can't be read"
                );
                return;
            }
            Ok(Err(_)) => std::thread::sleep(TRY_AGAIN),
            Err(_) => return,
        }
    }
    let saved = std::mem::take(&mut *lock(&saved));
    // What one stop kept holds what was recalled before it, even if that could not be forgotten.
    let heads = saved.iter().filter_map(|(_, bytes)| Parcel::open(bytes));
    let superseded: Vec<String> = heads.flat_map(|parcel| parcel.head.restored).collect();
    for (id, bytes) in saved {
        let merged = lock(&relay.gathering.restored).contains(&id);
        if !merged && !superseded.contains(&id) {
            merge(relay, &bytes, Some(&id));
        }
        if !merged {
            lock(&relay.gathering.restored).push(id);
        }
    }
    let restored = lock(&relay.gathering.restored).clone();
    if restored.is_empty() {
        return;
    }
    let forgotten = relay.spool.ask(Errand::Forget(restored));
    match forgotten.recv_timeout(DEADLINE) {
        Ok(Ok(_)) => lock(&relay.gathering.restored).clear(),
        // A successor is told of them.
        Ok(Err(error)) => tracing::warn!(error, "what a stop had left can't be forgotten"),
        Err(error) => tracing::warn!(%error, "what a stop had left can't be forgotten"),
    }
}

/// What came of one look at what is due.
enum Step {
    /// Lines were placed; there may be more.
    Again,
    /// There is no room.
    Full,
    /// There is nothing to do.
    Nothing,
}

/// Each second, gives the routes the lines of the windows that are due.
pub(super) async fn flush_for_ever(relay: Arc<Relay>) {
    loop {
        sleep(Duration::from_millis(1000 - now_ms() % 1000)).await;
        relay.inputs.gate.opened().await;
        let since = *lock(&relay.gathering.held_since);
        let expired = since.is_some_and(|since| since.elapsed() > DEADLINE);
        if expired && relay.gathering.claim() {
            relay
                .gathering
                .give_up_inherited(&relay, "they didn't come in time");
            relay.gathering.release(&relay);
        }
        loop {
            match step(&relay) {
                Step::Again => tokio::task::yield_now().await,
                Step::Full => sleep(NO_ROOM).await,
                Step::Nothing => break,
            }
        }
    }
}

/// Passes the gate once. What is taken is placed or put back before it is left, so that a freeze finds all of it.
fn step(relay: &Relay) -> Step {
    let Some(mut lane) = relay.inputs.gate.enter() else {
        return Step::Nothing;
    };
    relay.gathering.count(&mut lane.writer);
    let intake = &relay.inputs.intake;
    let ended = lock(&relay.gathering.ended);
    if *ended {
        return Step::Nothing;
    }
    let Some(mut due) = intake.windows.take_due((now_ms() / 1000) as u32) else {
        return Step::Nothing;
    };
    let snapshot = intake.snapshot.load();
    let origin = Origin {
        listener: relay.aggregated,
        address: "aggregation",
        peer: "baton",
        patience: Patience::Waits,
    };
    loop {
        let end = piece(&due.lines);
        let is_last = end == due.lines.len();
        let placed =
            intake.feed_outputs(&snapshot, &mut lane, origin, &due.lines[..end], |writer| {
                if is_last {
                    book(relay, writer, &due);
                }
            });
        match placed {
            Err(_full) => {
                intake.windows.put_back(due);
                return Step::Full;
            }
            Ok(()) if is_last => return Step::Again,
            Ok(()) => drop(due.lines.drain(..end)),
        }
    }
}

/// Where a piece of whole lines ends.
fn piece(lines: &[u8]) -> usize {
    let from = lines.len().min(PIECE);
    memchr::memchr(b'\n', &lines[from.saturating_sub(1)..])
        .map_or(lines.len(), |at| from.saturating_sub(1) + at + 1)
}

fn book(relay: &Relay, writer: &mut Writer, due: &Due) {
    let snapshot = relay.inputs.intake.snapshot.load();
    for tally in &due.tallies {
        if let Some(at) = position(&snapshot.aggregations, tally.rule) {
            let object = snapshot.aggregation_counts[at];
            writer.add(object, Count::Windows, tally.windows);
            writer.add(object, Count::Flushed, tally.points);
            writer.add(object, Count::Out, tally.lines);
        }
    }
    if let Some(through) = due.through {
        writer.set(relay.aggregated, Cell::ClosedTo, through.into());
    }
}

/// At a stop, when all input has ended: keeps the windows in the database. Tells how many points those had that can't be
/// kept.
pub(super) fn keep(relay: &Relay, limit: Duration) -> Result<u64, u64> {
    relay.gathering.join();
    // Whoever was at it has put back what there was no room for.
    *lock(&relay.gathering.ended) = true;
    let windows = &relay.inputs.intake.windows;
    let rules = relay.inputs.intake.snapshot.load();
    let points = windows.points_of(&rules.aggregations).iter().sum();
    if points == 0 && windows.waiting().is_none() {
        return Ok(0);
    }
    let bytes = match pack(relay, false) {
        Ok(parts) => parts.concat(),
        Err(error) => {
            tracing::error!(%error, "aggregation windows can't be kept");
            return Err(points);
        }
    };
    let kept = relay.spool.ask(Errand::Keep {
        id: format!("{}-{}", now_ms(), std::process::id()),
        summary: format!("{} open windows with {points} points", windows.open().0),
        bytes,
    });
    match kept.recv_timeout(limit) {
        Ok(Ok(_)) => Ok(points),
        Ok(Err(error)) => {
            tracing::error!(points, error, "aggregation windows can't be kept");
            Err(points)
        }
        Err(error) => {
            tracing::error!(points, %error, "aggregation windows can't be kept");
            Err(points)
        }
    }
}
