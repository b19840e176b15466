//! Pickles of datapoints, a list of `(name, (timestamp, value))`, to lines of text. Protocols 0 to 5.
//!
//! A pickle is a program. Here it can make numbers, texts, lists, tuples, and dicts and sets that are never looked into; what
//! would call or import anything ends it. It runs in one pass and without recursion, and is not looked at deeper than the
//! three levels that a datapoint has, so it may share and nest what it likes.
//!
//! What it may cost is limited: each opcode makes at most one value, and of all that lives at one time there is a most.

mod literal;
mod machine;
mod node;
mod points;
mod program;

use machine::{Machine, Value};
pub use points::{Bad, Fault, Points};

/// Points in a frame.
pub const MAX_ITEMS: usize = 100_000;
/// Containers within containers.
pub const MAX_DEPTH: u8 = 8;
/// The lines of a frame may be so many times as long as the frame itself: names can be used again in it, up to a point.
const GROWTH: usize = 64;
/// And so long at most.
const MAX_TEXT: usize = 64 << 20;

/// Why a pickle as a whole is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It ends too early, or an argument is longer than what follows.
    #[error("it is cut off")]
    Cut,
    /// An opcode that makes more than data, or none at all.
    #[error("the opcode {0:#04x} is not for data")]
    Opcode(u8),
    /// A protocol of the future.
    #[error("protocol {0} is not known")]
    Protocol(u8),
    /// An opcode doesn't find what it works on.
    #[error("an operand is missing or of another kind")]
    Operand,
    /// A number or text of protocol 0 that can't be read.
    #[error("a literal can't be read")]
    Literal,
    /// Containers within containers, or marks.
    #[error("it is nested more than {MAX_DEPTH} deep")]
    Depth,
    /// Too many items, or values at one time.
    #[error("it has more than {MAX_ITEMS} items")]
    Items,
    /// A number of the memo that is out of range, or was never used.
    #[error("a memo that is out of range or was not set")]
    Memo,
    /// Its lines would be out of proportion.
    #[error("its lines would be more than {GROWTH} times as long")]
    Growth,
    /// It is whole, and no list.
    #[error("it is neither a list nor a tuple")]
    Shape,
}

/// Reads pickles, one after the other, with the same memory.
#[derive(Debug, Default)]
pub struct Decoder {
    machine: Machine,
}

impl Decoder {
    /// Runs a pickle (without the length before it) to its end. What follows its end is ignored, as Python does.
    ///
    /// `max_line`: texts longer than this become no part of a line.
    ///
    /// # Errors
    /// Nothing of it is to be used.
    pub fn read<'a>(
        &'a mut self,
        pickle: &'a [u8],
        max_line: usize,
    ) -> Result<Points<'a>, Refused> {
        let top = self.machine.run(pickle)?;
        let list = match top {
            Value::Node(node) => Some(node),
            Value::EmptyTuple => None,
            _ => return Err(Refused::Shape),
        };
        let points = Points::new(&self.machine, pickle, list, max_line);
        let limit = (GROWTH * pickle.len() + 4096).min(MAX_TEXT);
        if points.may_exceed(limit) {
            return Err(Refused::Growth);
        }
        Ok(points)
    }
}

#[cfg(test)]
mod tests;
