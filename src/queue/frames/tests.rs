use proptest::prelude::*;

use super::*;
use crate::ledger::{self, Kind, Ledger};
use crate::queue::{Policy, Queue, WhenFull, memory_for};
use crate::sys::memfd;

const SIZE: u64 = 65_536;

struct Bed {
    ledger: Arc<Ledger>,
    memory: std::os::fd::OwnedFd,
    queue: Queue,
    writer: Writer,
}

fn queue(ledger: &Arc<Ledger>, memory: &std::os::fd::OwnedFd, resend: u64) -> Queue {
    let policy = Policy {
        when_full: WhenFull::Block,
        resend,
        live_first: false,
    };
    Queue::open(ledger, "d", memory.try_clone().unwrap(), SIZE, policy).unwrap()
}

fn bed(resend: u64) -> Bed {
    let memory = memfd("ledger", ledger::BYTES).unwrap();
    let ledger = Arc::new(Ledger::open(memory.as_fd()).unwrap());
    let memory = memfd("queue", memory_for(SIZE)).unwrap();
    Bed {
        queue: queue(&ledger, &memory, resend),
        writer: Writer::new(ledger.clone(), 0),
        memory,
        ledger,
    }
}

impl Bed {
    fn given(&mut self, lines: u64) {
        let mut append = self.queue.append(lines * 4);
        append.push(b"a 1\n".repeat(lines as usize).as_slice(), lines);
        append.publish(&mut self.writer, 1);
        self.writer.commit();
        append.finish();
    }

    fn begin(&mut self, base: u64) {
        self.queue.frames.begin(&mut self.writer, 77, base);
        self.writer.commit();
    }

    /// A frame of so many lines, ten bytes each on the wire.
    fn push(&mut self, points: u32, unencodable: u32) {
        let end = self.queue.frames.end();
        let frame = Boundary {
            wire: end.wire + u64::from(points) * 10,
            text: end.text + u64::from(points + unencodable) * 4,
            points,
            unencodable,
            encoding: 1,
        };
        self.queue.frames.push(&mut self.writer, frame);
        assert_eq!(self.queue.frames.end(), frame);
    }

    fn acknowledge(&mut self, wire: u64) -> (u64, u64, u64) {
        self.queue.frames.acknowledge(&mut self.writer, wire);
        let total = |count: Count| self.ledger.total(self.queue.counts(), count);
        let dropped = total(DropReason::Unencodable.into());
        (self.queue.send.acked(), total(Count::Acknowledged), dropped)
    }
}

#[test]
fn half_a_frame_acknowledged_is_kept_whole() {
    let mut bed = bed(0);
    bed.given(10);
    bed.begin(0);
    bed.push(3, 0);
    bed.push(4, 1);
    assert_eq!(bed.acknowledge(29), (0, 0, 0));
    assert_eq!(bed.acknowledge(30), (12, 3, 0));
    assert_eq!(bed.acknowledge(69), (12, 3, 0));
    assert_eq!(bed.acknowledge(70), (32, 7, 1));
    assert_eq!(
        (
            bed.queue.send.queued_lines(),
            bed.queue.frames.on_their_way()
        ),
        (2, 0)
    );
}

#[test]
fn lines_that_cannot_be_sent_leave_with_what_is_before_them() {
    let mut bed = bed(0);
    bed.given(6);
    bed.begin(0);
    bed.push(0, 2);
    assert_eq!(bed.acknowledge(0), (8, 0, 2));
    bed.push(2, 0);
    bed.push(0, 2);
    assert_eq!(bed.acknowledge(19), (8, 0, 2));
    assert_eq!(bed.acknowledge(20), (24, 2, 4));
}

#[test]
fn who_maps_it_next_finds_the_frame_that_was_begun_last() {
    let mut bed = bed(0);
    bed.given(10);
    bed.begin(0);
    bed.push(3, 0);
    bed.push(4, 1);
    let next = queue(&bed.ledger, &bed.memory, 0);
    assert!(next.is_complete());
    assert_eq!(next.linked(), 77);
    let (before, last) = next.frames.last().unwrap();
    assert_eq!((before.wire, before.text), (30, 12));
    assert_eq!(
        (last.wire, last.text, last.points, last.unencodable),
        (70, 32, 4, 1)
    );
    bed.acknowledge(30);
    assert_eq!(next.frames.last().unwrap().0.wire, 30);
    bed.acknowledge(70);
    assert_eq!((next.frames.last(), next.frames.end().wire), (None, 70));
}

