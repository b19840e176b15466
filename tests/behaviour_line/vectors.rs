//! carbon-relay-ng's verdicts, from running it, and where Baton's are others on purpose.

use super::*;

/// The rows of a table, without its heading. Fields may be in quotes, with quotes doubled inside.
fn rows(file: &str) -> Vec<Vec<String>> {
    let row = |line: &str| {
        let (mut fields, mut quoted) = (vec![String::new()], false);
        let mut chars = line.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    fields.last_mut().unwrap().extend(chars.next())
                }
                '"' => quoted = !quoted,
                ',' if !quoted => fields.push(String::new()),
                _ => fields.last_mut().unwrap().push(char),
            }
        }
        fields
    };
    file.lines().skip(1).map(row).collect()
}

/// The bytes of a string as Go quotes it.
fn unquoted(text: &str) -> Vec<u8> {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap();
    let mut chars = inner.chars();
    let mut plain = String::new();
    while let Some(char) = chars.next() {
        if char != '\\' {
            plain.push(char);
            continue;
        }
        let escape = chars.next().unwrap();
        let mut hex = |size| {
            let digits: String = chars.by_ref().take(size).collect();
            char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap()
        };
        plain.push(match escape {
            't' => '\t',
            'v' => '\x0b',
            'f' => '\x0c',
            'r' => '\r',
            'x' => hex(2),
            'u' => hex(4),
            other => other,
        });
    }
    plain.into_bytes()
}

/// What a verdict of carbon-relay-ng would be here.
fn reason(verdict: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 14] = [
        ("ok", "ok"),
        ("3 fields", "fields"),
        ("not a float", "value"),
        ("not a unix", "timestamp"),
        ("illegal char", "name"),
        ("non-ASCII", "name"),
        ("null byte", "name"),
        ("empty node", "name"),
        ("empty key", "name"),
        ("tag appendix", "tags"),
        ("no unit", "metrics20"),
        ("no mtype", "metrics20"),
        ("both", "metrics20"),
        ("at least 1 tag", "metrics20"),
    ];
    let known = WORDS.iter().find(|(word, _)| verdict.contains(word));
    known.map(|&(_, reason)| reason)
}

/// Lines on which Baton's verdict is another one, on purpose.
struct Difference {
    /// The levels at which it is, separated by bars.
    level: &'static str,
    level_m20: &'static str,
    /// Baton's verdict.
    ours: &'static str,
    /// As Go quotes them.
    lines: &'static [&'static str],
}

const ANY: &str = "none|medium|strict";

