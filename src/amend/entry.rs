//! What was changed about a rule, and where it is.

/// Where a rule is among those of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Its place: see the [room](super)'s text.
    pub position: i64,
    /// It is where the file has it, wherever that is by then: nobody has moved it.
    pub of_file: bool,
}

impl Spot {
    /// A place that somebody chose.
    pub fn chosen(position: i64) -> Spot {
        Spot {
            position,
            of_file: false,
        }
    }

    /// In the order in which rules are asked. Two may have come to the same position; then the file's is the first.
    pub(super) fn order(self) -> (i64, bool) {
        (self.position, !self.of_file)
    }
}

/// What was changed about a rule at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub spot: Spot,
    /// The rule as it is now, as TOML; `None`: it was removed.
    pub spec: Option<String>,
    /// It isn't in the database, and ends with this worker.
    pub volatile: bool,
    /// Of one that is volatile: what the database has of the same rule, which is in force again after a restart.
    pub beneath: Option<Box<Entry>>,
    /// When, in milliseconds since 1970.
    pub changed_at_ms: u64,
}

impl Entry {
    /// What the database has of it.
    pub fn lasting(&self) -> Option<&Entry> {
        match self.volatile {
            true => self.beneath.as_deref(),
            false => Some(self),
        }
    }

    /// This one, made then.
    pub(super) fn at(mut self, now_ms: u64) -> Entry {
        self.changed_at_ms = now_ms;
        self.beneath = self.beneath.map(|beneath| Box::new(beneath.at(now_ms)));
        self
    }
}
