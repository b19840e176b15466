//! The `validate` room: stand-ins until the real one is merged.

/// How strictly names are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing beyond what always holds.
    None,
    /// Tags are well formed.
    Medium,
    /// Plain names only.
    Strict,
}

/// How strictly Metrics 2.0 names are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelM20 {
    /// Not at all.
    None,
    /// `unit` and `mtype` are present.
    Medium,
}

/// What a line must fulfil.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Of plain names.
    pub level: Level,
    /// Of Metrics 2.0 names.
    pub level_m20: LevelM20,
    /// Whether superfluous dots go.
    pub clean_dots: bool,
    /// Whether tags are sorted.
    pub sort_tags: bool,
    /// The longest line, in bytes.
    pub max_line: usize,
}
