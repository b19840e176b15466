//! What is dropped, told to the log: whoever reads nothing but that shall know.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::relay::{Relay, lock};
use crate::ledger::DropReason;

/// How often; each tells of all since the last.
const EVERY: Duration = Duration::from_secs(10);

/// Of these somebody has asked, or is told at once.
const KNOWN: [DropReason; 3] = [DropReason::Purged, DropReason::Removed, DropReason::Stop];

/// Looks for as long as this worker lives, and tells while it serves.
pub(super) async fn tell_for_ever(relay: Arc<Relay>) {
    let mut seen = Seen::default();
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        look(&relay, &mut seen);
    }
}

fn look(relay: &Relay, seen: &mut Seen) {
    let tells = relay.serving.load(Ordering::SeqCst);
    for destination in relay.all_destinations() {
        let id = &destination.spec.id;
        let counts = destination.queue.send.counts();
        let reasons = DropReason::ALL.into_iter();
        for reason in reasons.filter(|reason| !KNOWN.contains(reason)) {
            let total = relay.ledger.total(counts, reason);
            let lines = seen.more(id, reason.as_str(), total);
            if tells && lines > 0 {
                let reason = reason.as_str();
                tracing::warn!(destination = id, reason, lines, "lines were dropped");
            }
        }
    }
    let listeners = lock(&relay.listeners).clone();
    for listener in listeners.iter() {
        let total = Relay::kernel_dropped(listener);
        let datagrams = seen.more(&listener.address, "kernel", total);
        if tells && datagrams > 0 {
            tracing::warn!(
                listener = listener.address,
                datagrams,
                "the kernel dropped datagrams: they came faster than they were read"
            );
        }
    }
    seen.end();
}

/// Totals as they were when last looked at.
#[derive(Debug, Default)]
struct Seen {
    totals: HashMap<(String, &'static str), (u64, bool)>,
}

impl Seen {
    /// How much a total has grown. What is seen for the first time is taken for told: a predecessor has.
    fn more(&mut self, name: &str, what: &'static str, total: u64) -> u64 {
        let now = (total, true);
        let before = self.totals.insert((name.to_owned(), what), now);
        total.saturating_sub(before.map_or(total, |(total, _)| total))
    }

    /// All was looked at: what wasn't is gone.
    fn end(&mut self) {
        self.totals
            .retain(|_, (_, is_there)| std::mem::take(is_there));
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn only_what_is_new_is_told_and_what_is_gone_is_forgotten() {
        let mut seen = Seen::default();
        let mut look = |totals: &[(&str, u64)]| -> Vec<u64> {
            let more = totals
                .iter()
                .map(|(name, total)| seen.more(name, "full", *total));
            let more = more.collect();
            seen.end();
            more
        };
        assert_eq!(look(&[("a", 5), ("b", 0)]), [0, 0]);
        assert_eq!(look(&[("a", 5), ("b", 3)]), [0, 3]);
        assert_eq!(look(&[("a", 9)]), [4]);
        assert_eq!(look(&[("a", 9), ("b", 7)]), [0, 0]);
        assert_eq!(seen.totals.len(), 2);
    }
}
