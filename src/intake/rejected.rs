//! The last rejected lines, to be looked at: of each reason its own, so that a flood of one hides no other.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Origin;
use crate::pipeline::Batch;
use crate::validate::Reason;

/// Of each reason so many are kept.
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

/// The last hundred of each reason.
#[derive(Debug, Default)]
pub struct Rejected {
    /// By the number of the reason; each with its number in the order in which they came.
    samples: [Mutex<VecDeque<(u64, Sample)>>; Reason::COUNT],
    came: AtomicU64,
}

impl Rejected {
    /// Notes the first few rejected lines of a batch. When another thread is at it, it doesn't: bad lines
    /// must not slow good ones.
    pub fn note(&self, batch: &Batch, input: &[u8], origin: Origin<'_>, at_ms: u64) {
        for rejection in batch.rejections() {
            self.add(
                rejection.reason,
                &input[rejection.range.clone()],
                origin,
                at_ms,
            );
        }
    }

    /// Notes one line.
    pub fn add(&self, reason: Reason, line: &[u8], origin: Origin<'_>, at_ms: u64) {
        let Ok(mut samples) = self.samples[reason as usize].try_lock() else {
            return;
        };
        if samples.len() >= KEEP {
            samples.pop_front();
        }
        let sample = Sample {
            at_ms,
            reason: reason.as_str(),
            listener: origin.address.to_owned(),
            peer: origin.peer.to_owned(),
            line: printable(line),
        };
        samples.push_back((self.came.fetch_add(1, Ordering::Relaxed), sample));
    }

    /// All that are kept, or those of one reason; the newest last.
    pub fn last(&self, reason: Option<Reason>) -> Vec<Sample> {
        let mut all = Vec::new();
        for (at, samples) in self.samples.iter().enumerate() {
            if reason.is_none_or(|reason| reason as usize == at) {
                let samples = samples.lock().unwrap_or_else(|e| e.into_inner());
                all.extend(samples.iter().cloned());
            }
        }
        all.sort_unstable_by_key(|(came, _)| *came);
        all.into_iter().map(|(_, sample)| sample).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::Patience;

    #[test]
    fn a_flood_of_one_reason_pushes_out_no_other() {
        let memory = crate::sys::memfd("ledger", crate::ledger::BYTES).unwrap();
        let ledger = crate::ledger::Ledger::open(std::os::fd::AsFd::as_fd(&memory)).unwrap();
        let origin = Origin {
            listener: ledger.object(crate::ledger::Kind::Listener, "a").unwrap(),
            address: "tcp://[::]:2003",
            peer: "[::1]:9",
            patience: Patience::Waits,
        };
        let rejected = Rejected::default();
        rejected.add(Reason::Tags, b"a;b 1 2", origin, 5);
        for at in 0..1000 {
            rejected.add(Reason::Value, format!("a x {at}").as_bytes(), origin, 6);
        }
        rejected.add(Reason::Fields, b"a\xff", origin, 7);
        let all = rejected.last(None);
        assert_eq!(all.len(), KEEP + 2);
        assert_eq!((&all[0].line[..], all[0].reason), ("a;b 1 2", "tags"));
        assert_eq!(all[1].line, "a x 900");
        let last = Sample {
            at_ms: 7,
            reason: "fields",
            listener: "tcp://[::]:2003".to_owned(),
            peer: "[::1]:9".to_owned(),
            line: "a\\xff".to_owned(),
        };
        assert_eq!(all.last(), Some(&last));
        assert_eq!(rejected.last(Some(Reason::Fields)), [last]);
        assert_eq!(rejected.last(Some(Reason::Value)).len(), KEEP);
        assert_eq!(rejected.last(Some(Reason::Nan)), []);
    }
}
