//! What is seen, as rates and times: from two looks at the counters. Time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use indicatif::HumanCount;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Sort};
use crate::cli::columns::shown;

/// So many looks are kept: over them the time to drain is reckoned.
const KEPT: usize = 10;

/// The columns of inputs.
pub const INPUTS: [&str; 5] = ["LISTENER", "KIND", "CONNECTIONS", "LINES/S", "REJECTED/S"];
/// The columns of destinations.
pub const DESTINATIONS: [&str; 9] = [
    "DESTINATION",
    "ROUTE",
    "STATE",
    "LINES/S",
    "QUEUE",
    "SPOOL",
    "DRAIN",
    "DROPPED",
    "ERROR",
];

/// What is read of the status. A daemon of another version may have more, or less.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Seen {
    generation: u64,
    version: String,
    serving: bool,
    listeners: Vec<Listener>,
    destinations: Vec<Destination>,
    totals: Totals,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Totals {
    #[serde(rename = "in")]
    lines: u64,
    rejected: BTreeMap<String, u64>,
    blocked: u64,
    unrouted: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Listener {
    address: String,
    kind: String,
    connections: u64,
    #[serde(flatten)]
    totals: Totals,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Destination {
    id: String,
    route: String,
    address: String,
    state: String,
    error: Option<String>,
    given: u64,
    acknowledged: u64,
    queued: u64,
    spooled: u64,
    dropped: BTreeMap<String, u64>,
}

/// How long what waits will take.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Drain {
    /// Nothing waits that is worth a word.
    Empty,
    /// So many seconds.
    Seconds(f64),
    /// It becomes more, or goes nowhere.
    Never,
}

/// All that was seen, and how it is to be shown.
#[derive(Debug)]
pub struct Model {
    looks: VecDeque<(Instant, Seen)>,
    /// Why the last look failed.
    failure: Option<String>,
    /// By what destinations are sorted.
    pub sort: Sort,
    /// The other way round.
    pub reversed: bool,
    /// What names must have in them.
    pub filter: String,
    /// Looks aren't taken.
    pub paused: bool,
}

/// What is to be shown.
#[derive(Clone, Debug)]
pub struct Page {
    /// Who it is, and in which state.
    pub head: String,
    /// There was no answer to the last look.
    pub failed: bool,
    /// Over all.
    pub totals: String,
    /// A row for each listener.
    pub inputs: Vec<Vec<String>>,
    /// What is rejected and dropped, by reason.
    pub reasons: Vec<String>,
    /// A row for each destination.
    pub destinations: Vec<Row>,
}

/// A destination.
#[derive(Clone, Debug)]
pub struct Row {
    /// What its columns have.
    pub cells: Vec<String>,
    /// It is connected.
    pub up: bool,
}

impl Model {
    /// Before the first look.
    pub fn new(sort: Sort, filter: String) -> Model {
        Model {
            looks: VecDeque::new(),
            failure: None,
            sort,
            reversed: false,
            filter,
            paused: false,
        }
    }

    /// Takes what came of a look.
    pub fn take(&mut self, answer: Answer) {
        match answer {
            _ if self.paused => {}
            Ok(look) => {
                self.failure = None;
                self.looks.push_back(look);
                while self.looks.len() > KEPT {
                    self.looks.pop_front();
                }
            }
            Err(failed) => self.failure = Some(shown(&failed.to_string())),
        }
    }

    fn now(&self) -> Option<&Seen> {
        self.looks.back().map(|(_, seen)| seen)
    }

    /// A counter's growth by second between the last look and the one so many before. `None`: it isn't known.
    fn rate(&self, back: usize, counter: impl Fn(&Seen) -> Option<u64>) -> Option<f64> {
        let last = self.looks.len().checked_sub(1)?;
        let (before, now) = (&self.looks[last.saturating_sub(back)], &self.looks[last]);
        let seconds = now.0.duration_since(before.0).as_secs_f64();
        // The service was started anew when a counter is less than it was.
        let lines = counter(&now.1)?.checked_sub(counter(&before.1)?)?;
        (seconds > 0.0).then(|| lines as f64 / seconds)
    }

    fn rate_of(&self, id: &str, back: usize, counter: fn(&Destination) -> u64) -> Option<f64> {
        self.rate(back, |seen| {
            seen.destinations.iter().find(|d| d.id == id).map(counter)
        })
    }

    fn drain(&self, one: &Destination) -> Drain {
        let waits = (one.queued + one.spooled) as f64;
        let acknowledged = self.rate_of(&one.id, KEPT, |d| d.acknowledged);
        let given = self.rate_of(&one.id, KEPT, |d| d.given);
        let (acknowledged, given) = (acknowledged.unwrap_or(0.0), given.unwrap_or(0.0));
        match acknowledged - given {
            // What is on its way anyway.
            _ if waits <= acknowledged => Drain::Empty,
            net if net > 0.0 => Drain::Seconds(waits / net),
            _ => Drain::Never,
        }
    }

    fn wanted(&self, texts: &[&str]) -> bool {
        texts.iter().any(|text| text.contains(&self.filter))
    }

    /// The destinations that are to be shown, in their order.
    fn sorted(&self) -> Vec<&Destination> {
        let all = self.now().into_iter().flat_map(|seen| &seen.destinations);
        let wanted = all.filter(|d| self.wanted(&[&d.id, &d.route, &d.address]));
        let mut keyed: Vec<(f64, &Destination)> = wanted.map(|d| (self.weight(d), d)).collect();
        keyed.sort_by(|(a, one), (b, other)| b.total_cmp(a).then_with(|| one.id.cmp(&other.id)));
        if self.reversed {
            keyed.reverse();
        }
        keyed
            .into_iter()
            .map(|(_, destination)| destination)
            .collect()
    }

    fn weight(&self, one: &Destination) -> f64 {
        match self.sort {
            Sort::Name => 0.0,
            Sort::Rate => self.rate_of(&one.id, 1, |d| d.acknowledged).unwrap_or(-1.0),
            Sort::Queue => one.queued as f64,
            Sort::Spool => one.spooled as f64,
            Sort::Dropped => one.dropped.values().sum::<u64>() as f64,
            Sort::State => f64::from(u8::from(one.state != "up")),
            Sort::Drain => match self.drain(one) {
                Drain::Empty => 0.0,
                Drain::Seconds(seconds) => seconds,
                Drain::Never => f64::INFINITY,
            },
        }
    }

    /// What is to be shown.
    pub fn page(&self) -> Page {
        let nothing = Seen::default();
        let now = self.now().unwrap_or(&nothing);
        let state = match (&self.failure, self.paused) {
            (_, true) => "paused".to_owned(),
            (Some(why), _) => format!("no answer, this is old: {why}"),
            (None, _) if now.serving => "serving".to_owned(),
            (None, _) => "not serving".to_owned(),
        };
        let version = shown(&now.version);
        let inputs = now
            .listeners
            .iter()
            .filter(|l| self.wanted(&[&l.address, &l.kind]));
        Page {
            head: format!("baton {version}, generation {}: {state}", now.generation),
            failed: self.failure.is_some() && !self.paused,
            totals: self.totals(),
            inputs: inputs.map(|listener| self.input(listener)).collect(),
            reasons: self.reasons(now),
            destinations: self.sorted().into_iter().map(|d| self.row(d)).collect(),
        }
    }

    fn totals(&self) -> String {
        let of = |counter: fn(&Seen) -> u64| rate(self.rate(1, |seen| Some(counter(seen))));
        format!(
            "lines/s: {} in, {} rejected, {} blocked, {} unrouted; {} acknowledged, {} dropped",
            of(|seen| seen.totals.lines),
            of(|seen| seen.totals.rejected.values().sum()),
            of(|seen| seen.totals.blocked),
            of(|seen| seen.totals.unrouted),
            of(|seen| seen.destinations.iter().map(|d| d.acknowledged).sum()),
            of(|seen| seen
                .destinations
                .iter()
                .flat_map(|d| d.dropped.values())
                .sum()),
        )
    }

    fn input(&self, listener: &Listener) -> Vec<String> {
        let of = |counter: fn(&Listener) -> u64| {
            let found = |seen: &Seen| {
                let mut all = seen.listeners.iter();
                all.find(|l| l.address == listener.address && l.kind == listener.kind)
                    .map(counter)
            };
            rate(self.rate(1, found))
        };
        vec![
            shown(&listener.address),
            shown(&listener.kind),
            HumanCount(listener.connections).to_string(),
            of(|l| l.totals.lines),
            of(|l| l.totals.rejected.values().sum()),
        ]
    }

    fn reasons(&self, now: &Seen) -> Vec<String> {
        let rejected = now.totals.rejected.clone();
        let lines = |what: &str, all: BTreeMap<String, u64>, of: &dyn Fn(&Seen, &str) -> u64| {
            let some = all.into_iter().filter(|(_, count)| *count > 0);
            let some: Vec<String> = some
                .map(|(reason, count)| {
                    let rate = rate(self.rate(1, |seen| Some(of(seen, &reason))));
                    format!("{} {} ({rate}/s)", shown(&reason), HumanCount(count))
                })
                .collect();
            match some.is_empty() {
                true => format!("{what}: nothing"),
                false => format!("{what}: {}", some.join(", ")),
            }
        };
        let by_reason = |seen: &Seen, reason: &str| -> u64 {
            let all = seen
                .destinations
                .iter()
                .filter_map(|d| d.dropped.get(reason));
            all.sum()
        };
        let mut dropped: BTreeMap<String, u64> = BTreeMap::new();
        for (reason, count) in now.destinations.iter().flat_map(|d| &d.dropped) {
            *dropped.entry(reason.clone()).or_default() += count;
        }
        vec![
            lines("rejected", rejected, &|seen, reason| {
                seen.totals.rejected.get(reason).copied().unwrap_or(0)
            }),
            lines("dropped", dropped, &by_reason),
        ]
    }

    fn row(&self, one: &Destination) -> Row {
        let route = match &one.route[..] {
            "" => "(leaving)".to_owned(),
            route => shown(route),
        };
        Row {
            up: one.state == "up",
            cells: vec![
                shown(&one.id),
                route,
                shown(&one.state),
                rate(self.rate_of(&one.id, 1, |d| d.acknowledged)),
                HumanCount(one.queued).to_string(),
                HumanCount(one.spooled).to_string(),
                time(self.drain(one)),
                HumanCount(one.dropped.values().sum()).to_string(),
                shown(one.error.as_deref().unwrap_or("")),
            ],
        }
    }

    /// The same for programs.
    pub fn document(&self) -> Value {
        let destinations = self.sorted().into_iter().map(|one| {
            let drain = match self.drain(one) {
                Drain::Empty => json!(0.0),
                Drain::Seconds(seconds) => json!(seconds),
                Drain::Never => Value::Null,
            };
            json!({
                "id": one.id, "route": one.route, "address": one.address, "state": one.state,
                "lines_per_s": self.rate_of(&one.id, 1, |d| d.acknowledged),
                "queued": one.queued, "spooled": one.spooled, "drain_s": drain,
                "dropped": one.dropped, "error": one.error,
            })
        });
        let now = self.now().cloned().unwrap_or_default();
        json!({
            "version": now.version, "generation": now.generation, "serving": now.serving,
            "in_per_s": self.rate(1, |seen| Some(seen.totals.lines)),
            "rejected": now.totals.rejected,
            "destinations": destinations.collect::<Vec<_>>(),
        })
    }
}

fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(few) if few > 0.0 && few < 9.95 => format!("{few:.1}"),
        Some(many) => HumanCount(many.round() as u64).to_string(),
    }
}

