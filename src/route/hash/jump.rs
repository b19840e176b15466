//! carbon-c-relay's jump hash: members with an instance first, in the order of their instances, then the others as configured; one of
//! them by Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm".

use super::Member;
use super::digest::fnv1a_64;

/// The members in the order that the hash numbers them.
#[derive(Debug, Clone)]
pub struct Buckets {
    members: Box<[usize]>,
}

impl Buckets {
    pub(super) fn new(members: &[Member]) -> Buckets {
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by_key(|at| rank(&members[*at]));
        Buckets {
            members: order.into(),
        }
    }

    #[inline]
    pub(super) fn first(&self, name: &[u8]) -> usize {
        self.members[jump(fnv1a_64(name), self.members.len())]
    }

    /// The next copy's bucket is found with another number among the others: the last takes the place of the one that is out.
    pub(super) fn walk(&self, name: &[u8], most: usize, found: &mut Vec<usize>) {
        let (before, count) = (found.len(), self.members.len());
        let mut hash = fnv1a_64(name);
        for taken in 0..most.min(count) {
            found.push(jump(hash, count - taken));
            hash = xorshift(hash);
        }
        // First all buckets as drawn, then from the last back what lay in each of them: so the list of members needs no copy.
        let drawn = &mut found[before..];
        for at in (0..drawn.len()).rev() {
            let (mut bucket, mut draw) = (drawn[at], at);
            while let Some(earlier) = drawn[..draw].iter().rposition(|b| *b == bucket) {
                (bucket, draw) = (count - earlier - 1, earlier);
            }
            drawn[at] = self.members[bucket];
        }
    }
}

/// Whole numbers in their order, then other instances by their bytes, then those without one. (carbon-c-relay compares two by their
/// bytes if one of them is no number, which is no order when there are both: it agrees where words are behind digits.)
fn rank(member: &Member) -> (u8, i64, &str) {
    match member.instance.as_deref() {
        Some(instance) => match instance.parse() {
            Ok(number) => (0, number, ""),
            Err(_) => (1, 0, instance),
        },
        None => (2, 0, ""),
    }
}

/// The bucket of a number, of so many. At least one.
#[inline]
fn jump(mut key: u64, buckets: usize) -> usize {
    let (mut bucket, mut next) = (0, 0);
    while next < buckets as u64 {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let share = ((key >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * ((1_u64 << 31) as f64 / share)) as u64;
    }
    bucket as usize
}

/// xorshift64*.
fn xorshift(mut hash: u64) -> u64 {
    hash ^= hash >> 12;
    hash ^= hash << 25;
    hash ^= hash >> 27;
    hash.wrapping_mul(2_685_821_657_736_338_717)
}
