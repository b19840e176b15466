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

/// What a match becomes that the first of several expressions which matches makes.
pub(super) struct Merged {
    /// One for all of them.
    pub(super) expression: String,
    /// The template, filled by the groups of the one that matched.
    pub(super) template: String,
}

/// Makes one rule of several expressions with one template. Each keeps its groups: those of the others take no part in its
/// match, and are empty, so that each piece of the template is the groups of all of them in a row.
pub(super) fn merged(expressions: &[String], inner: &str) -> Result<Merged, String> {
    let mut all = Vec::new();
    let mut offset = 0;
    for expression in expressions {
        let framed = framed(expression, true)?;
        let groups = check(&framed.expression)?.captures_len() - 1;
        all.push((offset, framed));
        offset += groups;
    }
    let parts: Vec<String> = all
        .iter()
        .map(|(_, framed)| framed.expression.clone())
        .collect();
    let expression = any_of(&parts);
    check(&expression)?;
    let of_each = |number: &dyn Fn(&Framed) -> Option<usize>| -> String {
        let of_one = |(offset, framed): &(usize, Framed)| {
            number(framed).map(|number| format!("${{{}}}", offset + number))
        };
        all.iter().filter_map(of_one).collect()
    };
    let mut template = of_each(&|framed| (framed.shift > 0).then_some(1));
    for piece in pieces(inner)? {
        match piece {
            Piece::Text(text) => template.push_str(&text.replace('$', "$$")),
            Piece::Group(number) => template.push_str(&of_each(&|framed| {
                (1..=framed.groups)
                    .contains(&number)
                    .then_some(framed.shift + number)
            })),
        }
    }
    template.push_str(&of_each(&|framed| {
        framed.has_rest.then_some(framed.shift + framed.groups + 1)
    }));
    Ok(Merged {
        expression,
        template,
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
    let text = pieces(inner)?.into_iter().map(|piece| match piece {
        Piece::Text(text) => text.replace('$', "$$"),
        Piece::Group(number) if (1..=groups).contains(&number) => {
            format!("${{{}}}", number + shift)
        }
        Piece::Group(_) => String::new(),
    });
    Ok(text.collect())
}

/// A part of a template with `\1` and `\g{1}`.
enum Piece {
    Text(String),
    Group(usize),
}

fn pieces(inner: &str) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut text) = (Vec::new(), String::new());
    let mut rest = inner;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            text.push(c);
            continue;
        }
        let braced = rest
            .strip_prefix("g{")
            .and_then(|inner| inner.split_once('}'));
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count().min(2);
        let (number, after) = match braced {
            Some((number, after)) => (number, after),
            None => rest.split_at(digits),
        };
        // Right behind a group these stand for themselves, as others do.
        let is_behind_group = text.is_empty() && matches!(pieces.last(), Some(Piece::Group(_)));
        if number.starts_with(['_', '^', '.'])
            || braced.is_none() && rest.starts_with(['_', '^', '.']) && !is_behind_group
        {
            return Err("Baton's templates change no case and no dots".to_owned());
        }
        match number.parse::<usize>() {
            Ok(number) => {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(Piece::Group(number));
                rest = after;
            }
            Err(_) if braced.is_some() => {
                return Err(format!("the group {number:?} has no number"));
            }
            // Another character stands for itself.
            Err(_) => {}
        }
    }
    pieces.push(Piece::Text(text));
    Ok(pieces)
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
            // As its own example has it.
            ("(a)(b)", r"\2\.\1\_\1", "xabc", "xb.a_ac"),
        ] {
            if into.contains(r"\$\.") {
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
    fn merged_expressions_fill_one_template() {
        let filled = |expressions: &[&str], into: &str, name: &str| {
            let expressions: Vec<String> = expressions.iter().map(|&one| one.to_owned()).collect();
            let merged = merged(&expressions, into).unwrap();
            let template = crate::template::Template::new(&merged.expression, &merged.template);
            let (template, mut to) = (template.unwrap(), Vec::new());
            assert_eq!(template.unknown(), [""; 0]);
            template
                .expand_first(name.as_bytes(), &mut to)
                .then(|| String::from_utf8(to).unwrap())
        };
        let anchored = [r"^servers\.(w\d)\.hits$", r"^apps\.(w\d)\.(hits)$"];
        for (name, expected) in [
            ("servers.w1.hits", Some("sum.w1..$")),
            ("apps.w2.hits", Some("sum.w2.hits.$")),
            ("other.w2.hits", None),
        ] {
            let found = filled(&anchored, r"sum.\1.\2.$", name);
            assert_eq!(found.as_deref(), expected, "{name}");
        }
        // What lies around the match stays, and an expression that stands first matches first, wherever it does.
        let free = ["b(.)", "a|^x", "(?i)Y$"];
        for (name, expected) in [
            ("1abc2", Some("1a<c>2")),
            ("1ac2", Some("1<>c2")),
            ("xy", Some("<>y")),
            ("zY", Some("z<>")),
            ("zB", None),
        ] {
            let found = filled(&free, r"<\g{1}>", name);
            assert_eq!(found.as_deref(), expected, "{name}");
        }
        assert_eq!(filled(&["c", ""], "all", "abc").unwrap(), "aball");
        let twice = ["(?P<a>x)".to_owned(), "(?P<a>y)".to_owned()];
        assert!(merged(&twice, "z").is_err());
    }

    #[test]
    fn alternations_keep_their_parts_apart() {
        assert_eq!(any_of(&["^a|b".into(), "c$".into()]), "(?:^a|b)|(?:c$)");
        assert_eq!(any_of(&["a".into()]), "a");
        assert_eq!(any_of(&["a".into(), String::new()]), "");
    }
}
