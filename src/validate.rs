//! What may pass: the rules for names, tags, values and timestamps, and the names of the reasons when one does not.

pub mod name;
pub mod number;
pub mod order;
pub mod tags;

/// How strictly a name is judged, for names that are not Metrics 2.0.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Only what would break the line protocol is refused: empty names, blanks and control bytes.
    None,
    /// Tags, if any, are well formed as well.
    #[default]
    Medium,
    /// Before the tags only `[A-Za-z0-9_.-]`, and no empty node.
    Strict,
}

/// How strictly a Metrics 2.0 name is judged: one with `=` or `_is_` before any tags.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum LevelM20 {
    /// Only what would break the line protocol is refused.
    None,
    /// `unit` and `mtype` are there with at least one tag beyond, all in one style.
    #[default]
    Medium,
}

/// What a line must hold to, and what is put in order in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// For names.
    pub level: Level,
    /// For Metrics 2.0 names.
    pub level_m20: LevelM20,
    /// Whether runs of dots become one, and leading and trailing dots go, in the name before its tags.
    pub clean_dots: bool,
    /// Whether tags are sorted by key, of duplicates the last staying.
    pub sort_tags: bool,
    /// The longest line, in bytes, without its newline.
    pub max_line: usize,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            level: Level::default(),
            level_m20: LevelM20::default(),
            clean_dots: false,
            sort_tags: false,
            max_line: 16 * 1024,
        }
    }
}

/// Why a line was rejected. When several reasons apply, the first of `TooLong`, `Fields`, then the name's (`Name`,
/// `Tags`, `Metrics20`), then the value's, then `Timestamp` is the one that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Reason {
    /// Not exactly three fields.
    Fields,
    /// The value is not a decimal number.
    Value,
    /// The value is not a number or infinite.
    Nan,
    /// The timestamp is not in whole seconds of 32 bits.
    Timestamp,
    /// The name is empty or has bytes that the level refuses.
    Name,
    /// The tags are not well formed.
    Tags,
    /// A Metrics 2.0 name lacks a tag or mixes styles.
    Metrics20,
    /// The line is over the limit.
    TooLong,
    /// The stream ended within the line. Counted by the listener: the pipeline sees whole lines only.
    Unterminated,
    /// A pickle that can't be decoded, or holds more than data. One for all that is in it. Like the next two it never gets to
    /// the pipeline.
    Pickle,
    /// An item of a pickle that is no `(name, (timestamp, value))`.
    PickleItem,
    /// A frame over the limit: the connection ends with it.
    Frame,
    /// Rewriters made no valid name of it.
    Rewrite,
    /// It is not newer than the last point of its name.
    Order,
}

impl Reason {
    /// All reasons, each at its own index.
    pub const ALL: [Reason; 14] = [
        Reason::Fields,
        Reason::Value,
        Reason::Nan,
        Reason::Timestamp,
        Reason::Name,
        Reason::Tags,
        Reason::Metrics20,
        Reason::TooLong,
        Reason::Unterminated,
        Reason::Pickle,
        Reason::PickleItem,
        Reason::Frame,
        Reason::Rewrite,
        Reason::Order,
    ];
    /// How many there are.
    pub const COUNT: usize = Reason::ALL.len();

    /// The word for it in metrics, logs and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Fields => "fields",
            Reason::Value => "value",
            Reason::Nan => "nan",
            Reason::Timestamp => "timestamp",
            Reason::Name => "name",
            Reason::Tags => "tags",
            Reason::Metrics20 => "metrics20",
            Reason::TooLong => "too-long",
            Reason::Unterminated => "unterminated",
            Reason::Pickle => "pickle",
            Reason::PickleItem => "pickle-item",
            Reason::Frame => "frame",
            Reason::Rewrite => "rewrite",
            Reason::Order => "order",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_indexes_its_own_counter() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
