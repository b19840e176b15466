//! The same line at most once a second, with a count of how often it would have come; and from one place in the program not
//! many more lines than [`FROM_ONE_PLACE`], for a thousand clients may err in a thousand ways, and journald drops whose lines
//! are too many, errors among them (RateLimitBurst= in journald.conf(5)).

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::text::harmless;

/// How often a line may come.
const PACE: Duration = Duration::from_secs(1);
/// So many different lines are told apart at one time; of those beyond, all from one place in the program are the same.
const MOST: usize = 1024;
/// The same for lines from one place in the program, but for those that only who looks for something logs.
const FROM_ONE_PLACE: usize = 20;
/// How much of a line is kept, for when it has been repeated.
const KEPT: usize = 512;

/// What tells of repeats is never held back, nor are a process's last words, which are said wherever it was.
const OWN: &str = "baton::logging";

static HEARD: LazyLock<Mutex<Repeats>> = LazyLock::new(Mutex::default);
/// Whether a line is held back: who only looks needs no lock.
static HOLDS: AtomicBool = AtomicBool::new(false);

/// Whether it is to be logged now. If not, it is counted.
pub(super) fn is_news(event: &Event<'_>) -> bool {
    if event.metadata().target().starts_with(OWN) {
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
    line: Line,
}

impl Repeated {
    fn tell(&self) {
        let Repeated { times, line, .. } = self;
        let Line {
            text,
            destination,
            listener,
        } = line;
        let (destination, listener) = (destination.as_deref(), listener.as_deref());
        // The level of an event is a constant.
        macro_rules! tell {
            ($level:ident) => {
                tracing::$level!(
                    target: OWN, destination, listener, repeated = times, "{times} times more: {text}"
                )
            };
        }
        match self.level {
            Level::ERROR => tell!(error),
            Level::WARN => tell!(warn),
            Level::INFO => tell!(info),
            Level::DEBUG => tell!(debug),
            Level::TRACE => tell!(trace),
        }
    }
}

/// A line as text: the message, then its fields, but for those by which people ask the journal.
#[derive(Debug, Default, Hash)]
struct Text {
    message: String,
    fields: String,
    destination: Option<String>,
    listener: Option<String>,
}

/// What is kept of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    text: String,
    destination: Option<String>,
    listener: Option<String>,
}

impl Text {
    fn into_line(self) -> Line {
        Line {
            text: cut(self.message + &self.fields),
            destination: self.destination.map(cut),
            listener: self.listener.map(cut),
        }
    }

    /// One that stands for others from the same place.
    fn into_line_of_many(self) -> Line {
        Line {
            text: cut(self.message) + " (each with other words or fields)",
            destination: None,
            listener: None,
        }
    }
}

fn cut(mut text: String) -> String {
    let end = text.floor_char_boundary(KEPT);
    text.truncate(end);
    text
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        match field.name() {
            "message" => self.message.push_str(&value),
            "destination" => self.destination = Some(value),
            "listener" => self.listener = Some(value),
            name => {
                // It will be in a message, in which a newline stays one.
                let value = harmless(&value, |_| false);
                self.fields.extend([" ", name, "=", &*value]);
            }
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "destination" => self.destination = Some(value.to_owned()),
            "listener" => self.listener = Some(value.to_owned()),
            _ => self.record_debug(field, &value),
        }
    }
}

#[derive(Debug)]
struct Heard {
    level: Level,
    since: Instant,
    line: Line,
    /// How often it came and was not logged.
    held: u64,
}

/// What was said in the last second.
#[derive(Debug, Default)]
struct Repeats {
    /// By the place in the program, and a hash of the line; without it, all others from there. So there are no more than
    /// [`MOST`], and as many as there are places.
    lines: HashMap<(Identifier, Option<u64>), Heard>,
    /// How many of them are from each place.
    places: HashMap<Identifier, usize>,
    hasher: RandomState,
    /// When the first of them is a second old.
    first_due: Option<Instant>,
}

