//! systemd's journal: each field by itself, and all of them in the message, which is what `journalctl` shows and all that syslog
//! is told.

use std::fmt;

use tracing::field::{Field, Value, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::text;

/// Writes records; fields are called `BATON_DESTINATION` and so on.
pub(super) struct Journal(tracing_journald::Layer);

impl Journal {
    /// The journal, if there is one.
    pub(super) fn open() -> Option<Journal> {
        let priorities = PriorityMappings {
            error: Priority::Error,
            warn: Priority::Warning,
            info: Priority::Informational,
            debug: Priority::Debug,
            trace: Priority::Debug,
        };
        let journal = tracing_journald::layer().ok()?;
        let journal = journal
            .with_priority_mappings(priorities)
            .with_field_prefix(Some("BATON".to_owned()))
            // Not the file's name, which may be `baton (deleted)` after an upgrade.
            .with_syslog_identifier("baton".to_owned());
        Some(Journal(journal))
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Journal {
    // There are no spans of ours; but if a library has one, it is looked for at each event.
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.0.on_record(id, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let fields = event.metadata().fields();
        let mut line = String::new();
        let written = text::fields().format_fields(Writer::new(&mut line), event);
        written.expect("writing to memory does not fail");
        let mut values = Values(vec![None; fields.len()]);
        event.record(&mut values);
        if let Some(message) = fields.field("message") {
            values.0[message.index()] = Some(line);
        }
        // The same event with another message: a value for each field, in their order, is how tracing's macros make one.
        let values: Vec<_> = values.0.iter().map(as_value).collect();
        let values = fields.value_set_all(&values);
        let event = Event::new(event.metadata(), &values);
        self.0.on_event(&event, context);
    }
}

fn as_value(text: &Option<String>) -> Option<&dyn Value> {
    text.as_ref().map(|text| text as &dyn Value)
}

/// An event's values as the journal gets them, by the index of their field.
struct Values(Vec<Option<String>>);

impl Visit for Values {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0[field.index()] = Some(format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0[field.index()] = Some(value.to_owned());
    }
}