#[test]
fn an_entry_that_was_written_and_not_begun_never_was() {
    let mut bed = bed(0);
    bed.given(10);
    bed.begin(0);
    bed.push(3, 0);
    // Killed between the entry and the store that makes it valid.
    let table = bed.queue.frames.table();
    table.words.store(index(1), 99);
    table.words.store(index(1) + 1, 40);
    drop(table);
    let next = queue(&bed.ledger, &bed.memory, 0);
    assert_eq!(next.frames.end().wire, 30);
    assert_eq!(bed.acknowledge(1_000), (12, 3, 0));
}

#[test]
fn a_full_table_has_room_again_after_an_acknowledgement() {
    let mut bed = bed(0);
    bed.given(ENTRIES + 1);
    bed.begin(0);
    for _ in 0..ENTRIES {
        assert!(!bed.queue.frames.is_full());
        bed.push(1, 0);
    }
    assert!(bed.queue.frames.is_full());
    assert_eq!(bed.acknowledge(10), (4, 1, 0));
    assert!(!bed.queue.frames.is_full());
    bed.push(1, 0);
    assert_eq!(
        bed.acknowledge(10 * ENTRIES + 10),
        (4 * ENTRIES + 4, ENTRIES + 1, 0)
    );
}

#[test]
fn lines_that_are_sent_again_are_acknowledged_once() {
    let mut bed = bed(16);
    bed.given(10);
    bed.begin(0);
    bed.push(4, 1);
    assert_eq!(bed.acknowledge(40), (20, 4, 1));
    // The next connection begins at the tail.
    let tail = bed.queue.send.tail();
    assert_eq!(tail, 4);
    bed.begin(tail);
    bed.push(3, 1);
    bed.push(5, 0);
    assert_eq!(bed.acknowledge(30), (20, 4, 1));
    assert_eq!(bed.acknowledge(80), (40, 9, 1));
}

#[test]
fn memory_of_an_older_version_is_served_and_no_successor_told_of_the_connection() {
    let mut bed = bed(0);
    bed.memory = memfd("queue", 2 * SIZE).unwrap();
    bed.queue = queue(&bed.ledger, &bed.memory, 0);
    assert!(!bed.queue.is_complete());
    bed.given(10);
    bed.begin(0);
    assert_eq!(bed.queue.linked(), 0);
    bed.push(3, 0);
    assert_eq!(bed.acknowledge(30), (12, 3, 0));
    let larger = memfd("queue", memory_for(SIZE)).unwrap();
    bed.queue.replace_memory(larger, SIZE).unwrap();
    assert!(bed.queue.is_complete());
}

#[test]
fn a_queue_that_begins_anew_has_no_frames() {
    let mut bed = bed(0);
    bed.given(10);
    bed.begin(0);
    bed.push(3, 0);
    bed.queue.reset(&mut bed.writer);
    assert_eq!(
        (bed.queue.linked(), bed.queue.frames.on_their_way()),
        (0, 0)
    );
    let object = bed.ledger.object(Kind::Queue, "d").unwrap();
    assert_eq!(bed.ledger.cell(object, Cell::FramesDoneText), 0);
}

proptest! {
    /// Against a plain list: whatever is begun and acknowledged, whole frames leave, in order, once.
    #[test]
    fn behaves_as_a_plain_list_of_frames(steps in prop::collection::vec((0u32..4, 0u32..3, 0u64..60), 1..100)) {
        let mut bed = bed(0);
        bed.begin(0);
        let (mut all, mut wire) = (Vec::new(), 0);
        for (points, unencodable, step) in steps {
            if points + unencodable > 0 {
                bed.given(u64::from(points + unencodable));
                bed.push(points, unencodable);
                all.push(bed.queue.frames.end());
            }
            wire = (wire + step).min(bed.queue.frames.end().wire);
            let seen = bed.acknowledge(wire);
            let done = all.iter().filter(|frame| frame.wire <= wire);
            let expected = done.fold((0, 0, 0), |(_, points, dropped), frame| {
                (frame.text, points + u64::from(frame.points), dropped + u64::from(frame.unencodable))
            });
            prop_assert_eq!(seen, expected);
            let left = all.iter().filter(|frame| frame.wire > wire).count() as u64;
            prop_assert_eq!(bed.queue.frames.on_their_way(), left);
        }
    }
}
