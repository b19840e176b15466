//! Windows and order of names on their way to another process, or to the next start.
//!
//! `length u64 | head, JSON | windows | order | lines that wait`, the last three as long as the head says.

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
    /// Whose they are: rule, windows, points, lines.
    tallies: Vec<[u64; 4]>,
    /// What a stop had left under these names is in the windows.
    #[serde(default)]
    pub restored: Vec<String>,
}

/// A parcel that is read.
#[derive(Debug)]
pub(in crate::worker) struct Parcel<'a> {
    pub(super) head: Head,
    pub(super) windows: &'a [u8],
    pub(super) order: &'a [u8],
    lines: &'a [u8],
}

/// Packs what a worker has, which takes in nothing any more.
pub(in crate::worker) fn pack(relay: &Relay, with_order: bool) -> io::Result<Vec<Vec<u8>>> {
    let intake = &relay.inputs.intake;
    let mut windows = Vec::new();
    intake.windows.save(&mut windows)?;
    let order = intake.order.get().filter(|_| with_order);
    let order = order.map(|order| order.save()).unwrap_or_default();
    let due = intake.windows.waiting().unwrap_or_default();
    let tallies = due.tallies.iter();
    let head = Head {
        windows: windows.len() as u64,
        order: order.len() as u64,
        lines: due.lines.len() as u64,
        tallies: tallies
            .map(|t| [t.rule, t.windows, t.points, t.lines])
            .collect(),
        restored: lock(&relay.gathering.restored).clone(),
    };
    let head = serde_json::to_vec(&head)?;
    let length = (head.len() as u64).to_le_bytes().to_vec();
    Ok(vec![length, head, windows, order, due.lines])
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
            head,
        })
    }

    /// Lines that found no room.
    pub fn due(&self) -> Option<Due> {
        let tallies = self.head.tallies.iter();
        let tallies = tallies.map(|&[rule, windows, points, lines]| Tally {
            rule,
            windows,
            points,
            lines,
        });
        let lines = self.lines.to_vec();
        (!self.head.tallies.is_empty() && (lines.is_empty() || lines.ends_with(b"\n")))
            .then(|| Due::new(lines, tallies.collect()))
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
        let due = parcel.due().unwrap();
        assert_eq!(
            (&due.lines[..], due.tallies[0].points),
            (&b"a 1 2\n"[..], 3)
        );
        for end in 0..bytes.len() {
            assert!(Parcel::open(&bytes[..end]).is_none());
        }
    }
}
