//! Points in order: one that isn't newer than the last of its name is refused.
//!
//! Of each name two hashes are kept, 128 bits, and its last timestamp: 24 bytes, however long the name is, and about 34
//! with the table that finds them. Two of a million names share all 128 bits with a probability of 10⁻²⁷. The seed is an
//! argument, so that senders can't find such names, and a worker's successor knows its predecessor's.
//!
//! There is room for so many names. Beyond, a new name takes the place of one that hasn't been seen for long (second
//! chance: the places are walked in a circle, and a name seen since the last round is passed over). Of a name that was
//! forgotten the next point passes, whatever its timestamp.

mod shared;

use std::hash::Hasher;

use foldhash::{SharedSeed, quality::FoldHasher};
use hashbrown::HashTable;

pub use shared::{Admitted, SharedOrder};

/// Makes [`OrderKey`]s: the part that needs no lock.
#[derive(Clone)]
pub struct OrderHash {
    seed: u64,
    shared: Box<SharedSeed>,
}

impl std::fmt::Debug for OrderHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The seed is a secret.
        f.debug_struct("OrderHash").finish_non_exhaustive()
    }
}

/// What a name is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderKey {
    finds: u64,
    proves: u64,
}

impl OrderHash {
    /// Two of the same seed make the same keys.
    pub fn new(seed: u64) -> OrderHash {
        OrderHash {
            seed,
            shared: Box::new(SharedSeed::from_u64(seed.rotate_left(32) ^ SALT)),
        }
    }

    /// The key of a name, with its tags.
    #[inline]
    pub fn key(&self, name: &[u8]) -> OrderKey {
        let hash = |seed| {
            let mut hasher = FoldHasher::with_seed(seed, &self.shared);
            hasher.write(name);
            hasher.finish()
        };
        OrderKey {
            finds: hash(self.seed),
            proves: hash(!self.seed.wrapping_mul(SALT)),
        }
    }

    /// What tells seeds, and versions of the hash, apart.
    fn mark(&self) -> OrderKey {
        self.key(b"Baton validates order")
    }
}

/// Any odd number: it only makes one seed into another.
const SALT: u64 = 0x9e37_79b9_7f4a_7c15;

/// So many places are walked for one that may be taken; then the next is, so that no point waits for a whole round.
const WALK: usize = 64;

/// The last timestamp of each name.
#[derive(Debug)]
pub struct Order {
    names: usize,
    mark: OrderKey,
    table: HashTable<u32>,
    places: Vec<Place>,
    /// The next place to be looked at for a new name.
    hand: usize,
    forgotten: u64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    key: OrderKey,
    last: u32,
    seen: bool,
    /// Its only point was taken back: there is no last.
    void: bool,
}

impl Place {
    fn last(&self) -> Option<u32> {
        (!self.void).then_some(self.last)
    }
}

/// What can't be merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadOrder {
    /// It isn't what [`Order::save`] writes.
    #[error("the saved order of names is malformed")]
    Malformed,
    /// Its keys mean other names.
    #[error("the saved order of names is of another seed or another hash")]
    OtherKeys,
}

const MAGIC: u64 = u64::from_le_bytes(*b"BatonOr1");
/// Two hashes and a timestamp.
const ENTRY: usize = 20;
const HEAD: usize = 32;

impl Order {
    /// With room for so many names, at least one; the keys are those of `hash`.
    pub fn new(names: usize, hash: &OrderHash) -> Order {
        Order {
            names: names.clamp(1, u32::MAX as usize),
            mark: hash.mark(),
            table: HashTable::new(),
            places: Vec::new(),
            hand: 0,
            forgotten: 0,
        }
    }

    /// Whether a point is newer than the last of its name; if so, it is the last from here on.
    #[inline]
    pub fn admit(&mut self, key: OrderKey, timestamp: u32) -> bool {
        self.admit_over(key, timestamp).is_some()
    }

    /// The same; tells where, and what was the last before, if there was one.
    #[inline]
    fn admit_over(&mut self, key: OrderKey, timestamp: u32) -> Option<(u32, Option<u32>)> {
        let Some(at) = self.find(key) else {
            return Some((self.insert(key, timestamp), None));
        };
        let place = &mut self.places[at as usize];
        place.seen = true;
        let before = place.last();
        if before.is_some_and(|last| timestamp <= last) {
            return None;
        }
        (place.last, place.void) = (timestamp, false);
        Some((at, before))
    }

    /// Forgets a point that was admitted, the last one before any other.
    fn take_back(&mut self, key: OrderKey, at: u32, before: Option<u32>) {
        if let Some(place) = self.at(key, at) {
            (place.last, place.void) = (before.unwrap_or(0), before.is_none());
        }
    }

