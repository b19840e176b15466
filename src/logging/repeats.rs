//! The same line at most once a second, with a count of how often it would have come.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt::{self, Write};
use std::hash::BuildHasher;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// How often a line may come.
const PACE: Duration = Duration::from_secs(1);
/// So many different lines are told apart at one time; of those beyond, all from one place in the program are the same.
const MOST: usize = 1024;
/// How much of a line is kept, for when it has been repeated.
const KEPT: usize = 512;

/// What tells of repeats is never held back.
const OWN: &str = "baton::logging::repeats";

static HEARD: LazyLock<Mutex<Repeats>> = LazyLock::new(Mutex::default);
/// Whether a line is held back: who only looks needs no lock.
static HOLDS: AtomicBool = AtomicBool::new(false);

/// Whether it is to be logged now. If not, it is counted.
pub(super) fn is_news(event: &Event<'_>) -> bool {
    if event.metadata().target() == OWN {
        return true;
    }
    let mut text = Text::default();
    event.record(&mut text);
    let place = event.metadata().callsite();
    let level = *event.metadata().level();
    let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    let due = heard.due(now);
    let is_news = heard.is_news(place, level, text, now);
    if !is_news {
        HOLDS.store(true, Ordering::Relaxed);
    }
    // To tell of them leads in here again.
    drop(heard);
    due.iter().for_each(Repeated::tell);
    is_news
}

/// Tells of lines that were held back and whose second is over; to be called now and then, since nobody else might log.
pub fn tell_repeats() {
    if !HOLDS.load(Ordering::Relaxed) {
        return;
    }
    let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    let due = heard.due(Instant::now());
    HOLDS.store(heard.holds(), Ordering::Relaxed);
    drop(heard);
    due.iter().for_each(Repeated::tell);
}

/// A line that came again and again within a second.
#[derive(Debug, PartialEq, Eq)]
struct Repeated {
    level: Level,
    times: u64,
    line: String,
}

impl Repeated {
    fn tell(&self) {
        let Repeated { times, line, .. } = self;
        // The level of an event is a constant.
        match self.level {
            Level::ERROR => {
                tracing::error!(target: OWN, repeated = times, "{times} times more: {line}")
            }
            Level::WARN => {
                tracing::warn!(target: OWN, repeated = times, "{times} times more: {line}")
            }
            Level::INFO => {
                tracing::info!(target: OWN, repeated = times, "{times} times more: {line}")
            }
            Level::DEBUG => {
                tracing::debug!(target: OWN, repeated = times, "{times} times more: {line}")
            }
            Level::TRACE => {
                tracing::trace!(target: OWN, repeated = times, "{times} times more: {line}")
            }
        }
    }
}

/// A line as text: the message, then its fields.
#[derive(Debug, Default, Hash)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn into_line(self, has_fields: bool) -> String {
        let mut line = self.message;
        line += match has_fields {
            true => &self.fields,
            false => " (with other fields each)",
        };
        let end = line.floor_char_boundary(KEPT);
        line.truncate(end);
        line
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.expect("writing to memory does not fail");
    }
}

#[derive(Debug)]
struct Heard {
    level: Level,
    since: Instant,
    line: String,
    /// How often it came and was not logged.
    held: u64,
}

/// What was said in the last second.
#[derive(Debug, Default)]
struct Repeats {
    /// By the place in the program, and a hash of the line; without it, all others from there. So there are no more than
    /// [`MOST`], and as many as there are places.
    lines: HashMap<(Identifier, Option<u64>), Heard>,
    hasher: RandomState,
    /// When the first of them is a second old.
    first_due: Option<Instant>,
}

impl Repeats {
    fn is_news(&mut self, place: Identifier, level: Level, text: Text, now: Instant) -> bool {
        let mut key = (place, Some(self.hasher.hash_one(&text)));
        if self.lines.len() >= MOST && !self.lines.contains_key(&key) {
            key.1 = None;
        }
        if let Some(heard) = self.lines.get_mut(&key) {
            heard.held += 1;
            return false;
        }
        let line = text.into_line(key.1.is_some());
        let heard = Heard {
            level,
            since: now,
            line,
            held: 0,
        };
        self.lines.insert(key, heard);
        self.first_due.get_or_insert(now + PACE);
        true
    }

    /// What is to be told now. It counts as one more line, from which on a second must pass.
    fn due(&mut self, now: Instant) -> Vec<Repeated> {
        let mut due = Vec::new();
        if self.first_due.is_none_or(|first| now < first) {
            return due;
        }
        self.lines.retain(|_, heard| {
            if now < heard.since + PACE {
                return true;
            }
            let times = mem::take(&mut heard.held);
            if times > 0 {
                due.push(Repeated {
                    level: heard.level,
                    times,
                    line: heard.line.clone(),
                });
                heard.since = now;
            }
            times > 0
        });
        let oldest = self.lines.values().map(|heard| heard.since).min();
        self.first_due = oldest.map(|since| since + PACE);
        due
    }

    fn holds(&self) -> bool {
        self.lines.values().any(|heard| heard.held > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str) -> Text {
        Text {
            message: "down".to_owned(),
            fields: format!(" destination={line}"),
        }
    }

    fn place() -> Identifier {
        let event = tracing::callsite! {
            name: "here",
            kind: tracing::metadata::Kind::EVENT,
            fields: a,
        };
        tracing::callsite::Callsite::metadata(event).callsite()
    }

    #[test]
    fn the_same_line_comes_once_a_second_with_a_count() {
        let (mut repeats, begin) = (Repeats::default(), Instant::now());
        let place = place();
        let mut said = Vec::new();
        // Two lines, one of them a thousand times a second for three seconds.
        for ms in 0..3000 {
            let now = begin + Duration::from_millis(ms);
            said.extend(repeats.due(now).into_iter().map(|more| (ms, more.times)));
            if repeats.is_news(place.clone(), Level::WARN, text("a"), now) {
                said.push((ms, 0));
            }
            if ms == 1500 {
                assert!(repeats.is_news(place.clone(), Level::WARN, text("b"), now));
            }
        }
        assert_eq!(said, [(0, 0), (1000, 999), (2000, 1000)]);
        assert!(repeats.holds());
        // It has ended: what is held is told, and then nothing is kept.
        let later = begin + Duration::from_secs(4);
        let told = repeats.due(later);
        assert_eq!((told.len(), told[0].times), (1, 1000));
        assert_eq!(told[0].line, "down destination=a");
        assert_eq!(repeats.due(later + PACE), []);
        assert!(repeats.lines.is_empty());
        assert!(repeats.is_news(place, Level::WARN, text("a"), later + PACE));
    }

    #[test]
    fn ever_other_lines_are_bounded_too() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let place = place();
        let mut news = 0;
        for number in 0..10 * MOST {
            let line = text(&"x".repeat(KEPT + number));
            if repeats.is_news(place.clone(), Level::INFO, line, now) {
                news += 1;
            }
        }
        assert_eq!(news, MOST + 1);
        assert_eq!(repeats.lines.len(), MOST + 1);
        assert!(repeats.lines.values().all(|heard| heard.line.len() <= KEPT));
        let told = repeats.due(now + PACE);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].times as usize, 9 * MOST - 1);
        assert_eq!(told[0].line, "down (with other fields each)");
    }
}
