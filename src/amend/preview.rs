//! What would be otherwise, rule by rule.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::change::{Difference, Preview};
use super::{Document, Placed};
use crate::config::{Rule, RuleKind};

/// Compares the rules that a change touches, and all destinations.
pub(super) fn differences(
    before: &Document,
    after: &Document,
    touched: &HashSet<(RuleKind, &str)>,
) -> Preview {
    let mut preview = Preview::default();
    let names = |document: &Document| -> BTreeMap<(RuleKind, String), (usize, Arc<Rule>)> {
        let placed = document.placed.iter().enumerate();
        let of = |(at, p): (usize, &Placed)| ((p.rule.kind(), p.key.clone()), (at, p.rule.clone()));
        placed.map(of).collect()
    };
    let (old, new) = (names(before), names(after));
    // The order of those that stay.
    let rank = |own: &BTreeMap<(RuleKind, String), (usize, Arc<Rule>)>,
                other: &BTreeMap<(RuleKind, String), (usize, Arc<Rule>)>| {
        let mut stay: Vec<_> = own
            .iter()
            .filter(|(name, _)| other.contains_key(*name))
            .collect();
        stay.sort_by_key(|(_, (at, _))| *at);
        let ranks = stay.into_iter().enumerate();
        ranks
            .map(|(rank, (name, _))| (name.clone(), rank))
            .collect::<BTreeMap<_, _>>()
    };
    let (old_rank, new_rank) = (rank(&old, &new), rank(&new, &old));
    let mut seen = HashSet::new();
    for (kind, key) in touched {
        let name = (*kind, (*key).to_owned());
        let (was, is) = (old.get(&name), new.get(&name));
        let moved = old_rank.get(&name) != new_rank.get(&name);
        let changed = match (was, is) {
            (Some((_, was)), Some((_, is))) => was != is || moved,
            (was, is) => was.is_some() != is.is_some(),
        };
        if changed && seen.insert(name.clone()) {
            preview.differences.push(Difference {
                kind: *kind,
                key: name.1,
                before: was.map(|(_, rule)| rule.to_toml()),
                after: is.map(|(_, rule)| rule.to_toml()),
            });
        }
    }
    preview
        .differences
        .sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
    let ids = |document: &Document| -> HashSet<String> {
        let mut ids = HashSet::new();
        for placed in &document.placed {
            if let Rule::Route(route) = &*placed.rule {
                ids.extend(route.destinations.iter().map(|one| one.id.clone()));
            }
        }
        ids
    };
    let (old, new) = (ids(before), ids(after));
    preview.destinations_added = new.difference(&old).cloned().collect();
    preview.destinations_removed = old.difference(&new).cloned().collect();
    preview.destinations_added.sort();
    preview.destinations_removed.sort();
    preview
}
