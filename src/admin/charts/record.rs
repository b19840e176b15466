//! Points are taken, kept as long as they are shown, and go with the next worker.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Charts, DestinationChart, MAX_DESTINATIONS, POINTS, STEP, Series, TotalsChart};

/// What there is to see at one moment; counters are totals.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Lines in, rejected, dropped.
    pub totals: [u64; 3],
    /// In the order of the table.
    pub destinations: Vec<SeenDestination>,
}

/// A destination at that moment.
#[derive(Clone, Debug, Default)]
pub struct SeenDestination {
    /// Its id.
    pub id: String,
    /// Lines acknowledged, ever.
    pub acknowledged: u64,
    /// Lines in its queue.
    pub queued: u64,
    /// Lines in its spool.
    pub spooled: u64,
}

/// A number for each point; that of a moment lies at its number modulo their count.
type Ring = Box<[f32; POINTS]>;

/// Three of them, and the last totals of what is counted.
#[derive(Clone, Debug)]
struct Rings {
    rings: [Ring; 3],
}

/// The points of the last half hour.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// The first and the last point there are, by their number: time / step.
    range: Option<(u64, u64)>,
    /// When the last one was taken.
    at_ms: u64,
    counted: [u64; 3],
    totals: Rings,
    /// By id: the order in the table, lines acknowledged by the last point, and the points.
    destinations: HashMap<String, (usize, u64, Rings)>,
    left_out: usize,
}

impl Default for Rings {
    fn default() -> Rings {
        Rings {
            rings: std::array::from_fn(|_| Box::new([f32::NAN; POINTS])),
        }
    }
}

impl Rings {
    fn put(&mut self, number: u64, values: [f32; 3]) {
        for (ring, value) in self.rings.iter_mut().zip(values) {
            ring[number as usize % POINTS] = value;
        }
    }

    fn shown(&self, (first, last): (u64, u64)) -> [Series; 3] {
        let shown = |ring: &Ring| {
            let numbers = first..=last;
            Series(numbers.map(|n| ring[n as usize % POINTS]).collect())
        };
        [0, 1, 2].map(|at| shown(&self.rings[at]))
    }

    /// Takes what it lacks from another.
    fn merge(&mut self, other: &Rings, (first, last): (u64, u64)) {
        for (mine, other) in self.rings.iter_mut().zip(&other.rings) {
            for at in (first..=last).map(|number| number as usize % POINTS) {
                if mine[at].is_nan() {
                    mine[at] = other[at];
                }
            }
        }
    }
}

/// The number of the point of that time.
fn number(at_ms: u64) -> u64 {
    at_ms / 1000 / u64::from(STEP)
}

impl Recorder {
    /// Takes a point. One of a time that has one already is left out; when the clock was set back all begins anew.
    pub fn take(&mut self, seen: &Seen) {
        let number = number(seen.at_ms);
        match self.range {
            Some((_, last)) if number == last => return,
            Some((_, last)) if number < last => *self = Recorder::default(),
            _ => {}
        }
        self.forget_to(number);
        let elapsed = seen.at_ms.saturating_sub(self.at_ms) as f32 / 1000.0;
        let is_first = self.at_ms == 0;
        let rate = |now: u64, before: u64| match is_first {
            true => f32::NAN,
            false => now.saturating_sub(before) as f32 / elapsed,
        };
        let rates = [0, 1, 2].map(|at| rate(seen.totals[at], self.counted[at]));
        self.totals.put(number, rates);
        let mut before = std::mem::take(&mut self.destinations);
        for (order, one) in seen.destinations.iter().take(MAX_DESTINATIONS).enumerate() {
            let (acknowledged, mut rings) = match before.remove(&one.id) {
                Some((_, counted, rings)) => (rate(one.acknowledged, counted), rings),
                None => (f32::NAN, Rings::default()),
            };
            rings.put(
                number,
                [acknowledged, one.queued as f32, one.spooled as f32],
            );
            let kept = (order, one.acknowledged, rings);
            self.destinations.insert(one.id.clone(), kept);
        }
        self.left_out = seen.destinations.len() - self.destinations.len();
        (self.at_ms, self.counted) = (seen.at_ms, seen.totals);
    }

    /// Makes room for the points up to this one.
    fn forget_to(&mut self, number: u64) {
        let oldest = (number + 1).saturating_sub(POINTS as u64);
        let (first, last) = self.range.unwrap_or((number, number));
        let gone = (last + 1).max(oldest)..=number;
        let all = self.destinations.values_mut().map(|(_, _, rings)| rings);
        for rings in all.chain([&mut self.totals]) {
            gone.clone()
                .for_each(|number| rings.put(number, [f32::NAN; 3]));
        }
        self.range = Some((first.max(oldest), number));
    }

