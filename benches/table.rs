//! What a line costs by the number and kind of rules, against a table of one rule in the same run: many short rounds of
//! each by turns, and their medians. `cargo bench --bench table`
#![allow(missing_docs, clippy::print_stdout)]

use std::time::Instant;

use baton::{
    pipeline::{Batch, Terms},
    route::{BlockRule, Entries, Matcher, Moment, Patterns, Table, TableRoute},
    validate::Rules,
};

const RULES: usize = 1000;
const ROUNDS: usize = 41;
/// Lines of a round.
const LINES: usize = 100_000;

fn main() {
    let rules = RULES;
    let kinds: Vec<(&str, Make)> = vec![
        (
            "prefix",
            Box::new(|at| prefix(&format!("servers.{}.", host(at)))),
        ),
        (
            "prefix, three lengths",
            Box::new(|at| {
                prefix(&format!(
                    "servers.{}.{}",
                    host(at),
                    ["", "cpu.", "net.eth0"][at % 3]
                ))
            }),
        ),
        ("sub", Box::new(|at| sub(&format!(".{}.", host(at))))),
        ("sub without dots", Box::new(|at| sub(&host(at)))),
        (
            "regex ^a.[^.]+.lit",
            Box::new(|at| regex(&format!(r"^servers\.{}\.[^.]+\.(user|count|rx)", host(at)))),
        ),
        (
            "regex .*lit.*x",
            Box::new(|at| regex(&format!(r"{}\..*\.(user|rx|count)$", host(at)))),
        ),
        (
            "mixed",
            Box::new(|at| match at % 3 {
                0 => prefix(&format!("servers.{}.", host(at))),
                1 => sub(&format!(".{}.", host(at))),
                _ => regex(&format!(r"^servers\.{}\..*\.(user|rx|count)$", host(at))),
            }),
        ),
        (
            "regex without literal",
            Box::new(|at| {
                regex(&format!(
                    "[{}-z][0-9]+[x-z]{{2}}",
                    char::from(b'a' + (at % 20) as u8)
                ))
            }),
        ),
    ];
    println!(
        "{rules} rules; ns a line: median of {ROUNDS} rounds of {LINES} lines; ratio to one rule that takes all lines"
    );
    println!(
        "{:24} {:>9} {:>22} {:>22} {:>22} {:>9} {:>9}",
        "kind, as",
        "one rule",
        "10,000 names",
        "100,000 names",
        "never seen",
        "build ms",
        "index KiB"
    );
    let only = std::env::args()
        .skip(1)
        .find(|word| !word.starts_with('-'))
        .unwrap_or_default();
    for (name, make) in &kinds {
        for (what, table) in [
            ("routes", as_routes as Build),
            ("destinations", as_destinations),
            ("blocklist", as_blocklist),
        ] {
            let title = format!("{name}, {what}");
            if !title.contains(&only) {
                continue;
            }
            let matchers: Vec<_> = (0..rules).map(make).collect();
            let started = Instant::now();
            let entries = table(&matchers);
            let built = started.elapsed();
            let started = Instant::now();
            let table = Table::new(entries);
            let built = (built + started.elapsed()).as_secs_f64() * 1e3;
            report(&title, &table, built);
        }
    }
}

type Make = Box<dyn Fn(usize) -> Patterns>;
type Build = fn(&[Patterns]) -> Entries;

fn host(at: usize) -> String {
    format!(
        "{}{:03}",
        ["web", "db", "app", "cache", "queue"][at % 5],
        at / 5 % 1000
    )
}

fn prefix(text: &str) -> Patterns {
    Patterns {
        prefix: text.to_owned(),
        ..Patterns::default()
    }
}

fn sub(text: &str) -> Patterns {
    Patterns {
        sub: text.to_owned(),
        ..Patterns::default()
    }
}

fn regex(text: &str) -> Patterns {
    Patterns {
        regex: text.to_owned(),
        ..Patterns::default()
    }
}

fn route(key: usize, matcher: Matcher, destinations: Vec<(usize, Matcher)>) -> TableRoute {
    TableRoute::to_all(&key.to_string(), matcher, destinations)
}

fn as_routes(rules: &[Patterns]) -> Entries {
    let matchers = rules
        .iter()
        .map(|rule| Matcher::new(rule).unwrap())
        .enumerate();
    Entries {
        routes: matchers
            .map(|(at, matcher)| route(at, matcher, vec![(at, Matcher::all())]))
            .collect(),
        destinations: rules.len(),
        ..Entries::default()
    }
}

