//! Reading a stream of pickles: from whole frames to lines, and from there as lines go.
//!
//! A frame that finds no room waits as it came, with the number of its items that are placed already, and is decoded again
//! when there is room. So what waits is never longer than what was sent, and offsets count bytes of the stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::connection::State;
use super::framing::{Framing, Protocol};
use super::notes::{note_rejection, note_sample};
use super::stream::{PIECE, Step, end, full_ring, origin, remember};
use super::{Connection, Inputs};
use crate::decode::frames::{self, HEAD};
use crate::decode::pickle::{Bad, Decoder, Fault};
use crate::gate::Lane;
use crate::intake::{Lines, Snapshot};
use crate::ledger::{Count, Writer};
use crate::pipeline::Batch;
use crate::queue::Ring;
use crate::tap::At;
use crate::validate::Reason;

/// What a connection may take for the frame that it has begun in any case, as for a partial line.
const SMALL: usize = 16 << 10;
/// What all of them together may take beyond that; and those that wait for room, before larger ones must wait to be read.
const MEMORY: usize = 256 << 20;
/// Rejected items that are kept to be looked at, of one piece and reason.
const SAMPLES: u64 = 4;
/// Of those so many bytes.
const SHOWN: usize = 512;

/// Takes the `n` bytes that were read into the lane's buffer.
pub(super) fn take(
    inputs: &Inputs,
    connection: &Connection,
    snapshot: &Snapshot,
    lane: &mut Lane,
    state: &mut State,
    n: usize,
) -> Step {
    let Framing::Frames(frames) = &mut state.framing else {
        return Step::End;
    };
    let taken = frames.take(&lane.buffer[..n], inputs.limits.max_frame);
    let head = taken.too_long;
    if let Some(head) = head {
        refuse_frame(inputs, connection, lane, head, taken.whole.end..n);
    } else if frames.memory() > SMALL
        && inputs.frames.load(Ordering::Relaxed) + frames.memory() - SMALL
            > MEMORY + state.counted.0
    {
        tracing::warn!(
            peer = connection.peer,
            listener = connection.listener,
            begun = frames.carry().len(),
            limit = MEMORY,
            "closed: the frames that all senders have begun and not ended take too much memory"
        );
        let begun = frames.carry();
        let begun = begun[..begun.len().min(SHOWN)].to_vec();
        frames.break_off();
        count_frame(inputs, connection, lane, &begun);
    }
    lane.writer.add(connection.object, Count::Bytes, n as u64);
    let placed = place(
        inputs,
        connection,
        snapshot,
        lane,
        state,
        &taken.joined,
        taken.whole.clone(),
    );
    match placed {
        Ok(()) if state.framing.is_discarding() => close(inputs, connection, lane, state),
        Ok(()) => Step::Read,
        Err(ring) => {
            let waiting = state.waiting.len();
            inputs.waiting.fetch_add(waiting, Ordering::Relaxed);
            lane.writer
                .set_offset(connection.slot, connection.offset(state));
            lane.writer.commit();
            Step::Wait(ring)
        }
    }
}

/// Places these frames, or lets those that find no room wait.
fn place(
    inputs: &Inputs,
    connection: &Connection,
    snapshot: &Snapshot,
    lane: &mut Lane,
    state: &mut State,
    joined: &[u8],
    whole: std::ops::Range<usize>,
) -> Result<(), Arc<Ring>> {
    let Lane {
        buffer,
        batch,
        writer,
        pickles,
    } = lane;
    let whole = &buffer[whole];
    let (decoder, text) = pickles;
    let mut placing = Placing {
        inputs,
        connection,
        snapshot,
        batch,
        writer,
        text,
        refused: [0; Reason::COUNT],
        samples: Vec::new(),
    };
    if joined.is_empty() || whole.is_empty() {
        let all = if joined.is_empty() { whole } else { joined };
        let placed = placing.frames(decoder, state, all, 0);
        return placed.map_err(|(ring, left)| {
            state.waiting = left.to_vec();
            ring
        });
    }
    let first = placing.frames(decoder, state, joined, whole.len());
    let (ring, left, behind) = match first {
        Err((ring, left)) => (ring, left, whole),
        Ok(()) => match placing.frames(decoder, state, whole, 0) {
            Ok(()) => return Ok(()),
            Err((ring, left)) => (ring, left, &[][..]),
        },
    };
    state.waiting = [left, behind].concat();
    Err(ring)
}

