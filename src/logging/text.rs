//! A record as a line of text: the message, then `name=value` of each field.

use std::borrow::Cow;
use std::fmt;

use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

/// Writes the fields of an event.
pub(super) fn fields() -> impl for<'w> FormatFields<'w> + 'static {
    debug_fn(field).delimited(" ")
}

fn field(to: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = format!("{value:?}");
    match field.name() {
        // Several lines are one below the other: a trace of calls, all that is wrong with a config.
        "message" => to.write_str(&harmless(&value, |char| char == '\n')),
        name => write!(to, "{name}={}", harmless(&value, |_| false)),
    }
}

/// The text with control characters escaped, but for these. What a peer has sent must neither look like a record of its own nor
/// speak to a terminal.
pub(super) fn harmless(text: &str, but: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_harmful = |char: char| char.is_control() && !but(char);
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        match is_harmful(char) {
            true => escaped.extend(char.escape_default()),
            false => escaped.push(char),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{Event, Subscriber};
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    use super::*;

    /// What is made of events.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut line = String::new();
            let to = Writer::new(&mut line);
            fields().format_fields(to, event).unwrap();
            self.0.lock().unwrap().push(line);
        }
    }

    #[test]
    fn what_a_peer_says_is_no_record_of_its_own() {
        let lines = Lines::default();
        let subscriber = Registry::default().with(lines.clone());
        tracing::subscriber::with_default(subscriber, || {
            let words = "a\nERROR b\x1b[1m";
            tracing::info!(peer = words, error = %words, lines = 1, "closed");
            tracing::info!("one\nbelow\rthe other");
        });
        let expected = [
            r#"closed peer="a\nERROR b\u{1b}[1m" error=a\nERROR b\u{1b}[1m lines=1"#,
            "one\nbelow\\rthe other",
        ];
        assert_eq!(*lines.0.lock().unwrap(), expected);
    }

    #[test]
    fn control_characters_are_escaped() {
        let plain = |text| harmless(text, |_| false).into_owned();
        assert_eq!(plain("café a=\"b\\n\""), "café a=\"b\\n\"");
        assert_eq!(
            plain("a\nb\r\t\0\x1b[1m\u{9b}"),
            "a\\nb\\r\\t\\u{0}\\u{1b}[1m\\u{9b}"
        );
        assert_eq!(harmless("a\nb\x1b", |char| char == '\n'), "a\nb\\u{1b}");
    }
}
