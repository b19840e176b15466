//! One aggregator: which points it takes, and what they become.

use super::Function;
use crate::route::{self, BadPattern, Literals, Matcher, Patterns};
use crate::template::{BadExpression, Template, quoted};

/// An aggregator, ready to be asked.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The canonical text, `sum prefix=a regex=^(.) sum.$1 10 20 dropRaw=true`: what the rule is known by.
    pub text: String,
    /// Of the text; what windows know it by.
    pub(super) id: u64,
    /// What is computed.
    pub function: Function,
    /// The length of a window, in seconds.
    pub interval: u32,
    /// How long after its beginning a window is closed, in seconds.
    pub wait: u32,
    /// Whether the points it takes go no further: neither to later aggregators nor to routes.
    pub drop_raw: bool,
    /// Which names it takes.
    pub patterns: Patterns,
    /// All of the conditions but `regex`.
    matcher: Matcher,
    format: Format,
}

/// Where the output's name comes from.
#[derive(Debug, Clone)]
enum Format {
    /// Without an expression there is nothing to fill it with.
    AsItStands(Vec<u8>),
    Template(Box<Template>),
}

/// What is no aggregator.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BadAggregation {
    /// There is no such interval.
    #[error("interval: expected a second at least, found 0")]
    Interval,
    /// What would come out had no name.
    #[error("format: expected a name for what comes out, found an empty one")]
    NoFormat,
    /// What would come out were no line.
    #[error("format: expected a name without blanks and control characters, found {0:?}")]
    Format(String),
    /// `regex` can't be compiled.
    #[error("regex: {0}")]
    Regex(#[from] BadExpression),
    /// `notRegex` can't be compiled.
    #[error("{0}")]
    Pattern(#[from] BadPattern),
}

impl BadAggregation {
    /// Which key it is about.
    pub fn key(&self) -> &'static str {
        match self {
            BadAggregation::Interval => "interval",
            BadAggregation::NoFormat | BadAggregation::Format(_) => "format",
            BadAggregation::Regex(_) => "regex",
            BadAggregation::Pattern(bad) => bad.key,
        }
    }
}

impl Rule {
    /// Compiles an aggregator. `format` is the name of what comes out, filled by the groups of the first match of
    /// `regex`; without `regex` it stands as it is. `interval` and `wait` are in seconds.
    ///
    /// # Errors
    /// When the interval is 0, the format can't be a name, or an expression is none.
    pub fn new(
        function: Function,
        patterns: &Patterns,
        format: &str,
        interval: u32,
        wait: u32,
        drop_raw: bool,
    ) -> Result<Rule, BadAggregation> {
        if interval == 0 {
            return Err(BadAggregation::Interval);
        }
        if format.is_empty() {
            return Err(BadAggregation::NoFormat);
        }
        if format.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(BadAggregation::Format(format.to_owned()));
        }
        let others = Patterns {
            regex: String::new(),
            ..patterns.clone()
        };
        let text = canonical(function, patterns, format, interval, wait, drop_raw);
        Ok(Rule {
            id: fnv1a(text.as_bytes()),
            text,
            function,
            interval,
            wait,
            drop_raw,
            matcher: Matcher::new(&others)?,
            format: match &patterns.regex[..] {
                "" => Format::AsItStands(format.as_bytes().to_vec()),
                regex => Format::Template(Box::new(Template::new(regex, format)?)),
            },
            patterns: patterns.clone(),
        })
    }

    /// Whether it takes a point of this name. If so, what the point is called from then on is appended: nothing, when
    /// the groups that the format names are empty.
    #[inline]
    pub fn output(&self, name: &[u8], to: &mut Vec<u8>) -> bool {
        if !self.matcher.matches(name) {
            return false;
        }
        match &self.format {
            Format::AsItStands(format) => {
                to.extend_from_slice(format);
                true
            }
            Format::Template(template) => template.expand_first(name, to),
        }
    }

    /// What stands for its text in windows, the same in every process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The groups that the format names and `regex` lacks; they are empty in what comes out. Without `regex` the format
    /// has no groups.
    pub fn unknown_groups(&self) -> &[String] {
        match &self.format {
            Format::Template(template) => template.unknown(),
            Format::AsItStands(_) => &[],
        }
    }
}

