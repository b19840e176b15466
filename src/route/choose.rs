//! Which of its destinations a route gives a line to.

use super::entries::RouteKind;

/// What a choice may depend on beside the name; one for a batch.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// Whether a destination is up, by its index in the table.
    pub up: &'a [bool],
    /// Counts batches.
    pub turn: u64,
}

/// A destination of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its index in the table.
    pub destination: usize,
    /// Where it is.
    pub host: String,
    /// Its port there.
    pub port: u16,
    /// What tells it from another one at the same place.
    pub instance: Option<String>,
}

/// Members that a kind of route can't choose among.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {} route can't choose among these destinations", .0.as_str())]
pub struct BadMembers(pub RouteKind);

/// See the module's text.
#[derive(Debug, Clone)]
pub struct Chooser {
    kind: RouteKind,
}

impl Chooser {
    /// For the members of a route.
    ///
    /// # Errors
    /// When the kind can't choose among them.
    pub fn new(kind: RouteKind, _members: Vec<Member>) -> Result<Chooser, BadMembers> {
        Ok(Chooser { kind })
    }

    /// Whether the choice depends on the name alone, so that it may be remembered by name.
    pub fn is_fixed(&self) -> bool {
        true
    }

    /// Appends to `chosen` the positions of those that get a line of this name. `accepting`: ascending positions of
    /// those whose own matcher accepts it.
    pub fn choose(
        &self,
        _name: &[u8],
        accepting: &[usize],
        _moment: &Moment,
        chosen: &mut Vec<usize>,
    ) {
        match self.kind {
            RouteKind::SendAllMatch => chosen.extend_from_slice(accepting),
            RouteKind::SendFirstMatch => chosen.extend(accepting.first()),
        }
    }
}