    /// The place of a name, which was found here, if it is still there.
    fn at(&mut self, key: OrderKey, at: u32) -> Option<&mut Place> {
        let place = self.places.get_mut(at as usize);
        place.filter(|place| place.key == key)
    }

    #[inline]
    fn find(&self, key: OrderKey) -> Option<u32> {
        let places = &self.places;
        let is_it = |place: &u32| places[*place as usize].key == key;
        self.table.find(key.finds, is_it).copied()
    }

    fn insert(&mut self, key: OrderKey, last: u32) -> u32 {
        let place = Place {
            key,
            last,
            seen: false,
            void: false,
        };
        let index = if self.places.len() < self.names {
            self.places.push(place);
            self.places.len() - 1
        } else {
            let index = self.forget_one();
            self.places[index] = place;
            index
        };
        let places = &self.places;
        let finds = |place: &u32| places[*place as usize].key.finds;
        self.table.insert_unique(key.finds, index as u32, finds);
        index as u32
    }

    /// Makes a place free.
    fn forget_one(&mut self) -> usize {
        for _ in 0..WALK {
            let place = &mut self.places[self.hand];
            if !place.seen {
                break;
            }
            place.seen = false;
            self.hand = (self.hand + 1) % self.places.len();
        }
        let index = self.hand;
        self.hand = (index + 1) % self.places.len();
        let is_it = |place: &u32| *place as usize == index;
        if let Ok(entry) = self.table.find_entry(self.places[index].key.finds, is_it) {
            entry.remove();
        }
        self.forgotten += 1;
        index
    }

    /// How many names it knows.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many names were forgotten, since there was no room for them.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// All names, for a successor: `magic u64 | mark 2 × u64 | names u64`, then of each two hashes u64 and the last
    /// timestamp u32, little-endian.
    pub fn save(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + ENTRY * self.places.len());
        let OrderKey { finds, proves } = self.mark;
        let names = self.places.iter().filter(|place| !place.void).count();
        for word in [MAGIC, finds, proves, names as u64] {
            bytes.extend(word.to_le_bytes());
        }
        // Those that are to be forgotten first come first.
        let (later, sooner) = self.places.split_at(self.hand);
        for place in sooner.iter().chain(later).filter(|place| !place.void) {
            bytes.extend(place.key.finds.to_le_bytes());
            bytes.extend(place.key.proves.to_le_bytes());
            bytes.extend(place.last.to_le_bytes());
        }
        bytes
    }

    /// Takes what a predecessor knew; of what both know the newer timestamp holds. Names beyond the room push others out.
    /// Returns how many names came.
    ///
    /// # Errors
    /// When it isn't of its form, or of another seed; nothing is taken then.
    pub fn merge(&mut self, saved: &[u8]) -> Result<u64, BadOrder> {
        self.check(saved)?;
        Ok(self.merge_entries(&saved[HEAD..]))
    }

    /// Whether it is of its form, and of the same seed.
    fn check(&self, saved: &[u8]) -> Result<(), BadOrder> {
        let (head, entries) = saved
            .split_first_chunk::<HEAD>()
            .ok_or(BadOrder::Malformed)?;
        let word = |at| u64::from_le_bytes(*chunk(head, at));
        let mark = OrderKey {
            finds: word(8),
            proves: word(16),
        };
        if word(0) != MAGIC || word(24).checked_mul(ENTRY as u64) != Some(entries.len() as u64) {
            return Err(BadOrder::Malformed);
        }
        if mark != self.mark {
            return Err(BadOrder::OtherKeys);
        }
        Ok(())
    }

    fn merge_entries(&mut self, entries: &[u8]) -> u64 {
        let (entries, _) = entries.as_chunks::<ENTRY>();
        for entry in entries {
            let key = OrderKey {
                finds: u64::from_le_bytes(*chunk(entry, 0)),
                proves: u64::from_le_bytes(*chunk(entry, 8)),
            };
            let last = u32::from_le_bytes(*chunk(entry, 16));
            match self.find(key) {
                Some(at) => {
                    let place = &mut self.places[at as usize];
                    (place.last, place.void) = (place.last.max(last), false);
                }
                None => {
                    self.insert(key, last);
                }
            }
        }
        entries.len() as u64
    }
}

