//! What makes a start, a reload or a stop longer.

use std::time::Instant;

use super::{Action, EXTENSIONS, Id, Machine, STOP_EXTENSIONS, STOP_GRACE, Step, Takeover};

impl Machine {
    /// A worker loads, or keeps lines for the next start, and gets on.
    pub(super) fn progress(&mut self, id: Id, now: Instant) {
        let ready = self.times.ready;
        if let Some(takeover) = self.at(id, Step::Loading)
            && takeover.extensions < EXTENSIONS
        {
            takeover.extensions += 1;
            takeover.deadline = now + ready;
        }
        let stops = self.stop_deadline.is_some() && self.serving == Some(id);
        if stops && self.stop_extensions < STOP_EXTENSIONS {
            self.stop_extensions += 1;
            self.stop_deadline = self.stop_deadline.max(Some(now + STOP_GRACE));
        }
    }

    /// While the service manager waits for a start or a stop, it hears of all that may make it longer: it would kill who
    /// takes longer than its own time without a word.
    pub(super) fn extend(&mut self, now: Instant) {
        let takeover = self.takeover.as_ref().map(Takeover::due);
        let due = [takeover, self.respawn_at, self.stop_deadline];
        let due = due.into_iter().flatten().max();
        let is_awaited = self.is_starting || self.stopping;
        if let Some(due) = due.filter(|due| is_awaited && self.extended < Some(*due)) {
            self.extended = Some(due);
            self.push(Action::Extend(due - now));
        }
    }
}
