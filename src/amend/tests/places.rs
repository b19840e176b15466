//! Where rules are, when others come and when the file changes.

use serde_json::json;

use super::*;

#[test]
fn places() {
    let document = document();
    assert_eq!(order(&document, RuleKind::Route), "one two three");
    for (place, expected) in [
        (Place::Last, "one two three new"),
        (Place::First, "new one two three"),
        (Place::Before("two".into()), "one new two three"),
        (Place::After("two".into()), "one two new three"),
    ] {
        let after = amended(&document, add("new", place)).document;
        assert_eq!(order(&after, RuleKind::Route), expected);
        assert_eq!(meaning(&reread(&after)), meaning(&after));
    }
    let moved = Change::Move {
        kind: RuleKind::Route,
        key: "one".into(),
        place: Place::Last,
    };
    let after = amended(&document, moved);
    assert_eq!(order(&after.document, RuleKind::Route), "two three one");
    assert_eq!(after.preview.differences.len(), 1);
    assert!(after.preview.destinations_removed.is_empty());
}

/// The middle between two neighbours is found twenty times, then those that were put there get new numbers. The file's rules
/// aren't among them: they go on as the file has them.
#[test]
fn there_is_always_room_between_two_and_the_file_stays_in_force() {
    for anchor in [Place::After("one".into()), Place::Before("two".into())] {
        let mut document = document();
        let volatile = document.amend(&add("v", anchor.clone()), true, 1).unwrap();
        document = volatile.document;
        let mut keys = vec!["v".to_owned()];
        for number in 0..60 {
            let key = format!("n{number}");
            document = amended(&document, add(&key, anchor.clone())).document;
            match &anchor {
                Place::After(_) => keys.insert(0, key),
                _ => keys.push(key),
            }
        }
        let expected = format!("one {} two three", keys.join(" "));
        assert_eq!(order(&document, RuleKind::Route), expected);
        assert_eq!(meaning(&reread(&document)), meaning(&document));
        let entries = document.entries();
        assert_eq!(entries.len(), 61);
        let volatile = entries.iter().filter(|(_, entry)| entry.volatile);
        assert_eq!(volatile.map(|((_, key), _)| key).collect::<Vec<_>>(), ["v"]);
        let changed = FILE.replace("prefix = \"one.\"", "prefix = \"uno.\"");
        let reloaded = Document::new(file(&changed), entries.clone());
        assert_eq!(order(&reloaded, RuleKind::Route), expected);
        let one = reloaded.find(RuleKind::Route, "one").unwrap();
        assert_eq!(
            (one.origin, one.rule.to_json()["prefix"].as_str()),
            (Origin::File, Some("uno."))
        );
    }
}

/// Before the first of the file and behind its last, too.
#[test]
fn there_is_always_room_at_the_ends() {
    let mut document = document();
    document = amended(&document, add("first", Place::First)).document;
    document = amended(&document, add("last", Place::Last)).document;
    for number in 0..60 {
        for (anchor, name) in [("first", "a"), ("three", "b")] {
            let place = Place::After(anchor.into());
            document = amended(&document, add(&format!("{name}{number}"), place)).document;
        }
    }
    let list =
        |name: &str| -> Vec<String> { (0..60).rev().map(|n| format!("{name}{n}")).collect() };
    let expected = format!(
        "first {} one two three {} last",
        list("a").join(" "),
        list("b").join(" ")
    );
    assert_eq!(order(&document, RuleKind::Route), expected);
    assert_eq!(meaning(&reread(&document)), meaning(&document));
}

/// What was only edited goes where the file has it.
#[test]
fn an_edited_rule_follows_the_file() {
    let edited = amended(&document(), edit("two", json!({"sub": "x"}))).document;
    let cut = |text: &str, from: &str, to: &str| {
        let (head, tail) = text.split_once(from).unwrap();
        let (_, tail) = tail.split_once(to).unwrap();
        format!("{head}{to}{tail}")
    };
    let without_one = cut(FILE, "[[route]]\nkey = \"one\"", "[[route]]\nkey = \"two\"");
    let reloaded = Document::new(file(&without_one), edited.entries().clone());
    assert_eq!(order(&reloaded, RuleKind::Route), "two three");
    let two_more = FILE.replacen(
        "[[route]]",
        "[[route]]\nkey = \"x\"\ndestinations = [\"x:1\"]\n[[route]]\nkey = \"y\"\ndestinations = [\"y:1\"]\n[[route]]",
        1,
    );
    let reloaded = Document::new(file(&two_more), edited.entries().clone());
    assert_eq!(order(&reloaded, RuleKind::Route), "x y one two three");
    // And when it is edited again, or that is undone.
    let again = amended(&reloaded, edit("two", json!({"sub": "y"})));
    assert_eq!(order(&again.document, RuleKind::Route), "x y one two three");
    let undone = amended(&again.document, undo(&again)).document;
    let reloaded = Document::new(file(&without_one), undone.entries().clone());
    assert_eq!(order(&reloaded, RuleKind::Route), "two three");
    // One that was moved stays where it was put.
    let moved = Change::Move {
        kind: RuleKind::Route,
        key: "three".into(),
        place: Place::First,
    };
    let moved = amended(&document(), moved).document;
    let reloaded = Document::new(file(&two_more), moved.entries().clone());
    assert_eq!(order(&reloaded, RuleKind::Route), "three x y one two");
}

#[test]
fn what_is_added_behind_all_stays_behind_what_the_file_gets() {
    let after = amended(&document(), add("last", Place::Last)).document;
    let more = format!("{FILE}\n[[route]]\nkey = \"four\"\ndestinations = [\"h9:9\"]\n");
    let reloaded = Document::new(file(&more), after.entries().clone());
    assert_eq!(order(&reloaded, RuleKind::Route), "one two three four last");
}