/// Places what came to wait, as much as there is room for.
pub(super) fn feed_waiting(
    inputs: &Inputs,
    connection: &Connection,
    snapshot: &Snapshot,
    lane: &mut Lane,
    state: &mut State,
) -> Result<(), Arc<Ring>> {
    // A frame is not to be decoded in vain again and again: a piece is as long, and a line longer.
    let needed = PIECE + inputs.limits.max_line;
    if let Some(ring) = full_ring(snapshot, state)
        && ring.room() < needed as u64
    {
        return Err(ring);
    }
    connection.add_received(state, &inputs.ledger, 0);
    let waiting = std::mem::take(&mut state.waiting);
    let placed = place(inputs, connection, snapshot, lane, state, &waiting, 0..0);
    // What a predecessor left waiting was not counted here.
    let less = waiting.len() - state.waiting.len();
    let less = |all: usize| Some(all.saturating_sub(less));
    let _before = inputs
        .waiting
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    placed
}

/// Where frames become lines, and lines are placed.
struct Placing<'a> {
    inputs: &'a Inputs,
    connection: &'a Connection,
    snapshot: &'a Snapshot,
    batch: &'a mut Batch,
    writer: &'a mut Writer,
    /// Lines that aren't placed yet …
    text: &'a mut Vec<u8>,
    /// … what was refused among them …
    refused: [u64; Reason::COUNT],
    /// … and some of that.
    samples: Vec<(Reason, Vec<u8>)>,
}

impl Placing<'_> {
    /// Places whole frames; `behind` bytes of others follow. `state.placed` items of the first are placed already.
    ///
    /// When a ring has no room: what is left to be placed, from the frame on of which `state.placed` items were.
    fn frames<'f>(
        &mut self,
        decoder: &mut Decoder,
        state: &mut State,
        all: &'f [u8],
        behind: usize,
    ) -> Result<(), (Arc<Ring>, &'f [u8])> {
        let (mut left, mut most) = (all, PIECE);
        loop {
            match self.pieces(decoder, state, left, behind, most) {
                // Rewriters can make lines so much longer that a piece of them has never room.
                Err((ring, rest)) if divides(self.text, &ring) => {
                    (left, most) = (rest, self.text.len() / 2);
                }
                placed => return placed,
            }
        }
    }

    /// The same, in pieces of about so many bytes.
    fn pieces<'f>(
        &mut self,
        decoder: &mut Decoder,
        state: &mut State,
        all: &'f [u8],
        behind: usize,
        most: usize,
    ) -> Result<(), (Arc<Ring>, &'f [u8])> {
        self.begin();
        // What is collected, and what is placed.
        let (mut rest, mut left, mut item) = (all, all, state.placed);
        while let Some((pickle, after)) = frames::first(rest) {
            match decoder.read(pickle, self.inputs.limits.max_line) {
                Err(refused) => {
                    let beginning = &pickle[..pickle.len().min(SHOWN)];
                    let what = [format!("{refused}: ").as_bytes(), beginning].concat();
                    self.refuse(Reason::Pickle, what);
                }
                Ok(mut points) => {
                    points.skip(item);
                    while let Some(written) = points.write_next(self.text) {
                        item += 1;
                        if let Err(bad) = written {
                            self.refuse_item(item, bad);
                        }
                        if self.text.len() >= most && item < points.len() {
                            self.flush(state, rest.len() + behind - item)
                                .map_err(|ring| (ring, left))?;
                            (left, state.placed) = (rest, item);
                        }
                    }
                }
            }
            (rest, item) = (after, 0);
            if self.text.len() >= most {
                self.flush(state, rest.len() + behind)
                    .map_err(|ring| (ring, left))?;
                (left, state.placed) = (rest, 0);
            }
        }
        self.flush(state, behind).map_err(|ring| (ring, left))?;
        state.placed = 0;
        Ok(())
    }

    fn begin(&mut self) {
        self.text.clear();
        self.refused = [0; Reason::COUNT];
        self.samples.clear();
    }

    #[cold]
    fn refuse(&mut self, reason: Reason, what: Vec<u8>) {
        self.refused[reason as usize] += 1;
        if self.refused[reason as usize] <= SAMPLES {
            self.samples.push((reason, what));
        }
    }

    #[cold]
    fn refuse_item(&mut self, number: usize, bad: Bad<'_>) {
        let reason = match bad.fault {
            Fault::Item => Reason::PickleItem,
            Fault::Name => Reason::Name,
            Fault::Value => Reason::Value,
            Fault::Timestamp => Reason::Timestamp,
            Fault::TooLong => Reason::TooLong,
        };
        let name = bad.name.unwrap_or_default();
        let name = &name[..name.len().min(SHOWN)];
        let what = [format!("item {number}: ").as_bytes(), name].concat();
        self.refuse(reason, what);
    }

    /// Places what was collected; so many bytes are left then, less items of a frame that is placed in part.
    fn flush(&mut self, state: &mut State, left: usize) -> Result<(), Arc<Ring>> {
        let offset = self.connection.offset_before(state, left);
        let lines = Lines {
            text: self.text,
            refused: &self.refused,
        };
        let (intake, slot) = (&self.inputs.intake, self.connection.slot);
        let origin = origin(self.connection);
        let fed = intake.feed(
            self.snapshot,
            self.batch,
            self.writer,
            origin,
            lines,
            |writer| {
                writer.set_offset(slot, offset);
            },
        );
        // A part of a frame goes nowhere yet.
        if !self.text.is_empty() {
            remember(self.snapshot, self.batch, state);
        }
        fed?;
        self.note(state);
        self.begin();
        Ok(())
    }

    /// Notes what was refused.
    fn note(&self, state: &mut State) {
        for (reason, what) in &self.samples {
            note_sample(self.inputs, self.connection, *reason, what);
        }
        let unseen = self.refused.iter().sum::<u64>() - self.samples.len() as u64;
        if unseen > 0 {
            self.inputs.intake.tap.miss(At::Rejected, unseen);
        }
        let line = self.batch.rejections().first();
        let line = line.map(|r| (r.reason, &self.text[r.range.clone()]));
        let refused = self
            .samples
            .first()
            .map(|(reason, what)| (*reason, &what[..]));
        if let Some((reason, what)) = refused.or(line)
            && !std::mem::replace(&mut state.noted, true)
        {
            note_rejection(self.connection, reason, what);
        }
    }
}

