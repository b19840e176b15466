use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::*;

mod ids;
mod places;
mod properties;
mod volatile;

const FILE: &str = r#"
blocklist = ["prefix junk.", "regex ^tmp"]
[[rewriter]]
old = "a"
new = "b"
max = -1
[[aggregation]]
function = "sum"
regex = "^x\\.(.*)"
format = "sum.$1"
interval = 10
wait = 20
[[route]]
key = "one"
prefix = "one."
destinations = ["h1:1", "h2:1 queue=16MiB"]
[[route]]
key = "two"
type = "carbon_ch"
destinations = ["h3:1:a", "h3:1:b"]
[[route]]
key = "three"
destinations = ["file:/tmp/three"]
"#;

fn document() -> Document {
    Document::new(file(FILE), BTreeMap::new())
}

fn file(text: &str) -> Config {
    Config::compile(Path::new("/etc/baton.toml"), text.as_bytes()).unwrap()
}

fn order(document: &Document, kind: RuleKind) -> String {
    let keys: Vec<&str> = document.of_kind(kind).map(|p| &p.key[..]).collect();
    keys.join(" ")
}

fn amended(document: &Document, change: Change) -> Amended {
    let amended = document.amend(&change, false, 7);
    amended.unwrap_or_else(|refused| panic!("{change:?}: {refused}"))
}

fn refused(document: &Document, change: Change) -> String {
    document.amend(&change, false, 7).unwrap_err().to_string()
}

fn add(key: &str, place: Place) -> Change {
    let rule = json!({"key": key, "destinations": [format!("{key}:9")]});
    Change::Add {
        kind: RuleKind::Route,
        rule: Form::Json(rule.as_object().unwrap().clone()),
        place,
    }
}

fn edit(key: &str, patch: serde_json::Value) -> Change {
    Change::Edit {
        kind: RuleKind::Route,
        key: key.to_owned(),
        patch: patch.as_object().unwrap().clone(),
    }
}

fn reset(key: &str) -> Change {
    Change::Reset {
        kind: Some(RuleKind::Route),
        key: Some(key.to_owned()),
    }
}

fn undo(amended: &Amended) -> Change {
    let rows = rows_from_json(&rows_to_json(&amended.undo)).unwrap();
    Change::Restore { rows }
}

fn remove(key: &str) -> Change {
    Change::Remove {
        kind: RuleKind::Route,
        key: key.to_owned(),
    }
}

/// All that it is, but when that was.
fn meaning(document: &Document) -> String {
    let config = document.config();
    let rules: Vec<String> = document
        .rules()
        .iter()
        .map(|p| format!("{:?} {} {}", p.origin, p.spot.position, p.rule.to_toml()))
        .collect();
    format!("{rules:#?} {:?}", config.routes)
}

/// What the database would give a successor.
fn reread(document: &Document) -> Document {
    Document::new(document.file().clone(), document.entries().clone())
}

#[test]
fn every_rule_reads_back_from_both_forms() {
    let text = include_str!("../../tests/configs/good/everything.toml");
    let path = Path::new("/etc/baton.toml");
    let config = Config::compile(path, text.as_bytes()).unwrap();
    let rules = config.rules_of_table();
    assert!(rules.len() > 8, "{rules:?}");
    for rule in rules {
        let (read, _) = Rule::parse(rule.kind(), &rule.to_toml(), Path::new("/etc")).unwrap();
        assert_eq!(read, rule);
        let (read, _) = Rule::from_json(rule.kind(), &rule.to_json(), Path::new("/etc")).unwrap();
        assert_eq!(read, rule);
    }
}

#[test]
fn a_rule_of_the_file_stays_removed_until_it_is_reset() {
    let after = amended(&document(), remove("two"));
    assert_eq!(
        after.preview.destinations_removed,
        ["two/h3:1:a", "two/h3:1:b"]
    );
    let document = reread(&after.document);
    assert_eq!(order(&document, RuleKind::Route), "one three");
    assert_eq!(
        document.removed().map(|r| r.key).collect::<Vec<_>>(),
        ["two"]
    );
    let reset = reset("two");
    let back = amended(&document, reset.clone());
    assert_eq!(order(&back.document, RuleKind::Route), "one two three");
    assert!(back.document.entries().is_empty());
    assert_eq!(refused(&back.document, reset), "nothing would change");
}

