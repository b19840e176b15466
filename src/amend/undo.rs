//! Whether a change can be undone: not while what it left behind isn't there any more.

use super::{Document, Entry, Row};

/// Which later changes, by number, stand in the way of putting these rows back: some rule of them isn't as the change left it. `later`
/// are those after it, ascending, each with the rows that would undo it: how it found them is how the one before it left them.
pub fn in_the_way(document: &Document, rows: &[Row], later: &[(u64, Vec<Row>)]) -> Vec<u64> {
    let touches = |change: &[Row], row: &Row| -> Option<usize> {
        let is_it = |other: &Row| (other.kind, &other.key) == (row.kind, &row.key);
        change.iter().position(is_it)
    };
    let was_changed = |row: &&Row| {
        let next = later
            .iter()
            .find_map(|(_, change)| Some(&change[touches(change, row)?]));
        let name = (row.kind, row.key.clone());
        let now = document.entries().get(&name).and_then(Entry::lasting);
        next.is_some_and(|left| !is_same(left.lasting(), now))
    };
    let changed: Vec<&Row> = rows.iter().filter(was_changed).collect();
    let is_about = |change: &[Row]| changed.iter().any(|row| touches(change, row).is_some());
    let numbers = later.iter().filter(|(_, change)| is_about(change));
    numbers.map(|(id, _)| *id).collect()
}

/// Whether two entries say the same of a rule.
fn is_same(a: Option<&Entry>, b: Option<&Entry>) -> bool {
    let place = |entry: &Entry| (!entry.spot.of_file).then_some(entry.spot.position);
    match (a, b) {
        (Some(a), Some(b)) => a.spec == b.spec && place(a) == place(b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::amend::{Amended, Change};
    use crate::config::{Config, RuleKind};

    const FILE: &str = "[[route]]\nkey = \"u\"\ndestinations = [\"h1:1\"]\n[[route]]\nkey = \"v\"\ndestinations = [\"h2:1\"]\n";

    /// Changes one after the other, from number 1 on, and how each can be undone.
    struct Past {
        document: Document,
        undo: Vec<(u64, Vec<Row>)>,
    }

    impl Past {
        fn begin() -> Past {
            let file = Config::compile(Path::new("/etc/baton.toml"), FILE.as_bytes()).unwrap();
            Past {
                document: Document::new(file, std::collections::BTreeMap::new()),
                undo: Vec::new(),
            }
        }

        fn change(&mut self, change: &Change) {
            let Amended { document, undo, .. } = self.document.amend(change, false, 1).unwrap();
            self.document = document;
            self.undo.push((self.undo.len() as u64 + 1, undo));
        }

        fn edit(&mut self, key: &str, patch: serde_json::Value) {
            self.change(&Change::Edit {
                kind: RuleKind::Route,
                key: key.to_owned(),
                patch: patch.as_object().unwrap().clone(),
            });
        }

        fn in_the_way(&self, id: u64) -> Vec<u64> {
            let (rows, later) = (&self.undo[id as usize - 1].1, &self.undo[id as usize..]);
            in_the_way(&self.document, rows, later)
        }

        fn undo(&mut self, id: u64) {
            let rows = self.undo[id as usize - 1].1.clone();
            self.change(&Change::Restore { rows });
        }
    }

    #[test]
    fn what_came_later_is_undone_first() {
        let mut past = Past::begin();
        past.edit("u", json!({"prefix": "a."}));
        past.edit("u", json!({"sub": "keep"}));
        past.edit("v", json!({"sub": "other"}));
        assert_eq!(past.in_the_way(1), [2]);
        assert!(past.in_the_way(2).is_empty() && past.in_the_way(3).is_empty());
        past.undo(2);
        assert_eq!(past.in_the_way(2), [4], "it is undone already");
        assert!(past.in_the_way(1).is_empty(), "all is as it left it");
        past.undo(1);
        assert!(past.in_the_way(3).is_empty());
    }

    #[test]
    fn what_was_removed_and_made_anew_is_another_rule() {
        let mut past = Past::begin();
        past.edit("u", json!({"prefix": "a."}));
        past.change(&Change::Remove {
            kind: RuleKind::Route,
            key: "u".into(),
        });
        assert_eq!(past.in_the_way(1), [2]);
        past.change(&Change::Reset {
            kind: Some(RuleKind::Route),
            key: Some("u".into()),
        });
        past.edit("u", json!({"prefix": "b."}));
        assert_eq!(past.in_the_way(1), [2, 3, 4]);
    }
}