const DIFFERENCES: [Difference; 18] = [
    // A line of blanks is empty, and ignored.
    differ(ANY, ANY, "empty", &[r#""""#, r#""   ""#]),
    // Only blanks and tabs separate fields.
    differ(
        ANY,
        ANY,
        "fields",
        &[
            r#""foo.bar\v1\f1234567890""#,
            r#""foo.bar\u00851\u00a01234567890""#,
        ],
    ),
    // Numbers are decimal: the stores behind would not understand Go's other spellings.
    differ(
        ANY,
        ANY,
        "value",
        &[
            r#""foo.bar 0x1p4 1""#,
            r#""foo.bar 0x_1p4 1""#,
            r#""foo.bar 1_000 1""#,
        ],
    ),
    // The digits pass; what they come to is the store's affair.
    differ(ANY, ANY, "ok", &[r#""foo.bar 1e400 1""#]),
    // What is not finite isn't a measurement.
    differ(
        ANY,
        ANY,
        "nan",
        &[
            r#""foo.bar nan 1""#,
            r#""foo.bar NaN 1""#,
            r#""foo.bar -nan 1""#,
            r#""foo.bar inf 1""#,
            r#""foo.bar +Inf 1""#,
            r#""foo.bar infinity 1""#,
        ],
    ),
    // A timestamp that doesn't fit would arrive as another one.
    differ(
        ANY,
        ANY,
        "timestamp",
        &[
            r#""foo.bar 1 4294967296""#,
            r#""foo.bar 1 1e9""#,
            r#""foo.bar 1 nan""#,
            r#""foo.bar 1 inf""#,
        ],
    ),
    // Control bytes pass at no level, nor in Metrics 2.0 names.
    differ(
        "none|medium",
        ANY,
        "name",
        &[
            r#""\x00foo 1 1""#,
            r#""fo\x00o 1 1""#,
            r#""foo\x7fbar 1 1""#,
            r#""foo\x01bar 1 1""#,
        ],
    ),
    differ(ANY, ANY, "name", &[r#""unit=\x00.mtype=gauge.x=a 1 1""#]),
    // A leading dot is a dot, and so is a trailing one.
    differ(
        "strict",
        ANY,
        "name",
        &[
            r#"".lead.dot 1 1234567890""#,
            r#""..two.lead 1 1234567890""#,
            r#"". 1 1234567890""#,
            r#""foo.bar. 1 1234567890""#,
            r#""a.;k=v 1 1""#,
        ],
    ),
    differ("medium", "none", "ok", &[r#"".;k=v 1 1""#]),
    // Bytes beyond ASCII pass, as in carbon; in tags at every level.
    differ("medium", ANY, "ok", &[r#""foo.b\u00e9r 1 1""#]),
    differ("medium|strict", ANY, "ok", &[r#""foo.bar;k=\u00e9 1 1""#]),
    // Tags are Graphite's.
    differ("medium|strict", ANY, "ok", &[r#""foo.bar;k=v=w 1 1""#]),
    differ("medium|strict", ANY, "tags", &[r#""foo.bar;a=~b 1 1""#]),
    // Tags don't make a name Metrics 2.0.
    differ(
        ANY,
        "medium",
        "ok",
        &[r#""cpu;k=v 1 1""#, r#""cpu;host=a.b 1 1""#],
    ),
    differ("medium|strict", ANY, "name", &[r#"";k=v 1 1""#]),
    // Any node makes it so, not only the first.
    differ(
        ANY,
        "medium",
        "metrics20",
        &[r#""a.unit=B 1 1""#, r#""a.b_is_c 1 1""#, r#""a_i.b=c 1 1""#],
    ),
    // And then it is judged by the level for such names alone.
    differ("strict", "none", "ok", &[r#""a_i.b=c 1 1""#]),
];

const fn differ(
    level: &'static str,
    level_m20: &'static str,
    ours: &'static str,
    lines: &'static [&'static str],
) -> Difference {
    Difference {
        level,
        level_m20,
        ours,
        lines,
    }
}

impl Difference {
    fn is_about(&self, level: &str, level_m20: &str, line: &str) -> bool {
        let among = |levels: &str, level| levels.split('|').any(|one| one == level);
        among(self.level, level) && among(self.level_m20, level_m20) && self.lines.contains(&line)
    }
}

#[test]
fn lines_are_judged_as_by_carbon_relay_ng_but_for_the_differences() {
    let mut unexplained = Vec::new();
    let mut shown = [0; DIFFERENCES.len()];
    for row in rows(include_str!("../vectors/crng_validate.csv")) {
        let [level, level_m20, line, verdict, ..] = &row[..] else {
            panic!("{row:?}")
        };
        let theirs = reason(verdict).unwrap_or_else(|| panic!("{verdict}"));
        let ours = verdict_here(level, level_m20, line);
        let mut expected = theirs;
        for (difference, shown) in DIFFERENCES.iter().zip(&mut shown) {
            if difference.is_about(level, level_m20, line) && ours != theirs {
                expected = difference.ours;
                *shown += 1;
            }
        }
        if ours != expected {
            unexplained.push(format!(
                "{level},{level_m20},{line}: {theirs} there, {ours} here"
            ));
        }
    }
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    let idle = shown.iter().position(|&rows| rows == 0);
    assert_eq!(idle, None, "no row shows this difference");
}

fn verdict_here(level: &str, level_m20: &str, line: &str) -> &'static str {
    let rules = Rules {
        level: match level {
            "none" => Level::None,
            "medium" => Level::Medium,
            _ => Level::Strict,
        },
        level_m20: match level_m20 {
            "none" => LevelM20::None,
            _ => LevelM20::Medium,
        },
        ..Rules::default()
    };
    match one(&rules, unquoted(line)) {
        Ok(text) if text.is_empty() => "empty",
        Ok(_) => "ok",
        Err(reason) => reason.as_str(),
    }
}

#[test]
fn names_are_matched_as_by_carbon_relay_ng_but_for_its_defects() {
    let mut others = Vec::new();
    for row in rows(include_str!("../vectors/crng_matcher.csv")) {
        let [
            prefix,
            not_prefix,
            sub,
            not_sub,
            regex,
            not_regex,
            name,
            theirs,
        ] = &row[..]
        else {
            panic!("{row:?}")
        };
        let matcher = Matcher::new(&Patterns {
            prefix: prefix.clone(),
            not_prefix: not_prefix.clone(),
            sub: sub.clone(),
            not_sub: not_sub.clone(),
            regex: regex.clone(),
            not_regex: not_regex.clone(),
        });
        let ours = match matcher {
            Ok(matcher) => matcher.matches(name.as_bytes()).to_string(),
            Err(error) => {
                assert!(error.to_string().contains("regex"), "{error}");
                "ERROR".to_owned()
            }
        };
        if !theirs.starts_with(&ours) {
            others.push([regex.clone(), not_regex.clone(), name.clone(), ours]);
        }
    }
    // It takes a literal prefix out of an anchored expression, and too long a one before `?` or `*`.
    let defects = [
        ["^fooo?", "", "foo", "true"],
        ["^fooo*", "", "foo.bar", "true"],
        ["^fooo*", "", "foo.bar;k=v", "true"],
        ["", "^fooo?", "foo.bar", "false"],
        ["", "^fooo?", "foo", "false"],
        ["", "^fooo?", "foo.bar;k=v", "false"],
    ];
    assert_eq!(others, defects);
}
