//! Logs: text or JSON on standard error, or systemd's journal with fields.

use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Sets where logs go and the least severe that do. The first call in a process decides.
///
/// An unknown level means `info`, an unknown format `text`: the config's check says so better. Without
/// a journal to write to, `journald` is `text`.
pub fn init(level: &str, format: &str) {
    let level = level.parse().unwrap_or(LevelFilter::INFO);
    let registry = Registry::default().with(level);
    let result = match (format, tracing_journald::layer()) {
        ("journald", Ok(journal)) => registry.with(journal).try_init(),
        ("json", _) => {
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true);
            registry.with(layer.with_writer(std::io::stderr)).try_init()
        }
        _ => {
            let layer = tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .with_target(false);
            registry.with(layer.with_writer(std::io::stderr)).try_init()
        }
    };
    // Somebody was first: then logs go where they said.
    let _already_set = result;
}
