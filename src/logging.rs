//! Logs: text or JSON on standard error, or systemd's journal with fields. Whatever the form, the same line comes at
//! most once a second, with a count.
//!
//! Levels: `error`, something is lost, refused or doesn't work; `warn`, something is degraded or was lost by what others
//! did, and somebody should look; `info`, what is as it was meant, what clients do wrong among it: whoever pages people at
//! `warn` and above hears nothing of a good day.

mod journal;
mod repeats;
mod text;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{Event, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use journal::Journal;
pub use repeats::tell_repeats;

/// Whether the log has a place to go to.
static IS_UP: AtomicBool = AtomicBool::new(false);

/// Sets where logs go and the least severe that do. The first call in a process decides.
///
/// An unknown level means `info`, an unknown format `auto`: the config's check says so better. Without
/// a journal to write to, `journald` is `text`.
pub fn init(level: &str, format: &str) {
    let level = level.parse().unwrap_or(LevelFilter::INFO);
    let registry = Registry::default().with(level).with(Once);
    let to_journal = match format {
        "journald" => true,
        "text" | "json" => false,
        _ => is_journal(),
    };
    let journal = to_journal.then(Journal::open).flatten();
    let result = match (format, journal) {
        (_, Some(journal)) => registry.with(journal).try_init(),
        ("json", None) => {
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true);
            registry.with(layer.with_writer(std::io::stderr)).try_init()
        }
        (_, None) => {
            let layer = tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .with_target(false)
                .fmt_fields(text::fields());
            registry.with(layer.with_writer(std::io::stderr)).try_init()
        }
    };
    // Somebody was first: then logs go where they said.
    let _already_set = result;
    IS_UP.store(true, Ordering::Relaxed);
}

/// Says why a process ends: as an error, for somebody should look, whether there is a log yet or only standard error.
pub fn last_words(words: &str) {
    if IS_UP.load(Ordering::Relaxed) {
        tracing::error!("{words}");
    } else if is_journal() {
        // A line has the level that it begins with (sd-daemon(3)), else it is taken for information.
        words.lines().for_each(|line| eprintln!("<3>baton: {line}"));
    } else {
        eprintln!("baton: {words}");
    }
}

/// From here on a panic is an error in the log, in place of some lines on standard error.
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic.location().map(ToString::to_string);
        let trace = Backtrace::capture();
        let trace = match trace.status() {
            BacktraceStatus::Captured => format!("\n{trace}"),
            _ => String::new(),
        };
        last_words(&format!(
            "panicked at {}, in thread {}: {}{trace}",
            place.as_deref().unwrap_or("an unknown place"),
            thread.name().unwrap_or("without a name"),
            panic.payload_as_str().unwrap_or("without words"),
        ));
    }));
}

/// Whether standard error leads to the journal. There a line of text has no level; systemd says so in this variable (systemd.exec(5)), which
/// children inherit that write elsewhere.
fn is_journal() -> bool {
    let Ok(stat) = rustix::fs::fstat(std::io::stderr().as_fd()) else {
        return false;
    };
    let own = format!("{}:{}", stat.st_dev, stat.st_ino);
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stream == own)
}

/// Holds back what was just said.
struct Once;

impl<S: Subscriber> Layer<S> for Once {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        repeats::is_news(event)
    }
}
