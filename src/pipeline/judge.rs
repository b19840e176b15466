//! The verdict on one line: rejected, good as it came, or good once it is written anew.
//!
//! Nearly all lines need no change, and [`canonical`] finds that out quickly. It is only a short cut: whatever it turns
//! down, [`judge`] looks at in full, and both agree wherever the first one says yes.

use std::{io::Write, ops::Range};

use crate::{
    decode::line::{self, Fields, Line},
    validate::{
        Reason, Rules, name,
        number::{self, Stamp},
        tags,
    },
};

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is nothing in it.
    Empty,
    /// It may not pass.
    Rejected(Reason),
    /// It may pass as it is.
    AsItCame {
        /// Where the name lies in the line.
        name: Range<usize>,
    },
    /// It may pass as it was written to the scratch.
    Changed {
        /// Where the name lies in the scratch.
        name: Range<usize>,
        /// Where the whole line lies there, newline included.
        text: Range<usize>,
    },
}

/// The changed lines of a batch.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    text: Vec<u8>,
    sorter: tags::Sorter,
}

impl Scratch {
    pub(super) fn clear(&mut self) {
        self.text.clear();
    }

    pub(super) fn text(&self, range: Range<usize>) -> &[u8] {
        &self.text[range]
    }
}

/// The length of the name, if the line is good as it came and this can be seen at a glance: single blanks, a timestamp
/// of ten digits, nothing that the rules would put in order.
#[inline]
pub(super) fn canonical(rules: &Rules, line: &[u8]) -> Option<usize> {
    let (rest, timestamp) = line.split_last_chunk::<10>()?;
    let (&b' ', rest) = rest.split_last()? else {
        return None;
    };
    let blank = memchr::memchr(b' ', rest)?;
    let (name, value) = (&rest[..blank], &rest[blank + 1..]);
    let good = line.len() <= rules.max_line
        && number::is_usual_timestamp(timestamp)
        && number::value(value).is_ok()
        && name::check(rules, name).is_ok()
        && !may_need_order(rules, name);
    good.then_some(blank)
}

/// Whether the rules may change the name.
#[inline]
fn may_need_order(rules: &Rules, name: &[u8]) -> bool {
    (rules.clean_dots || rules.sort_tags) && {
        let (path, tags) = name::parts(name);
        rules.clean_dots && !name::has_clean_dots(path) || rules.sort_tags && !tags.is_empty()
    }
}

/// Judges any line (without its newline), and writes it to the scratch if it may pass but not as it came. `ended`
/// says whether a newline follows; a line without one is written with one.
pub(super) fn judge(rules: &Rules, now: u32, line: &[u8], ended: bool, scratch: &mut Scratch) -> Verdict {
    if line.len() > rules.max_line {
        return Verdict::Rejected(Reason::TooLong);
    }
    let fields = match line::fields(line) {
        Line::Empty => return Verdict::Empty,
        Line::Malformed => return Verdict::Rejected(Reason::Fields),
        Line::Point(fields) => fields,
    };
    let start = scratch.text.len();
    match write(rules, now, &fields, scratch) {
        Err(reason) => {
            scratch.text.truncate(start);
            Verdict::Rejected(reason)
        }
        Ok(_) if ended && scratch.text[start..scratch.text.len() - 1] == *line => {
            scratch.text.truncate(start);
            Verdict::AsItCame {
                name: 0..fields.name.len(),
            }
        }
        Ok(name) => Verdict::Changed {
            name: start..start + name,
            text: start..scratch.text.len(),
        },
    }
}

/// Writes the line as it is to be sent, and returns the length of its name.
fn write(rules: &Rules, now: u32, fields: &Fields, scratch: &mut Scratch) -> Result<usize, Reason> {
    let start = scratch.text.len();
    write_name(rules, fields.name, scratch);
    let name = scratch.text.len() - start;
    name::check(rules, &scratch.text[start..])?;
    number::value(fields.value)?;
    let stamp = number::timestamp(fields.timestamp)?;
    let text = &mut scratch.text;
    text.push(b' ');
    text.extend_from_slice(fields.value);
    text.push(b' ');
    match stamp {
        Stamp::AsItCame => text.extend_from_slice(fields.timestamp),
        Stamp::Truncated(size) => text.extend_from_slice(&fields.timestamp[..size]),
        // Writing to memory does not fail.
        Stamp::Now => drop(write!(text, "{now}")),
    }
    text.push(b'\n');
    Ok(name)
}

/// Writes the name with its dots and tags in order, where the rules ask for it. Tags that are not well formed stay as
/// they are, for the check to refuse or, by its level, to let pass.
fn write_name(rules: &Rules, name: &[u8], scratch: &mut Scratch) {
    let (path, tags) = name::parts(name);
    if rules.clean_dots {
        name::clean_dots(path, &mut scratch.text);
    } else {
        scratch.text.extend_from_slice(path);
    }
    if rules.sort_tags && tags::are_well_formed(tags) {
        scratch.sorter.sort(tags, &mut scratch.text);
    } else {
        scratch.text.extend_from_slice(tags);
    }
}
