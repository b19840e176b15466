use std::os::fd::AsFd;

use proptest::prelude::*;

use super::*;
use crate::ledger::{BYTES, Count};
use crate::sys::memfd;

fn ring(size: u64, resend: u64) -> (Ring, Writer) {
    let ledger = memfd("ledger", BYTES).unwrap();
    let ledger = Arc::new(Ledger::open(ledger.as_fd()).unwrap());
    let memory = memfd("ring", size).unwrap();
    let of = (Kind::Queue, "d");
    let ring = Ring::open(ledger.clone(), of, memory.as_fd(), 0, size, resend).unwrap();
    (ring, Writer::new(ledger, 0))
}

fn push(ring: &Ring, writer: &mut Writer, text: &[u8]) {
    let mut append = ring.append();
    append.push(text, memchr::memchr_iter(b'\n', text).count() as u64);
    append.publish(writer, 1);
    writer.commit();
    append.finish();
}

#[test]
fn half_a_line_acknowledged_is_kept_whole() {
    let (ring, mut writer) = ring(4096, 0);
    push(&ring, &mut writer, b"one 1 1\ntwo 2 2\n");
    ring.acknowledge(&mut writer, 12);
    assert_eq!((ring.acked(), ring.tail(), ring.queued_lines()), (8, 8, 1));
    assert_eq!(ring.bytes(ring.acked(), 100), b"two 2 2\n");
    ring.acknowledge(&mut writer, 16);
    assert_eq!((ring.queued_lines(), ring.room()), (0, 4096));
    assert_eq!(ring.ledger.total(ring.counts(), Count::Acknowledged), 2);
}

#[test]
fn resend_keeps_acknowledged_lines_from_the_start_of_one() {
    let (ring, mut writer) = ring(4096, 10);
    push(&ring, &mut writer, b"one 1 1\ntwo 2 2\nthree 3 3\n");
    ring.acknowledge(&mut writer, 26);
    // 10 bytes back is inside of "two 2 2": only "three 3 3" is whole in what is kept.
    assert_eq!((ring.acked(), ring.tail()), (26, 16));
    assert_eq!(ring.queued_lines(), 0, "kept for re-sending, but delivered");
}

#[test]
fn a_blocking_ring_above_half_asks_senders_to_wait() {
    let (ring, mut writer) = ring(4096, 0);
    push(&ring, &mut writer, &[b"a 1 1\n".as_slice(); 342].concat());
    assert!(ring.is_above_mark());
    ring.acknowledge(&mut writer, 600);
    assert!(!ring.is_above_mark());
}

proptest! {
    /// Against a plain model: whatever is pushed and acknowledged, lines come out whole, in
    /// order, once, and the counts agree.
    #[test]
    fn behaves_as_a_plain_queue_of_lines(
        steps in prop::collection::vec((0usize..40, 0usize..2000), 1..200),
        resend in prop::sample::select(vec![0u64, 100, 1000]),
    ) {
        let (ring, mut writer) = ring(4096, resend);
        let (mut all, mut acked_to) = (Vec::new(), 0);
        for (i, (lines, acknowledge)) in steps.into_iter().enumerate() {
            let mut text = Vec::new();
            for line in 0..lines {
                text.extend(format!("name.{i}.{line} {line} {i}\n").bytes());
            }
            if text.len() as u64 <= ring.room() {
                push(&ring, &mut writer, &text);
                all.extend(text);
            }
            acked_to = (acked_to + acknowledge as u64).min(ring.head()).max(ring.acked());
            ring.acknowledge(&mut writer, acked_to);
            let (tail, acked, head) = (ring.tail(), ring.acked(), ring.head());
            prop_assert_eq!(head as usize, all.len());
            prop_assert!(tail <= acked && acked <= acked_to && acked - tail <= resend);
            prop_assert_eq!(ring.bytes(tail, 4096), &all[tail as usize..]);
            for start in [tail, acked] {
                prop_assert!(start == 0 || all[start as usize - 1] == b'\n');
            }
            let waiting = memchr::memchr_iter(b'\n', &all[acked as usize..]).count() as u64;
            prop_assert_eq!(ring.queued_lines(), waiting);
            prop_assert!(acked_to - acked < 40, "acknowledged to the last whole line");
        }
    }
}
