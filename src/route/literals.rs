//! What a name must hold for a condition to be met at all: the literals that rules are found by.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind, Look, literal::Extractor};

/// A literal in a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Literal {
    /// The name begins with it.
    Prefix(Vec<u8>),
    /// The name contains it.
    Inside(Vec<u8>),
}

/// Literals of which one at least is in each name that meets a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literals {
    /// Any of these.
    pub any: Vec<Literal>,
    /// Whether a name with one of them meets the condition, without a further look.
    pub suffice: bool,
}

/// Shorter ones inside of a name are too common to tell anything.
pub const SHORTEST_INSIDE: usize = 3;
/// More alternatives than this are no help.
const MOST: usize = 64;
/// How deep and how wide an expression is looked into.
const DEEPEST: usize = 8;
const WIDEST: usize = 32;

impl Literal {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Literal::Prefix(bytes) | Literal::Inside(bytes) => bytes,
        }
    }

    /// Whether names can be found by it.
    fn is_usable(&self) -> bool {
        match self {
            Literal::Prefix(bytes) => !bytes.is_empty(),
            Literal::Inside(bytes) => bytes.len() >= SHORTEST_INSIDE,
        }
    }
}

impl Literals {
    /// Of a text that names begin with; `None` if it is empty.
    pub fn of_prefix(text: &[u8]) -> Option<Literals> {
        Literals::new(vec![Literal::Prefix(text.to_vec())], true)
    }

    /// Of a text that names contain; `None` if it is too short.
    pub fn of_text(text: &[u8]) -> Option<Literals> {
        Literals::new(vec![Literal::Inside(text.to_vec())], true)
    }

    /// Of a regular expression: several choices, each enough by itself; none if there is no literal that it requires.
    pub fn of_expression(expression: &str) -> Vec<Literals> {
        let parsed = ParserBuilder::new().utf8(false).build().parse(expression);
        let mut choices = Vec::new();
        // What doesn't parse was refused before.
        if let Ok(hir) = parsed {
            collect(&hir, true, 0, &mut choices);
        }
        // The same literals are met on several ways; what is seen from further out comes first.
        let mut all: Vec<Literals> = Vec::new();
        for choice in choices {
            if !all.iter().any(|first| first.any == choice.any) {
                all.push(choice);
            }
        }
        all
    }

    fn new(any: Vec<Literal>, suffice: bool) -> Option<Literals> {
        let usable = !any.is_empty() && any.len() <= MOST && any.iter().all(Literal::is_usable);
        usable.then_some(Literals { any, suffice })
    }

    /// The length of the shortest.
    pub fn shortest(&self) -> usize {
        let lengths = self.any.iter().map(|literal| literal.bytes().len());
        lengths.min().unwrap_or(0)
    }
}

/// Appends the choices that an expression offers. `whole` says whether it is all of the expression, so that its start
/// may be the start of the name.
fn collect(hir: &Hir, whole: bool, depth: usize, choices: &mut Vec<Literals>) {
    if depth > DEEPEST {
        return;
    }
    let anchored = whole && hir.properties().look_set_prefix().contains(Look::Start);
    choices.extend(beginnings(hir, anchored, whole));
    match hir.kind() {
        HirKind::Capture(capture) => collect(&capture.sub, whole, depth + 1, choices),
        HirKind::Repetition(repetition) if repetition.min > 0 => {
            collect(&repetition.sub, false, depth + 1, choices);
        }
        HirKind::Concat(parts) => {
            // What stands behind look-around alone is what the whole begins with.
            let is_look = |part: &&Hir| matches!(part.kind(), HirKind::Look(_));
            let first = parts.iter().take_while(is_look).count() + 1;
            for at in first..parts.len().min(WIDEST) {
                match parts[at].kind() {
                    HirKind::Literal(_) | HirKind::Class(_) => {
                        let rest = Hir::concat(parts[at..].to_vec());
                        choices.extend(beginnings(&rest, false, false));
                    }
                    _ => collect(&parts[at], false, depth + 1, choices),
                }
            }
        }
        HirKind::Alternation(branches) => {
            // Each branch by the best that it offers.
            let mut any = Vec::new();
            for branch in branches {
                let mut offered = Vec::new();
                collect(branch, whole, depth + 1, &mut offered);
                let Some(best) = offered.into_iter().max_by_key(Literals::shortest) else {
                    return;
                };
                any.extend(best.any);
            }
            choices.extend(Literals::new(any, false));
        }
        _ => {}
    }
}