fn time(drain: Drain) -> String {
    match drain {
        Drain::Empty => "-".to_owned(),
        Drain::Never => "never".to_owned(),
        Drain::Seconds(seconds) => {
            let seconds = seconds.ceil().min(1e9) as u64;
            match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
                (0, 0, s) => format!("{s}s"),
                (0, m, s) => format!("{m}m{s:02}s"),
                (h, m, _) if h < 100 => format!("{h}h{m:02}m"),
                (h, ..) => format!("{}d", h / 24),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn seen(lines: u64, acknowledged: u64, queued: u64) -> Seen {
        let of = |id: &str, up: bool| {
            json!({"id": id, "route": "r", "address": "h:1", "state": if up { "up" } else { "down" },
                "given": lines, "acknowledged": if up { acknowledged } else { 0 }, "queued": queued,
                "dropped": {"full": 3}})
        };
        let document = json!({"generation": 1, "version": "1", "serving": true, "new": 1,
            "totals": {"in": lines, "rejected": {"value": lines / 10}},
            "listeners": [{"address": "tcp://a", "kind": "line", "in": lines, "rejected": {}}],
            "destinations": [of("a", false), of("b", true)]});
        serde_json::from_value(document).unwrap()
    }

    fn model(looks: &[(u64, Seen)]) -> Model {
        let mut model = Model::new(Sort::Rate, String::new());
        let start = Instant::now();
        for (second, seen) in looks {
            model.take(Ok((start + Duration::from_secs(*second), seen.clone())));
        }
        model
    }

    #[test]
    fn rates_are_of_the_last_interval_and_drains_of_all() {
        let model = model(&[(0, seen(1000, 500, 2000)), (2, seen(3000, 4500, 6000))]);
        let page = model.page();
        assert!(
            page.totals.starts_with("lines/s: 1,000 in, 100 rejected"),
            "{}",
            page.totals
        );
        assert_eq!(page.inputs, [["tcp://a", "line", "0", "1,000", "0"]]);
        assert_eq!(
            page.reasons,
            ["rejected: value 300 (100/s)", "dropped: full 6 (0/s)"]
        );
        let cells: Vec<String> = page
            .destinations
            .iter()
            .map(|row| row.cells.join(" "))
            .collect();
        assert_eq!(
            cells,
            ["b r up 2,000 6,000 0 6s 3 ", "a r down 0 6,000 0 never 3 "]
        );
    }

    #[test]
    fn what_isnt_known_is_not_reckoned() {
        // One look; then a service that was started anew.
        for looks in [
            &[(0, seen(5, 5, 0))][..],
            &[(0, seen(5, 5, 0)), (1, seen(1, 1, 0))],
        ] {
            let model = model(looks);
            assert_eq!(model.page().destinations[1].cells[3], "-");
            assert!(model.page().totals.starts_with("lines/s: - in"));
        }
    }

    #[test]
    fn it_is_filtered_sorted_and_paused() {
        let mut model = model(&[(0, seen(0, 0, 0)), (1, seen(10, 10, 0))]);
        let names = |model: &Model| -> Vec<String> {
            let rows = model.page().destinations.into_iter();
            rows.map(|row| row.cells[0].clone()).collect()
        };
        assert_eq!(names(&model), ["b", "a"]);
        model.reversed = true;
        assert_eq!(names(&model), ["a", "b"]);
        (model.reversed, model.sort) = (false, Sort::Name);
        assert_eq!(names(&model), ["a", "b"]);
        model.sort = Sort::State;
        assert_eq!(names(&model), ["a", "b"]);
        model.filter = "b".to_owned();
        assert_eq!(names(&model), ["b"]);
        model.paused = true;
        model.take(Ok((Instant::now(), Seen::default())));
        assert_eq!(names(&model), ["b"]);
        assert!(model.page().head.ends_with("paused"));
    }

    #[test]
    fn times_are_short() {
        for (seconds, expected) in [
            (0.2, "1s"),
            (61.0, "1m01s"),
            (3600.0, "1h00m"),
            (1e6, "11d"),
            (f64::INFINITY, "11574d"),
        ] {
            assert_eq!(time(Drain::Seconds(seconds)), expected);
        }
    }
}