/// Some of the bytes, which are there.
fn chunk<const N: usize>(bytes: &[u8], at: usize) -> &[u8; N] {
    bytes[at..].first_chunk().expect("inside of the entry")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn order(names: usize) -> (OrderHash, Order) {
        let hash = OrderHash::new(7);
        let order = Order::new(names, &hash);
        (hash, order)
    }

    #[test]
    fn case_12_a_point_is_newer_than_the_last_of_its_name() {
        let (hash, mut order) = order(10);
        let mut admit = |name: &str, timestamp| order.admit(hash.key(name.as_bytes()), timestamp);
        assert!(admit("a", 0) && admit("a", 5));
        assert!(!admit("a", 5) && !admit("a", 4));
        // What was refused isn't the last.
        assert!(admit("a", 6) && admit("b", 1) && admit("a;k=v", 1));
    }

    #[test]
    fn case_12_names_are_bounded_and_those_in_use_stay() {
        let (hash, mut order) = order(100);
        let key = |name: String| hash.key(name.as_bytes());
        for round in 1..=1000 {
            for name in 0..10 {
                assert!(order.admit(key(format!("hot.{name}")), round));
                assert!(!order.admit(key(format!("hot.{name}")), round));
            }
            assert!(order.admit(key(format!("once.{round}")), 1));
        }
        assert_eq!(order.len(), 100);
        assert_eq!(order.forgotten(), 1010 - 100);
        assert_eq!(order.table.len(), 100);
    }

    #[test]
    fn a_round_in_which_all_were_seen_ends() {
        let (hash, mut order) = order(1000);
        for timestamp in 1..3 {
            for name in 0..1000u32 {
                assert!(order.admit(hash.key(&name.to_le_bytes()), timestamp));
            }
        }
        for name in 1000..3000u32 {
            assert!(order.admit(hash.key(&name.to_le_bytes()), 1));
        }
        assert_eq!((order.len(), order.table.len()), (1000, 1000));
    }

    #[test]
    fn hashes_do_not_depend_on_each_other() {
        let hash = OrderHash::new(0);
        let keys: Vec<_> = (0..1000u32)
            .map(|name| hash.key(&name.to_le_bytes()))
            .collect();
        let agree = keys
            .iter()
            .map(|key| (key.finds ^ key.proves).count_zeros());
        let agree = agree.sum::<u32>();
        assert!((31_000..33_000).contains(&agree), "{agree} of 64000 bits");
        assert_ne!(OrderHash::new(1).key(b"a"), hash.key(b"a"));
        assert_eq!(format!("{hash:?}"), "OrderHash { .. }");
    }

    #[test]
    fn what_is_saved_with_other_keys_is_refused() {
        let (hash, mut order) = order(10);
        assert!(order.admit(hash.key(b"a"), 5));
        let mut bytes = order.save();
        let mut other = Order::new(10, &OrderHash::new(8));
        assert_eq!(other.merge(&bytes), Err(BadOrder::OtherKeys));
        bytes.pop();
        assert_eq!(order.merge(&bytes), Err(BadOrder::Malformed));
        assert_eq!(order.merge(&[]), Err(BadOrder::Malformed));
        assert!(other.is_empty());
    }

    proptest! {
        #[test]
        fn a_successor_goes_on_where_one_worker_was(
            points in prop::collection::vec((0u8..8, 0u32..20), 0..60), cut in any::<prop::sample::Index>(),
        ) {
            let (hash, mut old) = order(100);
            let mut new = Order::new(100, &hash);
            let keys: Vec<_> = points.iter().map(|(name, at)| (hash.key(&[*name]), *at)).collect();
            let (earlier, later) = keys.split_at(cut.index(keys.len() + 1));
            let mut last: HashMap<u8, u32> = HashMap::new();
            let mut expected = Vec::new();
            for (index, (name, at)) in points.iter().enumerate() {
                match last.get(name) {
                    Some(last) if last >= at => expected.push(index),
                    _ => { last.insert(*name, *at); }
                }
            }
            let mut refused = Vec::new();
            let mut admit_all = |order: &mut Order, points: &[(OrderKey, u32)], from: usize| {
                for (index, (key, at)) in points.iter().enumerate() {
                    if !order.admit(*key, *at) {
                        refused.push(from + index);
                    }
                }
            };
            admit_all(&mut old, earlier, 0);
            prop_assert_eq!(new.merge(&old.save()), Ok(old.len() as u64));
            admit_all(&mut new, later, earlier.len());
            prop_assert_eq!(refused, expected);
            // However often it comes.
            prop_assert_eq!(new.merge(&old.save()), Ok(old.len() as u64));
            prop_assert_eq!(new.len(), last.len());
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>, at in any::<prop::sample::Index>(), byte: u8) {
            let (hash, mut order) = order(3);
            let _ = order.merge(&bytes);
            for name in 0..5u8 {
                order.admit(hash.key(&[name]), 1);
            }
            bytes = order.save();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = order.merge(&bytes);
            prop_assert!(order.len() <= 3 && order.table.len() == order.len());
        }
    }
}
