//! What is said of decisions.

use crate::route::RouteKind;
use crate::validate::Reason;

/// Of an aggregator's output.
pub(super) const NO_OUTPUT: &str = "its name is empty or too long: no window takes the point";

/// Why a line is rejected.
pub(super) fn of(reason: Reason) -> &'static str {
    match reason {
        Reason::Fields => "a line has three fields: name, value, timestamp",
        Reason::Value => "the value is not a decimal number",
        Reason::Nan => "the value is not a number, or infinite",
        Reason::Timestamp => "the timestamp is not in seconds since 1970, up to 4294967295",
        Reason::Name => {
            "the name is empty, or has bytes or empty nodes that the validation level refuses"
        }
        Reason::Tags => "the tags are not of the form ;key=value",
        Reason::Metrics20 => {
            "a Metrics 2.0 name needs unit, mtype and another tag, all in one style"
        }
        Reason::TooLong => "the line is longer than max_line",
        Reason::Order => "the timestamp isn't newer than the last of its name",
        Reason::Unterminated => "the stream ended within the line",
        Reason::Pickle => "the pickle can't be decoded",
        Reason::PickleItem => "an item of a pickle is no (name, (timestamp, value))",
        Reason::Frame => "the frame is longer than max_frame",
        Reason::Rewrite => "the rewriters made no valid name of it, or a line longer than max_line",
    }
}

/// What a route's choice depended on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub kind: RouteKind,
    /// Somebody takes it.
    pub is_taken: bool,
    /// By the name alone.
    pub is_fixed: bool,
    pub first_only: bool,
    /// Members that could have it, of a choice that isn't fixed.
    pub able: usize,
    /// Those of them that are taken for down.
    pub down: usize,
    /// One that was chosen nevertheless is.
    pub chosen_down: bool,
    /// Whether it is known who is up.
    pub is_known: bool,
}

impl Choice {
    /// Why a route gives a line to whom it does; nothing for one that gives it to all.
    pub fn why(&self) -> Option<String> {
        if !self.is_taken {
            let end = match self.first_only {
                true => ", and by first_only no later route is asked",
                false => "",
            };
            return Some(format!("none of its destinations takes the name{end}"));
        }
        let by = match self.kind {
            RouteKind::SendAllMatch => return None,
            RouteKind::SendFirstMatch => return Some("the first that takes the name".to_owned()),
            kind if self.is_fixed && kind.is_hash() => {
                return Some("by hash of the name".to_owned());
            }
            RouteKind::Failover => "the first",
            RouteKind::RoundRobin => "by turns, batch by batch: whose turn is next",
            _ => "by hash of the name",
        };
        let Choice { able, down, .. } = self;
        Some(match down {
            _ if !self.is_known => format!("{by}, if all of {able} are up"),
            0 => format!("{by}, all of {able} being up"),
            _ if down == able => format!("{by}, all of {able} being down"),
            _ if self.chosen_down => format!("{by}, too few of {able} being up: {}", able - down),
            _ => format!("{by} of those that are up: {} of {able}", able - down),
        })
    }
}