/// Whether less of these lines may have room in a ring that had none for all.
fn divides(text: &[u8], ring: &Ring) -> bool {
    ring.room() > ring.capacity() / 4 && memchr::memchr_iter(b'\n', text).nth(1).is_some()
}

/// A frame over the limit: nobody knows where the next one would begin.
#[cold]
fn refuse_frame(
    inputs: &Inputs,
    connection: &Connection,
    lane: &mut Lane,
    head: [u8; HEAD],
    rest: std::ops::Range<usize>,
) {
    let is_text = |byte: &u8| matches!(byte, b'\t' | b'\r' | b'\n' | b' '..=b'~');
    let hint = match head.iter().all(is_text) {
        true => "a line sender is on the pickle port",
        false => "a longer frame than max_frame allows",
    };
    tracing::info!(
        peer = connection.peer,
        listener = connection.listener,
        length = frames::length(head),
        max_frame = inputs.limits.max_frame,
        hint,
        "a connection was closed: a frame over the limit"
    );
    let mut what = lane.buffer[rest.start..rest.end.min(rest.start + SHOWN)].to_vec();
    // Its head may have come with an earlier read.
    if !what.starts_with(&head) {
        what.splice(0..0, head);
    }
    count_frame(inputs, connection, lane, &what);
}

/// Counts a frame for which the connection ends; apart from the lines, which may come to wait.
fn count_frame(inputs: &Inputs, connection: &Connection, lane: &mut Lane, what: &[u8]) {
    lane.writer.add(connection.object, Count::Lines, 1);
    lane.writer.add(connection.object, Reason::Frame, 1);
    lane.writer.commit();
    note_sample(inputs, connection, Reason::Frame, what);
}

/// Ends a connection whose stream is broken: by a frame over the limit, or by a crash, which costs what was still to be
/// read too.
#[cold]
pub(super) fn close(
    inputs: &Inputs,
    connection: &Connection,
    lane: &mut Lane,
    state: &mut State,
) -> Step {
    if std::mem::take(&mut state.cut) {
        let lost = connection.unread().unwrap_or(0);
        tracing::warn!(
            peer = connection.peer,
            listener = connection.listener,
            unread = lost,
            "closed: a crash has lost a part of its stream of pickles"
        );
        lane.writer.add(connection.object, Count::LostByCrash, lost);
        lane.writer.commit();
    }
    end(inputs, connection, lane, state)
}

/// Counts the memory of a connection's frames; to be called whenever that may have changed.
#[inline]
pub(super) fn account(inputs: &Inputs, connection: &Connection, state: &mut State) {
    if connection.protocol == Protocol::Line {
        return;
    }
    let Framing::Frames(frames) = &state.framing else {
        return;
    };
    let (begun, waits) = (
        frames.memory().saturating_sub(SMALL),
        state.waiting.capacity(),
    );
    // Wraps around where it shrinks, and comes out right.
    let change = |now: usize, before: usize| now.wrapping_sub(before);
    let (frames, pickles) = state.counted;
    inputs
        .frames
        .fetch_add(change(begun, frames), Ordering::Relaxed);
    inputs
        .pickles
        .fetch_add(change(waits, pickles), Ordering::Relaxed);
    state.counted = (begun, waits);
}

/// So much waits for room that a large frame isn't read on, which may come to wait as well. One whose destinations take what
/// it sends is likely not to: it may be in hand for longer.
pub(super) fn must_wait(inputs: &Inputs, snapshot: &Snapshot, state: &State) -> bool {
    let is_large = match &state.framing {
        Framing::Frames(frames) => frames.memory() > SMALL,
        Framing::Lines(_) => false,
    };
    let limit = match state.goes_somewhere(snapshot) {
        true => 2 * MEMORY,
        false => MEMORY,
    };
    is_large && inputs.pickles.load(Ordering::Relaxed) > limit
}
