//! A batch as subscribers see it.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use super::subscription::Subscriber;
use super::time::{Time, Turn};
use super::{At, Tap};
use crate::validate::Reason;

/// Expressions aren't asked about longer names, since a hostile one may take a microsecond for each byte.
const LONG: usize = 1024;

/// Whole lines at one point of their way.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    reason: Option<Reason>,
    text: &'a [u8],
}

impl<'a> Seen<'a> {
    /// Lines that each end in a newline; the last one may lack it.
    pub fn lines(text: &'a [u8]) -> Seen<'a> {
        Seen { reason: None, text }
    }

    /// One line that is rejected, and why.
    pub fn rejected(reason: Reason, text: &'a [u8]) -> Seen<'a> {
        Seen {
            reason: Some(reason),
            text,
        }
    }
}

impl Tap {
    /// What looking at a batch of that size may cost, at all points together.
    pub fn time(&self, bytes: usize) -> Time {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Time::new(bytes, self.subscribers(), &self.savings).in_turn(turn)
    }

    /// Shows what was placed, at that point of its way: to be called once for each batch and point where somebody
    /// [looks on](Tap::watched). What there is no time for is lost to who looks on.
    #[cold]
    pub fn show<'a>(&self, at: At, seen: impl Iterator<Item = Seen<'a>> + Clone, time: &mut Time) {
        thread_local!(static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
        let subscribers = self.subscribers.load();
        let (sooner, later) = subscribers.split_at(time.first(subscribers.len()));
        let in_turn = later.iter().chain(sooner).filter(|s| s.at() == at);
        // How many lines there are at this point, once somebody has to know.
        let mut all = None;
        ROOM.with_borrow_mut(|room| {
            for subscriber in in_turn {
                room.clear();
                let mut turn = time.begin(subscriber.debt());
                let Looked { lines, mut lost } = look(subscriber, seen.clone(), room, &mut turn);
                if time.end(&turn, subscriber.debt()) {
                    let all = *all.get_or_insert_with(|| count(seen.clone()));
                    lost += subscriber.share_of(all.saturating_sub(lines));
                }
                if lost > 0 || !room.is_empty() {
                    self.push(subscriber, room, lost);
                }
            }
        });
    }

    /// Lines that can't be shown at that point: everybody there has lost them.
    #[cold]
    pub fn miss(&self, at: At, lines: u64) {
        for subscriber in self.subscribers.load().iter().filter(|s| s.at() == at) {
            self.push(subscriber, &[], lines);
        }
    }

    fn push(&self, subscriber: &Subscriber, lines: &[u8], lost: u64) {
        let lost = subscriber.push(lines, lost);
        self.lost.fetch_add(lost, Ordering::Relaxed);
    }
}

/// How far a subscriber's turn went.
struct Looked {
    /// Lines that were looked at.
    lines: u64,
    /// Of those, lines that it wasn't asked about.
    lost: u64,
}

/// Gathers what a subscriber gets, as far as there is time.
fn look<'a>(
    subscriber: &Subscriber,
    seen: impl Iterator<Item = Seen<'a>>,
    room: &mut Vec<u8>,
    turn: &mut Turn,
) -> Looked {
    let (mut lines, mut lost) = (0, 0);
    if subscriber.takes_all() && subscriber.at() == At::Routed {
        for Seen { reason, text } in seen {
            if turn.is_over(text.len() > LONG) {
                lines = memchr::memchr_iter(b'\n', room).count() as u64;
                break;
            }
            add(room, reason, text);
        }
        return Looked { lines, lost };
    }
    let mut picks = subscriber.picks();
    for Seen { reason, text } in seen {
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            if turn.is_over(subscriber.is_costly()) {
                return Looked { lines, lost };
            }
            // Blank lines are no lines.
            let Some(name) = name(line) else { continue };
            lines += 1;
            if !picks.next() {
                continue;
            }
            if subscriber.is_costly() && name.len() > LONG {
                lost += 1;
            } else if subscriber.wants(name) {
                add(room, reason, line);
            }
        }
    }
    Looked { lines, lost }
}

fn count<'a>(seen: impl Iterator<Item = Seen<'a>>) -> u64 {
    let lines = seen.flat_map(|seen| seen.text.split_inclusive(|&byte| byte == b'\n'));
    lines.filter(|line| name(line).is_some()).count() as u64
}

fn add(room: &mut Vec<u8>, reason: Option<Reason>, text: &[u8]) {
    if let Some(reason) = reason {
        room.extend_from_slice(reason.as_str().as_bytes());
        room.extend_from_slice(b": ");
    }
    room.extend_from_slice(text);
    if !text.ends_with(b"\n") {
        room.push(b'\n');
    }
}

/// The first field of a line, whatever it is; `None`: there is none.
fn name(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = line.iter().position(|byte| !blank(byte))?;
    let line = &line[start..];
    let end = memchr::memchr2(b' ', b'\t', line).unwrap_or(line.len());
    Some(&line[..end])
}

#[cfg(test)]
mod tests;
