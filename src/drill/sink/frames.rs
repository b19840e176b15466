//! Frames of pickled points become lines again.
//!
//! Only what Baton is to send is read: a list of `(name, (timestamp, value))`, an integer and a float. All else is torn.

use std::io::Write;

use crate::drill::Account;

/// Carbon closes a connection over a frame that is longer.
const LONGEST: usize = 1 << 20;
/// Carbon's own frames have no more points.
const POINTS: usize = 500;

/// Enters the points of all frames that are whole with these bytes.
pub(super) fn enter(rest: &mut Vec<u8>, bytes: &[u8], now: u64, account: &mut Account) {
    rest.extend_from_slice(bytes);
    let (mut at, mut line) = (0, Vec::new());
    while let Some(length) = rest[at..].first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        if length > LONGEST {
            account.tear(&rest[at..]);
            at = rest.len();
            break;
        }
        let Some(frame) = rest.get(at + 4..at + 4 + length) else {
            break;
        };
        let Some(points) = points(frame) else {
            account.tear(frame);
            at += 4 + length;
            continue;
        };
        for (name, timestamp, value) in points {
            line.clear();
            line.extend_from_slice(name);
            // Numbered lines have four digits behind the point.
            // Writing to memory does not fail.
            let _ = write!(line, " {value:.4} {timestamp}");
            account.line(&line, now);
        }
        at += 4 + length;
    }
    rest.drain(..at);
}

/// The points of a pickle, all or `None`.
fn points(pickle: &[u8]) -> Option<Vec<(&[u8], i32, f64)>> {
    let mut rest = pickle.strip_prefix(b"\x80\x02](")?;
    let mut points = Vec::new();
    while rest != b"e." {
        let (length, after) = rest.strip_prefix(b"X")?.split_first_chunk::<4>()?;
        let (name, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let (timestamp, after) = after.strip_prefix(b"J")?.split_first_chunk::<4>()?;
        let (value, after) = after.strip_prefix(b"G")?.split_first_chunk::<8>()?;
        rest = after.strip_prefix(b"\x86\x86")?;
        let numbers = (i32::from_le_bytes(*timestamp), f64::from_be_bytes(*value));
        points.push((name, numbers.0, numbers.1));
    }
    (1..=POINTS).contains(&points.len()).then_some(points)
}
