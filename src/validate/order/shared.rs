//! The order of points, as all threads see it.
//!
//! The keys are made without the lock; it is held for the points of a batch. A batch is seen first, and noted only when it
//! is placed: one that finds no room was never there. What another thread has placed between the two makes it begin anew.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{BadOrder, ENTRY, HEAD, Order, OrderHash, OrderKey, Place};

/// So many names of a predecessor are merged under the lock at once.
const AT_ONCE: usize = 4096;

/// See the module's text.
#[derive(Debug)]
pub struct SharedOrder {
    hash: OrderHash,
    names: Mutex<Order>,
}

/// A point that is in order, as far as was known when it was seen.
#[derive(Debug, Clone, Copy)]
pub struct Admitted {
    key: OrderKey,
    timestamp: u32,
    /// The place of its name.
    at: u32,
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

    /// Sees which points are in order, in their order: those are appended to `admitted`, and the index of each other one is
    /// told. Nothing is noted.
    pub fn see(
        &self,
        points: impl IntoIterator<Item = (OrderKey, u32)>,
        admitted: &mut Vec<Admitted>,
        mut refused: impl FnMut(usize),
    ) {
        let begin = admitted.len();
        let mut names = self.lock();
        for (index, (key, timestamp)) in points.into_iter().enumerate() {
            match names.admit_over(key, timestamp) {
                Some((at, before)) => admitted.push(Admitted {
                    key,
                    timestamp,
                    at,
                    before,
                }),
                None => refused(index),
            }
        }
        for point in admitted[begin..].iter().rev() {
            names.take_back(point.key, point.at, point.before);
        }
    }

    /// Notes points that are placed. False: another thread has placed newer ones since these were seen, and nothing is noted;
    /// unless `anyway`.
    #[must_use]
    pub fn note(&self, admitted: &[Admitted], anyway: bool) -> bool {
        let mut names = self.lock();
        let mut is_newer = |point: &Admitted| {
            let place = match names.at(point.key, point.at) {
                Some(place) => Some(&*place),
                // Forgotten, and perhaps met again.
                None => names.find(point.key).map(|at| &names.places[at as usize]),
            };
            place.and_then(Place::last) < Some(point.timestamp)
        };
        // Those of one name are each newer than the one before: if the first is newer than the last noted, all are.
        if !anyway && !admitted.iter().all(&mut is_newer) {
            return false;
        }
        for point in admitted {
            match names.at(point.key, point.at) {
                Some(place) if place.last() < Some(point.timestamp) => {
                    (place.last, place.void) = (point.timestamp, false);
                }
                Some(_) => {}
                None => {
                    names.admit(point.key, point.timestamp);
                }
            }
        }
        true
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

    fn see(order: &SharedOrder, points: &[(&str, u32)]) -> (Vec<Admitted>, Vec<usize>) {
        let (mut admitted, mut refused) = (Vec::new(), Vec::new());
        let points = points
            .iter()
            .map(|(name, at)| (order.key(name.as_bytes()), *at));
        order.see(points, &mut admitted, |index| refused.push(index));
        (admitted, refused)
    }

    fn admit(order: &SharedOrder, points: &[(&str, u32)]) -> Vec<usize> {
        let (admitted, refused) = see(order, points);
        assert!(order.note(&admitted, false));
        refused
    }

    #[test]
    fn case_12_what_was_only_seen_may_come_again() {
        let order = SharedOrder::new(10, 7);
        assert!(admit(&order, &[("a", 5)]).is_empty());
        let batch = [("a", 6), ("b", 1), ("a", 6), ("a", 8), ("b", 2)];
        for _ in 0..3 {
            assert_eq!(see(&order, &batch).1, [2]);
        }
        assert_eq!(admit(&order, &[("a", 5)]), [0]);
        assert!(admit(&order, &[("b", 0)]).is_empty());
        assert_eq!(admit(&order, &batch), [2]);
        assert_eq!(admit(&order, &[("a", 8), ("b", 2), ("b", 3)]), [0, 1]);
    }

    /// Two connections with the same name: neither batch that finds no room leaves anything.
    #[test]
    fn case_12_a_timestamp_that_was_never_placed_refuses_nothing() {
        let order = SharedOrder::new(10, 7);
        assert!(admit(&order, &[("a", 3)]).is_empty());
        let (mine, _) = see(&order, &[("a", 5)]);
        let (others, refused) = see(&order, &[("a", 7)]);
        assert!(refused.is_empty());
        drop((mine, others));
        assert!(admit(&order, &[("a", 4)]).is_empty());
        assert!(admit(&order, &[("a", 5)]).is_empty());
    }

    #[test]
    fn case_12_a_batch_that_another_has_passed_is_seen_anew() {
        let order = SharedOrder::new(10, 7);
        let batch = [("b", 1), ("a", 5), ("a", 9)];
        let (mine, _) = see(&order, &batch);
        assert!(admit(&order, &[("a", 7)]).is_empty());
        assert!(!order.note(&mine, false));
        assert!(admit(&order, &[("b", 1)]).is_empty(), "nothing was noted");
        assert_eq!(see(&order, &batch).1, [0, 1]);
        assert!(order.note(&mine, true));
        assert_eq!(admit(&order, &[("a", 9), ("a", 10)]), [0]);
    }

    /// More names than there is room for, in one batch.
    #[test]
    fn case_12_names_that_are_forgotten_while_they_are_seen_are_noted_all_the_same() {
        let order = SharedOrder::new(3, 7);
        let names: Vec<String> = (0..20).map(|name| format!("n.{name}")).collect();
        let points: Vec<_> = names.iter().map(|name| (&name[..], 9)).collect();
        for _ in 0..3 {
            let (admitted, _) = see(&order, &points);
            let _seen_anew = order.note(&admitted, false);
            assert!(order.note(&admitted, true));
            assert_eq!(order.known().0, 3);
        }
    }

    #[test]
    fn case_12_many_names_are_merged_in_parts() {
        let (old, new) = (SharedOrder::new(20_000, 7), SharedOrder::new(20_000, 7));
        let names: Vec<String> = (0..10_000).map(|name| format!("n.{name}")).collect();
        let points: Vec<_> = names.iter().map(|name| (&name[..], 9)).collect();
        assert!(admit(&old, &points).is_empty());
        assert_eq!(new.merge(&old.save()), Ok(10_000));
        assert_eq!(admit(&new, &points).len(), 10_000);
        assert!(new.merge(b"rubbish").is_err());
        assert_eq!(new.known(), (10_000, 0));
    }
}
