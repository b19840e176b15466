//! What rewriters, aggregators and the order of points cost a line, on one core.
//!
//! `cargo bench --bench aggregate`; the figures are of one point each.
#![allow(missing_docs)]

use baton::aggregate::{Function, Limits, Rule, Windows};
use baton::rewrite::Rewriter;
use baton::route::Patterns;
use baton::validate::order::{Order, OrderHash};
use divan::{Bencher, black_box, counter::ItemsCount};

fn main() {
    divan::main();
}

const NOW: u32 = 1_790_000_000;
const POINTS: usize = 100_000;

fn rule(function: Function) -> Rule {
    let patterns = Patterns {
        regex: r"^servers\.(dc[0-9]+)\.[^.]+\.(.*)".to_owned(),
        ..Patterns::default()
    };
    Rule::new(function, &patterns, "all.$1.$2", 10, 20, false).unwrap()
}

/// Names of outputs in an order that no cache likes.
fn names(count: usize) -> Vec<String> {
    let name = |i: usize| format!("all.dc{}.app{}.requests.count", i % 10, (i * 7919) % count);
    (0..count).map(name).collect()
}

#[divan::bench(args = [100, 10_000, 1_000_000])]
fn add_to_open_windows(bencher: Bencher, count: usize) {
    add(bencher, count, Function::Avg);
}

#[divan::bench(args = [100, 10_000])]
fn add_to_open_windows_of_percentiles(bencher: Bencher, count: usize) {
    add(bencher, count, Function::Percentiles);
}

fn add(bencher: Bencher, count: usize, function: Function) {
    let (rule, names) = (rule(function), names(count));
    let mut windows = Windows::new(Limits::of(2_000_000));
    for name in &names {
        windows.add(&rule, name.as_bytes(), 1.0, NOW, NOW).unwrap();
    }
    let mut next = 0;
    bencher.counter(ItemsCount::new(POINTS)).bench_local(|| {
        for _ in 0..POINTS {
            next = (next + 1) % names.len();
            // Percentiles are full after some rounds, and refuse: that is their path, too.
            let _ = black_box(windows.add(&rule, names[next].as_bytes(), 1.5, NOW + 3, NOW));
        }
    });
}

#[divan::bench]
fn open_and_close(bencher: Bencher) {
    let (rule, names) = (rule(Function::Avg), names(POINTS));
    let mut windows = Windows::new(Limits::of(1_000_000));
    let mut to = Vec::new();
    bencher.counter(ItemsCount::new(POINTS)).bench_local(|| {
        for name in &names {
            windows.add(&rule, name.as_bytes(), 1.5, NOW, NOW).unwrap();
        }
        to.clear();
        while windows.flush(NOW + 20, 1000, &mut to).more {}
        // The windows of this time are to be opened again.
        windows = Windows::new(Limits::of(1_000_000));
    });
}

#[divan::bench]
fn save_and_merge(bencher: Bencher) {
    let (rule, names) = (rule(Function::Avg), names(POINTS));
    let rules = [rule];
    let mut windows = Windows::new(Limits::of(1_000_000));
    for name in &names {
        windows
            .add(&rules[0], name.as_bytes(), 1.5, NOW, NOW)
            .unwrap();
    }
    bencher.counter(ItemsCount::new(POINTS)).bench_local(|| {
        let mut bytes = Vec::new();
        windows.save(&mut bytes).unwrap();
        let mut new = Windows::new(Limits::of(1_000_000));
        let mut saved = baton::aggregate::Saved::new(&bytes, &rules).unwrap();
        while new.merge(&mut saved, 1000).unwrap() {}
        new
    });
}

#[divan::bench]
fn name_of_an_output(bencher: Bencher) {
    let (rule, mut to) = (rule(Function::Avg), Vec::new());
    bencher.bench_local(|| {
        to.clear();
        rule.output(black_box(b"servers.dc7.app17.requests.count"), &mut to)
    });
}

#[divan::bench(args = ["app", "/^servers\\.([^.]+)/", "/nothing/"])]
fn rewrite(bencher: Bencher, old: &str) {
    let rewriter = Rewriter::new(old, "hosts.${1}", "", -1).unwrap();
    let mut to = Vec::new();
    bencher.bench_local(|| {
        to.clear();
        rewriter.rewrite(black_box(b"servers.dc7.app17.requests.count"), &mut to)
    });
}

#[divan::bench(args = [10_000, 1_000_000])]
fn order_of_points(bencher: Bencher, count: usize) {
    let (names, hash) = (names(count), OrderHash::new(5));
    let mut order = Order::new(1_000_000, &hash);
    let (mut next, mut timestamp) = (0, 0);
    bencher.counter(ItemsCount::new(POINTS)).bench_local(|| {
        for _ in 0..POINTS {
            next = (next + 1) % names.len();
            timestamp += 1;
            black_box(order.admit(hash.key(names[next].as_bytes()), timestamp));
        }
    });
}
