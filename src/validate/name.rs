//! Names: what may be in one, and putting its dots in order.

use super::{Level, LevelM20, Reason, Rules, tags};

/// Judges a name with its tags, as it is to be matched and sent.
///
/// # Errors
/// [`Reason::Name`], [`Reason::Tags`] or [`Reason::Metrics20`].
#[inline]
pub fn check(rules: &Rules, name: &[u8]) -> Result<(), Reason> {
    let seen = classes(name, class);
    if name.is_empty() || seen & FORBIDDEN != 0 {
        return Err(Reason::Name);
    }
    // What most names are: no tags, and no Metrics 2.0 of either style.
    let plain = seen & MARK == 0 && (seen & UNDERSCORE == 0 || !has_is(name));
    if plain && rules.level != Level::Strict {
        return Ok(());
    }
    check_by_level(rules, name)
}

fn check_by_level(rules: &Rules, name: &[u8]) -> Result<(), Reason> {
    let (path, tags) = parts(name);
    let styles = Styles::of(path);
    if styles.equals || styles.is {
        return match rules.level_m20 {
            LevelM20::Medium if !is_metrics20(path, &styles) => Err(Reason::Metrics20),
            _ => Ok(()),
        };
    }
    match rules.level {
        Level::None => return Ok(()),
        Level::Strict if !is_strict(path) => return Err(Reason::Name),
        Level::Medium | Level::Strict if path.is_empty() => return Err(Reason::Name),
        Level::Medium | Level::Strict => {}
    }
    if tags::are_well_formed(tags) {
        Ok(())
    } else {
        Err(Reason::Tags)
    }
}

/// The name before its tags, and the tags from their first semicolon on.
pub fn parts(name: &[u8]) -> (&[u8], &[u8]) {
    name.split_at(memchr::memchr(b';', name).unwrap_or(name.len()))
}

/// Blanks and control bytes: they would end the field or the line.
const FORBIDDEN: u8 = 1;
/// `;` and `=`: there are tags, or the name is Metrics 2.0.
const MARK: u8 = 2;
/// `_`: the name may be Metrics 2.0 without equals signs.
const UNDERSCORE: u8 = 4;

#[inline]
fn class(byte: u8) -> u8 {
    let forbidden = (byte < 0x21) | (byte == 0x7f);
    let mark = (byte == b';') | (byte == b'=');
    let classes = [
        (forbidden, FORBIDDEN),
        (mark, MARK),
        (byte == b'_', UNDERSCORE),
    ];
    classes
        .iter()
        .fold(0, |all, &(is, class)| all | (u8::from(is) * class))
}

const LANES: usize = 16;

/// The classes of all bytes together.
///
/// In lanes and without an early way out, which the compiler turns into vector instructions. A last chunk that isn't
/// full is taken from the end: to see some bytes twice costs less than to see them one by one.
#[inline]
fn classes(text: &[u8], class: impl Fn(u8) -> u8) -> u8 {
    let (chunks, _) = text.as_chunks::<LANES>();
    let Some(last) = text.last_chunk::<LANES>() else {
        return short_classes(text, class);
    };
    let mut lanes = [0; LANES];
    add(&mut lanes, last, &class);
    for chunk in chunks {
        add(&mut lanes, chunk, &class);
    }
    union(&lanes)
}

/// Adds each byte's class to its lane. Plain loops over bytes, here and in [`union`]: arrays' `map`, or words made of the
/// lanes, are not vectorised.
#[inline(always)]
fn add(lanes: &mut [u8; LANES], chunk: &[u8; LANES], class: impl Fn(u8) -> u8) {
    for (lane, &byte) in lanes.iter_mut().zip(chunk) {
        *lane |= class(byte);
    }
}

#[inline(always)]
fn union(lanes: &[u8; LANES]) -> u8 {
    lanes.iter().fold(0, |seen, lane| seen | lane)
}

fn short_classes(text: &[u8], class: impl Fn(u8) -> u8) -> u8 {
    let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) else {
        return text.iter().fold(0, |seen, &byte| seen | class(byte));
    };
    let both = |seen, (&one, &other)| seen | class(one) | class(other);
    first.iter().zip(last).fold(0, both)
}

/// Whether a byte occurs twice at this distance. In lanes as well.
#[inline]
fn has_pair(text: &[u8], byte: u8, distance: usize) -> bool {
    let Some(later) = text.get(distance..) else {
        return false;
    };
    let text = &text[..later.len()];
    let (Some(last), Some(last_later)) = (text.last_chunk(), later.last_chunk()) else {
        let pairs = text.iter().zip(later);
        return pairs.fold(false, |seen, (&one, &other)| {
            seen | ((one == byte) & (other == byte))
        });
    };
    let mut lanes = [0; LANES];
    add_pairs(&mut lanes, last, last_later, byte);
    for (one, other) in text.as_chunks().0.iter().zip(later.as_chunks().0) {
        add_pairs(&mut lanes, one, other, byte);
    }
    union(&lanes) != 0
}

