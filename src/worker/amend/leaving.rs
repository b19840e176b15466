//! Destinations that no rule names any more.

use std::sync::Arc;

use super::super::relay::{Relay, lock};
use crate::amend::Backlog;
use crate::destination::Destination;

/// A destination that goes, and what is to become of its lines.
#[derive(Clone, Debug)]
pub(in crate::worker) struct Leaving {
    /// It has no route any more.
    pub destination: Arc<Destination>,
    /// What is to become of its lines.
    pub how: Backlog,
    /// A table that is being made names it again: until that is in force, or given up, it isn't put away.
    wanted: bool,
}

impl Leaving {
    /// One that goes so.
    pub fn new(destination: Arc<Destination>, how: Backlog) -> Leaving {
        Leaving {
            destination,
            how,
            wanted: false,
        }
    }

    fn is(&self, destination: &Arc<Destination>) -> bool {
        Arc::ptr_eq(&self.destination, destination)
    }
}

impl Relay {
    /// Every destination, those that leave included.
    pub fn all_destinations(&self) -> Vec<Arc<Destination>> {
        let leaving = lock(&self.leaving);
        let in_force = self.in_force();
        let leaving = leaving.iter().map(|one| &one.destination);
        in_force
            .destinations
            .iter()
            .chain(leaving)
            .cloned()
            .collect()
    }

    /// Whether it isn't gone yet, and no rule in force names it again.
    pub fn still_leaves(&self, destination: &Arc<Destination>) -> bool {
        lock(&self.leaving).iter().any(|one| one.is(destination))
    }

    /// A destination that leaves is put away from here on. False: a rule names it again, or is about to.
    pub fn put_away(&self, destination: &Arc<Destination>) -> bool {
        let leaving = lock(&self.leaving);
        let there = leaving.iter().any(|one| one.is(destination) && !one.wanted);
        if there {
            lock(&self.amending.going).insert(destination.spec.id.clone());
        }
        there
    }

    /// That has ended.
    pub fn is_put_away(&self, id: &str) {
        let _leaving = lock(&self.leaving);
        lock(&self.amending.going).remove(id);
    }

    /// It has gone.
    pub fn is_gone(&self, destination: &Arc<Destination>) {
        lock(&self.leaving).retain(|one| !one.is(destination));
    }

    /// Finds a destination that leaves, for a table that names it again. It goes on leaving until that is in force, so that
    /// it is in a list at any moment.
    ///
    /// # Errors
    /// It is being put away.
    pub(in crate::worker) fn take_back(
        &self,
        id: &str,
    ) -> Result<Option<Arc<Destination>>, String> {
        let mut leaving = lock(&self.leaving);
        if lock(&self.amending.going).contains(id) {
            return Err(format!(
                "what {id} had is being put away: ask again in a moment"
            ));
        }
        let found = leaving.iter_mut().find(|one| one.destination.spec.id == id);
        Ok(found.map(|one| {
            one.wanted = true;
            one.destination.clone()
        }))
    }

    /// There won't be such a table: they leave as before.
    pub(in crate::worker) fn leave_it(&self, taken_back: &[Arc<Destination>]) {
        for one in lock(&self.leaving).iter_mut() {
            if taken_back.iter().any(|back| one.is(back)) {
                one.wanted = false;
            }
        }
    }

    /// With the table that `swap` puts in force these are taken back, and others leave.
    pub(in crate::worker) fn leave_with(
        &self,
        taken_back: &[Arc<Destination>],
        leaving: &[Leaving],
        swap: impl FnOnce(),
    ) {
        let mut list = lock(&self.leaving);
        list.retain(|one| !taken_back.iter().any(|back| one.is(back)));
        list.extend_from_slice(leaving);
        swap();
    }
}
