//! Which members of a route take a line.

use super::hash::{Hash, MAX_MEMBERS, Member, fnv1a_32};
use super::kind::RouteKind;

/// What a choice may depend on beside the name; one for a batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moment<'a> {
    /// Who is up, by index in the table's list of destinations. One beyond its end is.
    pub up: &'a [bool],
    /// Counts batches.
    pub turn: u64,
}

/// What a route may be told about its choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChoiceOptions {
    /// How many distinct members of a hash take a line.
    pub replication: usize,
    /// Whether the hash sees the name's tags; else it stops at the first `;`, as carbon-c-relay's does.
    pub hash_tags: bool,
    /// Whether a hash passes over members that are down.
    pub dynamic: bool,
}

impl Default for ChoiceOptions {
    fn default() -> ChoiceOptions {
        ChoiceOptions {
            replication: 1,
            hash_tags: true,
            dynamic: false,
        }
    }
}

/// Why members can't be chosen so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadChoice {
    /// A hash has none.
    #[error("no members: expected one at least")]
    NoMembers,
    /// It has more than [`MAX_MEMBERS`].
    #[error("expected at most {MAX_MEMBERS} members, found {0}")]
    TooManyMembers(usize),
    /// So many distinct members there aren't.
    #[error(
        "expected a replication from 1 to {members}, the number of members, found {replication}"
    )]
    Replication {
        /// What was asked for.
        replication: usize,
        /// How many there are.
        members: usize,
    },
}

/// A route's way of choosing. Members are called by their positions in the list it was made from.
#[derive(Debug, Clone)]
pub struct Chooser {
    kind: RouteKind,
    options: ChoiceOptions,
    /// Indexes in the table.
    destinations: Vec<usize>,
    /// Every position.
    everyone: Vec<usize>,
    hash: Option<Hash>,
}

impl Chooser {
    /// For these members, in the order of the config. Only hashes heed the options; `any_of` heeds `hash_tags`.
    ///
    /// # Errors
    /// When a hash has none, too many, or fewer than copies are wanted.
    pub fn new(
        kind: RouteKind,
        members: Vec<Member>,
        options: ChoiceOptions,
    ) -> Result<Chooser, BadChoice> {
        let replication = options.replication;
        match members.len() {
            0 if kind.is_hash() => return Err(BadChoice::NoMembers),
            n if kind.is_hash() && n > MAX_MEMBERS => return Err(BadChoice::TooManyMembers(n)),
            n if kind.is_hash() && !(1..=n).contains(&replication) => {
                let members = n;
                return Err(BadChoice::Replication {
                    replication,
                    members,
                });
            }
            _ => {}
        }
        let hash = match kind {
            RouteKind::ConsistentHashing => Some(Hash::ng(&members)),
            RouteKind::ConsistentHashingV2 => Some(Hash::ng_v2(&members)),
            RouteKind::CarbonCh => Some(Hash::carbon(&members)),
            RouteKind::Fnv1aCh => Some(Hash::fnv(&members)),
            RouteKind::JumpFnv1aCh => Some(Hash::jump(&members)),
            RouteKind::SendAllMatch
            | RouteKind::SendFirstMatch
            | RouteKind::AnyOf
            | RouteKind::Failover
            | RouteKind::RoundRobin => None,
        };
        Ok(Chooser {
            kind,
            options,
            destinations: members.iter().map(|member| member.destination).collect(),
            everyone: (0..members.len()).collect(),
            hash,
        })
    }

    /// Of `sendAllMatch`, for these destinations of the table.
    pub fn all(destinations: Vec<usize>) -> Chooser {
        Chooser {
            kind: RouteKind::SendAllMatch,
            options: ChoiceOptions::default(),
            everyone: (0..destinations.len()).collect(),
            destinations,
            hash: None,
        }
    }

    /// What kind of route it chooses for.
    pub fn kind(&self) -> RouteKind {
        self.kind
    }

    /// Whether the choice depends on the name alone (and on who accepts it), so that it may be remembered by name.
    pub fn is_fixed(&self) -> bool {
        !(self.kind.asks_who_is_up() || self.hash.is_some() && self.options.dynamic)
    }