#[inline(always)]
fn add_pairs(lanes: &mut [u8; LANES], one: &[u8; LANES], other: &[u8; LANES], byte: u8) {
    for ((lane, &one), &other) in lanes.iter_mut().zip(one).zip(other) {
        *lane |= u8::from((one == byte) & (other == byte));
    }
}

/// Whether `_is_` occurs.
#[inline]
fn has_is(text: &[u8]) -> bool {
    has_pair(text, b'_', 3) && memchr::memmem::find(text, b"_is_").is_some()
}

/// The styles of Metrics 2.0 that occur in a path.
struct Styles {
    equals: bool,
    is: bool,
}

impl Styles {
    fn of(path: &[u8]) -> Styles {
        Styles {
            equals: path.contains(&b'='),
            is: has_is(path),
        }
    }
}

/// One style, `unit` and `mtype`, and two dots, which make a third tag.
fn is_metrics20(path: &[u8], styles: &Styles) -> bool {
    let nodes = || path.split(|&byte| byte == b'.');
    let has = |equals: &[u8], is: &[u8]| {
        nodes().any(|node| node.starts_with(equals) || node.starts_with(is))
    };
    !(styles.equals && styles.is)
        && has(b"unit=", b"unit_is_")
        && has(b"mtype=", b"mtype_is_")
        && nodes().count() >= 3
}

fn is_strict(path: &[u8]) -> bool {
    let refused =
        |byte: u8| u8::from(!(byte.is_ascii_alphanumeric() | matches!(byte, b'_' | b'.' | b'-')));
    classes(path, refused) == 0 && has_clean_dots(path)
}

/// Whether no dot leads, trails or follows another one.
pub fn has_clean_dots(path: &[u8]) -> bool {
    !has_pair(path, b'.', 1) && path.first() != Some(&b'.') && path.last() != Some(&b'.')
}

/// Appends the path to `into` with runs of dots made one, leading and trailing ones left out.
pub fn clean_dots(path: &[u8], into: &mut Vec<u8>) {
    let nodes = path
        .split(|&byte| byte == b'.')
        .filter(|node| !node.is_empty());
    for (index, node) in nodes.enumerate() {
        if index > 0 {
            into.push(b'.');
        }
        into.extend_from_slice(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(level: Level, level_m20: LevelM20) -> Rules {
        Rules {
            level,
            level_m20,
            ..Rules::default()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn classes_are_those_of_the_bytes(name in proptest::collection::vec(prop_oneof![8 => 0x21..=0xffu8, 1 => any::<u8>()], 0..80)) {
            let expected = name.iter().fold(0, |seen, &byte| seen | class(byte));
            prop_assert_eq!(classes(&name, class), expected);
        }

        #[test]
        fn pairs_are_found_wherever_they_are(text in "[ab]{0,3}[a]{0,50}[ab]{0,40}", distance in 1..4usize) {
            let text = text.as_bytes();
            let expected = text.windows(distance + 1).any(|window| window[0] == b'b' && window[distance] == b'b');
            prop_assert_eq!(has_pair(text, b'b', distance), expected);
        }

        #[test]
        fn every_byte_is_allowed_or_not_wherever_it_is(length in 1..70usize, at in 0..70usize, byte: u8) {
            let mut name = vec![b'a'; length];
            name[at % length] = byte;
            let none = rules(Level::None, LevelM20::None);
            prop_assert_eq!(check(&none, &name).is_ok(), byte > 0x20 && byte != 0x7f);
        }

        #[test]
        fn cleaned_dots_are_clean(path in "[a.]{0,40}") {
            let mut cleaned = Vec::new();
            clean_dots(path.as_bytes(), &mut cleaned);
            prop_assert!(has_clean_dots(&cleaned));
            let letters = |text: &[u8]| text.iter().filter(|&&byte| byte == b'a').count();
            prop_assert_eq!(letters(&cleaned), letters(path.as_bytes()));
            if has_clean_dots(path.as_bytes()) {
                prop_assert_eq!(&cleaned[..], path.as_bytes());
            }
        }
    }

    #[test]
    fn metrics20_is_judged_by_its_own_level_alone() {
        let medium = rules(Level::Strict, LevelM20::Medium);
        assert_eq!(check(&medium, b"unit=B.mtype=gauge.host=\xe9"), Ok(()));
        assert_eq!(
            check(&medium, b"unit=B.mtype=gauge"),
            Err(Reason::Metrics20)
        );
        let none = rules(Level::Strict, LevelM20::None);
        assert_eq!(check(&none, b"unit=B.mtype=gauge"), Ok(()));
        assert_eq!(check(&none, b"unit=B\x01"), Err(Reason::Name));
    }

    #[test]
    fn tags_do_not_make_a_name_metrics20() {
        let medium = rules(Level::Medium, LevelM20::Medium);
        assert_eq!(check(&medium, b"cpu;host=a;b_is_c=d"), Ok(()));
        assert_eq!(check(&medium, b";host=a"), Err(Reason::Name));
        assert_eq!(check(&medium, b"cpu;host"), Err(Reason::Tags));
        assert_eq!(
            check(&rules(Level::None, LevelM20::Medium), b";host"),
            Ok(())
        );
    }
}
