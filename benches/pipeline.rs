//! The cost of a line on its way from whole bytes to spans. `Mitem/s` is million lines a second: 1000 / it is ns a line.
#![allow(missing_docs)]

use baton::{
    pipeline::{Batch, Terms},
    route::{BlockRule, Entries, Matcher, Moment, Patterns, Table, TableRoute},
    validate::Rules,
};
use divan::{Bencher, counter::ItemsCount};

fn main() {
    divan::main();
}

/// A read buffer full of lines of 40 bytes or so, as collectors send them: all metrics of one host, then the next.
fn lines(write: impl Fn(&str, &str, u32) -> String) -> Vec<u8> {
    const METRICS: [&str; 8] = [
        "cpu.total.user",
        "cpu.total.iowait",
        "memory.mem_used",
        "df.root.percent",
        "load.01",
        "net.eth0.rx_byte",
        "net.eth0.tx_byte",
        "disk.sda.reads",
    ];
    const VALUES: [&str; 5] = ["0", "98.25", "1532", "0.013", "4096.00"];
    let mut text = Vec::new();
    for at in 0.. {
        let name = format!("servers.h{:04}.{}", at / 8 % 1000, METRICS[at % 8]);
        let line = write(&name, VALUES[at % 5], 1_790_000_000 + at as u32 / 1000);
        if text.len() + line.len() > 256 * 1024 {
            return text;
        }
        text.extend_from_slice(line.as_bytes());
    }
    text
}

fn clean() -> Vec<u8> {
    lines(|name, value, time| format!("{name} {value} {time}\n"))
}

fn matcher(prefix: &str) -> Matcher {
    let patterns = Patterns {
        prefix: prefix.to_owned(),
        ..Patterns::default()
    };
    Matcher::new(&patterns).unwrap()
}

/// A route with one destination for each prefix.
fn entries(prefixes: &[&str], blocklist: &[&str]) -> Entries {
    let routes = prefixes.iter().enumerate().map(|(index, prefix)| {
        TableRoute::to_all(
            &index.to_string(),
            matcher(prefix),
            vec![(index, matcher(""))],
        )
    });
    Entries {
        blocklist: blocklist
            .iter()
            .map(|rule| BlockRule::parse(rule).unwrap())
            .collect(),
        routes: routes.collect(),
        destinations: prefixes.len(),
        ..Entries::default()
    }
}

fn table(prefixes: &[&str], blocklist: &[&str]) -> Table {
    Table::new(entries(prefixes, blocklist))
}

fn run(bencher: Bencher, table: &Table, rules: &Rules, input: &[u8]) {
    let mut batch = Batch::new();
    let up = vec![true; table.entries().destinations];
    let terms = Terms {
        table,
        rules,
        now: 1_790_000_000,
        moment: Moment { up: &up, turn: 0 },
        order: None,
    };
    batch.run(&terms, input);
    let count = ItemsCount::new(batch.lines());
    bencher.counter(count).bench_local(|| {
        batch.run(&terms, divan::black_box(input));
        batch.routed()
    });
}

const TEN: [&str; 10] = [
    "servers.h00",
    "servers.h01",
    "servers.h02",
    "servers.h03",
    "servers.h04",
    "servers.h05",
    "apps.",
    "stats.",
    "collectd.",
    "servers.",
];

#[divan::bench]
fn match_all(bencher: Bencher) {
    run(bencher, &table(&[""], &[]), &Rules::default(), &clean());
}

#[divan::bench]
fn prefix_1(bencher: Bencher) {
    run(
        bencher,
        &table(&["servers."], &[]),
        &Rules::default(),
        &clean(),
    );
}

#[divan::bench]
fn prefix_10(bencher: Bencher) {
    run(bencher, &table(&TEN, &[]), &Rules::default(), &clean());
}

#[divan::bench]
fn blocklist_2(bencher: Bencher) {
    let blocklist = ["prefix collectd.localhost", "sub .total.iowait"];
    run(
        bencher,
        &table(&[""], &blocklist),
        &Rules::default(),
        &clean(),
    );
}

#[divan::bench]
fn regex_1(bencher: Bencher) {
    let mut table = entries(&[""], &[]);
    let patterns = Patterns {
        regex: r"^servers\.h[0-9]+\.(cpu|load)\.".to_owned(),
        ..Patterns::default()
    };
    table.routes[0].matcher = Matcher::new(&patterns).unwrap();
    run(bencher, &Table::new(table), &Rules::default(), &clean());
}

#[divan::bench]
fn tagged(bencher: Bencher) {
    let input = lines(|name, value, time| {
        format!("{};host={} {value} {time}\n", &name[14..], &name[8..13])
    });
    run(bencher, &table(&[""], &[]), &Rules::default(), &input);
}

#[divan::bench]
fn strict_clean_dots_sort_tags(bencher: Bencher) {
    let rules = Rules {
        level: baton::validate::Level::Strict,
        clean_dots: true,
        sort_tags: true,
        ..Rules::default()
    };
    run(bencher, &table(&[""], &[]), &rules, &clean());
}

/// Carriage returns, tabs, runs of blanks: every line is written anew.
#[divan::bench]
fn dirty(bencher: Bencher) {
    let input = lines(|name, value, time| format!("{name}  {value}\t{time}\r\n"));
    run(bencher, &table(&[""], &[]), &Rules::default(), &input);
}