/// The literals that every match of an expression begins with.
fn beginnings(hir: &Hir, anchored: bool, whole: bool) -> Option<Literals> {
    let sequence = Extractor::new().limit_total(MOST).extract(hir);
    let found = sequence.literals()?;
    // Look-around is not in the literals: only the start of the name, at the start, is what it says.
    let looks = hir.properties().look_set();
    let plain = looks.is_empty() || anchored && looks.len() == 1 && starts_once(hir);
    let suffice = whole && plain && sequence.is_exact();
    let any = found.iter().map(|literal| match anchored {
        true => Literal::Prefix(literal.as_bytes().to_vec()),
        false => Literal::Inside(literal.as_bytes().to_vec()),
    });
    Literals::new(any.collect(), suffice)
}

/// Whether the start of the name is asked for at the beginning and nowhere else.
fn starts_once(hir: &Hir) -> bool {
    let HirKind::Concat(parts) = hir.kind() else {
        return false;
    };
    matches!(parts[0].kind(), HirKind::Look(Look::Start))
        && parts[1..]
            .iter()
            .all(|part| part.properties().look_set().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::bytes::Regex;

    fn found(expression: &str) -> Vec<String> {
        let show = |literal: &Literal| match literal {
            Literal::Prefix(bytes) => format!("^{}", String::from_utf8_lossy(bytes)),
            Literal::Inside(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        };
        let show_all = |choice: Literals| {
            let any: Vec<_> = choice.any.iter().map(show).collect();
            any.join("|") + if choice.suffice { "!" } else { "" }
        };
        let choices = Literals::of_expression(expression).into_iter();
        choices.map(show_all).collect()
    }

    #[test]
    fn what_an_expression_requires() {
        for (expression, expected) in [
            ("web17", &["web17!"][..]),
            (r"^servers\.", &["^servers.!"]),
            (r"^servers\.[^.]+\.cpu", &["^servers.", ".cpu"]),
            (r"\.cpu$", &[".cpu"]),
            ("(cpu|mem)", &["cpu|mem!"]),
            (r".*\.web17\..*", &[".web17."]),
            ("a.*(foo|bar)+", &["foo|bar"]),
            ("a|bcd", &[]),
            ("^a.b", &["^a"]),
            (".*", &[]),
            ("(?i)cp", &[]),
        ] {
            assert_eq!(found(expression), expected, "{expression}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Every match has one of the literals; and where they suffice, every name with one matches.
        #[test]
        fn literals_are_required(
            expression in r"(\^|\(\?m\)\^)?(a|b|c|abc|cab|\.|\.\*|\[ab\]|\[\^.\]\+|\(abc\|bcc\)|\(ab\)\+|a\?|\\b|\$|bca\|){1,7}",
            name in "[abc.]{0,12}",
        ) {
            let Ok(regex) = Regex::new(&expression) else { return Ok(()) };
            let name = name.as_bytes();
            for choice in Literals::of_expression(&expression) {
                let has = choice.any.iter().any(|literal| match literal {
                    Literal::Prefix(bytes) => name.starts_with(bytes),
                    Literal::Inside(bytes) => memchr::memmem::find(name, bytes).is_some(),
                });
                prop_assert!(has || !regex.is_match(name), "{:?}", choice);
                prop_assert!(!has || !choice.suffice || regex.is_match(name), "{:?}", choice);
            }
        }
    }
}
