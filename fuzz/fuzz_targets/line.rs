//! A stream of lines: whatever it is, what leaves are whole lines that pass again as they are; however it is cut, it is the
//! same; the glance and the full look, a batch and a trace agree; and the books balance.
//!
//! The first byte says which rules hold, the second how long the pieces are; what follows is the stream.
#![no_main]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use baton::config::Config;
use baton::decode::split::Splitter;
use baton::pipeline::trace::{Names, Outcome, Tracer};
use baton::pipeline::{Batch, Terms};
use baton::route::{Entries, Matcher, Moment, Table, TableRoute};
use baton::ruleset;
use baton::validate::{Level, LevelM20, Reason, Rules};
use libfuzzer_sys::fuzz_target;

const NOW: u32 = 1_790_000_000;
const MAX_LINE: usize = 100;

/// A table, and what is in it called.
struct Ruled {
    table: Table,
    names: Names,
}

/// One destination takes all.
fn plain() -> &'static Ruled {
    static RULED: OnceLock<Ruled> = OnceLock::new();
    RULED.get_or_init(|| Ruled {
        table: Table::new(Entries {
            routes: vec![TableRoute::to_all(
                "all",
                Matcher::all(),
                vec![(0, Matcher::all())],
            )],
            destinations: 1,
            ..Entries::default()
        }),
        names: Names {
            destinations: vec![("all".to_owned(), String::new())],
            ..Names::default()
        },
    })
}

/// So many rules of each kind that they are indexed, and what they decide is remembered.
fn ruled() -> &'static Ruled {
    static RULED: OnceLock<Ruled> = OnceLock::new();
    RULED.get_or_init(|| {
        let source = include_bytes!("line.toml");
        let config = Config::compile(Path::new("/line.toml"), source).expect("it is right");
        let ruleset = ruleset::compile(&config).expect("its rules were read before");
        Ruled {
            table: Table::new(ruleset.entries),
            names: ruleset::names(&config),
        }
    })
}

/// What became of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    lines: u64,
    rejected: [u64; Reason::COUNT],
    blocked: u64,
    consumed: u64,
    unrouted: u64,
    routed: u64,
    /// By destination.
    text: Vec<Vec<u8>>,
    gathered: Vec<(usize, Vec<u8>, Vec<u8>, Vec<u8>)>,
}

impl Said {
    fn none(terms: &Terms) -> Said {
        Said {
            text: vec![Vec::new(); terms.table.entries().destinations],
            ..Said::default()
        }
    }

    fn of(terms: &Terms, batch: &mut Batch, input: &[u8]) -> Said {
        let mut said = Said::none(terms);
        said.add(terms, batch, input);
        said
    }

    fn add(&mut self, terms: &Terms, batch: &mut Batch, input: &[u8]) {
        batch.run(terms, input);
        for (sum, more) in self.rejected.iter_mut().zip(batch.rejected()) {
            *sum += more;
        }
        self.lines += batch.lines();
        self.blocked += batch.blocked().map(|(_, lines)| lines).sum::<u64>();
        self.consumed += batch.consumed();
        self.unrouted += batch.unrouted();
        self.routed += batch.routed();
        for placed in batch.placed() {
            let before = self.text[placed.destination].len();
            for span in &placed.spans {
                let text = batch.text(input, span);
                assert_eq!(newlines(text), span.lines as usize);
                self.text[placed.destination].extend_from_slice(text);
            }
            let added = &self.text[placed.destination][before..];
            assert_eq!(
                (added.len(), newlines(added) as u64),
                (placed.bytes, placed.lines)
            );
        }
        self.gathered.extend(batch.gathered(input).map(|point| {
            let owned = |bytes: &[u8]| bytes.to_vec();
            (
                point.rule,
                owned(point.output),
                owned(point.value),
                owned(point.timestamp),
            )
        }));
    }

    fn balance(&self) {
        let rejected: u64 = self.rejected.iter().sum();
        let passed = self.blocked + self.consumed + self.unrouted + self.routed;
        assert_eq!(self.lines, rejected + passed);
    }
}

fn newlines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// Of a stream that is read in these pieces; and what its end cut off.
fn stream<'a>(terms: &Terms, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Said, Splitter) {
    let (mut splitter, mut batch, mut said) = (Splitter::new(), Batch::new(), Said::none(terms));
    for piece in pieces {
        let mut buffer = vec![0; MAX_LINE + piece.len()];
        let kept = splitter.fill(&mut buffer);
        buffer.truncate(kept);
        buffer.extend_from_slice(piece);
        let split = splitter.split(&buffer, MAX_LINE);
        said.rejected[Reason::TooLong as usize] += split.too_long;
        said.lines += split.too_long;
        said.add(terms, &mut batch, &buffer[split.whole]);
    }
    said.balance();
    (said, splitter)
}

