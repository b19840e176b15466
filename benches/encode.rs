//! The cost of a line on its way from a ring into a pickled frame. `Mitem/s` is million lines a second: 1000 / it is ns a line.
#![allow(missing_docs)]

use baton::encode::pickle;
use divan::{Bencher, counter::ItemsCount};

fn main() {
    divan::main();
}

/// Lines of 40 bytes or so.
fn lines(values: &[&str]) -> Vec<u8> {
    let line = |at: usize| {
        let value = values[at % values.len()];
        format!(
            "servers.h{:04}.cpu.total.user {value} 1790000000\n",
            at % 1000
        )
    };
    (0..5_000).map(line).collect::<String>().into_bytes()
}

fn frames(bencher: Bencher<'_, '_>, text: &[u8]) {
    let count = memchr::memchr_iter(b'\n', text).count();
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let mut at = 0;
        while at < text.len() {
            out.clear();
            at += pickle::frame(divan::black_box(&text[at..]), &mut out).text;
        }
    });
}

#[divan::bench]
fn short_values(bencher: Bencher<'_, '_>) {
    frames(bencher, &lines(&["0", "98.25", "1532", "0.013", "4096.00"]));
}

#[divan::bench]
fn long_values(bencher: Bencher<'_, '_>) {
    frames(
        bencher,
        &lines(&["0.123456789012345678", "1234567.12345678", "-1.2e-17"]),
    );
}
