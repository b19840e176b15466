//! A stream of pickles, in pieces: whatever it is, what leaves are lines of three fields, not out of proportion, and the
//! same however the stream is cut.
#![no_main]

use baton::decode::frames::{self, Frames};
use baton::decode::pickle::Decoder;
use libfuzzer_sys::fuzz_target;

const MAX_FRAME: usize = 1 << 20;

fn lines(mut raw: &[u8], decoder: &mut Decoder, text: &mut Vec<u8>) {
    while let Some((pickle, rest)) = frames::first(raw) {
        raw = rest;
        let before = text.len();
        if let Ok(mut points) = decoder.read(pickle, 100) {
            while points.write_next(text).is_some() {}
        }
        assert!(text.len() - before <= 64 * pickle.len() + 4096);
    }
    assert!(raw.is_empty());
}

fn stream(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut frames, mut decoder, mut text) = (Frames::default(), Decoder::default(), Vec::new());
    for piece in pieces {
        let taken = frames.take(piece, MAX_FRAME);
        lines(&taken.joined, &mut decoder, &mut text);
        lines(&piece[taken.whole], &mut decoder, &mut text);
    }
    text
}

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (cut, bytes) = input;
    // As one pickle …
    let framed = [&(bytes.len() as u32).to_be_bytes()[..], &bytes].concat();
    let text = stream(&[&framed]);
    if !text.is_empty() {
        for line in text[..text.len() - 1].split(|byte| *byte == b'\n') {
            assert_eq!(line.split(|byte| *byte == b' ').count(), 3);
        }
    }
    let cut = usize::from(cut) % framed.len();
    assert_eq!(text, stream(&[&framed[..cut], &framed[cut..]]));
    // … and as frames.
    let cut = cut.min(bytes.len());
    assert_eq!(stream(&[&bytes]), stream(&[&bytes[..cut], &bytes[cut..]]));
});
