//! A ring: a hundred entries of each member, on positions of 16 bits. A name belongs to the first entry at its own position or
//! behind; behind the last comes the first.

use std::collections::BTreeSet;

use super::Member;
use super::digest::{fnv1a_32, folded, md5_16};

/// Entries of each member.
const ENTRIES: usize = 100;
/// Positions that a name may have.
const POSITIONS: u32 = 1 << 16;

/// The entries in order, and whose each position is: looked up, since a search costs as much as the hash.
#[derive(Debug, Clone)]
pub struct Ring {
    /// Ascending. carbon moves entries beyond 65535.
    positions: Box<[u32]>,
    /// Whose each of them is.
    members: Box<[u16]>,
    /// The member that each position belongs to.
    owners: Box<[u16]>,
    /// How many members there are.
    count: usize,
}

/// An entry before it is sorted in.
struct Entry {
    position: u32,
    member: usize,
}

/// What carbon hashes of a member: Python's text of the pair of host and instance. The port doesn't count.
pub(super) fn carbon_text(member: &Member) -> String {
    match &member.instance {
        Some(instance) => format!("('{}', '{instance}')", member.host),
        None => format!("('{}', None)", member.host),
    }
}

fn carbon_position(member: &Member, entry: usize) -> u32 {
    md5_16(format!("{}:{entry}", carbon_text(member)).as_bytes()).into()
}

/// Every member's entries, as this says where they lie.
fn entries(members: &[Member], mut at: impl FnMut(&Member, usize) -> u32) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(members.len() * ENTRIES);
    for (number, member) in members.iter().enumerate() {
        for entry in 0..ENTRIES {
            let position = at(member, entry);
            entries.push(Entry {
                position,
                member: number,
            });
        }
    }
    entries
}

impl Ring {
    /// carbon: members in the order of the config; an entry goes to the next position that none has, its own member's included,
    /// if need be beyond 65535.
    pub(super) fn carbon(members: &[Member]) -> Ring {
        let mut taken = BTreeSet::new();
        let mut entries = entries(members, |member, entry| {
            let mut position = carbon_position(member, entry);
            while !taken.insert(position) {
                position += 1;
            }
            position
        });
        entries.sort_by_key(|entry| entry.position);
        Ring::of(entries, members.len())
    }

    /// carbon-relay-ng's first: entries stay where they fall; of several at one position the first by host, then instance, counts.
    pub(super) fn ng(members: &[Member]) -> Ring {
        let entries = entries(members, carbon_position);
        Ring::of(sorted_by_name(entries, members), members.len())
    }

    /// carbon-relay-ng's second: an entry goes on, around the ring, where one of an earlier member lies, but not where only its
    /// own member's do.
    pub(super) fn ng_v2(members: &[Member]) -> Ring {
        let (mut taken, mut own) = (BTreeSet::new(), BTreeSet::new());
        let entries = entries(members, |member, entry| {
            if entry == 0 {
                taken.append(&mut own);
            }
            let mut position = carbon_position(member, entry);
            // With every position taken there is no other.
            while taken.contains(&position) && taken.len() < 1 << 16 {
                position = (position + 1) % (1 << 16);
            }
            own.insert(position);
            position
        });
        Ring::of(sorted_by_name(entries, members), members.len())
    }

    /// carbon-c-relay's: by instance, or host and port if there is none; of several at one position the first by host, then port.
    pub(super) fn fnv(members: &[Member]) -> Ring {
        let mut entries = entries(members, |member, entry| {
            let text = match &member.instance {
                Some(instance) => format!("{entry}-{instance}"),
                None => format!("{entry}-{}:{}", member.host, member.port),
            };
            folded(fnv1a_32(text.as_bytes())).into()
        });
        entries.sort_by_key(|entry| {
            let member = &members[entry.member];
            (entry.position, &member.host, member.port)
        });
        Ring::of(entries, members.len())
    }

    fn of(entries: Vec<Entry>, count: usize) -> Ring {
        let positions: Box<[u32]> = entries.iter().map(|entry| entry.position).collect();
        let members: Box<[u16]> = entries.iter().map(|entry| entry.member as u16).collect();
        let mut owner = 0;
        let owners = (0..POSITIONS).map(|position| {
            while positions.get(owner).is_some_and(|at| *at < position) {
                owner += 1;
            }
            members[owner % members.len()]
        });
        Ring {
            owners: owners.collect(),
            members,
            positions,
            count,
        }
    }

    /// The entry that a position belongs to.
    fn entry(&self, position: u16) -> usize {
        let before = self.positions.partition_point(|at| *at < position.into());
        before % self.positions.len()
    }

    #[inline]
    pub(super) fn first(&self, position: u16) -> usize {
        self.owners[usize::from(position)].into()
    }

    /// Of several entries at one position only the first counts, as for carbon-c-relay. A member that has none which counts comes last.
    pub(super) fn walk(&self, position: u16, most: usize, found: &mut Vec<usize>) {
        let (before, start) = (found.len(), self.entry(position));
        let mut last = None;
        for at in (start..self.positions.len()).chain(0..start) {
            if found.len() - before == most {
                return;
            }
            let member = self.members[at].into();
            let counts = last.replace(self.positions[at]) != Some(self.positions[at]);
            if counts && !found[before..].contains(&member) {
                found.push(member);
            }
        }
        for member in 0..self.count {
            if found.len() - before < most && !found[before..].contains(&member) {
                found.push(member);
            }
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (u32, usize)> {
        let members = self.members.iter().map(|member| usize::from(*member));
        self.positions.iter().copied().zip(members)
    }
}

/// By position, host and instance, one without an instance before the others.
fn sorted_by_name(mut entries: Vec<Entry>, members: &[Member]) -> Vec<Entry> {
    entries.sort_by_key(|entry| {
        let member = &members[entry.member];
        (entry.position, &member.host, &member.instance)
    });
    entries
}
