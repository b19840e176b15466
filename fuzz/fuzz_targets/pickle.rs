//! A stream of pickles: whatever it is, what leaves are lines of three fields, not out of proportion, and the same however
//! the stream is cut; and what of it is valid comes through a pickle of our own unchanged.
//!
//! The first byte says where the stream is cut; what follows is one pickle, and also taken for frames.
#![no_main]

use baton::decode::frames::{self, Frames};
use baton::decode::pickle::{Bad, Decoder, Refused};
use baton::encode;
use baton::pipeline::{Batch, Terms};
use baton::route::{Entries, Matcher, Moment, Table, TableRoute};
use baton::validate::Rules;
use libfuzzer_sys::fuzz_target;

const MAX_FRAME: usize = 1 << 20;
const MAX_LINE: usize = 100;

fn read(decoder: &mut Decoder, pickle: &[u8], text: &mut Vec<u8>) -> Result<(), Refused> {
    let before = text.len();
    let mut points = decoder.read(pickle, MAX_LINE)?;
    let promised = points.len();
    let (mut met, mut ends) = (0, vec![before]);
    while let Some(point) = points.write_next(text) {
        if let Err(Bad {
            name: Some(name), ..
        }) = point
        {
            assert!(name.len() <= 64 * pickle.len() + 4096);
        }
        met += 1;
        ends.push(text.len());
    }
    assert_eq!(promised, met);
    assert!(text.len() - before <= 64 * pickle.len() + 4096);
    // A decoder that was used before, and items passed over, change nothing.
    let (skipped, mut rest) = (met / 2, Vec::new());
    let mut points = decoder.read(pickle, MAX_LINE)?;
    points.skip(skipped);
    while points.write_next(&mut rest).is_some() {}
    assert_eq!(rest, text[ends[skipped]..]);
    Ok(())
}

fn lines(mut raw: &[u8], decoder: &mut Decoder, text: &mut Vec<u8>) {
    while let Some((pickle, rest)) = frames::first(raw) {
        raw = rest;
        // Refused: nothing of it is written.
        let _ = read(decoder, pickle, text);
    }
    assert!(raw.is_empty());
}

fn stream(pieces: &[&[u8]]) -> (Vec<u8>, Frames) {
    let (mut frames, mut decoder, mut text) = (Frames::default(), Decoder::default(), Vec::new());
    for piece in pieces {
        let taken = frames.take(piece, MAX_FRAME);
        lines(&taken.joined, &mut decoder, &mut text);
        lines(&piece[taken.whole], &mut decoder, &mut text);
    }
    (text, frames)
}

/// Of lines, those that a listener lets pass.
fn valid(text: &[u8]) -> Vec<u8> {
    let table = Table::new(Entries {
        routes: vec![TableRoute::to_all(
            "all",
            Matcher::all(),
            vec![(0, Matcher::all())],
        )],
        destinations: 1,
        ..Entries::default()
    });
    let (rules, moment) = (Rules::default(), Moment::default());
    let terms = Terms {
        table: &table,
        rules: &rules,
        now: 1_790_000_000,
        moment,
        order: None,
    };
    let mut batch = Batch::new();
    batch.run(&terms, text);
    let spans = batch.placed().iter().flat_map(|placed| &placed.spans);
    spans
        .flat_map(|span| batch.text(text, span))
        .copied()
        .collect()
}

/// In frames of our own.
fn encoded(mut text: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    while !text.is_empty() {
        let frame = encode::pickle::frame(text, &mut frames);
        assert_eq!(frame.unencodable, 0);
        assert!(frame.points > 0);
        text = &text[frame.text..];
    }
    frames
}

/// Name, bits of the value, and seconds.
fn points(text: &[u8]) -> Vec<(&[u8], u64, &[u8])> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let points = lines.map(|line| {
        let mut fields = line[..line.len() - 1].split(|byte| *byte == b' ');
        let (name, value, seconds) = (fields.next(), fields.next(), fields.next());
        assert_eq!(fields.next(), None);
        let value = std::str::from_utf8(value.expect("a value")).expect("it is a number");
        let value: f64 = value.parse().expect("it is a number");
        let seconds = seconds.expect("a timestamp");
        // Zeros before it are no part of a number.
        let zeros = seconds
            .iter()
            .take_while(|byte| **byte == b'0')
            .count()
            .min(seconds.len() - 1);
        (name.expect("a name"), value.to_bits(), &seconds[zeros..])
    });
    points.collect()
}

fuzz_target!(|input: &[u8]| {
    let Some((&cut, bytes)) = input.split_first() else {
        return;
    };
    // As one pickle …
    let framed = [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    let at_once = stream(&[&framed]);
    let text = &at_once.0;
    if !text.is_empty() {
        for line in text[..text.len() - 1].split(|byte| *byte == b'\n') {
            assert_eq!(line.split(|byte| *byte == b' ').count(), 3);
        }
    }
    let at = usize::from(cut) % framed.len();
    assert_eq!(at_once, stream(&[&framed[..at], &framed[at..]]));
    assert_eq!(
        at_once,
        stream(&framed.chunks(usize::from(cut) + 1).collect::<Vec<_>>())
    );
    // … out, and in again …
    let valid = valid(text);
    let frames = encoded(&valid);
    let (again, rest) = stream(&[&frames]);
    assert_eq!(rest, Frames::default());
    assert_eq!(points(&again), points(&valid));
    assert_eq!(encoded(&again), frames);
    // … and as frames.
    let at = at.min(bytes.len());
    assert_eq!(stream(&[bytes]), stream(&[&bytes[..at], &bytes[at..]]));
});
