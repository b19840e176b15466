//! What becomes of the lines of a name: all of it that doesn't change from line to line, so that it can be remembered.

use std::ops::Range;

/// What becomes of lines of one name.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct Decision {
    /// How far they come.
    pub fate: Fate,
    /// Who takes them, but for open routes; those of one route are neighbours.
    pub takers: Vec<Taker>,
    /// Routes that choose anew for each line.
    pub open: Vec<Open>,
    /// The name that rewriters left, in `text`; empty if it is as it came.
    pub renamed: Range<usize>,
    /// What aggregators make of it.
    pub outputs: Vec<Output>,
    /// The names.
    pub text: Vec<u8>,
}

/// How far lines come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// To the routes.
    #[default]
    Routed,
    /// To the rule of the blocklist with this index.
    Blocked(usize),
    /// To the rewriters, which made no valid name of it.
    BadRewrite,
    /// To an aggregator, which lets no raw lines pass.
    Consumed,
}

/// A destination that takes a line, and the route that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Taker {
    /// Index of the route.
    pub route: usize,
    /// Index of the destination.
    pub destination: usize,
}

/// A route that takes lines of the name, and chooses for each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Open {
    /// Index of the route.
    pub route: usize,
    /// The positions of its destinations whose own matcher accepts the name, ascending.
    pub accepting: Vec<usize>,
}

/// A name that an aggregator gives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Output {
    /// Index of the aggregator.
    pub rule: usize,
    /// Where in the decision's text the output name lies.
    pub name: Range<usize>,
}

impl Decision {
    /// Forgets everything but the room it took.
    pub fn clear(&mut self) {
        self.fate = Fate::Routed;
        self.takers.clear();
        self.open.clear();
        self.renamed = 0..0;
        self.outputs.clear();
        self.text.clear();
    }

    /// Whether the takers are all there is to it.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.fate == Fate::Routed
            && self.open.is_empty()
            && self.renamed.is_empty()
            && self.outputs.is_empty()
    }

    /// The name that the rewriters left, if they changed it.
    pub fn renamed(&self) -> Option<&[u8]> {
        (!self.renamed.is_empty()).then(|| &self.text[self.renamed.clone()])
    }

    /// Makes it that of lines whose rewritten name is not valid.
    pub fn refuse(&mut self) {
        self.clear();
        self.fate = Fate::BadRewrite;
    }

    /// Roughly how much memory a copy of it takes, in bytes.
    pub fn memory(&self) -> usize {
        let open = self
            .open
            .iter()
            .map(|open| size_of::<Open>() + size_of_val(&open.accepting[..]));
        size_of::<Decision>()
            + size_of_val(&self.takers[..])
            + open.sum::<usize>()
            + size_of_val(&self.outputs[..])
            + self.text.len()
    }
}
