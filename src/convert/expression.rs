//! Regular expressions of others, and templates that their groups fill.

use regex::Regex;

/// Checks that Baton can have an expression; an error says in one line why not.
pub(super) fn check(expression: &str) -> Result<Regex, String> {
    Regex::new(expression).map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        last.strip_prefix("error: ").unwrap_or(last).to_owned()
    })
}

/// One expression that matches where any of several does; empty when one of them matches everything.
pub(super) fn any_of(expressions: &[String]) -> String {
    match expressions {
        [one] => one.clone(),
        all if all.iter().any(String::is_empty) => String::new(),
        all => {
            let parts: Vec<String> = all.iter().map(|one| format!("(?:{one})")).collect();
            parts.join("|")
        }
    }
}

/// An expression around another, so that what lies around its first match can be kept: the text before and behind
/// become groups.
pub(super) struct Framed {
    /// `^(.*?)(?:…)(.*)$`, without what the anchors of the inner one make needless.
    pub(super) expression: String,
    /// By how much the inner groups' numbers are larger.
    pub(super) shift: usize,
    /// Whether the text behind is a group, the last.
    pub(super) has_rest: bool,
    /// How many groups the inner one has.
    pub(super) groups: usize,
}

/// Frames an expression. `to_the_end`: the text behind the match is taken in, too.
pub(super) fn framed(inner: &str, to_the_end: bool) -> Result<Framed, String> {
    let groups = check(inner)?.captures_len() - 1;
    let is_one = !inner.contains('|');
    let starts = is_one && inner.starts_with('^');
    let ends = is_one && inner.ends_with('$') && !inner.ends_with("\\$");
    let head = if starts { "" } else { "^(.*?)" };
    let has_rest = to_the_end && !ends;
    let tail = if has_rest { "(.*)$" } else { "" };
    let body = if starts {
        inner.to_owned()
    } else {
        format!("(?:{inner})")
    };
    let expression = format!("{head}{body}{tail}");
    check(&expression)?;
    Ok(Framed {
        expression,
        shift: usize::from(!starts),
        has_rest,
        groups,
    })
}

impl Framed {
    /// The template for the whole of what is matched, from one with `\1` and `\g{1}` for the inner match.
    pub(super) fn template(&self, inner: &str) -> Result<String, String> {
        let mut text = if self.shift > 0 {
            "${1}".to_owned()
        } else {
            String::new()
        };
        text.push_str(&template(inner, self.shift, self.groups)?);
        if self.has_rest {
            text.push_str(&format!("${{{}}}", self.shift + self.groups + 1));
        }
        Ok(text)
    }
}

/// Puts `${n}` for `\n` and `\g{n}`, with shifted numbers; a group that isn't there is empty.
pub(super) fn template(inner: &str, shift: usize, groups: usize) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = inner;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '$' => text.push_str("$$"),
            '\\' => {
                let braced = rest
                    .strip_prefix("g{")
                    .and_then(|inner| inner.split_once('}'));
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count().min(2);
                let (number, after) = match braced {
                    Some((number, after)) => (number, after),
                    None => rest.split_at(digits),
                };
                if number.starts_with(['_', '^', '.'])
                    || braced.is_none() && rest.starts_with(['_', '^', '.'])
                {
                    return Err("Baton's templates change no case and no dots".to_owned());
                }
                match number.parse::<usize>() {
                    Ok(number) if number >= 1 && number <= groups => {
                        text.push_str(&format!("${{{}}}", number + shift));
                    }
                    Ok(_) => {}
                    Err(_) if braced.is_some() => {
                        return Err(format!("the group {number:?} has no number"));
                    }
                    // Another character stands for itself.
                    Err(_) => continue,
                }
                rest = after;
            }
            c => text.push(c),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(expression: &str, into: &str, name: &str) -> String {
        let framed = framed(expression, false).unwrap();
        let into = framed.template(into).unwrap();
        check(&framed.expression)
            .unwrap()
            .replace_all(name, into)
            .into_owned()
    }

    #[test]
    fn the_first_match_is_replaced_and_the_rest_stays() {
        for (expression, into, name, expected) in [
            ("a(.)", r"<\1>", "xabac", "x<b>ac"),
            ("^a(.)", r"<\1>", "abac", "<b>ac"),
            ("b|c", "-", "abcb", "a-cb"),
            ("^b|c", "-", "abcb", "ab-b"),
            ("c$", "-", "cac", "ca-"),
            ("(a)(b)?", r"\2\g{1}1\9", "xaac", "xa1ac"),
            ("a", r"$1\$\.", "a", "$1$."),
            ("z", "-", "abc", "abc"),
        ] {
            if into.contains(r"\.") {
                assert!(framed(expression, false).unwrap().template(into).is_err());
                continue;
            }
            assert_eq!(
                rewritten(expression, into, name),
                expected,
                "{expression} {into} {name}"
            );
        }
    }

    #[test]
    fn a_frame_takes_in_the_text_behind() {
        let whole = |expression: &str, into: &str, name: &str| {
            let framed = framed(expression, true).unwrap();
            let captures = check(&framed.expression).unwrap();
            let captures = captures.captures(name)?;
            let mut text = String::new();
            captures.expand(&framed.template(into).unwrap(), &mut text);
            Some(text)
        };
        assert_eq!(whole("b(.)", r"<\1>", "abcd").unwrap(), "a<c>d");
        assert_eq!(
            whole(r"^sys\.(.)\.cpu$", r"all.\1", "sys.x.cpu").unwrap(),
            "all.x"
        );
        assert_eq!(whole("^a", "b", "ac").unwrap(), "bc");
        assert_eq!(whole("c$", "d", "abc").unwrap(), "abd");
        assert_eq!(whole("x", "d", "abc"), None);
    }

    #[test]
    fn alternations_keep_their_parts_apart() {
        assert_eq!(any_of(&["^a|b".into(), "c$".into()]), "(?:^a|b)|(?:c$)");
        assert_eq!(any_of(&["a".into()]), "a");
        assert_eq!(any_of(&["a".into(), String::new()]), "");
    }
}