impl route::Aggregate for Rule {
    fn output(&self, name: &[u8], to: &mut Vec<u8>) -> bool {
        Rule::output(self, name, to)
    }

    fn drops_raw(&self) -> bool {
        self.drop_raw
    }

    fn literals(&self) -> Vec<Literals> {
        let mut choices = self.matcher.choices();
        if !self.patterns.regex.is_empty() {
            choices.extend(Literals::of_expression(&self.patterns.regex));
        }
        choices
    }
}

/// The canonical text of an aggregator, whether it can be compiled or not.
pub fn canonical(
    function: Function,
    patterns: &Patterns,
    format: &str,
    interval: u32,
    wait: u32,
    drop_raw: bool,
) -> String {
    let mut text = function.as_str().to_owned();
    for (key, value) in patterns.named() {
        if !value.is_empty() {
            text.push_str(&format!(" {key}={}", quoted(value)));
        }
    }
    text.push_str(&format!(" {} {interval} {wait}", quoted(format)));
    if drop_raw {
        text.push_str(" dropRaw=true");
    }
    text
}

/// FNV-1a, 64 bits. The texts are the operator's own, and few.
fn fnv1a(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(patterns: &Patterns, format: &str) -> Result<Rule, BadAggregation> {
        Rule::new(Function::Sum, patterns, format, 10, 20, true)
    }

    fn output(rule: &Rule, name: &str) -> Option<String> {
        let mut to = b">".to_vec();
        let taken = rule.output(name.as_bytes(), &mut to);
        assert!(taken || to == b">");
        taken.then(|| String::from_utf8(to).unwrap())
    }

    #[test]
    fn without_an_expression_the_format_stands_as_it_is() {
        let patterns = Patterns {
            prefix: "a.".to_owned(),
            ..Patterns::default()
        };
        let rule = rule(&patterns, "all.$1").unwrap();
        assert_eq!(output(&rule, "a.b").unwrap(), ">all.$1");
        assert_eq!(output(&rule, "b"), None);
        assert_eq!(rule.text, "sum prefix=a. all.$1 10 20 dropRaw=true");
    }

    #[test]
    fn all_conditions_hold_beside_the_expression() {
        let patterns = Patterns {
            regex: r"^servers\.(\w+)".to_owned(),
            not_regex: "cpu$".to_owned(),
            not_sub: "idle".to_owned(),
            ..Patterns::default()
        };
        let rule = rule(&patterns, "all.${1}").unwrap();
        assert_eq!(output(&rule, "servers.a.mem").unwrap(), ">all.a");
        assert_eq!(output(&rule, "servers.a.cpu"), None);
        assert_eq!(output(&rule, "servers.idle.mem"), None);
        assert_eq!(output(&rule, "other.a.mem"), None);
    }

    #[test]
    fn errors_name_the_key() {
        let none = Patterns::default();
        let sum = |interval| Rule::new(Function::Sum, &none, "a", interval, 0, false);
        assert_eq!(sum(0).unwrap_err().key(), "interval");
        assert_eq!(rule(&none, "").unwrap_err().key(), "format");
        assert_eq!(rule(&none, "a b").unwrap_err().key(), "format");
        for (key, patterns) in [
            (
                "regex",
                Patterns {
                    regex: "(".to_owned(),
                    ..Patterns::default()
                },
            ),
            (
                "notRegex",
                Patterns {
                    not_regex: "(".to_owned(),
                    ..Patterns::default()
                },
            ),
        ] {
            let error = rule(&patterns, "a").unwrap_err();
            assert_eq!(error.key(), key);
            assert!(error.to_string().starts_with(key), "{error}");
        }
    }
}
