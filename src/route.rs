//! The `route` room: stand-ins until the real one is merged.

/// What must hold of a name; `""` is unset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    /// The name begins with it.
    pub prefix: String,
    /// The name doesn't begin with it.
    pub not_prefix: String,
    /// The name contains it.
    pub sub: String,
    /// The name doesn't contain it.
    pub not_sub: String,
    /// The expression matches somewhere.
    pub regex: String,
    /// The expression matches nowhere.
    pub not_regex: String,
}

/// Compiled [`Patterns`].
#[derive(Debug)]
pub struct Matcher;

/// An expression that does not compile.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadPattern(String);

impl Matcher {
    /// Compiles the expressions.
    pub fn new(patterns: &Patterns) -> Result<Matcher, BadPattern> {
        let both = [
            ("regex", &patterns.regex),
            ("notRegex", &patterns.not_regex),
        ];
        for (key, expression) in both {
            regex::bytes::Regex::new(expression).map_err(|e| {
                let said = e.to_string();
                let last = said.lines().last().unwrap_or_default();
                BadPattern(format!(
                    "{key} {expression:?} is not a regular expression: {}",
                    last.strip_prefix("error: ").unwrap_or(last)
                ))
            })?;
        }
        Ok(Matcher)
    }
}

/// Which destinations of a route take a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Every one whose matcher accepts.
    SendAllMatch,
    /// The first one whose matcher accepts.
    SendFirstMatch,
}

impl RouteKind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            RouteKind::SendAllMatch => "sendAllMatch",
            RouteKind::SendFirstMatch => "sendFirstMatch",
        }
    }
}

/// A word that is no kind of route.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UnknownKind(String);

impl std::str::FromStr for RouteKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<RouteKind, UnknownKind> {
        match text {
            "sendAllMatch" => Ok(RouteKind::SendAllMatch),
            "sendFirstMatch" => Ok(RouteKind::SendFirstMatch),
            _ => Err(UnknownKind(text.to_owned())),
        }
    }
}

/// One entry of the blocklist.
#[derive(Debug)]
pub struct BlockRule;

/// An entry of the blocklist that is none.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadRule(String);

impl BlockRule {
    /// Reads `kind expression`.
    pub fn parse(text: &str) -> Result<BlockRule, BadRule> {
        let (kind, expression) = text.split_once(' ').unwrap_or((text, ""));
        let mut patterns = Patterns::default();
        match kind {
            "prefix" | "notPrefix" | "sub" | "notSub" => {}
            "regex" | "notRegex" => patterns.regex = expression.to_owned(),
            _ => {
                return Err(BadRule(format!(
                    "blocklist rule {text:?} begins with none of prefix, notPrefix, sub, notSub, regex, notRegex"
                )));
            }
        }
        if expression.is_empty() {
            return Err(BadRule(format!(
                "blocklist rule {text:?} has no expression"
            )));
        }
        match Matcher::new(&patterns) {
            Ok(_) => Ok(BlockRule),
            Err(e) => Err(BadRule(format!("blocklist rule: {e}"))),
        }
    }
}
