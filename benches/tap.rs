//! What it costs a batch that it can be looked at: while nobody looks (`nobody`, against `without`, which doesn't even ask),
//! and while somebody does. `Mitem/s` is million lines a second: 1000 / it is ns a line.
#![allow(missing_docs)]

use std::sync::Arc;

use baton::pipeline::{Batch, Terms};
use baton::route::{Entries, Matcher, Moment, Patterns, Table, TableRoute};
use baton::tap::{At, Seen, Tap, Wanted};
use baton::validate::Rules;
use divan::{Bencher, counter::ItemsCount};

fn main() {
    divan::main();
}

/// So many bytes of lines of 40 bytes or so.
fn lines(size: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let mut at = 0;
    while text.len() < size {
        let line = format!(
            "servers.h{:04}.cpu.total.user{} 98.25 1790000000\n",
            at / 8 % 1000,
            at % 8
        );
        text.extend_from_slice(line.as_bytes());
        at += 1;
    }
    text
}

/// Two routes: lines alternate between one and both, so that runs are short.
fn table() -> Table {
    let matcher = |sub: &str| {
        let sub = sub.to_owned();
        Matcher::new(&Patterns {
            sub,
            ..Patterns::default()
        })
        .unwrap()
    };
    let route =
        |at: usize, sub| TableRoute::to_all(&at.to_string(), matcher(sub), vec![(at, matcher(""))]);
    Table::new(Entries {
        routes: vec![route(0, ""), route(1, "user3")],
        destinations: 2,
        ..Entries::default()
    })
}

/// A batch of that size; what a read of a busy connection, or of a slow one, brings.
const SIZES: [usize; 2] = [256 * 1024, 4096];

fn run(bencher: Bencher, size: usize, words: Option<&str>, asks: bool) {
    let (tap, table, rules) = (Arc::new(Tap::new()), table(), Rules::default());
    let input = lines(size);
    let mut subscription = words.map(|words| {
        let wanted = Wanted::from_words(words.split_whitespace()).unwrap();
        tap.subscribe(&wanted).unwrap()
    });
    let terms = Terms {
        table: &table,
        rules: &rules,
        now: 1_790_000_000,
        moment: Moment {
            up: &[true; 2],
            turn: 0,
        },
        order: None,
    };
    let mut batch = Batch::new();
    batch.run(&terms, &input);
    let count = ItemsCount::new(batch.lines());
    bencher.counter(count).bench_local(|| {
        let input = divan::black_box(&input[..]);
        if !asks {
            batch.run(&terms, input);
            return batch.routed();
        }
        // As the intake does.
        let watched = divan::black_box(&tap).watched();
        batch.keep(watched.has(At::Routed), watched.has(At::Rejected));
        batch.run(&terms, input);
        if watched.is_any() {
            let spans = batch.routed_spans().iter();
            tap.show(
                At::Routed,
                spans.map(|span| Seen::lines(batch.text(input, span))),
                &mut tap.time(input.len()),
            );
        }
        if let Some(subscription) = &mut subscription {
            divan::black_box(subscription.try_next());
        }
        batch.routed()
    });
}

#[divan::bench(args = SIZES)]
fn a_without(bencher: Bencher, size: usize) {
    run(bencher, size, None, false);
}

#[divan::bench(args = SIZES)]
fn b_nobody(bencher: Bencher, size: usize) {
    run(bencher, size, None, true);
}

#[divan::bench(args = SIZES)]
fn c_all(bencher: Bencher, size: usize) {
    run(bencher, size, Some(""), true);
}

#[divan::bench(args = SIZES)]
fn d_prefix(bencher: Bencher, size: usize) {
    run(bencher, size, Some("prefix=servers.h0001"), true);
}

#[divan::bench(args = SIZES)]
fn e_regex(bencher: Bencher, size: usize) {
    run(bencher, size, Some("regex=h00[0-9]+.*user3$"), true);
}

#[divan::bench(args = SIZES)]
fn f_glob(bencher: Bencher, size: usize) {
    run(
        bencher,
        size,
        Some("glob=servers.*.cpu.total.user{1,2}"),
        true,
    );
}

#[divan::bench(args = SIZES)]
fn g_sample_of_100(bencher: Bencher, size: usize) {
    run(
        bencher,
        size,
        Some("sample=100 glob=servers.*.cpu.**"),
        true,
    );
}
