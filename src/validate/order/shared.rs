//! The order of points, as all threads see it.
//!
//! The keys are made without the lock; it is held for the points of a batch. Who then can't place the batch takes its
//! points back, and they are admitted anew when it comes again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{BadOrder, ENTRY, HEAD, Order, OrderHash, OrderKey};

/// So many names of a predecessor are merged under the lock at once.
const AT_ONCE: usize = 4096;

/// See the module's text.
#[derive(Debug)]
pub struct SharedOrder {
    hash: OrderHash,
    names: Mutex<Order>,
}

/// A point that was admitted, and what was the last of its name before.
#[derive(Debug, Clone, Copy)]
pub struct Admitted {
    key: OrderKey,
    timestamp: u32,
    before: Option<u32>,
}

impl SharedOrder {
    /// With room for so many names.
    pub fn new(names: usize, seed: u64) -> SharedOrder {
        let hash = OrderHash::new(seed);
        SharedOrder {
            names: Mutex::new(Order::new(names, &hash)),
            hash,
        }
    }

    /// A thread that panicked left whole entries behind.
    fn lock(&self) -> MutexGuard<'_, Order> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of a name, with its tags.
    #[inline]
    pub fn key(&self, name: &[u8]) -> OrderKey {
        self.hash.key(name)
    }

    /// Admits points in their order. Notes those that are, and tells the index of each that is refused.
    pub fn admit(
        &self,
        points: impl IntoIterator<Item = (OrderKey, u32)>,
        admitted: &mut Vec<Admitted>,
        mut refused: impl FnMut(usize),
    ) {
        let mut names = self.lock();
        for (index, (key, timestamp)) in points.into_iter().enumerate() {
            match names.admit_over(key, timestamp) {
                Some(before) => admitted.push(Admitted {
                    key,
                    timestamp,
                    before,
                }),
                None => refused(index),
            }
        }
    }

    /// Forgets points that were admitted, those that came last first, where nobody has admitted a newer one since.
    pub fn take_back(&self, admitted: &mut Vec<Admitted>) {
        let mut names = self.lock();
        while let Some(point) = admitted.pop() {
            names.take_back(point.key, point.timestamp, point.before);
        }
    }

    /// How many names it knows, and how many it forgot, since there was no room for them.
    pub fn known(&self) -> (usize, u64) {
        let names = self.lock();
        (names.len(), names.forgotten())
    }

    /// See [`Order::save`].
    pub fn save(&self) -> Vec<u8> {
        self.lock().save()
    }

    /// See [`Order::merge`]. The lock is held for some names at a time.
    ///
    /// # Errors
    /// As there.
    pub fn merge(&self, saved: &[u8]) -> Result<u64, BadOrder> {
        self.lock().check(saved)?;
        for entries in saved[HEAD..].chunks(AT_ONCE * ENTRY) {
            self.lock().merge_entries(entries);
        }
        Ok((saved.len() - HEAD) as u64 / ENTRY as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(
        order: &SharedOrder,
        points: &[(&str, u32)],
        admitted: &mut Vec<Admitted>,
    ) -> Vec<usize> {
        let mut refused = Vec::new();
        let points = points
            .iter()
            .map(|(name, at)| (order.key(name.as_bytes()), *at));
        order.admit(points, admitted, |index| refused.push(index));
        refused
    }

    #[test]
    fn case_12_what_was_taken_back_may_come_again() {
        let order = SharedOrder::new(10, 7);
        let mut admitted = Vec::new();
        assert!(admit(&order, &[("a", 5)], &mut admitted).is_empty());
        admitted.clear();
        let batch = [("a", 6), ("b", 1), ("a", 6), ("a", 8), ("b", 2)];
        for _ in 0..3 {
            assert_eq!(admit(&order, &batch, &mut admitted), [2]);
            order.take_back(&mut admitted);
            assert!(admitted.is_empty());
        }
        assert_eq!(admit(&order, &[("a", 5)], &mut admitted), [0]);
        assert!(admit(&order, &[("b", 0)], &mut admitted).is_empty());
    }

    #[test]
    fn case_12_what_another_thread_admitted_since_stays() {
        let order = SharedOrder::new(10, 7);
        let (mut mine, mut others) = (Vec::new(), Vec::new());
        assert!(admit(&order, &[("a", 5)], &mut mine).is_empty());
        assert!(admit(&order, &[("a", 7)], &mut others).is_empty());
        order.take_back(&mut mine);
        assert_eq!(admit(&order, &[("a", 5), ("a", 7)], &mut mine), [0, 1]);
    }

    #[test]
    fn case_12_many_names_are_merged_in_parts() {
        let (old, new) = (SharedOrder::new(20_000, 7), SharedOrder::new(20_000, 7));
        let names: Vec<String> = (0..10_000).map(|name| format!("n.{name}")).collect();
        let points: Vec<_> = names.iter().map(|name| (&name[..], 9)).collect();
        assert!(admit(&old, &points, &mut Vec::new()).is_empty());
        assert_eq!(new.merge(&old.save()), Ok(10_000));
        assert_eq!(admit(&new, &points, &mut Vec::new()).len(), 10_000);
        assert!(new.merge(b"rubbish").is_err());
        assert_eq!(new.known(), (10_000, 0));
    }
}
