//! Windows, order of names and charts on their way to another process, or to the next start.
//!
//! `length u64 | head, JSON | windows | order | lines that wait | charts`, the last four as long as the head says.

use std::collections::BTreeSet;
use std::io;

use serde::{Deserialize, Serialize};

use crate::aggregating::{Due, Tally};
use crate::worker::relay::{Relay, lock};

/// What a parcel begins with.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Head {
    /// Bytes of windows, as `Aggregating::save` writes them.
    windows: u64,
    /// Bytes of names, as `SharedOrder::save` writes them.
    order: u64,
    /// Bytes of lines of windows that were closed and found no room.
    lines: u64,
    /// Bytes of charts, as `Recorder::save` writes them; an older worker has none.
    #[serde(default)]
    charts: u64,
    /// Whose they are, window by window: rule, windows, points, lines.
    tallies: Vec<[u64; 4]>,
    /// The texts of those rules.
    #[serde(default)]
    rules: Vec<(u64, String)>,
    /// What a stop had left under these names is in the windows.
    #[serde(default)]
    pub restored: Vec<String>,
    /// Sessions of browsers that were ended before their time.
    #[serde(default)]
    pub ended_sessions: Vec<(u64, String)>,
}

/// A parcel that is read.
#[derive(Debug)]
pub(in crate::worker) struct Parcel<'a> {
    pub(super) head: Head,
    pub(super) windows: &'a [u8],
    pub(super) order: &'a [u8],
    lines: &'a [u8],
    pub(super) charts: &'a [u8],
}

/// Packs what a worker has, which takes in nothing any more: for the successor of that generation, with the order of
/// points, or for the next start.
pub(in crate::worker) fn pack(relay: &Relay, successor: Option<u64>) -> io::Result<Vec<Vec<u8>>> {
    let intake = &relay.inputs.intake;
    let mut windows = Vec::new();
    let due = intake.windows.save(&mut windows)?;
    let order = intake.order.get().filter(|_| successor.is_some());
    let order = order.map(|order| order.save()).unwrap_or_default();
    if let Some(successor) = successor {
        let tallies = due.tallies().copied().collect();
        relay.gathering.passes(relay, successor, tallies);
    }
    let charts = successor.map(|_| relay.charting.save()).unwrap_or_default();
    let rules: BTreeSet<u64> = due.tallies().map(|tally| tally.rule).collect();
    let rules = rules.into_iter();
    let head = Head {
        windows: windows.len() as u64,
        order: order.len() as u64,
        lines: due.lines().len() as u64,
        charts: charts.len() as u64,
        tallies: due
            .tallies()
            .map(|t| [t.rule, t.windows, t.points, t.lines])
            .collect(),
        rules: rules
            .filter_map(|rule| Some((rule, relay.gathering.text(relay, rule)?)))
            .collect(),
        restored: lock(&relay.gathering.restored).clone(),
        ended_sessions: successor
            .map(|_| relay.web.access().ended_sessions())
            .unwrap_or_default(),
    };
    let head = serde_json::to_vec(&head)?;
    let length = (head.len() as u64).to_le_bytes().to_vec();
    let lines = due.lines().to_vec();
    Ok(vec![length, head, windows, order, lines, charts])
}

impl<'a> Parcel<'a> {
    /// `None` if it isn't of its form.
    pub fn open(bytes: &'a [u8]) -> Option<Parcel<'a>> {
        let (length, rest) = bytes.split_first_chunk()?;
        let mut rest = rest;
        let mut take = |length: u64| {
            let (taken, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            rest = behind;
            Some(taken)
        };
        let head = take(u64::from_le_bytes(*length))?;
        let head: Head = serde_json::from_slice(head).ok()?;
        Some(Parcel {
            windows: take(head.windows)?,
            order: take(head.order)?,
            lines: take(head.lines)?,
            charts: take(head.charts)?,
            head,
        })
    }

    /// How many windows have lines that found no room.
    pub(super) fn waiting(&self) -> u32 {
        self.head.tallies.len() as u32
    }

    /// The rules of those lines, and their texts.
    pub(super) fn rules(&self) -> impl Iterator<Item = (u64, &str)> {
        self.head.rules.iter().map(|(id, text)| (*id, &text[..]))
    }

    /// Lines that found no room: the predecessor's, numbered from `first` on, or others (0).
    pub fn due(&self, first: u32) -> Option<Due> {
        let tallies = self.head.tallies.iter();
        let tallies = tallies.map(|&[rule, windows, points, lines]| Tally {
            rule,
            windows,
            points,
            lines,
        });
        Due::new(self.lines.to_vec(), tallies, first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_is_no_parcel() {
        let head = br#"{"windows":2,"order":1,"lines":6,"tallies":[[1,2,3,4]],"new":1}"#;
        let mut bytes = (head.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(head);
        bytes.extend_from_slice(b"wwoa 1 2\n");
        let parcel = Parcel::open(&bytes).unwrap();
        assert_eq!((parcel.windows, parcel.order), (&b"ww"[..], &b"o"[..]));
        assert!(parcel.due(1).is_none(), "of four lines one came");
        let head = String::from_utf8(bytes).unwrap().replace(",3,4]", ",3,1]");
        let bytes = head.into_bytes();
        let parcel = Parcel::open(&bytes).unwrap();
        let due = parcel.due(1).unwrap();
        let points: Vec<u64> = due.tallies().map(|tally| tally.points).collect();
        assert_eq!((due.lines(), &points[..]), (&b"a 1 2\n"[..], &[3][..]));
        for end in 0..bytes.len() {
            assert!(Parcel::open(&bytes[..end]).is_none());
        }
    }
}
