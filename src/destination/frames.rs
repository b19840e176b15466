//! Sending a ring over TCP in frames.
//!
//! One frame at a time is made, noted, and written. What a successor has to know of it is in the queue's table before its first byte is
//! on the wire: where it ends, there and in the ring.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::tcp::{ASK_FULL, Next, Why};
use super::{Destination, Link};
use crate::encode::pickle;
use crate::gate::Lane;
use crate::ledger::{Cell, Count, Writer};
use crate::queue::Boundary;
use crate::sys::Watched;

/// The frame that is being written.
#[derive(Debug, Default)]
pub(super) struct Staged {
    bytes: Vec<u8>,
    /// So many of them are written.
    written: usize,
    /// The ring positions of its text, and the points in it.
    text: (u64, u64),
    points: u64,
}

impl Staged {
    /// What is still to be written.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }
}

impl Destination {
    /// As `step`, on a connection that is sent frames. All frames that were begun end at `link.written`.
    pub(super) fn step_frames(
        &self,
        lane: &mut Lane,
        link: &mut Link,
        socket: &Arc<Watched>,
        now: Instant,
    ) -> Next {
        let begun = link.written.unwrap_or(link.base);
        if link.staged().rest().is_empty() {
            let head = self.ring.head();
            // A connection that is given up ends with the frame it is in.
            if begun == head || link.moving {
                return self.nothing_to_send(lane, link, begun, now);
            }
            if let Some(wait) = self.waits_for_company(link, begun, head, now) {
                return wait;
            }
            if self.queue.frames.is_full() {
                self.read_acknowledgements(lane, link, now);
                if self.queue.frames.is_full() {
                    return Next::Idle(Some(now + ASK_FULL));
                }
            }
            if let Err(error) = self.stage(&mut lane.writer, link, begun, head) {
                return Next::Lost(Why::Error(error));
            }
        }
        if link.staged().rest().is_empty() {
            // Nothing of that text can be sent: it leaves when everything before it has.
            self.read_acknowledgements(lane, link, now);
            return Next::Again;
        }
        match self.write(socket, link.staged().rest()) {
            Ok(n) => {
                let staged = link.staged();
                staged.written += n;
                if staged.rest().is_empty() {
                    let (text, points) = (staged.text, staged.points);
                    self.count_frame(&mut lane.writer, text, points);
                }
                let is_last = link.written >= Some(link.company_had);
                self.was_written(lane, link, now, is_last);
                Next::Again
            }
            Err(error) => self.not_written(lane, link, error, now),
        }
    }

    /// Makes a frame of the lines from `begun` on, and notes it.
    fn stage(&self, writer: &mut Writer, link: &mut Link, begun: u64, head: u64) -> io::Result<()> {
        // A frame is counted as a whole: none lies on both sides of what was acknowledged, or sent, on an earlier connection.
        let borders = [self.ring.acked(), self.ring.cell(Cell::SentUpTo)];
        let border = borders
            .into_iter()
            .filter(|at| (begun + 1..head).contains(at))
            .min();
        let end = border.map_or(head, |at| self.end_of_line(at, head));
        let wire = self.queue.frames.end().wire;
        let staged = link.staged();
        staged.bytes.clear();
        staged.written = 0;
        let made = pickle::frame(
            self.ring.bytes(begun, (end - begun) as usize),
            &mut staged.bytes,
        );
        if made.text == 0 {
            return Err(io::Error::other("the queue holds a line without an end"));
        }
        let text = begun + made.text as u64;
        let frame = Boundary {
            wire: wire + staged.bytes.len() as u64,
            text,
            points: made.points as u32,
            unencodable: made.unencodable as u32,
            encoding: pickle::ENCODING,
        };
        (staged.written, staged.text, staged.points) = (0, (begun, text), made.points);
        self.queue.frames.push(writer, frame);
        link.written = Some(text);
        if made.unencodable > 0 {
            let lines = made.unencodable;
            tracing::debug!(
                destination = self.spec.id,
                lines,
                "no points: they can't be sent as a pickle"
            );
        }
        Ok(())
    }

    /// Finds the place in a connection that was taken over, of which so many bytes were written.
    pub(super) fn locate_frame(
        &self,
        writer: &mut Writer,
        link: &mut Link,
        wire: u64,
    ) -> io::Result<u64> {
        let lost = |what: &str| {
            Err(io::Error::other(format!(
                "the connection stands at byte {wire}, {what}"
            )))
        };
        let frames = &self.queue.frames;
        let end = frames.end();
        if end.text < self.ring.tail() || end.text > self.ring.head() {
            return lost("outside of the queue");
        }
        let Some((before, last)) = frames.last() else {
            return match wire == end.wire {
                true => Ok(end.text),
                false => lost("after a frame that nobody knows of"),
            };
        };
        if !(before.wire..=last.wire).contains(&wire) {
            return lost("before the frame that was begun last, or behind it");
        }
        let points = u64::from(last.points);
        if wire == last.wire {
            // Perhaps who wrote it was killed before it was counted.
            if self.ring.cell(Cell::SentUpTo) < last.text {
                self.count_frame(writer, (before.text, last.text), points);
            }
            return Ok(last.text);
        }
        if before.text < self.ring.tail() || before.text >= last.text {
            return lost("in a frame whose lines are gone");
        }
        let staged = link.staged();
        staged.bytes.clear();
        let text = self
            .ring
            .bytes(before.text, (last.text - before.text) as usize);
        let made = pickle::frame(text, &mut staged.bytes);
        let is_same = made.text == text.len()
            && made.points == points
            && before.wire + staged.bytes.len() as u64 == last.wire
            && last.encoding == pickle::ENCODING;
        if !is_same {
            staged.bytes.clear();
            return lost("in a frame that this version would make otherwise");
        }
        staged.written = (wire - before.wire) as usize;
        (staged.text, staged.points) = ((before.text, last.text), points);
        Ok(last.text)
    }

    /// Counts a frame that is written to its end.
    fn count_frame(&self, writer: &mut Writer, (from, to): (u64, u64), points: u64) {
        let sent = self.ring.cell(Cell::SentUpTo);
        let count = if from < sent {
            Count::Resent
        } else {
            Count::Sent
        };
        writer.add(self.ring.counts(), count, points);
        if to > sent {
            writer.set(self.ring.cells(), Cell::SentUpTo, to);
        }
        writer.commit();
    }
}

#[cfg(test)]
mod tests;