fn as_destinations(rules: &[Patterns]) -> Entries {
    let matchers = rules
        .iter()
        .map(|rule| Matcher::new(rule).unwrap())
        .enumerate();
    Entries {
        routes: vec![route(0, Matcher::all(), matchers.collect())],
        destinations: rules.len(),
        ..Entries::default()
    }
}

/// All lines that no rule drops go to one destination.
fn as_blocklist(rules: &[Patterns]) -> Entries {
    let text = |rule: &Patterns| match (&rule.prefix[..], &rule.sub[..], &rule.regex[..]) {
        (text, "", "") => format!("prefix {text}"),
        ("", text, "") => format!("sub {text}"),
        (_, _, text) => format!("regex {text}"),
    };
    // Half of the hosts pass.
    let rules = rules
        .iter()
        .enumerate()
        .filter(|(at, _)| at % 2 == 0 || at / 5 >= 1000);
    Entries {
        blocklist: rules
            .map(|(_, rule)| BlockRule::parse(&text(rule)).unwrap())
            .collect(),
        ..one()
    }
}

fn one() -> Entries {
    Entries {
        routes: vec![route(
            0,
            Matcher::new(&prefix("servers.")).unwrap(),
            vec![(0, Matcher::all())],
        )],
        destinations: 1,
        ..Entries::default()
    }
}

const METRICS: [&str; 10] = [
    "cpu.total.user",
    "cpu.total.iowait",
    "memory.mem_used",
    "df.root.percent",
    "net.eth0.rx",
    "net.eth0.tx",
    "disk.sda.reads",
    "nginx.requests.count",
    "load.01",
    "processes.sleeping",
];

/// A stream of lines of so many names: all metrics of a host, then the next. `from` makes names new.
fn stream(names: usize, lines: usize, from: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for at in 0..lines {
        let at = from + at % names;
        let (host, metric) = (host(at / 10), METRICS[at % 10]);
        let more = at / 10 / 5000;
        let line = match more {
            0 => format!("servers.{host}.{metric} 98.25 1790000000\n"),
            _ => format!("servers.{host}.{metric}.{more} 98.25 1790000000\n"),
        };
        text.extend_from_slice(line.as_bytes());
    }
    text
}

/// A table with its batch, so that what it remembers stays.
struct Bed<'a> {
    table: &'a Table,
    batch: Batch,
    up: Vec<bool>,
}

impl Bed<'_> {
    fn new(table: &Table) -> Bed<'_> {
        let up = vec![true; table.entries().destinations];
        Bed {
            table,
            batch: Batch::new(),
            up,
        }
    }

    /// Feeds lines in buffers of 256 KiB; ns a line.
    fn pass(&mut self, input: &[u8]) -> f64 {
        let terms = Terms {
            table: self.table,
            rules: &Rules::default(),
            now: 1_790_000_000,
            moment: Moment {
                up: &self.up,
                turn: 0,
            },
            order: None,
        };
        let (started, mut lines, mut rest) = (Instant::now(), 0, input);
        while !rest.is_empty() {
            let room = rest.len().min(256 * 1024);
            let end = memchr::memrchr(b'\n', &rest[..room]).unwrap() + 1;
            self.batch.run(&terms, &rest[..end]);
            lines += self.batch.lines();
            rest = &rest[end..];
        }
        started.elapsed().as_secs_f64() * 1e9 / lines as f64
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(title: &str, table: &Table, built: f64) {
    let one = Table::new(one());
    let (mut bed, mut single) = (Bed::new(table), Bed::new(&one));
    let mut row = format!("{title:32}");
    let mut first = 0.0;
    for names in [10_000, 100_000, 0] {
        let (mut many, mut base, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let known = (names > 0).then(|| stream(names, LINES, 0));
        let rounds = if table.unindexed() > 100 && names == 0 {
            5
        } else {
            ROUNDS
        };
        for round in 0..rounds + 3 {
            let fresh = known
                .is_none()
                .then(|| stream(LINES, LINES, (round + 2) * LINES));
            let input = known.as_ref().or(fresh.as_ref()).unwrap();
            let (a, b) = (bed.pass(input), single.pass(input));
            // The first ones fill what is remembered.
            if round >= 3 {
                many.push(a);
                base.push(b);
                ratios.push(a / b);
            }
        }
        if names == 10_000 {
            first = median(base);
        }
        row += &format!("{:>12.1} {:>5.2}x", median(many), median(ratios));
    }
    println!(
        "{row}  one {first:.1}  build {built:.1} ms  index {} KiB",
        table.index_memory() / 1024
    );
}
