//! Entries one by one, as a change sets and drops them.

use serde::{Deserialize, Serialize};

use super::Entry;
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
    spec: Option<String>,
}

/// As [`rows_from_json`] reads it.
pub fn rows_to_json(rows: &[Row]) -> String {
    let kept = rows.iter().map(|row| Kept {
        kind: row.kind,
        key: row.key.clone(),
        entry: row.entry.as_ref().map(|entry| KeptEntry {
            position: entry.position,
            spec: entry.spec.clone(),
        }),
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
        entry: kept.entry.map(|entry| Entry {
            position: entry.position,
            spec: entry.spec,
            volatile: false,
            changed_at_ms: 0,
        }),
    };
    Ok(kept.into_iter().map(row).collect())
}
