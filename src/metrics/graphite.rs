//! Lines for Graphite.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use super::{Metric, Number};

/// Of a label this much is kept: Carbon makes a file or folder of each node, and file systems allow
/// 255 bytes.
const MAX_NODE: usize = 200;

/// Renders `PREFIX.path value timestamp` lines, each ending in a newline. `now` is in seconds since
/// 1970.
///
/// In a path each label is one node. With a prefix that is made by [`expand_host`] of words of
/// `[A-Za-z0-9_-]` all lines pass the strictest validation. What Graphite has no number for
/// (infinities) is left out.
pub fn graphite(prefix: &str, metrics: &[Metric], now: u32) -> String {
    let mut nodes = Nodes::default();
    let mut text = String::with_capacity(metrics.len() * 96);
    for metric in metrics {
        let Some(path) = metric.family.path else {
            continue;
        };
        let path = expand(path, metric, &mut nodes);
        // Writing to memory does not fail.
        let _ok = match metric.value {
            Number::Whole(n) => writeln!(text, "{prefix}.{path} {n} {now}"),
            Number::Real(x) if x.is_finite() => writeln!(text, "{prefix}.{path} {x} {now}"),
            Number::Real(_) => Ok(()),
        };
    }
    text
}

/// Puts the machine's name, as one node, where `{host}` stands; as Carbon does, with underscores
/// for dots.
pub fn expand_host(prefix: &str, hostname: &str) -> String {
    without_is(prefix.replace("{host}", &node(hostname)))
}

fn expand<'a>(path: &str, metric: &'a Metric, nodes: &mut Nodes<'a>) -> String {
    let mut path = path.to_owned();
    for (label, value) in &metric.labels {
        let place = format!("{{{label}}}");
        if path.contains(&place) {
            path = path.replace(&place, &nodes.of(label, value));
        }
    }
    path
}

/// Gives each value of a label a node of its own, also where two would look the same.
#[derive(Default)]
struct Nodes<'a> {
    given: HashMap<(&'static str, &'a str), String>,
    taken: HashSet<(&'static str, String)>,
}

impl<'a> Nodes<'a> {
    fn of(&mut self, label: &'static str, value: &'a str) -> String {
        if let Some(node) = self.given.get(&(label, value)) {
            return node.clone();
        }
        let plain = node(value);
        let mut own = plain.clone();
        for number in 2.. {
            if self.taken.insert((label, own.clone())) {
                break;
            }
            own = format!("{plain}-{number}");
        }
        self.given.insert((label, value), own.clone());
        own
    }
}

/// Any text as a node: `[A-Za-z0-9_-]`, and never empty.
fn node(text: &str) -> String {
    let mut node = String::with_capacity(text.len().min(MAX_NODE));
    for c in text.chars() {
        let good = c.is_ascii_alphanumeric() || c == '-';
        if good {
            node.push(c);
        } else if !node.ends_with('_') {
            node.push('_');
        }
        if node.len() == MAX_NODE {
            break;
        }
    }
    if node.is_empty() {
        node.push('_');
    }
    without_is(node)
}

/// `_is_` would make a Metrics 2.0 name of it, with rules of its own.
fn without_is(path: String) -> String {
    path.replace("_is_", "_is-")
}
