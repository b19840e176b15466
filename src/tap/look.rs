//! A batch as subscribers see it.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::subscription::Subscriber;
use super::{At, Tap};
use crate::validate::Reason;

/// What regular expressions and globs may take of the time of a batch: some ten times what the usual ones need for the
/// largest.
const TIME: Duration = Duration::from_millis(5);
/// After so many lines the clock is looked at.
const LOOK: u32 = 64;

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
    /// Shows what was placed, at that point of its way: to be called once for each batch and point where somebody
    /// [looks on](Tap::watched).
    #[cold]
    pub fn show<'a>(&self, at: At, seen: impl Iterator<Item = Seen<'a>> + Clone) {
        thread_local!(static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
        let mut time = Time::default();
        ROOM.with_borrow_mut(|room| {
            for subscriber in self.subscribers.load().iter().filter(|s| s.at() == at) {
                room.clear();
                let lost = look(subscriber, seen.clone(), room, &mut time);
                if lost > 0 || !room.is_empty() {
                    subscriber.push(room, lost);
                }
            }
        });
    }

    /// Lines that can't be shown at that point: everybody there has lost them.
    #[cold]
    pub fn miss(&self, at: At, lines: u64) {
        for subscriber in self.subscribers.load().iter().filter(|s| s.at() == at) {
            subscriber.push(&[], lines);
        }
    }
}

/// Gathers what a subscriber gets, and tells how many lines there was no time for.
fn look<'a>(
    subscriber: &Subscriber,
    seen: impl Iterator<Item = Seen<'a>>,
    room: &mut Vec<u8>,
    time: &mut Time,
) -> u64 {
    let takes_all = subscriber.takes_all() && subscriber.at() == At::Routed;
    let mut picks = subscriber.picks();
    let mut lost = 0;
    for Seen { reason, text } in seen {
        if takes_all {
            add(room, reason, text);
            continue;
        }
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            if !picks.next() {
                continue;
            }
            // Blank lines are no lines.
            let Some(name) = name(line) else { continue };
            if subscriber.is_costly() && time.is_over() {
                lost += 1;
            } else if subscriber.wants(name) {
                add(room, reason, line);
            }
        }
    }
    lost
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

/// What is left of the time of a batch.
#[derive(Debug, Default)]
struct Time {
    began: Option<Instant>,
    lines: u32,
    over: bool,
}

impl Time {
    /// Whether it is used up; asked before each line.
    fn is_over(&mut self) -> bool {
        if self.lines == 0 {
            self.lines = LOOK;
            let began = *self.began.get_or_insert_with(Instant::now);
            self.over = self.over || began.elapsed() > TIME;
        }
        self.lines -= 1;
        self.over
    }
}

#[cfg(test)]
mod tests;