    /// The points there are.
    pub fn charts(&self) -> Charts {
        let mut charts = Charts {
            step: STEP,
            left_out: self.left_out,
            ..Charts::default()
        };
        let Some(range) = self.range else {
            return charts;
        };
        charts.start = range.0 * u64::from(STEP);
        charts.points = (range.1 - range.0) as usize + 1;
        let [lines, rejected, dropped] = self.totals.shown(range);
        charts.totals = TotalsChart {
            lines,
            rejected,
            dropped,
        };
        for (id, rings) in self.in_order() {
            let [acknowledged, queued, spooled] = rings.shown(range);
            charts.destinations.push(DestinationChart {
                id: id.to_owned(),
                acknowledged,
                queued,
                spooled,
            });
        }
        charts
    }

    fn in_order(&self) -> impl Iterator<Item = (&str, &Rings)> {
        let mut all: Vec<_> = self.destinations.iter().collect();
        all.sort_unstable_by_key(|(_, (order, ..))| *order);
        all.into_iter().map(|(id, (_, _, rings))| (&id[..], rings))
    }

    /// For the next worker: `length u64 | head, JSON | numbers, f32`, the latter ring by ring.
    ///
    /// # Errors
    /// None that are known: the head is plain.
    pub fn save(&self) -> serde_json::Result<Vec<u8>> {
        let ids = self
            .in_order()
            .map(|(id, _)| (id.to_owned(), self.destinations[id].1));
        let head = serde_json::to_vec(&Head {
            range: self.range,
            at_ms: self.at_ms,
            counted: self.counted,
            destinations: ids.collect(),
        })?;
        let mut saved = (head.len() as u64).to_le_bytes().to_vec();
        saved.extend_from_slice(&head);
        saved.reserve((self.destinations.len() + 1) * 3 * POINTS * 4);
        let of_destinations = self.in_order().map(|(_, rings)| rings);
        for ring in [&self.totals]
            .into_iter()
            .chain(of_destinations)
            .flat_map(|r| &r.rings)
        {
            ring.iter()
                .for_each(|value| saved.extend_from_slice(&value.to_le_bytes()));
        }
        Ok(saved)
    }

    /// Takes what the predecessor saved, where nothing was taken here. False: it isn't of its form, or of another time.
    pub fn restore(&mut self, saved: &[u8]) -> bool {
        let Some(saved) = read(saved) else {
            return false;
        };
        let Some((first, last)) = saved.range else {
            return true;
        };
        let Some((_, mine)) = self.range else {
            *self = saved;
            return true;
        };
        if mine < last {
            return false;
        }
        let first = first.max((mine + 1).saturating_sub(POINTS as u64));
        let range = (first, last);
        if first <= last {
            self.range = self.range.map(|(mine, last)| (first.min(mine), last));
            self.totals.merge(&saved.totals, range);
            for (id, (_, _, rings)) in &mut self.destinations {
                if let Some((_, _, old)) = saved.destinations.get(id) {
                    rings.merge(old, range);
                }
            }
        }
        true
    }
}

/// What is saved but for the points.
#[derive(Serialize, Deserialize)]
struct Head {
    range: Option<(u64, u64)>,
    at_ms: u64,
    counted: [u64; 3],
    destinations: Vec<(String, u64)>,
}

fn read(saved: &[u8]) -> Option<Recorder> {
    let (length, rest) = saved.split_first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (head, mut numbers) = rest.split_at_checked(length)?;
    let head: Head = serde_json::from_slice(head).ok()?;
    let is_sane = head.range.is_none_or(|(first, last)| {
        last == number(head.at_ms) && first <= last && last - first < POINTS as u64
    });
    if !is_sane || head.destinations.len() > MAX_DESTINATIONS {
        return None;
    }
    let mut rings = || {
        let mut rings = Rings::default();
        for value in rings.rings.iter_mut().flat_map(|ring| ring.iter_mut()) {
            let (bytes, rest) = numbers.split_first_chunk()?;
            (*value, numbers) = (f32::from_le_bytes(*bytes), rest);
        }
        Some(rings)
    };
    let totals = rings()?;
    let mut destinations = HashMap::new();
    for (order, (id, acknowledged)) in head.destinations.into_iter().enumerate() {
        destinations.insert(id, (order, acknowledged, rings()?));
    }
    Some(Recorder {
        range: head.range,
        at_ms: head.at_ms,
        counted: head.counted,
        totals,
        destinations,
        left_out: 0,
    })
}

#[cfg(test)]
mod tests;
