//! Probation is over.

use std::sync::Arc;

use super::relay::{Relay, lock};
use super::{report, stop};
use crate::listen::{empty_accept_queue, read_stream};

/// Lets go of what the config no longer has. These listeners are among it.
pub(super) fn settled(relay: &Arc<Relay>, leaving: &[u64]) {
    for gone in lock(&relay.listeners).extract_if(.., |l| leaving.contains(&l.cookie)) {
        tracing::info!(
            address = gone.address,
            "a listener was closed: the config has it no more"
        );
        // One task listens, now or as soon as it begins.
        gone.leaving.notify_one();
        if gone.kind == "http" {
            relay.web.close(&gone);
        } else if gone.kind == "telnet" {
            // Sessions stay; who waits is turned away with the socket.
        } else if gone.is_udp() {
            crate::listen::drain(&relay.inputs, &gone);
        } else {
            for connection in empty_accept_queue(&relay.inputs, &gone) {
                relay
                    .runtime
                    .spawn(read_stream(relay.inputs.clone(), connection));
            }
        }
        relay.registry.release(gone.cookie);
    }
    for destination in &relay.respecified {
        report::remember_spec(relay, destination);
    }
    relay.spool.settled();
    // Before the first change: what that makes isn't in use yet.
    relay.amending.unless_busy(|| report::reclaim(relay));
    relay.amending.settled();
    let leaving = lock(&relay.leaving).clone();
    relay.runtime.spawn(stop::leave(relay.clone(), leaving));
}
