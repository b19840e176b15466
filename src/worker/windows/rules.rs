//! The rules of windows by their ids: those of the config, and those it lacks, whose lines came from elsewhere.

use super::Gathering;
use crate::intake::Snapshot;
use crate::ledger::{Kind, Object};
use crate::worker::relay::{Relay, lock};

impl Gathering {
    /// The counts of a rule, of the config or of lines that came from elsewhere.
    pub(super) fn object(&self, relay: &Relay, rule: u64) -> Option<Object> {
        let snapshot = relay.inputs.intake.snapshot.load();
        let foreign = || Some(lock(&self.foreign).get(&rule)?.1);
        counts_of(&snapshot, rule).or_else(foreign)
    }

    /// Its text, which is what it is known by elsewhere.
    pub(super) fn text(&self, relay: &Relay, rule: u64) -> Option<String> {
        let snapshot = relay.inputs.intake.snapshot.load();
        let mut rules = snapshot.aggregations.iter();
        let known = rules.find(|mine| mine.id() == rule);
        let foreign = || Some(lock(&self.foreign).get(&rule)?.0.clone());
        known.map(|rule| rule.text.clone()).or_else(foreign)
    }

    /// There are lines of that rule.
    pub(super) fn meet(&self, relay: &Relay, rule: u64, text: &str) {
        if self.object(relay, rule).is_some() {
            return;
        }
        match relay.ledger.object(Kind::Aggregation, text) {
            Ok(object) => {
                lock(&self.foreign).insert(rule, (text.to_owned(), object));
            }
            Err(error) => tracing::error!(rule = text, %error, "its lines can't be counted"),
        }
    }
}

/// The counts of a rule of the config.
fn counts_of(snapshot: &Snapshot, rule: u64) -> Option<Object> {
    let at = snapshot.aggregations.iter().position(|r| r.id() == rule)?;
    snapshot.aggregation_counts.get(at).copied()
}