/// What left is three fields in a line, and passes again as it is.
fn comes_again(terms: &Terms, said: &Said) {
    // A changed line may be longer than it came: `-1` is shorter than the time.
    let rules = Rules {
        max_line: 2 * MAX_LINE,
        ..terms.rules.clone()
    };
    let terms = Terms {
        rules: &rules,
        table: &plain().table,
        ..*terms
    };
    let mut batch = Batch::new();
    for text in &said.text {
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            assert_eq!(line.split(|byte| *byte == b' ').count(), 3);
        }
        let again = Said::of(&terms, &mut batch, text);
        assert_eq!(again.rejected, [0; Reason::COUNT]);
        assert_eq!(again.text[0], *text);
        assert!(
            batch
                .placed()
                .iter()
                .flat_map(|placed| &placed.spans)
                .all(|span| !span.changed)
        );
    }
}

/// A line is judged at a glance only with its newline; and a trace says what a batch does.
fn alone(terms: &Terms, names: &Names, line: &[u8]) {
    let mut batch = Batch::new();
    let ended = Said::of(terms, &mut batch, &[line, b"\n"].concat());
    let rejected = batch.rejections().first().map(|rejection| rejection.reason);
    if !line.is_empty() {
        assert_eq!(ended, Said::of(terms, &mut batch, line));
    }
    let trace = Tracer::new(*terms, names).trace(line);
    if trace.is_name {
        return;
    }
    let outcome = match (&ended, rejected) {
        (Said { lines: 0, .. }, _) => Outcome::Empty,
        (_, Some(_)) => Outcome::Rejected,
        (Said { blocked: 1, .. }, _) => Outcome::Blocked,
        (Said { consumed: 1, .. }, _) => Outcome::Consumed,
        (Said { unrouted: 1, .. }, _) => Outcome::Unrouted,
        _ => Outcome::Routed,
    };
    assert_eq!(trace.outcome, outcome);
    let reason = trace
        .rejected
        .as_ref()
        .map(|rejected| rejected.reason.as_str());
    assert_eq!(reason, rejected.map(Reason::as_str));
    let to = trace.routes.iter().flat_map(|route| &route.destinations);
    let to: BTreeSet<&str> = to.map(|one| one.id.as_str()).collect();
    let got = ended
        .text
        .iter()
        .zip(&names.destinations)
        .filter(|(text, _)| !text.is_empty());
    assert_eq!(to, got.map(|(_, (id, _))| id.as_str()).collect());
    let rules: BTreeSet<&str> = trace.aggregated.iter().map(|one| one.by.as_str()).collect();
    let gathered = ended
        .gathered
        .iter()
        .map(|point| names.aggregators[point.0].0.as_str());
    assert_eq!(rules, gathered.collect());
}

fuzz_target!(|input: &[u8]| {
    let Some((&[switches, step], bytes)) = input.split_first_chunk() else {
        return;
    };
    let rules = Rules {
        level: [Level::None, Level::Medium, Level::Strict][usize::from(switches & 3) % 3],
        level_m20: [LevelM20::None, LevelM20::Medium][usize::from(switches >> 2 & 1)],
        clean_dots: switches & 8 != 0,
        sort_tags: switches & 16 != 0,
        max_line: MAX_LINE,
    };
    let has_rules = switches & 32 != 0;
    let Ruled { table, names } = if has_rules { ruled() } else { plain() };
    let up = [switches & 64 != 0; 64];
    let terms = Terms {
        table,
        rules: &rules,
        now: NOW,
        moment: Moment { up: &up, turn: 0 },
        order: None,
    };
    let at_once = stream(&terms, [bytes]);
    assert_eq!(at_once, stream(&terms, bytes.chunks(usize::from(step) + 1)));
    if !has_rules {
        comes_again(&terms, &at_once.0);
    }
    // What was seen before is decided as what wasn't.
    let (whole, _) = bytes.split_at(
        bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1),
    );
    let mut batch = Batch::new();
    let first = Said::of(&terms, &mut batch, whole);
    for _ in 0..2 {
        assert_eq!(first, Said::of(&terms, &mut batch, whole));
    }
    for line in bytes.split(|byte| *byte == b'\n') {
        alone(&terms, names, line);
    }
});
