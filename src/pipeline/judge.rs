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
        /// The size of the name, with which it begins.
        name: usize,
    },
    /// It may pass as it was written to the scratch.
    Changed {
        /// The size of the name, with which it begins.
        name: usize,
        /// Where it lies there, newline included.
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

    /// Writes a line anew with another name: `rest` is what follows the name, newline included or still to be added.
    pub(super) fn rename(&mut self, name: &[u8], rest: &[u8]) -> Range<usize> {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(rest);
        start..self.text.len()
    }

    /// The same for a line that lies here already.
    pub(super) fn rename_again(&mut self, name: &[u8], rest: Range<usize>) -> Range<usize> {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_within(rest);
        start..self.text.len()
    }

    /// Forgets what lies here from a position on.
    pub(super) fn truncate(&mut self, end: usize) {
        self.text.truncate(end);
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
    // From the right, where the value is short; another blank on the left would be in the name, which may hold none.
    let value = match rest.last_chunk().and_then(number::short_value) {
        Some(size) => size,
        None => any_value(rest)?,
    };
    let name = &rest[..rest.len() - value - 1];
    let good = line.len() <= rules.max_line
        && number::is_usual_timestamp(timestamp)
        && name::check(rules, name).is_ok()
        && !((rules.clean_dots || rules.sort_tags) && may_need_order(rules, name));
    good.then_some(name.len())
}

/// The length of the value at the end, after the last blank.
fn any_value(rest: &[u8]) -> Option<usize> {
    let value = &rest[memchr::memrchr(b' ', rest)? + 1..];
    number::value(value).is_ok().then_some(value.len())
}

/// Whether the rules may change the name.
fn may_need_order(rules: &Rules, name: &[u8]) -> bool {
    let (path, tags) = name::parts(name);
    rules.clean_dots && !name::has_clean_dots(path) || rules.sort_tags && !tags.is_empty()
}

/// Judges any line (without its newline), and writes it to the scratch if it may pass but not as it came. `ended`
/// says whether a newline follows; a line without one is written with one.
pub(super) fn judge(
    rules: &Rules,
    now: u32,
    line: &[u8],
    ended: bool,
    scratch: &mut Scratch,
) -> Verdict {
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
                name: fields.name.len(),
            }
        }
        Ok(name) => Verdict::Changed {
            name,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::{Level, LevelM20};
    use proptest::prelude::*;

    fn rules() -> impl Strategy<Value = Rules> {
        let level = prop_oneof![Just(Level::None), Just(Level::Medium), Just(Level::Strict)];
        let level_m20 = prop_oneof![Just(LevelM20::None), Just(LevelM20::Medium)];
        (level, level_m20, any::<bool>(), any::<bool>(), 24..64usize).prop_map(
            |(level, level_m20, clean_dots, sort_tags, max_line)| Rules {
                level,
                level_m20,
                clean_dots,
                sort_tags,
                max_line,
            },
        )
    }

    /// Lines that are good, nearly good, and not good at all.
    fn lines() -> impl Strategy<Value = Vec<u8>> {
        let name = "[a-c._]{1,30}|[a-c.]{1,9}(;[a-c]=[~a-c]){0,4}|([a-c]|unit|mtype)(=|_is_)[a-c][.=a-c]{0,9}";
        let value = "-?[0-9]{1,9}([.][0-9]{0,4})?|[-+.0-9e]{0,9}|nan";
        let timestamp = "[0-9]{10}|42949672[89][0-9]|-1|[0-9]{0,11}([.][0-9]*)?";
        let blank = "( | | | | | |  |\t| \t)";
        let line = format!("{blank}?({name}){blank}({value}){blank}({timestamp})( |\r)?");
        let clean = format!("({name}) ({value}) [0-9]{{10}}");
        let text = prop_oneof![
            proptest::string::string_regex(&clean).expect("an expression"),
            proptest::string::string_regex(&line).expect("an expression"),
        ];
        (text, 0..9usize, 0..60usize, any::<u8>()).prop_map(|(text, change, at, byte)| {
            let mut line = text.into_bytes();
            let at = at % line.len().max(1);
            // A newline would have ended the line.
            if change == 0 && byte != b'\n' && at < line.len() {
                line[at] = byte;
            }
            line
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn the_glance_agrees_with_the_full_look(rules in rules(), line in lines()) {
            if let Some(name) = canonical(&rules, &line) {
                let verdict = judge(&rules, 7, &line, true, &mut Scratch::default());
                prop_assert_eq!(verdict, Verdict::AsItCame { name });
            }
        }

        /// What was put in order is in order: a second time changes nothing.
        #[test]
        fn a_changed_line_passes_as_it_came(rules in rules(), line in lines(), now: u32) {
            let mut scratch = Scratch::default();
            if let Verdict::Changed { name, text } = judge(&rules, now, &line, true, &mut scratch) {
                let rules = Rules { max_line: 100, ..rules };
                let again = scratch.text[text.start..text.end - 1].to_vec();
                let verdict = judge(&rules, 7, &again, true, &mut scratch);
                prop_assert_eq!(verdict, Verdict::AsItCame { name });
            }
        }
    }

    #[test]
    fn usual_lines_are_good_at_a_glance() {
        for line in [
            "servers.a.cpu 1.5 1790000000",
            "a 1 1790000000",
            "cpu;host=a -12345678.5 1790000000",
            "a_b.c 1e-7 4294967295",
        ] {
            assert!(
                canonical(&Rules::default(), line.as_bytes()).is_some(),
                "{line}"
            );
        }
    }
}