impl Repeats {
    fn is_news(&mut self, place: Identifier, level: Level, text: Text, now: Instant) -> bool {
        let mut key = (place, Some(self.hasher.hash_one(&text)));
        let most = match level {
            Level::DEBUG | Level::TRACE => MOST,
            _ => FROM_ONE_PLACE,
        };
        let from_there = self.places.get(&key.0).copied().unwrap_or_default();
        let is_full = self.lines.len() >= MOST || from_there >= most;
        if is_full && !self.lines.contains_key(&key) {
            key.1 = None;
        }
        if let Some(heard) = self.lines.get_mut(&key) {
            heard.held += 1;
            return false;
        }
        let line = match key.1 {
            Some(_) => text.into_line(),
            None => text.into_line_of_many(),
        };
        let heard = Heard {
            level,
            since: now,
            line,
            held: 0,
        };
        *self.places.entry(key.0.clone()).or_default() += 1;
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
        let places = &mut self.places;
        self.lines.retain(|(place, _), heard| {
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
            } else if let Some(from_there) = places.get_mut(place) {
                *from_there -= 1;
            }
            times > 0
        });
        self.places.retain(|_, from_there| *from_there > 0);
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
            ..Text::default()
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
        assert_eq!(told[0].line.text, "down destination=a");
        assert_eq!(repeats.due(later + PACE), []);
        assert!(repeats.lines.is_empty());
        assert!(repeats.is_news(place, Level::WARN, text("a"), later + PACE));
    }

    /// Says this many different lines at one moment; returns how many are news, and what is told of the others.
    fn say(number: usize, level: Level) -> (usize, Vec<Repeated>) {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let place = place();
        let lines = (0..number).map(|number| text(&"x".repeat(KEPT + number)));
        let news = lines.map(|line| repeats.is_news(place.clone(), level, line, now));
        let news = news.filter(|is_news| *is_news).count();
        assert_eq!(repeats.lines.len(), news);
        let kept = repeats.lines.values().map(|heard| heard.line.text.len());
        assert!(kept.max().unwrap() <= KEPT);
        let told = repeats.due(now + PACE);
        // Nothing is counted twice, or for ever.
        assert_eq!(repeats.due(now + 2 * PACE), []);
        assert!(repeats.lines.is_empty() && repeats.places.is_empty());
        (news, told)
    }

    #[test]
    fn ever_other_lines_from_one_place_are_bounded_too() {
        for (level, most) in [
            (Level::ERROR, FROM_ONE_PLACE),
            (Level::INFO, FROM_ONE_PLACE),
            (Level::DEBUG, MOST),
        ] {
            let (news, told) = say(10 * MOST, level);
            assert_eq!(news, most + 1);
            assert_eq!(told.len(), 1);
            assert_eq!(told[0].times as usize, 10 * MOST - most - 1);
            assert_eq!(told[0].line.text, "down (each with other words or fields)");
        }
        assert_eq!(say(FROM_ONE_PLACE, Level::INFO), (FROM_ONE_PLACE, vec![]));
    }

    /// A place that is too loud leaves others their say.
    #[test]
    fn places_are_counted_apart() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let loud = place();
        for number in 0..10 * FROM_ONE_PLACE {
            repeats.is_news(loud.clone(), Level::INFO, text(&number.to_string()), now);
        }
        let event = tracing::callsite! {
            name: "elsewhere",
            kind: tracing::metadata::Kind::EVENT,
            fields: a,
        };
        let other = tracing::callsite::Callsite::metadata(event).callsite();
        assert!(repeats.is_news(other, Level::ERROR, text("a"), now));
        // A second later it may say as many again.
        let later = now + PACE;
        assert_eq!(repeats.due(later).len(), 1);
        let again = (0..10 * FROM_ONE_PLACE).map(|number| {
            repeats.is_news(loud.clone(), Level::INFO, text(&number.to_string()), later)
        });
        let again = again.filter(|is_news| *is_news).count();
        assert_eq!(again, FROM_ONE_PLACE - 1);
    }
}
