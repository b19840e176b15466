//! The points of the charts: taken each ten seconds, and passed to the next worker beside the windows of aggregations.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;

use super::relay::{Relay, lock};
use crate::admin::charts::{Charts, Recorder, STEP, Seen, SeenDestination};
use crate::intake::now_ms;
use crate::ledger::{Count, DropReason, Kind};
use crate::validate::Reason;

/// The last half hour.
#[derive(Debug, Default)]
pub(super) struct Charting(Mutex<Recorder>);

impl Charting {
    /// The points there are.
    pub fn charts(&self) -> Charts {
        lock(&self.0).charts()
    }

    /// For the next worker.
    pub fn save(&self) -> Vec<u8> {
        let saved = lock(&self.0).save();
        saved.unwrap_or_else(|error| {
            tracing::error!(%error, "charts can't be passed on");
            Vec::new()
        })
    }

    /// What the predecessor had; it may have had none.
    pub fn restore(&self, saved: &[u8]) {
        if !saved.is_empty() && !lock(&self.0).restore(saved) {
            tracing::warn!("the charts of the predecessor can't be read");
        }
    }
}

/// Takes points for as long as this worker lives; while it doesn't serve another one does.
pub(super) async fn keep(relay: Arc<Relay>) {
    let step = u64::from(STEP) * 1000;
    loop {
        // On the same seconds in every worker, so that one goes on where another ended.
        sleep(Duration::from_millis(step - now_ms() % step)).await;
        if relay.serving.load(std::sync::atomic::Ordering::SeqCst) {
            let relay = relay.clone();
            let take = move || lock(&relay.charting.0).take(&seen(&relay));
            // The worker ends when one of its threads panics.
            let _taken = tokio::task::spawn_blocking(take).await;
        }
    }
}

fn seen(relay: &Relay) -> Seen {
    let mut totals = [0; 3];
    for object in relay.ledger.objects(Kind::Listener) {
        totals[0] += relay.ledger.total(object, Count::Lines);
        let rejected = Reason::ALL.into_iter();
        totals[1] += rejected
            .map(|reason| relay.ledger.total(object, reason))
            .sum::<u64>();
    }
    for object in relay.ledger.objects(Kind::Destination) {
        let dropped = DropReason::ALL.into_iter();
        totals[2] += dropped
            .map(|reason| relay.ledger.total(object, reason))
            .sum::<u64>();
    }
    let destinations = relay.all_destinations();
    let destinations = destinations.iter().map(|destination| {
        let queue = &destination.queue;
        let counts = queue.send.counts();
        SeenDestination {
            id: destination.spec.id.clone(),
            acknowledged: relay.ledger.total(counts, Count::Acknowledged),
            queued: queue.queued_lines(),
            spooled: queue.spooled_lines(),
        }
    });
    Seen {
        at_ms: now_ms(),
        totals,
        destinations: destinations.collect(),
    }
}