    /// Whether to choose costs more than to remember by name what was chosen.
    pub fn is_costly(&self) -> bool {
        self.is_fixed() && self.hash.as_ref().is_some_and(Hash::is_costly)
    }

    /// Whether it is all the same to it what the name is.
    pub(super) fn is_blind(&self) -> bool {
        !self.kind.hashes_names()
    }

    /// Every position: what `accepting` is where no member has a matcher of its own.
    pub fn everyone(&self) -> &[usize] {
        &self.everyone
    }

    /// The destination of a member, by its index in the table.
    pub fn destination(&self, position: usize) -> usize {
        self.destinations[position]
    }

    /// Appends the positions of those that take a line of this name to `chosen`: none if `accepting` is empty, else at least one.
    /// `accepting` has the positions of those whose own matcher accepts the name, ascending; a hash asks all, whatever it says.
    pub fn choose(
        &self,
        name: &[u8],
        accepting: &[usize],
        moment: &Moment<'_>,
        chosen: &mut Vec<usize>,
    ) {
        let Some(first) = accepting.first() else {
            return;
        };
        match (self.kind, &self.hash) {
            (_, Some(hash)) => self.by_hash(hash, self.key(name), moment, chosen),
            (RouteKind::SendAllMatch, None) => chosen.extend_from_slice(accepting),
            (RouteKind::AnyOf, None) => {
                chosen.push(self.any_of(self.key(name), accepting, moment));
            }
            (RouteKind::Failover, None) => {
                let up = accepting.iter().find(|at| self.is_up(**at, moment));
                chosen.push(*up.unwrap_or(first));
            }
            (RouteKind::RoundRobin, None) => chosen.push(self.in_turn(accepting, moment)),
            (_, None) => chosen.push(*first),
        }
    }

    /// What the hash sees of a name.
    fn key<'a>(&self, name: &'a [u8]) -> &'a [u8] {
        match self.options.hash_tags {
            true => name,
            false => &name[..memchr::memchr(b';', name).unwrap_or(name.len())],
        }
    }

    fn is_up(&self, position: usize, moment: &Moment<'_>) -> bool {
        let up = moment.up.get(self.destinations[position]);
        up.copied().unwrap_or(true)
    }

    /// The members that the name has; with `dynamic` the next ones instead of those that are down. Are fewer up than copies are
    /// wanted, the rest goes to some that are down: there are always so many.
    fn by_hash(&self, hash: &Hash, key: &[u8], moment: &Moment<'_>, chosen: &mut Vec<usize>) {
        let (before, replication) = (chosen.len(), self.options.replication);
        match replication {
            1 => chosen.push(hash.first(key)),
            _ => hash.walk(key, replication, chosen),
        }
        let all_up = |chosen: &[usize]| chosen.iter().all(|at| self.is_up(*at, moment));
        if !self.options.dynamic || all_up(&chosen[before..]) {
            return;
        }
        chosen.truncate(before);
        hash.walk(key, self.destinations.len(), chosen);
        // Stable: among those that are up, and among the others, the order is the hash's.
        chosen[before..].sort_by_key(|at| !self.is_up(*at, moment));
        chosen.truncate(before + replication);
    }

    /// The member that the full list gives, if it is up: so only names of members that are down move.
    fn any_of(&self, key: &[u8], accepting: &[usize], moment: &Moment<'_>) -> usize {
        let hash = fnv1a_32(key) as usize;
        let usual = accepting[hash % accepting.len()];
        if self.is_up(usual, moment) {
            return usual;
        }
        let up = || accepting.iter().filter(|at| self.is_up(**at, moment));
        match up().count() {
            0 => usual,
            // What is left of the hash: the remainder is the same for all names of the one that is down.
            count => *up().nth(hash / accepting.len() % count).unwrap_or(&usual),
        }
    }

    fn in_turn(&self, accepting: &[usize], moment: &Moment<'_>) -> usize {
        let at = |count: usize| (moment.turn % count as u64) as usize;
        let up = || accepting.iter().filter(|at| self.is_up(**at, moment));
        match up().count() {
            0 => accepting[at(accepting.len())],
            count => *up().nth(at(count)).unwrap_or(&accepting[0]),
        }
    }
}
