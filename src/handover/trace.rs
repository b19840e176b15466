//! Questions what becomes of metrics, from the command line by way of the supervisor to the worker that serves. Metrics and
//! answers are in memfds beside the messages: lines, each ended by a newline; and a JSON array with one answer for each.

use serde::{Deserialize, Serialize};

/// The most metrics in one question.
pub const MAX_TRACED: usize = 1000;
/// The most bytes in one.
pub const MAX_TRACED_BYTES: u64 = 8 << 20;

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Traced {
    /// It is answered, in what is beside.
    Done,
    /// No worker serves, or another one takes over: ask again.
    Restarting,
    /// It couldn't be.
    Failed {
        /// Why.
        reason: String,
    },
}
