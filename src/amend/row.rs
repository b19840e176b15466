//! Entries one by one, as a change sets and drops them.

use serde::{Deserialize, Serialize};

use super::{Entry, Spot};
use crate::config::RuleKind;

/// What one entry is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which kind of rule.
    pub kind: RuleKind,
    /// What it is known by.
    pub key: String,
    /// `None`: there is no entry, and the file's rule is in force, if it has one.
    pub entry: Option<Entry>,
}

impl Row {
    /// What the database is to have of it.
    pub fn lasting(&self) -> Option<&Entry> {
        self.entry.as_ref().and_then(Entry::lasting)
    }
}

/// As it is kept, so that a change can be undone.
#[derive(Serialize, Deserialize)]
struct Kept {
    kind: RuleKind,
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entry: Option<KeptEntry>,
}

#[derive(Serialize, Deserialize)]
struct KeptEntry {
    position: i64,
    #[serde(default)]
    of_file: bool,
    spec: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    volatile: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    beneath: Option<Box<KeptEntry>>,
}

impl KeptEntry {
    fn of(entry: &Entry) -> KeptEntry {
        KeptEntry {
            position: entry.spot.position,
            of_file: entry.spot.of_file,
            spec: entry.spec.clone(),
            volatile: entry.volatile,
            beneath: entry.beneath.as_deref().map(|b| Box::new(KeptEntry::of(b))),
        }
    }

    fn entry(self) -> Entry {
        Entry {
            spot: Spot {
                position: self.position,
                of_file: self.of_file,
            },
            spec: self.spec,
            volatile: self.volatile,
            beneath: self.beneath.map(|beneath| Box::new(beneath.entry())),
            changed_at_ms: 0,
        }
    }
}

/// As [`rows_from_json`] reads it.
pub fn rows_to_json(rows: &[Row]) -> String {
    let kept = rows.iter().map(|row| Kept {
        kind: row.kind,
        key: row.key.clone(),
        entry: row.entry.as_ref().map(KeptEntry::of),
    });
    serde_json::to_string(&kept.collect::<Vec<_>>()).unwrap_or_default()
}

/// Reads what [`rows_to_json`] has written.
///
/// # Errors
/// What isn't as expected.
pub fn rows_from_json(text: &str) -> Result<Vec<Row>, String> {
    let kept: Vec<Kept> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let row = |kept: Kept| Row {
        kind: kept.kind,
        key: kept.key,
        entry: kept.entry.map(KeptEntry::entry),
    };
    Ok(kept.into_iter().map(row).collect())
}
