//! Aggregation windows and the order of points through a worker's life: lines out each second, over to a successor, and
//! over a stop.
//!
//! A successor serves at once, and holds its windows until it has its predecessor's (`Aggregating`). The ledger says how
//! many points lie in windows that nobody has closed: what of those doesn't come is lost, and counted; what comes although it
//! was counted as lost, or before it was counted at all, is restored.
//!
//! The ledger says too how many of the predecessor's windows are placed, so that it can go on with the others (`thawed`).

mod flush;
mod parcel;
mod rules;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::fault;
use super::relay::{Relay, lock};
use crate::aggregate::Merged;
use crate::aggregating::Tally;
use crate::intake::{Snapshot, now_ms};
use crate::ledger::{Cell, Count, Kind, Object, Writer};
use crate::spool::{Errand, RESTART};
use crate::validate::order::SharedOrder;

pub(super) use flush::flush_for_ever;
pub(super) use parcel::{Parcel, pack};

/// A predecessor's windows that haven't come by then never will.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often it is tried to read what a stop left, and how long one may take.
const TRY_AGAIN: Duration = Duration::from_millis(200);
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
    /// Rules that the config lacks, of lines that came from elsewhere, by their ids.
    foreign: Mutex<BTreeMap<u64, (String, Object)>>,
    /// What was passed to a successor.
    passed: Mutex<Option<Passed>>,
    /// They are being kept over a stop: nothing is closed any more.
    ended: Mutex<bool>,
}

/// What there was when windows were passed on.
#[derive(Debug)]
struct Passed {
    /// The generation of the successor.
    to: u64,
    /// Lines that waited.
    due: Vec<Tally>,
    /// How many points of each rule were ever flushed.
    flushed: BTreeMap<u64, u64>,
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
        let mut lane = relay.inputs.gate.inside_closed();
        let none = passed_word(relay.generation, 0);
        lane.writer.set(relay.aggregated, Cell::Passed, none);
        lane.writer.commit();
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
            fault::point("on-merge");
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
        let passed = lock(&self.passed).take();
        let count = passed.as_ref().map_or(0, |passed| {
            let word = relay.ledger.cell(relay.aggregated, Cell::Passed);
            let of_successor = word >> 32 == passed_word(passed.to, 0) >> 32;
            if of_successor {
                word as u32 as usize
            } else {
                0
            }
        });
        // What it lacked the rule of it has not closed.
        let lacked = |rule: u64| {
            let Some((passed, object)) = passed.as_ref().zip(self.object(relay, rule)) else {
                return false;
            };
            let waited = passed.due.iter().take(count).filter(|t| t.rule == rule);
            let waited: u64 = waited.map(|tally| tally.points).sum();
            let before = passed.flushed.get(&rule).copied().unwrap_or(0);
            relay.ledger.total(object, Count::Flushed) <= before + waited
        };
        let windows = &relay.inputs.intake.windows;
        let closed_to = relay.ledger.cell(relay.aggregated, Cell::ClosedTo);
        windows.forget_first(count, u32::try_from(closed_to).unwrap_or(u32::MAX), lacked);
        lock(&self.uncounted).clear();
        let mut here = BTreeMap::new();
        for (rule, points) in windows.points() {
            if let Some(object) = self.object(relay, rule) {
                *here.entry(object).or_default() += points;
            }
        }
        self.settle(
            relay,
            in_windows(relay),
            here,
            "the successor that had taken them failed",
        );
        lock(&self.inherited).clear();
        self.release(relay);
    }

    /// What the ledger says is in windows, and what is: that is counted.
    fn settle(
        &self,
        relay: &Relay,
        said: Vec<(Object, u64)>,
        mut here: BTreeMap<Object, u64>,
        why: &str,
    ) {
        let mut lost = Vec::new();
        let mut restored = Vec::new();
        for (object, said) in said {
            let here = here.remove(&object).unwrap_or(0);
            lost.push((object, said.saturating_sub(here)));
            restored.push((object, here.saturating_sub(said)));
        }
        restored.extend(here);
        let restored = restored.into_iter().filter(|(_, points)| *points > 0);
        let restored = restored.map(|(object, points)| (object, Count::Restored, points));
        lock(&self.uncounted).extend(restored);
        self.lose(relay, lost, why);
    }

    /// What is passed on now: see [`thawed`](Gathering::thawed).
    pub fn passes(&self, relay: &Relay, to: u64, due: Vec<Tally>) {
        let rules = relay.inputs.intake.windows.points().into_keys();
        let flushed = rules.filter_map(|rule| {
            let object = self.object(relay, rule)?;
            Some((rule, relay.ledger.total(object, Count::Flushed)))
        });
        let flushed = flushed.collect();
        *lock(&self.passed) = Some(Passed { to, due, flushed });
    }
}

/// The word of [`Cell::Passed`].
fn passed_word(generation: u64, count: u32) -> u64 {
    generation << 32 | u64::from(count)
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
    let Some(parcel) = Parcel::open(bytes) else {
        gathering.give_up_inherited(relay, "what came of them is malformed");
        return;
    };
    relay.charting.restore(parcel.charts);
    let ended = parcel.head.ended_sessions.clone();
    relay.web.access().end_sessions(ended, now_ms() / 1000);
    let first = u32::from(restored.is_none());
    let mut came = merge_windows(relay, &snapshot, &parcel, first);
    for (rule, text) in parcel.rules() {
        gathering.meet(relay, rule, text);
    }
    if let Some(due) = parcel.due(first) {
        for tally in due.tallies() {
            if let Some(object) = gathering.object(relay, tally.rule) {
                *came.entry(object).or_default() += tally.points;
            }
        }
        relay.inputs.intake.windows.put_before(due);
    }
    if let (Some(order), [_, ..]) = (relay.inputs.intake.order.get(), parcel.order) {
        match order.merge(parcel.order) {
            Ok(names) => tracing::info!(names, "order of points merged"),
            Err(error) => tracing::error!(%error, "the order of points begins anew"),
        }
    }
    if restored.is_some() {
        gathering.settle(relay, Vec::new(), came, "");
        return;
    }
    lock(&gathering.restored).extend(parcel.head.restored);
    let inherited = std::mem::take(&mut *lock(&gathering.inherited));
    gathering.settle(
        relay,
        inherited,
        came,
        "their aggregation is gone, or there was no room for them",
    );
}

/// Merges the open windows; tells how many points came. Lines that wait are numbered from `first` on, then come these.
fn merge_windows(
    relay: &Relay,
    snapshot: &Snapshot,
    parcel: &Parcel<'_>,
    first: u32,
) -> BTreeMap<Object, u64> {
    let rules = &snapshot.aggregations[..];
    let mut came = vec![0; rules.len()];
    let number = first * (1 + parcel.waiting());
    let windows = &relay.inputs.intake.windows;
    match windows.merge(parcel.windows, number, rules, &mut came) {
        Ok(merged) if merged == Merged::default() => {}
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
    let objects = snapshot.aggregation_counts.iter().copied();
    objects.zip(came).collect()
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

/// At a stop, when all input has ended: keeps the windows in the database. Tells how many points those had that can't be
/// kept.
pub(super) fn keep(relay: &Relay, limit: Duration) -> Result<u64, u64> {
    relay.gathering.join();
    // Whoever was at it has put back what there was no room for.
    *lock(&relay.gathering.ended) = true;
    let windows = &relay.inputs.intake.windows;
    let points = windows.points().into_values().sum();
    if points == 0 {
        return Ok(0);
    }
    let bytes = match pack(relay, None) {
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
