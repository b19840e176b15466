//! What a subscriber wants to see.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::subscription::Subscriber;
use crate::route::Patterns;

/// A pattern has at most so many bytes.
pub const MAX_PATTERN: usize = 1024;

/// The words that may be said, as a query and as `key=value`.
pub const KEYS: [&str; 9] = [
    "at",
    "prefix",
    "notPrefix",
    "sub",
    "notSub",
    "regex",
    "notRegex",
    "glob",
    "sample",
];

/// Where on its way a line is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum At {
    /// As it came, before anything was judged; those that are rejected too.
    In,
    /// As it is sent, when at least one route takes it; once, however many do. Lines that aggregations make as well.
    #[default]
    Routed,
    /// As it came, with the reason before it: `reason: line`.
    Rejected,
}

impl At {
    /// All of them.
    pub const ALL: [At; 3] = [At::In, At::Routed, At::Rejected];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            At::In => "in",
            At::Routed => "routed",
            At::Rejected => "rejected",
        }
    }

    pub(super) fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<At, String> {
        let found = At::ALL.into_iter().find(|at| at.as_str() == text);
        found.ok_or_else(|| format!("at: expected in, routed or rejected, found {text:?}"))
    }
}

/// What a subscriber wants to see. All patterns that are set must hold for the name, with its tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// Where.
    pub at: At,
    /// As a route has them; empty ones aren't set.
    #[serde(with = "Six")]
    pub patterns: Patterns,
    /// A [glob](super::Glob) that the whole name matches; empty: not set.
    pub glob: String,
    /// One line of so many is looked at, picked at random, before anything is matched; `None`: all.
    pub sample: Option<u32>,
}

/// [`Patterns`], for serde.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Patterns", default, deny_unknown_fields)]
struct Six {
    prefix: String,
    not_prefix: String,
    sub: String,
    not_sub: String,
    regex: String,
    not_regex: String,
}

impl Default for Six {
    fn default() -> Six {
        Six::from(Patterns::default())
    }
}

impl From<Patterns> for Six {
    fn from(patterns: Patterns) -> Six {
        let Patterns {
            prefix,
            not_prefix,
            sub,
            not_sub,
            regex,
            not_regex,
        } = patterns;
        Six {
            prefix,
            not_prefix,
            sub,
            not_sub,
            regex,
            not_regex,
        }
    }
}

impl Wanted {
    /// Reads pairs, as a query has them: `at=in|routed|rejected` (else routed), `prefix`, `notPrefix`, `sub`, `notSub`,
    /// `regex`, `notRegex`, `glob`, `sample=N`. An empty value is as none.
    ///
    /// # Errors
    /// In words: there is another key, one twice, or a value that can't be. Whether expressions are any is seen when a
    /// subscription [begins](super::Tap::subscribe).
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Wanted, String> {
        let mut wanted = Wanted::default();
        let mut seen: Vec<&str> = Vec::new();
        for (key, value) in pairs {
            if seen.contains(&key) {
                return Err(format!("{key}: given twice"));
            }
            seen.push(key);
            wanted.set(key, value)?;
        }
        Ok(wanted)
    }

    /// Reads words, as a command has them: each `key=value`, as [pairs](Wanted::from_pairs).
    ///
    /// # Errors
    /// As there.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Wanted, String> {
        let mut pairs = Vec::new();
        for word in words {
            let pair = word.split_once('=');
            pairs.push(pair.ok_or_else(|| {
                format!(
                    "expected key=value, found {word:?}; the keys are {}",
                    KEYS.join(", ")
                )
            })?);
        }
        Wanted::from_pairs(pairs)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let Patterns {
            prefix,
            not_prefix,
            sub,
            not_sub,
            regex,
            not_regex,
        } = &mut self.patterns;
        let pattern = match key {
            "prefix" => prefix,
            "notPrefix" => not_prefix,
            "sub" => sub,
            "notSub" => not_sub,
            "regex" => regex,
            "notRegex" => not_regex,
            "glob" => &mut self.glob,
            "at" => {
                self.at = match value {
                    "" => At::default(),
                    value => value.parse()?,
                };
                return Ok(());
            }
            "sample" => {
                self.sample = sample(value)?;
                return Ok(());
            }
            _ => {
                let known = KEYS.join(", ");
                return Err(format!("there is no {key:?} here: expected {known}"));
            }
        };
        if value.len() > MAX_PATTERN {
            return Err(format!("{key}: expected at most {MAX_PATTERN} bytes"));
        }
        value.clone_into(pattern);
        Ok(())
    }

    /// Whether its expressions are any: compiles them.
    ///
    /// # Errors
    /// In words: which one isn't.
    pub fn check(&self) -> Result<(), String> {
        Subscriber::new(self).map(|_| ())
    }

    /// The pairs that say this; what isn't set is left out.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![("at", self.at.to_string())];
        let patterns = self.patterns.named().into_iter();
        let patterns = patterns.chain([("glob", &self.glob[..])]);
        let set = patterns.filter(|(_, text)| !text.is_empty());
        pairs.extend(set.map(|(key, text)| (key, text.to_owned())));
        pairs.extend(self.sample.map(|sample| ("sample", sample.to_string())));
        pairs
    }
}

fn sample(value: &str) -> Result<Option<u32>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    match value.parse() {
        Ok(0) | Err(_) => Err(format!(
            "sample: expected a number from 1 to {}, of which one line is picked, found {value:?}",
            u32::MAX
        )),
        Ok(sample) => Ok(Some(sample)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_pairs_say_the_same() {
        let words = "at=in prefix=a. notSub=x=y regex=b+ glob=a.*.{c,d} sample=10";
        let wanted = Wanted::from_words(words.split(' ')).unwrap();
        assert_eq!((wanted.at, wanted.sample), (At::In, Some(10)));
        assert_eq!(&wanted.patterns.not_sub, "x=y");
        let pairs = wanted.pairs();
        let pairs = pairs.iter().map(|(key, value)| (*key, &value[..]));
        assert_eq!(Wanted::from_pairs(pairs).unwrap(), wanted);
        let json = serde_json::to_string(&wanted).unwrap();
        assert_eq!(serde_json::from_str::<Wanted>(&json).unwrap(), wanted);
        assert_eq!(Wanted::from_words([]).unwrap(), Wanted::default());
        let empty = [("at", ""), ("glob", ""), ("sample", "")];
        assert_eq!(Wanted::from_pairs(empty).unwrap(), Wanted::default());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let long = format!("sub={}", "x".repeat(MAX_PATTERN + 1));
        for (words, said) in [
            ("at=out", "expected in, routed or rejected"),
            ("servers.*", "expected key=value"),
            ("prefix=a prefix=b", "given twice"),
            ("sample=0", "from 1 to"),
            ("sample=-1", "from 1 to"),
            ("globs=a", "no \"globs\""),
            (&long, "at most 1024 bytes"),
        ] {
            let error = Wanted::from_words(words.split(' ')).unwrap_err();
            assert!(error.contains(said), "{words}: {error}");
        }
    }
}
