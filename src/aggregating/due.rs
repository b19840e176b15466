//! Lines of closed windows, on their way to the routes. Those of a window are placed together.

use std::collections::VecDeque;

use crate::aggregate::Closed;

/// Lines of windows that were closed.
#[derive(Debug, Clone, Default)]
pub struct Due {
    /// Each ends in a newline.
    lines: Vec<u8>,
    /// Whose they are, in their order.
    parts: VecDeque<Part>,
    /// With these all windows are closed that were due by then, in seconds since 1970; `None`: more are due.
    through: Option<u32>,
}

/// The lines of one window; of some, where an older worker has passed them.
#[derive(Debug, Clone)]
struct Part {
    tally: Tally,
    bytes: usize,
    /// Its number among the predecessor's, from one on; or 0.
    passed: u32,
}

/// What one rule has of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Its [id](crate::aggregate::Rule::id).
    pub rule: u64,
    /// How many windows.
    pub windows: u64,
    /// How many points were in them.
    pub points: u64,
    /// How many lines came of them.
    pub lines: u64,
}

/// Lines that are placed together, and what is booked in the same commit.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// So many bytes.
    pub bytes: usize,
    /// Of each rule.
    pub tallies: Vec<Tally>,
    /// With it the predecessor's windows up to this number are placed; 0: it has none of those.
    pub passed: u32,
    /// With it all windows are placed that were due by then, in seconds since 1970.
    pub through: Option<u32>,
    parts: usize,
}

impl Due {
    /// Of another process: its lines, as many of them in turn as each tally says. The predecessor's are numbered from
    /// `first` on, others have 0. `None`: these aren't all of them, or more.
    pub fn new(
        lines: Vec<u8>,
        tallies: impl IntoIterator<Item = Tally>,
        first: u32,
    ) -> Option<Due> {
        let mut newlines = memchr::memchr_iter(b'\n', &lines);
        let (mut parts, mut begin, mut passed) = (VecDeque::new(), 0, first);
        for tally in tallies {
            let mut end = begin;
            for _ in 0..tally.lines {
                end = newlines.next()? + 1;
            }
            parts.push_back(Part {
                tally,
                bytes: end - begin,
                passed,
            });
            begin = end;
            passed += u32::from(first > 0);
        }
        let through = None;
        (begin == lines.len()).then_some(Due {
            lines,
            parts,
            through,
        })
    }

    /// Of windows that were just closed.
    pub(super) fn print(closed: Vec<Closed>, through: Option<u32>) -> Due {
        let mut due = Due {
            through,
            ..Due::default()
        };
        for window in closed {
            let before = due.lines.len();
            let (rule, points, passed) = (window.rule(), window.points(), window.passed());
            let lines = window.print(&mut due.lines);
            due.parts.push_back(Part {
                tally: Tally {
                    rule,
                    windows: 1,
                    points,
                    lines,
                },
                bytes: due.lines.len() - before,
                passed,
            });
        }
        due
    }

    /// Whether there is no window in it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// All lines.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// What each window has, in the order of the lines.
    pub fn tallies(&self) -> impl ExactSizeIterator<Item = &Tally> {
        self.parts.iter().map(|part| &part.tally)
    }

    /// The first lines, of about so many bytes: of whole windows, of one at least.
    pub fn piece(&self, bytes: usize) -> Piece {
        let mut piece = Piece {
            bytes: 0,
            tallies: Vec::new(),
            passed: 0,
            through: None,
            parts: 0,
        };
        for part in &self.parts {
            if piece.parts > 0 && piece.bytes + part.bytes > bytes {
                return piece;
            }
            piece.parts += 1;
            piece.bytes += part.bytes;
            piece.passed = piece.passed.max(part.passed);
            let mut tallies = piece.tallies.iter_mut();
            match tallies.find(|tally| tally.rule == part.tally.rule) {
                Some(tally) => tally.add(&part.tally),
                None => piece.tallies.push(part.tally),
            }
        }
        piece.through = self.through;
        piece
    }

    /// This piece, which came first, is placed.
    pub fn placed(&mut self, piece: &Piece) {
        self.lines.drain(..piece.bytes);
        self.parts.drain(..piece.parts);
    }

    /// Lets go of the first windows, at most so many; tells how many those were.
    pub(super) fn forget_first(&mut self, count: usize) -> usize {
        let count = count.min(self.parts.len());
        let bytes: usize = self.parts.drain(..count).map(|part| part.bytes).sum();
        self.lines.drain(..bytes);
        count
    }

    /// Takes what is placed behind it.
    pub(super) fn append(&mut self, later: Due) {
        if !later.is_empty() {
            self.lines.extend_from_slice(&later.lines);
            self.parts.extend(later.parts);
            self.through = later.through;
        }
    }
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.windows += other.windows;
        self.points += other.points;
        self.lines += other.lines;
    }
}
