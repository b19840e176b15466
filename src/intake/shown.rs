//! What was placed, and what was rejected, as those who look on see it.

use super::Intake;
use crate::pipeline::Batch;
use crate::tap::{At, Seen, Watched};
use crate::validate::Reason;

/// Of what is rejected and never was a line this much is shown.
const SHOWN: usize = 512;

impl Intake {
    /// Shows a batch that was placed to those who look on.
    #[cold]
    pub(super) fn show(&self, watched: Watched, batch: &Batch, input: &[u8]) {
        if watched.has(At::In) && !input.is_empty() {
            let text = std::iter::once(Seen::lines(input));
            self.tap.show(At::In, text);
        }
        if watched.has(At::Rejected) && !batch.all_rejections().is_empty() {
            let rejections = batch.all_rejections().iter();
            let seen = rejections.map(|one| Seen::rejected(one.reason, &input[one.range.clone()]));
            self.tap.show(At::Rejected, seen);
        }
        if watched.has(At::Routed) {
            self.show_routed(batch, input);
        }
    }

    /// Shows what was routed of it.
    pub(super) fn show_routed(&self, batch: &Batch, input: &[u8]) {
        let spans = batch.routed_spans().iter();
        let seen = spans.map(|span| Seen::lines(batch.text(input, span)));
        self.tap.show(At::Routed, seen);
    }

    /// Shows something that was rejected and never was a line of a batch.
    #[cold]
    pub fn show_rejected(&self, reason: Reason, what: &[u8]) {
        if self.tap.watched().has(At::Rejected) {
            let shown = what[..what.len().min(SHOWN)].escape_ascii().to_string();
            let seen = Seen::rejected(reason, shown.as_bytes());
            self.tap.show(At::Rejected, std::iter::once(seen));
        }
    }
}
