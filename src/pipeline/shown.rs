//! What of a batch is kept for those who look on.

use super::{Batch, Rejection, Span};

impl Batch {
    /// From the next batch on, keeps what is asked for: [`routed_spans`](Batch::routed_spans), and
    /// [`all_rejections`](Batch::all_rejections).
    #[inline]
    pub fn keep(&mut self, routed: bool, rejected: bool) {
        if self.placing.shown.is_some() != routed {
            self.placing.shown = routed.then(Vec::new);
        }
        if self.shown.is_some() != rejected {
            self.shown = rejected.then(Vec::new);
        }
    }

    /// All rejected lines, if they are [kept](Batch::keep).
    pub fn all_rejections(&self) -> &[Rejection] {
        self.shown.as_deref().unwrap_or_default()
    }

    /// Lines that at least one destination took, each once, as they are sent, if they are [kept](Batch::keep).
    pub fn routed_spans(&self) -> &[Span] {
        self.placing.shown.as_deref().unwrap_or_default()
    }
}
