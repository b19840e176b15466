//! What is counted outside of the lanes, and goes to the ledger from here: wrong tokens, and what subscribers lose.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::relay::Relay;
use crate::ledger::{Count, Writer};

/// How often it is noted; a crash loses what wasn't.
const LOOK: Duration = Duration::from_millis(250);

/// Notes it for as long as this worker lives.
pub(super) async fn keep(relay: Arc<Relay>) {
    loop {
        sleep(LOOK).await;
        if !noted(&relay) {
            relay.inputs.gate.opened().await;
        }
    }
}

/// Notes it, unless the gate is closed.
fn noted(relay: &Relay) -> bool {
    let lane = relay.inputs.gate.enter();
    lane.map(|mut lane| note(relay, &mut lane.writer)).is_some()
}

/// Notes what there is. To be called behind the gate, or by whoever has closed it.
pub(super) fn note(relay: &Relay, writer: &mut Writer) {
    writer.add(
        relay.internal,
        Count::WrongTokens,
        relay.web.access().take_wrong(),
    );
    let lost = relay.inputs.intake.tap.take_lost();
    writer.add(relay.internal, Count::Unseen, lost);
    writer.commit();
}
