//! What is spoken on a connection, and where it is within that.

use crate::decode::frames::{self, Frames};
use crate::decode::split::Splitter;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Lines.
    Line,
    /// Pickles, each with its length before it.
    Pickle,
}

/// Where a connection is in its stream of lines or pickles.
#[derive(Debug)]
pub enum Framing {
    /// Of lines.
    Lines(Splitter),
    /// Of pickles.
    Frames(Frames),
}

impl Default for Framing {
    fn default() -> Framing {
        Framing::new(Protocol::Line)
    }
}

impl Protocol {
    /// How many bytes at the front of these are whole lines or pickles.
    pub fn whole(self, bytes: &[u8]) -> usize {
        match self {
            Protocol::Line => memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1),
            Protocol::Pickle => frames::whole(bytes),
        }
    }

    /// The kind of listener that it is spoken at.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Line => "line",
            Protocol::Pickle => "pickle",
        }
    }
}

impl Framing {
    /// At the start of a stream.
    pub fn new(protocol: Protocol) -> Framing {
        Framing::restore(protocol, Vec::new(), false)
    }

    /// Goes on where another worker was.
    pub fn restore(protocol: Protocol, carry: Vec<u8>, discarding: bool) -> Framing {
        match protocol {
            Protocol::Line => Framing::Lines(Splitter::restore(carry, discarding)),
            Protocol::Pickle => Framing::Frames(Frames::restore(carry, discarding)),
        }
    }

    /// The bytes of what has not ended yet.
    pub fn carry(&self) -> &[u8] {
        match self {
            Framing::Lines(splitter) => splitter.carry(),
            Framing::Frames(frames) => frames.carry(),
        }
    }

    /// Whether a too-long line is being discarded, or the stream of pickles is broken.
    pub fn is_discarding(&self) -> bool {
        match self {
            Framing::Lines(splitter) => splitter.is_discarding(),
            Framing::Frames(frames) => frames.is_broken(),
        }
    }
}
