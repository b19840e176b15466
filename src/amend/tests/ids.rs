//! No change puts a route out of force that it isn't about.

use serde_json::json;

use super::*;

fn with_id(key: &str, id: &str) -> Change {
    let rule = json!({"key": key, "destinations": [format!("{key}:9 id={id}")]});
    Change::Add {
        kind: RuleKind::Route,
        rule: Form::Json(rule.as_object().unwrap().clone()),
        place: Place::Last,
    }
}

#[test]
fn a_new_route_does_not_take_the_id_of_one_that_was_added() {
    let with = amended(&document(), with_id("zzz", "x")).document;
    let said = refused(&with, with_id("aaa", "x"));
    assert_eq!(
        said,
        "route zzz: it would be out of force: another route, aaa, has a destination x"
    );
    let without = amended(&with, remove("zzz")).document;
    amended(&without, with_id("aaa", "x"));
}

#[test]
fn a_rule_of_the_file_does_not_come_back_over_one_that_has_its_ids() {
    // It keeps its id when its address changes, and so when its route is called otherwise.
    let elsewhere = Change::EditDestination {
        route: "one".into(),
        destination: "h1:1".into(),
        options: vec![("addr".into(), Some("h9:9".into()))],
    };
    let elsewhere = amended(&document(), elsewhere).document;
    let renamed = amended(&elsewhere, edit("one", json!({"key": "uno"}))).document;
    assert_eq!(order(&renamed, RuleKind::Route), "uno two three");
    let said = refused(&renamed, reset("one"));
    assert!(
        said.contains("route uno: it would be out of force"),
        "{said}"
    );
    assert!(
        said.contains("another route, one, has a destination one/h1:1"),
        "{said}"
    );
    let all = Change::Reset {
        kind: None,
        key: None,
    };
    let back = amended(&renamed, all).document;
    assert_eq!(order(&back, RuleKind::Route), "one two three");
}

#[test]
fn a_deletion_is_not_undone_over_the_id_that_was_used_again() {
    let with = amended(&document(), with_id("mmm", "x")).document;
    let removed = amended(&with, remove("mmm"));
    for later in ["zzz", "aaa"] {
        let reused = amended(&removed.document, with_id(later, "x")).document;
        let said = refused(&reused, undo(&removed));
        assert!(said.contains("has a destination x"), "{said}");
    }
}

/// What a change of the file had left out comes into force when its id is free: the preview says so.
#[test]
fn what_comes_into_force_again_is_told() {
    let with = amended(&document(), with_id("zzz", "x")).document;
    let clash = format!("{FILE}\n[[route]]\nkey = \"four\"\ndestinations = [\"h:1 id=x\"]\n");
    let reloaded = Document::new(file(&clash), with.entries().clone());
    assert_eq!(reloaded.left_out().len(), 1);
    let freed = amended(&reloaded, remove("four"));
    let keys: Vec<_> = freed
        .preview
        .differences
        .iter()
        .map(|d| &d.key[..])
        .collect();
    assert_eq!(keys, ["four", "zzz"]);
}
