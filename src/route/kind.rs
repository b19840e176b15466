//! The kinds of routes there are.

/// Which of its destinations a route gives a line to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// Each whose own matcher accepts it.
    SendAllMatch,
    /// The first whose own matcher accepts it.
    SendFirstMatch,
    /// By carbon-relay-ng's first ring.
    ConsistentHashing,
    /// By its second, which moves the entries of a later member that meet those of an earlier one.
    ConsistentHashingV2,
    /// By carbon's own ring.
    CarbonCh,
    /// By carbon-c-relay's ring of FNV-1a.
    Fnv1aCh,
    /// By carbon-c-relay's jump hash.
    JumpFnv1aCh,
    /// One of those that are up, by a hash of the name.
    AnyOf,
    /// The first that is up.
    Failover,
    /// Those that are up in turn, batch by batch.
    RoundRobin,
}

/// A word that is no kind of route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no route type {0:?}")]
pub struct UnknownKind(pub String);

impl RouteKind {
    /// All of them.
    pub const ALL: [RouteKind; 10] = [
        RouteKind::SendAllMatch,
        RouteKind::SendFirstMatch,
        RouteKind::ConsistentHashing,
        RouteKind::ConsistentHashingV2,
        RouteKind::CarbonCh,
        RouteKind::Fnv1aCh,
        RouteKind::JumpFnv1aCh,
        RouteKind::AnyOf,
        RouteKind::Failover,
        RouteKind::RoundRobin,
    ];

    /// As configuration files and commands spell it: carbon-relay-ng's words, and carbon-c-relay's for what only that has.
    pub fn as_str(self) -> &'static str {
        match self {
            RouteKind::SendAllMatch => "sendAllMatch",
            RouteKind::SendFirstMatch => "sendFirstMatch",
            RouteKind::ConsistentHashing => "consistentHashing",
            RouteKind::ConsistentHashingV2 => "consistentHashing-v2",
            RouteKind::CarbonCh => "carbon_ch",
            RouteKind::Fnv1aCh => "fnv1a_ch",
            RouteKind::JumpFnv1aCh => "jump_fnv1a_ch",
            RouteKind::AnyOf => "any_of",
            RouteKind::Failover => "failover",
            RouteKind::RoundRobin => "roundRobin",
        }
    }

    /// Whether a name has its members, whoever is up: such a route keeps what a dead member can't take, unless it is
    /// `dynamic`. Its destinations have no matchers of their own, and it may have copies (`replication`).
    pub fn is_hash(self) -> bool {
        match self {
            RouteKind::ConsistentHashing
            | RouteKind::ConsistentHashingV2
            | RouteKind::CarbonCh
            | RouteKind::Fnv1aCh
            | RouteKind::JumpFnv1aCh => true,
            RouteKind::SendAllMatch
            | RouteKind::SendFirstMatch
            | RouteKind::AnyOf
            | RouteKind::Failover
            | RouteKind::RoundRobin => false,
        }
    }

    /// Whether a name goes through a hash, so that it matters whether its tags do.
    pub fn hashes_names(self) -> bool {
        self.is_hash() || self == RouteKind::AnyOf
    }

    /// Whether it always asks who is up.
    pub fn asks_who_is_up(self) -> bool {
        matches!(
            self,
            RouteKind::AnyOf | RouteKind::Failover | RouteKind::RoundRobin
        )
    }
}

impl std::str::FromStr for RouteKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<RouteKind, UnknownKind> {
        RouteKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}
