//! What was placed, and what was rejected, as those who look on see it.

use super::Intake;
use crate::pipeline::Batch;
use crate::tap::{At, Seen, Time, Watched};
use crate::validate::Reason;

/// Of what is rejected and never was a line this much is shown.
const SHOWN: usize = 512;

impl Intake {
    /// Shows a batch that was placed to those who look on.
    #[cold]
    pub(super) fn show(&self, watched: Watched, batch: &Batch, input: &[u8]) {
        let mut time = self.tap.time(input.len());
        for at in time.points() {
            match at {
                at if !watched.has(at) => {}
                At::In if !input.is_empty() => {
                    let text = std::iter::once(Seen::lines(input));
                    self.tap.show(at, text, &mut time);
                }
                At::Rejected if !batch.all_rejections().is_empty() => {
                    let all = batch.all_rejections().iter();
                    let seen = all.map(|one| Seen::rejected(one.reason, &input[one.range.clone()]));
                    self.tap.show(at, seen, &mut time);
                }
                At::Routed => self.show_routed(batch, input, &mut time),
                At::In | At::Rejected => {}
            }
        }
    }

    /// Shows what was routed of it.
    pub(super) fn show_routed(&self, batch: &Batch, input: &[u8], time: &mut Time) {
        let spans = batch.routed_spans().iter();
        let seen = spans.map(|span| Seen::lines(batch.text(input, span)));
        self.tap.show(At::Routed, seen, time);
    }

    /// Shows something that was rejected and never was a line of a batch.
    #[cold]
    pub fn show_rejected(&self, reason: Reason, what: &[u8]) {
        if self.tap.watched().has(At::Rejected) {
            let shown = what[..what.len().min(SHOWN)].escape_ascii().to_string();
            let seen = Seen::rejected(reason, shown.as_bytes());
            let mut time = self.tap.time(shown.len());
            self.tap
                .show(At::Rejected, std::iter::once(seen), &mut time);
        }
    }
}
