use proptest::prelude::*;

use super::*;

/// Stands for two stars in a row, so that a star before a brace and one behind it aren't taken for that.
const BOTH: char = '\u{1}';

/// The same by trying everything: over text, without expressions.
fn reference(glob: &[char], name: &[char]) -> bool {
    let Some((&first, rest)) = glob.split_first() else {
        return name.is_empty();
    };
    let any = |most: usize, rest: &[char]| (0..=most).any(|skip| reference(rest, &name[skip..]));
    match first {
        BOTH => any(name.len(), rest),
        '*' => any(name.iter().take_while(|c| **c != '.').count(), rest),
        '?' => matches!(name.split_first(), Some((c, name)) if *c != '.' && reference(rest, name)),
        '{' => {
            let (choices, behind) = choices(rest);
            let mut choices = choices.into_iter();
            choices.any(|choice| reference(&[&choice, behind].concat(), name))
        }
        '[' => {
            // Generated classes have no escapes.
            let not = rest.first() == Some(&'!');
            let from = usize::from(not);
            let end = 1 + from + rest[from + 1..].iter().position(|c| *c == ']').unwrap();
            let (class, behind) = (&rest[from..end], &rest[end + 1..]);
            let Some((c, name)) = name.split_first() else {
                return false;
            };
            is_one_of(class, *c) != not && reference(behind, name)
        }
        literal => {
            matches!(name.split_first(), Some((c, name)) if *c == literal && reference(rest, name))
        }
    }
}

fn is_one_of(class: &[char], c: char) -> bool {
    match class {
        [] => false,
        [from, '-', to, rest @ ..] => (*from..=*to).contains(&c) || is_one_of(rest, c),
        [one, rest @ ..] => *one == c || is_one_of(rest, c),
    }
}

/// What is between braces, and what follows them.
fn choices(text: &[char]) -> (Vec<Vec<char>>, &[char]) {
    let (mut all, mut depth) = (vec![Vec::new()], 0);
    for (at, c) in text.iter().enumerate() {
        match c {
            '}' if depth == 0 => return (all, &text[at + 1..]),
            ',' if depth == 0 => {
                all.push(Vec::new());
                continue;
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        all.last_mut().unwrap().push(*c);
    }
    panic!("a brace isn't closed")
}

fn globs() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => "[a-c.é]",
        2 => Just("*".to_owned()),
        1 => Just("**".to_owned()),
        2 => Just("?".to_owned()),
        2 => "\\[!?([ac]|a-b|b-é)[bc]?\\]",
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..5).prop_map(|parts| parts.concat()),
            prop::collection::vec(inner, 1..4).prop_map(|parts| format!("{{{}}}", parts.join(","))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn a_glob_matches_as_one_that_tries_everything(glob in globs(), names in prop::collection::vec("[a-c.é]{0,6}", 8)) {
        let chars: Vec<char> = glob.replace("**", &BOTH.to_string()).chars().collect();
        let compiled = Glob::new(&glob).unwrap();
        for name in names {
            let expected = reference(&chars, &name.chars().collect::<Vec<_>>());
            prop_assert_eq!(compiled.matches(name.as_bytes()), expected, "{} on {}", glob, name);
        }
    }

    #[test]
    fn no_text_panics(glob in "[\\PC\\[\\]{}!*?,\\\\-]{0,20}", name: Vec<u8>) {
        if let Ok(glob) = Glob::new(&glob) {
            glob.matches(&name);
        }
    }
}

#[test]
fn usual_globs() {
    for (glob, name, expected) in [
        ("servers.*.cpu", "servers.a.cpu", true),
        ("servers.*.cpu", "servers.a.b.cpu", false),
        ("servers.**.cpu", "servers.a.b.cpu", true),
        ("servers.*", "servers.a.cpu", false),
        ("servers.{a,b?}.c", "servers.b1.c", true),
        ("servers.{a,b?}.c", "servers.b.c", false),
        ("s[0-9][!0-9].x", "s1a.x", true),
        ("s[0-9][!0-9].x", "s11.x", false),
        ("[]a]", "]", true),
        ("[a-]", "-", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "axb", false),
        ("a+b", "aab", false),
        ("cpu;host=*", "cpu;host=a", true),
        ("*", "\u{fffd}", true),
        ("a,b}", "a,b}", true),
    ] {
        let compiled = Glob::new(glob).unwrap();
        assert_eq!(
            compiled.matches(name.as_bytes()),
            expected,
            "{glob} on {name}"
        );
    }
    assert!(Glob::new("a*").unwrap().matches(b"a\xff\n"));
    assert!(!Glob::new("a?").unwrap().matches(b"a\xff"));
}

#[test]
fn what_is_wrong_is_said() {
    for (glob, what) in [
        ("a{b", "a { isn't closed"),
        ("a[b", "a [ isn't closed"),
        ("[!]", "a [ isn't closed"),
        ("a\\", "nothing follows the last \\"),
        ("[b-a]", "a range in [] is the wrong way round"),
    ] {
        assert_eq!(Glob::new(glob).unwrap_err().what, what, "{glob}");
    }
}
