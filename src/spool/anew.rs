//! A database that was damaged is begun anew: what was changed about the table of rules is in memory still.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Spool;
use super::engine::{Engine, Trouble};
use super::front::{begin_in, missing};
use crate::state::{ChangeRow, EntryRow};

/// Who has the table of rules that is in force.
pub trait Keeps: Debug + Send + Sync {
    /// Its entries, those that are to be written; and the number of the last change. Doesn't block.
    fn table(&self) -> (Vec<EntryRow>, u64);
}

impl Spool {
    /// Whose table a database that is begun anew gets.
    pub fn keep_table_of<K: Keeps + 'static>(&self, keeper: &Arc<K>) {
        let keeper: Arc<dyn Keeps> = keeper.clone();
        // Told once, when the worker is put together.
        let _told = self.shared.table.set(Arc::downgrade(&keeper));
    }
}

impl Engine {
    /// The file that was there lies elsewhere now.
    pub(super) fn begun_anew(&mut self, to: PathBuf, damage: Option<String>) {
        tracing::error!(
            path = %self.plan.settings.path.display(), moved_to = %to.display(), damage,
            "the database was damaged or is no database of ours: it was moved aside, a new one is begun"
        );
        self.shared.health().moved_aside = Some(to);
        self.anew = true;
    }

    /// Writes it, unless that is done. Changes are numbered on from the time: the file that is gone may have had any number below.
    pub(super) fn write_table(&mut self) -> Result<(), Trouble> {
        let keeper = self.shared.table.get().and_then(Weak::upgrade);
        let Some(keeper) = keeper.filter(|_| self.anew) else {
            return Ok(());
        };
        let (entries, last) = keeper.table();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let store = self.store.as_mut().ok_or_else(missing)?;
        let mut change = begin_in(store, &self.shared, self.epoch)?;
        for entry in &entries {
            change.set_entry(entry)?;
        }
        change.record_change(&ChangeRow {
            number: Some(now.as_secs().max(last + 1)),
            at_ms: now.as_millis() as u64,
            via: "baton",
            peer: "",
            command: "the database was damaged: begun anew with the rules in force",
            outcome: "in force",
        })?;
        change.commit()?;
        self.anew = false;
        tracing::info!(
            entries = entries.len(),
            "what was changed at run time is in the new database"
        );
        Ok(())
    }
}