#[test]
fn a_destination_keeps_its_id_when_its_address_changes() {
    let change = Change::EditDestination {
        route: "one".into(),
        destination: "h2:1".into(),
        options: vec![
            ("addr".into(), Some("h5:5".into())),
            ("queue".into(), None),
            ("flush".into(), Some("5ms".into())),
        ],
    };
    let after = amended(&document(), change);
    let config = after.document.config();
    let changed = &config.routes[0].destinations[1];
    assert_eq!(changed.id, "one/h2:1");
    assert_eq!(changed.address.to_string(), "h5:5");
    assert_eq!(changed.queue, 8 << 20);
    assert!(
        after.preview.destinations_removed.is_empty(),
        "{:?}",
        after.preview
    );
    assert_eq!(meaning(&reread(&after.document)), meaning(&after.document));
}

#[test]
fn destinations_come_and_go() {
    let document = document();
    let route = || "one".to_owned();
    let more = Change::AddDestination {
        route: route(),
        destination: "h7:7 full=drop".into(),
    };
    let after = amended(&document, more);
    assert_eq!(after.preview.destinations_added, ["one/h7:7"]);
    let less = Change::RemoveDestination {
        route: route(),
        destination: "0".into(),
    };
    let after = amended(&after.document, less);
    assert_eq!(after.preview.destinations_removed, ["one/h1:1"]);
    assert_eq!(after.document.config().routes[0].destinations.len(), 2);
}

#[test]
fn what_cannot_be_is_refused_with_what_was_expected() {
    let document = document();
    for (change, said) in [
        (add("one", Place::Last), "there is a route \"one\" already"),
        (
            remove("tow"),
            "there is no route \"tow\": did you mean two?",
        ),
        (
            remove("other"),
            "there is no route \"other\": expected one of one, two, three",
        ),
        (edit("one", json!({"sub": null})), "nothing would change"),
        (
            Change::AddDestination {
                route: "one".into(),
                destination: "h1:1".into(),
            },
            "twice",
        ),
        (
            Change::AddDestination {
                route: "one".into(),
                destination: "h8:1 id=two/h3:1:a".into(),
            },
            "another route, two, has a destination two/h3:1:a",
        ),
        (
            Change::AddDestination {
                route: "one".into(),
                destination: "file:/tmp/three".into(),
            },
            "route three writes to it",
        ),
        (
            Change::AddDestination {
                route: "one".into(),
                destination: "file:/etc/baton.db-wal".into(),
            },
            "the database has it",
        ),
        (
            Change::RemoveDestination {
                route: "three".into(),
                destination: "0".into(),
            },
            "expected one at least",
        ),
        (
            Change::EditDestination {
                route: "one".into(),
                destination: "0".into(),
                options: vec![("queu".into(), Some("1MiB".into()))],
            },
            "did you mean queue",
        ),
        (edit("one", json!({"regex": "("})), "route.regex: "),
        (
            Change::Add {
                kind: RuleKind::Blocklist,
                rule: Form::Toml("blocklist = [\"prefix a\", \"prefix b\"]".into()),
                place: Place::Last,
            },
            "expected one blocklist rule, found 2",
        ),
    ] {
        let refused = refused(&document, change.clone());
        assert!(refused.contains(said), "{change:?}: {refused}");
    }
}

#[test]
fn an_entry_that_does_not_fit_the_file_any_more_is_left_out_and_told() {
    let with = amended(&document(), add("new", Place::Last)).document;
    let clash = format!("{FILE}\n[[route]]\nkey = \"x\"\ndestinations = [\"h:1 id=new/new:9\"]\n");
    let config = Config::compile(Path::new("/etc/baton.toml"), clash.as_bytes()).unwrap();
    let reloaded = Document::new(config, with.entries().clone());
    assert_eq!(order(&reloaded, RuleKind::Route), "one two three x");
    assert_eq!(reloaded.left_out().len(), 1);
    let mut entries = with.entries().clone();
    for entry in entries.values_mut() {
        entry.spec = Some("[[route]]\nkey = 1".into());
    }
    let reloaded = Document::new(document().file().clone(), entries);
    assert_eq!(order(&reloaded, RuleKind::Route), "one two three");
    assert!(
        reloaded.left_out()[0].reason.contains("expected"),
        "{:?}",
        reloaded.left_out()
    );
}
