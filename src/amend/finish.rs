//! What the rows of a change make of the document, if that can be.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::change::{Amended, Refused};
use super::draft::Draft;
use super::preview::differences;
use super::{Document, Entry, LeftOut, Row};
use crate::config::{Problem, Rule, RuleKind};

impl Draft<'_> {
    pub(super) fn finish(self, restores: bool) -> Result<Amended, Refused> {
        let Draft {
            document,
            rows,
            rules,
            mut warnings,
            ..
        } = self;
        let (entries, mut undo) = apply(document, &rows);
        let mut known: BTreeMap<(RuleKind, String), Arc<Rule>> = document
            .placed
            .iter()
            .map(|p| ((p.rule.kind(), p.key.clone()), p.rule.clone()))
            .collect();
        // What isn't set by this change is what it was, unless its entry goes or comes back.
        for row in &rows {
            known.remove(&(row.kind, row.key.clone()));
        }
        known.extend(rules);
        let mut after = Document {
            entries,
            ..document.clone()
        };
        after.lay(&known);
        let mut touched: HashSet<(RuleKind, &str)> =
            rows.iter().map(|row| (row.kind, &row.key[..])).collect();
        let mut problems = Vec::new();
        for placed in &after.placed {
            let Rule::Route(route) = &*placed.rule else {
                continue;
            };
            if touched.contains(&(RuleKind::Route, &placed.key[..])) {
                let others = after.placed.iter().filter_map(|other| match &*other.rule {
                    Rule::Route(other) => Some(&**other),
                    _ => None,
                });
                problems.extend(after.file.conflicts(route, others));
                warnings.extend(after.file.circles(route));
            }
        }
        problems.extend(put_out_of_force(document, &after, &touched));
        if !problems.is_empty() {
            return Err(Refused::Bad(problems));
        }
        // What was left out may be in force again.
        touched.extend(
            document
                .left_out
                .iter()
                .map(|left| (left.kind, &left.key[..])),
        );
        let mut preview = differences(document, &after, &touched);
        // To forget an entry that says what the file says is a change, to make one isn't.
        let sets = !restores && rows.iter().any(|row| row.entry.is_some());
        let same = rows.iter().zip(&undo).all(same);
        if preview.differences.is_empty() && (same || sets) {
            return Err(Refused::Nothing);
        }
        preview.warnings = warnings;
        // Numbers that what isn't written got beside others aren't taken back: it may be gone by then.
        let mut rows_now = rows.iter();
        undo.retain(|was| {
            let is = rows_now.next().and_then(|row| row.entry.as_ref());
            !matches!((is, &was.entry), (Some(is), Some(was)) if is.volatile && was.volatile && is.spec == was.spec)
        });
        undo.reverse();
        Ok(Amended {
            document: after,
            rows,
            undo,
            preview,
        })
    }
}

type Entries = BTreeMap<(RuleKind, String), Entry>;

/// The entries with these rows; and what each of the rows was.
fn apply(document: &Document, rows: &[Row]) -> (Entries, Vec<Row>) {
    let mut entries = document.entries.clone();
    let mut undo = Vec::new();
    for row in rows {
        let name = (row.kind, row.key.clone());
        let before = match &row.entry {
            Some(entry) => entries.insert(name, entry.clone()),
            None => entries.remove(&name),
        };
        undo.push(Row {
            entry: before,
            ..row.clone()
        });
    }
    (entries, undo)
}

/// Rules that this change doesn't set as it says, or that would be out of force by it though it isn't about them.
fn put_out_of_force<'a>(
    before: &'a Document,
    after: &'a Document,
    touched: &'a HashSet<(RuleKind, &str)>,
) -> impl Iterator<Item = Problem> + 'a {
    let problem = |left: &LeftOut, message| {
        Problem::without_line(&format!("{} {}", left.kind, left.key), message)
    };
    after.left_out.iter().filter_map(move |left| {
        let is_old = |old: &LeftOut| (old.kind, &old.key) == (left.kind, &left.key);
        if touched.contains(&(left.kind, &left.key[..])) {
            return Some(problem(left, left.reason.clone()));
        }
        let is_new = !before.left_out.iter().any(is_old);
        is_new.then(|| problem(left, format!("it would be out of force: {}", left.reason)))
    })
}

/// Whether a row leaves everything as it is.
fn same((now, was): (&Row, &Row)) -> bool {
    let (now, was) = (now.entry.clone(), was.entry.clone());
    now.map(|entry| entry.at(0)) == was.map(|entry| entry.at(0))
}
