//! As much of PromQL as it takes to find the names in it.

use std::collections::BTreeSet;

/// A metric in an expression.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    pub name: String,
    /// The labels that its braces have.
    pub labels: BTreeSet<String>,
}

/// The names in an expression.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub metrics: Vec<Metric>,
    /// Labels of `by`, `on` and the like; what the result of an aggregation has.
    pub grouped: BTreeSet<String>,
}

const GROUPING: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
const WORDS: [&str; 5] = ["and", "or", "unless", "offset", "bool"];

/// Finds the names. Grafana's variables may stand where durations and strings do.
pub fn names(expression: &str) -> Names {
    let mut names = Names::default();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '"' => after_string(rest),
            '[' => after(rest, ']'),
            c if c.is_ascii_digit() => {
                rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.')
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let (word, behind) = word(rest);
                let behind = behind.trim_start();
                if GROUPING.contains(&word) && behind.starts_with('(') {
                    let end = behind.find(')').expect("labels end");
                    let labels = behind[1..end].split(',').map(str::trim);
                    let labels = labels.filter(|label| !label.is_empty());
                    names.grouped.extend(labels.map(str::to_owned));
                    &behind[end + 1..]
                } else if WORDS.contains(&word) || behind.starts_with('(') || is_grouped(behind) {
                    behind
                } else {
                    let mut labels = BTreeSet::new();
                    let behind = match behind.strip_prefix('{') {
                        Some(matchers) => after_matchers(matchers, &mut labels),
                        None => behind,
                    };
                    let name = word.to_owned();
                    names.metrics.push(Metric { name, labels });
                    behind
                }
            }
            c => &rest[c.len_utf8()..],
        }
        .trim_start();
    }
    names
}

/// `sum by (…) (…)`: what stands before it is no metric.
fn is_grouped(behind: &str) -> bool {
    matches!(word(behind).0, "by" | "without")
}

fn word(text: &str) -> (&str, &str) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()))
}

fn after(text: &str, end: char) -> &str {
    let at = text.find(end);
    &text[at.unwrap_or_else(|| panic!("{end} is missing: {text}")) + 1..]
}

fn after_string(text: &str) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return &text[at + 1..],
            _ => {}
        }
    }
    panic!("a string doesn't end: {text}");
}

fn after_matchers<'a>(mut text: &'a str, labels: &mut BTreeSet<String>) -> &'a str {
    loop {
        text = text.trim_start_matches([' ', ',']);
        if let Some(behind) = text.strip_prefix('}') {
            return behind;
        }
        let (label, behind) = word(text);
        assert!(!label.is_empty(), "no label: {text}");
        labels.insert(label.to_owned());
        text = after_string(behind.trim_start_matches(['=', '!', '~', ' ']));
    }
}

/// The names in `{{…}}` of a text: `{{name}}` in a legend, `{{ $labels.name }}` in an annotation.
pub fn shown(text: &str) -> BTreeSet<String> {
    let inside = text.split("{{").skip(1);
    let inside = inside.map(|part| part.split("}}").next().unwrap().trim());
    inside
        .filter(|name| !name.starts_with("$value"))
        .map(|name| name.trim_start_matches("$labels.").to_owned())
        .collect()
}

#[test]
fn names_are_found_where_they_are() {
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let metric = |name: &str, labels: &[&str]| Metric {
        name: name.to_owned(),
        labels: set(labels),
    };
    let found = names(
        r#"sum by (a, b) (rate(x_total{c=~"$c}\"d", e!="f"}[$__rate_interval])) > 0.01 * y or vector(0) unless on (g) z offset 10m"#,
    );
    assert_eq!(
        found,
        Names {
            metrics: vec![
                metric("x_total", &["c", "e"]),
                metric("y", &[]),
                metric("z", &[])
            ],
            grouped: set(&["a", "b", "g"]),
        }
    );
    assert_eq!(
        shown("{{a}} of {{ $labels.b }}: {{ $value | humanize }}"),
        set(&["a", "b"])
    );
}
