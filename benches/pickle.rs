//! The cost of a datapoint from a pickled frame to lines of text. `Mitem/s` is million points a second: 1000 / it is ns a
//! point.
#![allow(missing_docs)]

use baton::decode::pickle::Decoder;
use divan::{Bencher, counter::ItemsCount};

fn main() {
    divan::main();
}

/// As carbon sends them: 500 points, each text and container noted in the memo.
fn as_carbon(points: usize, float: bool) -> Vec<u8> {
    let mut pickle = b"\x80\x02]q\x00(".to_vec();
    let mut memo = 1_u32;
    let mut put = |pickle: &mut Vec<u8>| {
        match u8::try_from(memo) {
            Ok(memo) => pickle.extend([b'q', memo]),
            Err(_) => {
                pickle.push(b'r');
                pickle.extend(memo.to_le_bytes());
            }
        }
        memo += 1;
    };
    for at in 0..points {
        let name = format!("servers.h{:04}.cpu.total.user", at % 1000);
        pickle.push(b'X');
        pickle.extend((name.len() as u32).to_le_bytes());
        pickle.extend(name.bytes());
        put(&mut pickle);
        pickle.push(b'G');
        pickle.extend((1_790_000_000.0 + at as f64).to_be_bytes());
        pickle.push(b'G');
        let value = if float { at as f64 / 7.0 } else { at as f64 };
        pickle.extend(value.to_be_bytes());
        pickle.push(0x86);
        put(&mut pickle);
        pickle.push(0x86);
        put(&mut pickle);
    }
    pickle.extend(b"e.");
    pickle
}

fn run(bencher: Bencher, pickle: &[u8], points: usize) {
    let (mut decoder, mut text) = (Decoder::default(), Vec::new());
    bencher.counter(ItemsCount::new(points)).bench_local(|| {
        text.clear();
        let mut points = decoder.read(divan::black_box(pickle), 16 << 10).unwrap();
        while points.write_next(&mut text).is_some() {}
        text.len()
    });
}

#[divan::bench]
fn whole_numbers_500(bencher: Bencher) {
    run(bencher, &as_carbon(500, false), 500);
}

#[divan::bench]
fn fractions_500(bencher: Bencher) {
    run(bencher, &as_carbon(500, true), 500);
}

#[divan::bench]
fn one_a_frame(bencher: Bencher) {
    run(bencher, &as_carbon(1, false), 1);
}

#[divan::bench]
fn many_a_frame(bencher: Bencher) {
    run(bencher, &as_carbon(20_000, false), 20_000);
}
