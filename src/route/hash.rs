//! Which member of a route has a name: consistent hashing as carbon and the relays of its family do it, so that Baton can
//! stand where one of them stood and no name changes its store.
//!
//! A [`Hash`] is built once for a list of members, in the order of the config, and asked for each name. It knows nothing of
//! who is up.

mod digest;
mod jump;
mod ring;

use jump::Buckets;
use ring::Ring;

pub use digest::{fnv1a_32, fnv1a_64, folded, md5_16};

/// What a member is to a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its index in the table's list of destinations.
    pub destination: usize,
    /// The host as written: a name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What tells it apart from others of the same host.
    pub instance: Option<String>,
}

impl Member {
    /// One of a route that hashes no members: all that matters is where it leads.
    pub fn to(destination: usize) -> Member {
        Member {
            destination,
            host: String::new(),
            port: 0,
            instance: None,
        }
    }
}

/// The most members that a route may have. A ring has 100 entries of each.
pub const MAX_MEMBERS: usize = 1000;

/// How names are spread over members. Members are called by their positions in the list it was built from.
#[derive(Debug, Clone)]
pub enum Hash {
    /// carbon's ring: entries of md5, moved on where one lies already.
    Carbon(Ring),
    /// carbon-relay-ng's first ring, and carbon-c-relay's `carbon_ch`: entries stay where they fall.
    Ng(Ring),
    /// carbon-relay-ng's second ring.
    NgV2(Ring),
    /// carbon-c-relay's ring of FNV-1a.
    Fnv(Ring),
    /// carbon-c-relay's jump hash.
    Jump(Buckets),
}

impl Hash {
    /// carbon's ring.
    pub fn carbon(members: &[Member]) -> Hash {
        Hash::Carbon(Ring::carbon(members))
    }

    /// carbon-relay-ng's first ring.
    pub fn ng(members: &[Member]) -> Hash {
        Hash::Ng(Ring::ng(members))
    }

    /// carbon-relay-ng's second ring.
    pub fn ng_v2(members: &[Member]) -> Hash {
        Hash::NgV2(Ring::ng_v2(members))
    }

    /// carbon-c-relay's ring of FNV-1a.
    pub fn fnv(members: &[Member]) -> Hash {
        Hash::Fnv(Ring::fnv(members))
    }

    /// carbon-c-relay's jump hash.
    pub fn jump(members: &[Member]) -> Hash {
        Hash::Jump(Buckets::new(members))
    }

    /// The member that has this name.
    #[inline]
    pub fn first(&self, name: &[u8]) -> usize {
        match self {
            Hash::Carbon(ring) | Hash::Ng(ring) | Hash::NgV2(ring) => ring.first(md5_16(name)),
            Hash::Fnv(ring) => ring.first(folded(fnv1a_32(name))),
            Hash::Jump(buckets) => buckets.first(name),
        }
    }

    /// Appends the first so many distinct members for this name, the one that has it first: all of them, if there aren't so many.
    pub fn walk(&self, name: &[u8], most: usize, found: &mut Vec<usize>) {
        match self {
            Hash::Carbon(ring) | Hash::Ng(ring) | Hash::NgV2(ring) => {
                ring.walk(md5_16(name), most, found);
            }
            Hash::Fnv(ring) => ring.walk(folded(fnv1a_32(name)), most, found),
            Hash::Jump(buckets) => buckets.walk(name, most, found),
        }
    }

    /// Whether it takes an md5 to find who has a name.
    pub fn is_costly(&self) -> bool {
        matches!(self, Hash::Carbon(_) | Hash::Ng(_) | Hash::NgV2(_))
    }

    /// A ring's entries in order: position and member. `None`: it is no ring.
    pub fn entries(&self) -> Option<impl Iterator<Item = (u32, usize)>> {
        match self {
            Hash::Carbon(ring) | Hash::Ng(ring) | Hash::NgV2(ring) | Hash::Fnv(ring) => {
                Some(ring.entries())
            }
            Hash::Jump(_) => None,
        }
    }
}

/// What two members with the same text share on carbon's ring and carbon-relay-ng's: all their entries.
pub fn ring_text(member: &Member) -> String {
    ring::carbon_text(member)
}
