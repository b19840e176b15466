//! What isn't written.

use serde_json::json;

use super::*;

fn volatile(document: &Document, change: Change) -> Document {
    document.amend(&change, true, 9).unwrap().document
}

/// What a successor begins with.
fn successor(document: &Document) -> Document {
    let lasting = document.entries().iter();
    let lasting =
        lasting.filter_map(|(name, entry)| Some((name.clone(), entry.lasting()?.clone())));
    Document::new(document.file().clone(), lasting.collect())
}

#[test]
fn a_volatile_removal_hides_what_was_added_for_good() {
    let with = amended(&document(), add("new", Place::Last)).document;
    let without = with.amend(&remove("new"), true, 9).unwrap().document;
    assert_eq!(order(&without, RuleKind::Route), "one two three");
    assert!(without.entries().values().all(|entry| entry.volatile));
}

/// Nothing of it gets into the database by what is changed later, by an undo, or by others that get new numbers.
#[test]
fn what_is_to_be_written_does_not_build_on_what_is_not() {
    let lasting = amended(&document(), edit("one", json!({"sub": "a"}))).document;
    let both = volatile(&lasting, edit("one", json!({"prefix": "x"})));
    for change in [
        edit("one", json!({"sub": "y"})),
        edit("one", json!({"key": "uno"})),
        Change::AddDestination {
            route: "one".into(),
            destination: "h9:9".into(),
        },
        Change::Move {
            kind: RuleKind::Route,
            key: "one".into(),
            place: Place::Last,
        },
        add("hidden", Place::Last),
    ] {
        let hidden = volatile(
            &amended(&both, add("hidden", Place::Last)).document,
            remove("hidden"),
        );
        let said = refused(&hidden, change.clone());
        assert!(
            said.contains("until the next restart only"),
            "{change:?}: {said}"
        );
        hidden.amend(&change, true, 9).unwrap();
    }
    assert_eq!(meaning(&successor(&both)), meaning(&lasting));
}

#[test]
fn what_is_volatile_is_removed_for_good_and_comes_back_as_what_it_was() {
    let lasting = amended(&document(), edit("one", json!({"sub": "a"}))).document;
    let both = volatile(&lasting, edit("one", json!({"prefix": "x"})));
    for change in [remove("one"), reset("one")] {
        let gone = amended(&both, change);
        let undone = amended(&gone.document, undo(&gone));
        assert_eq!(meaning(&undone.document), meaning(&both));
        assert!(
            undone
                .document
                .find(RuleKind::Route, "one")
                .unwrap()
                .volatile
        );
        let rows = undone.rows.iter();
        let written: Vec<_> = rows
            .map(|row| row.lasting().unwrap().spec.clone().unwrap())
            .collect();
        assert_eq!(written.len(), 1);
        assert!(
            written[0].contains("sub = \"a\"") && !written[0].contains("prefix = \"x\""),
            "{written:?}"
        );
        assert_eq!(meaning(&successor(&undone.document)), meaning(&lasting));
    }
    // One that is only volatile leaves nothing.
    let only = volatile(&document(), add("new", Place::Last));
    let gone = amended(&only, remove("new"));
    assert!(gone.document.entries().is_empty());
}

#[test]
fn what_is_volatile_is_forgotten_first() {
    let lasting = amended(&document(), edit("one", json!({"sub": "a"}))).document;
    let both = volatile(&lasting, edit("one", json!({"prefix": "x"})));
    let back = volatile(&both, reset("one"));
    assert_eq!(meaning(&back), meaning(&lasting));
    let as_in_file = volatile(&back, reset("one"));
    let rule = |document: &Document| document.find(RuleKind::Route, "one").unwrap().rule.clone();
    assert_eq!(rule(&as_in_file), rule(&document()));
    assert_eq!(meaning(&successor(&as_in_file)), meaning(&lasting));
}

/// What was changed since and isn't written isn't overwritten by an undo, unasked.
#[test]
fn an_undo_below_something_volatile_is_refused() {
    let edited = amended(&document(), edit("one", json!({"sub": "a"})));
    let both = volatile(&edited.document, edit("one", json!({"prefix": "x"})));
    let said = refused(&both, undo(&edited));
    assert!(
        said.contains("route one was changed until the next restart only"),
        "{said}"
    );
}
