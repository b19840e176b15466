//! Baton's own counters as Graphite metrics, sent through its own table.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::relay::Relay;
use super::report;
use crate::intake::{Origin, Patience, now_ms};

/// Sends them each interval, on the interval's own marks, if the config wants them.
pub(super) async fn send_for_ever(relay: Arc<Relay>) {
    let Some(own) = &relay.config.instrumentation else {
        return;
    };
    let interval = own.interval.as_millis().max(1) as u64;
    loop {
        let to_mark = interval - now_ms() % interval;
        tokio::time::sleep(Duration::from_millis(to_mark)).await;
        if !relay.serving.load(Ordering::SeqCst) {
            relay.inputs.gate.opened().await;
            continue;
        }
        // With thousands of destinations that takes as long as a batch mustn't wait.
        let (asked, prefix) = (relay.clone(), own.prefix.clone());
        let now_s = (now_ms() / 1000) as u32;
        let made = spawn_blocking(move || report::graphite(&asked, &prefix, now_s)).await;
        // The worker ends when one of its threads panics.
        let Ok(text) = made else {
            return;
        };
        let origin = Origin {
            listener: relay.internal,
            address: "internal",
            peer: "baton",
            patience: Patience::Never,
        };
        if let Some(mut lane) = relay.inputs.gate.enter() {
            relay
                .inputs
                .intake
                .feed_now(&mut lane, origin, text.as_bytes());
        }
    }
}
