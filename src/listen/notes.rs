//! What people are told of rejected lines.

use super::framing::Protocol;
use super::stream::origin;
use super::{Connection, Inputs};
use crate::decode::line::looks_like;
use crate::intake::{now_ms, printable};
use crate::validate::Reason;

/// Tells the log, once a connection.
#[cold]
pub(super) fn note_rejection(connection: &Connection, reason: Reason, line: &[u8]) {
    tracing::info!(
        listener = connection.listener,
        peer = connection.peer,
        reason = reason.as_str(),
        looks_like = match connection.protocol {
            Protocol::Line => looks_like(line).unwrap_or("a bad line"),
            Protocol::Pickle => "a pickle",
        },
        line = printable(line),
        "the first rejected line of this connection"
    );
}

/// Notes a rejected line that no batch has seen.
#[cold]
pub(super) fn note_sample(inputs: &Inputs, connection: &Connection, reason: Reason, line: &[u8]) {
    let rejected = &inputs.intake.rejected;
    rejected.add(reason, line, origin(connection), now_ms());
    inputs.intake.show_rejected(reason, line);
}
