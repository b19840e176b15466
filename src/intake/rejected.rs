//! The last rejected lines, to be looked at.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::Origin;
use crate::pipeline::Batch;

const KEEP: usize = 100;
/// Of a line this much is kept.
const KEEP_BYTES: usize = 256;

/// A line that was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// As in the counters.
    pub reason: &'static str,
    /// The listener's address.
    pub listener: String,
    /// Who sent it.
    pub peer: String,
    /// Its beginning, with everything unprintable escaped.
    pub line: String,
}

/// The last hundred of them.
#[derive(Debug, Default)]
pub struct Rejected {
    samples: Mutex<VecDeque<Sample>>,
}

impl Rejected {
    /// Notes the first few rejected lines of a batch. When another thread is at it, it doesn't: bad lines
    /// must not slow good ones.
    pub fn note(&self, batch: &Batch, input: &[u8], origin: Origin<'_>, at_ms: u64) {
        for rejection in batch.rejections() {
            self.add(
                rejection.reason.as_str(),
                &input[rejection.range.clone()],
                origin,
                at_ms,
            );
        }
    }

    /// Notes one line.
    pub fn add(&self, reason: &'static str, line: &[u8], origin: Origin<'_>, at_ms: u64) {
        let Ok(mut samples) = self.samples.try_lock() else {
            return;
        };
        if samples.len() >= KEEP {
            samples.pop_front();
        }
        samples.push_back(Sample {
            at_ms,
            reason,
            listener: origin.address.to_owned(),
            peer: origin.peer.to_owned(),
            line: printable(line),
        });
    }

    /// The newest last.
    pub fn last(&self) -> Vec<Sample> {
        let samples = self.samples.lock().unwrap_or_else(|e| e.into_inner());
        samples.iter().cloned().collect()
    }
}

/// The beginning of a line as text: hostile bytes are escaped.
pub fn printable(line: &[u8]) -> String {
    let cut = &line[..line.len().min(KEEP_BYTES)];
    let mut text = cut.escape_ascii().to_string();
    if cut.len() < line.len() {
        text.push('…');
    }
    text
}
