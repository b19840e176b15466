//! What new rules are made of.

use anyhow::bail;
use serde_json::{Map, Value, json};

use super::New;
use crate::config::RuleKind;
use crate::spec::{OPTIONS, PATTERNS, quoted};

/// A rule of the blocklist.
#[derive(Debug, clap::Args)]
pub struct NewBlock {
    /// A kind of pattern and its expression: prefix, notPrefix, sub, notSub, regex or notRegex
    #[arg(required = true, value_name = "RULE")]
    rule: Vec<String>,
}

impl New for NewBlock {
    const KIND: RuleKind = RuleKind::Blocklist;

    fn keys(&self) -> anyhow::Result<Map<String, Value>> {
        Ok(Map::from_iter([(
            "rule".to_owned(),
            self.rule.join(" ").into(),
        )]))
    }
}

/// Which names.
#[derive(Debug, Default, clap::Args)]
struct Patterns {
    /// Names that begin so
    #[arg(long)]
    prefix: Option<String>,
    /// Names that don't begin so
    #[arg(long)]
    not_prefix: Option<String>,
    /// Names that contain this
    #[arg(long)]
    sub: Option<String>,
    /// Names that don't contain this
    #[arg(long)]
    not_sub: Option<String>,
    /// Names that this expression finds
    #[arg(long)]
    regex: Option<String>,
    /// Names that this expression doesn't find
    #[arg(long)]
    not_regex: Option<String>,
}

impl Patterns {
    fn put(&self, keys: &mut Map<String, Value>) {
        let own = [
            &self.prefix,
            &self.not_prefix,
            &self.sub,
            &self.not_sub,
            &self.regex,
            &self.not_regex,
        ];
        for (name, value) in PATTERNS.iter().zip(own) {
            put(keys, name, value);
        }
    }
}

fn put(keys: &mut Map<String, Value>, name: &str, value: &Option<impl Clone + Into<Value>>) {
    if let Some(value) = value {
        keys.insert(name.to_owned(), value.clone().into());
    }
}

/// A rewriter.
#[derive(Debug, clap::Args)]
pub struct NewRewriter {
    /// What is replaced: a text, or an expression as /EXPRESSION/
    #[arg(value_name = "OLD", allow_hyphen_values = true)]
    old: String,
    /// What it becomes; groups of an expression as ${1}
    #[arg(value_name = "NEW", allow_hyphen_values = true)]
    new: String,
    /// Names with this are left alone: a text, or /EXPRESSION/
    #[arg(long)]
    not: Option<String>,
    /// How often in one name; -1: everywhere
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = -1)]
    max: i64,
}

impl New for NewRewriter {
    const KIND: RuleKind = RuleKind::Rewriter;

    fn keys(&self) -> anyhow::Result<Map<String, Value>> {
        let mut keys = Map::new();
        keys.insert("old".to_owned(), self.old[..].into());
        keys.insert("new".to_owned(), self.new[..].into());
        keys.insert("max".to_owned(), self.max.into());
        put(&mut keys, "not", &self.not);
        Ok(keys)
    }
}

/// An aggregation.
#[derive(Debug, clap::Args)]
pub struct NewAggregation {
    /// What is computed: sum, avg, min, max, last, count or another
    function: String,
    /// What it is called; groups of the expression as ${1}
    format: String,
    #[command(flatten)]
    patterns: Patterns,
    /// How long a window is: seconds, or 10s, 1m
    #[arg(long, value_name = "TIME")]
    interval: Option<String>,
    /// How long late points are waited for: seconds, or 10s, 1m
    #[arg(long, value_name = "TIME")]
    wait: Option<String>,
    /// What was taken goes no further
    #[arg(long)]
    drop_raw: bool,
}

impl New for NewAggregation {
    const KIND: RuleKind = RuleKind::Aggregation;

    fn keys(&self) -> anyhow::Result<Map<String, Value>> {
        let mut keys = Map::new();
        keys.insert("function".to_owned(), self.function[..].into());
        keys.insert("format".to_owned(), self.format[..].into());
        self.patterns.put(&mut keys);
        for (name, value) in [("interval", &self.interval), ("wait", &self.wait)] {
            if let Some(text) = value {
                keys.insert(name.to_owned(), super::value_of(name, text));
            }
        }
        if self.drop_raw {
            keys.insert("dropRaw".to_owned(), true.into());
        }
        Ok(keys)
    }
}

/// A route.
#[derive(Debug, clap::Args)]
pub struct NewRoute {
    /// What it will be known by
    key: String,
    /// Where to: HOST:PORT, HOST:PORT:INSTANCE or file:PATH, each with its options OPTION=VALUE behind it
    #[arg(required = true, value_name = "DESTINATION")]
    destinations: Vec<String>,
    #[command(flatten)]
    patterns: Patterns,
    /// Which of its destinations take a line: sendAllMatch (the default), sendFirstMatch, consistentHashing or another
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Any other key of a route, as the config file names it
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl New for NewRoute {
    const KIND: RuleKind = RuleKind::Route;

    fn keys(&self) -> anyhow::Result<Map<String, Value>> {
        let mut keys = super::patch(&self.set, &[])?;
        keys.insert("key".to_owned(), self.key[..].into());
        put(&mut keys, "type", &self.kind);
        self.patterns.put(&mut keys);
        keys.insert(
            "destinations".to_owned(),
            json!(joined(&self.destinations)?),
        );
        Ok(keys)
    }
}

/// Destination strings of words: one that is an option belongs to the address before it.
///
/// # Errors
/// The first word is an option.
pub fn joined(words: &[String]) -> anyhow::Result<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    for word in words {
        let option = word.split_once('=');
        match (
            option.filter(|(name, _)| OPTIONS.contains(name) || PATTERNS.contains(name)),
            all.last_mut(),
        ) {
            (None, _) => all.push(word.clone()),
            (Some((name, value)), Some(last)) => {
                last.push_str(&format!(" {name}={}", quoted(value)));
            }
            (Some(_), None) => bail!("expected an address before its options, found {word:?}"),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_belong_to_the_address_before_them() {
        let of = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            joined(&words)
        };
        assert_eq!(
            of(&["h:1", "queue=1MiB", "sub=a b", "h:2 full=drop", "file:a=b"]).unwrap(),
            ["h:1 queue=1MiB sub=\"a b\"", "h:2 full=drop", "file:a=b"]
        );
        assert!(of(&["queue=1MiB", "h:1"]).is_err());
    }
}
