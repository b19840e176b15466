//! Blocklist rules: one condition each, and a name that meets it goes nowhere.

use super::matcher::{BadPattern, Matcher, Patterns};

/// The condition of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockKind {
    /// The name begins with the expression.
    Prefix,
    /// It doesn't.
    NotPrefix,
    /// The name contains the expression.
    Sub,
    /// It doesn't.
    NotSub,
    /// The name matches the regular expression.
    Regex,
    /// It doesn't.
    NotRegex,
}

impl BlockKind {
    /// All kinds, in the order in which they are named to people.
    pub const ALL: [BlockKind; 6] = [
        BlockKind::Prefix,
        BlockKind::NotPrefix,
        BlockKind::Sub,
        BlockKind::NotSub,
        BlockKind::Regex,
        BlockKind::NotRegex,
    ];

    /// The word that stands for it.
    pub fn as_str(self) -> &'static str {
        match self {
            BlockKind::Prefix => "prefix",
            BlockKind::NotPrefix => "notPrefix",
            BlockKind::Sub => "sub",
            BlockKind::NotSub => "notSub",
            BlockKind::Regex => "regex",
            BlockKind::NotRegex => "notRegex",
        }
    }
}

/// One entry of the blocklist.
#[derive(Debug, Clone)]
pub struct BlockRule {
    /// The canonical text, `prefix foo`: what the rule is known by.
    pub text: String,
    /// Which condition it is.
    pub kind: BlockKind,
    /// What it is about: literal text or a regular expression.
    pub expression: String,
    compiled: Matcher,
}

/// A text that is no rule.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BadRule {
    /// The first word is no kind of rule.
    #[error(
        "blocklist rule {text:?} begins with none of prefix, notPrefix, sub, notSub, regex, notRegex"
    )]
    Kind {
        /// The rule as written.
        text: String,
    },
    /// Nothing follows the kind.
    #[error("blocklist rule {text:?} has no expression: expected \"{text} <expression>\"")]
    Expression {
        /// The rule as written.
        text: String,
    },
    /// What follows is no regular expression.
    #[error("blocklist rule: {0}")]
    Pattern(#[from] BadPattern),
}

impl BlockRule {
    /// Reads `kind expression`. The expression is the rest of the text without blanks around it.
    ///
    /// # Errors
    /// When the kind is unknown, the expression is missing, or it is no regular expression where it should be one.
    pub fn parse(text: &str) -> Result<BlockRule, BadRule> {
        let text = text.trim();
        let (word, expression) = match text.split_once(char::is_whitespace) {
            Some((word, expression)) => (word, expression.trim_start()),
            None => (text, ""),
        };
        let Some(kind) = BlockKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
        else {
            return Err(BadRule::Kind {
                text: text.to_owned(),
            });
        };
        if expression.is_empty() {
            return Err(BadRule::Expression {
                text: text.to_owned(),
            });
        }
        let mut patterns = Patterns::default();
        let condition = match kind {
            BlockKind::Prefix => &mut patterns.prefix,
            BlockKind::NotPrefix => &mut patterns.not_prefix,
            BlockKind::Sub => &mut patterns.sub,
            BlockKind::NotSub => &mut patterns.not_sub,
            BlockKind::Regex => &mut patterns.regex,
            BlockKind::NotRegex => &mut patterns.not_regex,
        };
        expression.clone_into(condition);
        Ok(BlockRule {
            text: format!("{word} {expression}"),
            kind,
            expression: expression.to_owned(),
            compiled: Matcher::new(&patterns)?,
        })
    }

    /// What decides whether a name meets the rule, and so is dropped.
    #[inline]
    pub fn matcher(&self) -> &Matcher {
        &self.compiled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_made_canonical() {
        let rule = BlockRule::parse("  notRegex \t ^a  b$ ").unwrap();
        assert_eq!(rule.text, "notRegex ^a  b$");
        assert_eq!(
            (rule.kind, &rule.expression[..]),
            (BlockKind::NotRegex, "^a  b$")
        );
    }

    #[test]
    fn an_error_says_what_was_expected() {
        let error = |text| BlockRule::parse(text).unwrap_err().to_string();
        assert_eq!(
            error("Prefix foo"),
            "blocklist rule \"Prefix foo\" begins with none of prefix, notPrefix, sub, notSub, regex, notRegex"
        );
        assert_eq!(
            error("sub "),
            "blocklist rule \"sub\" has no expression: expected \"sub <expression>\""
        );
        assert_eq!(
            error("regex ("),
            "blocklist rule: regex \"(\" is not a regular expression: unclosed group"
        );
    }
}
