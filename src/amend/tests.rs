use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::*;

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
    let config = Config::compile(Path::new("/etc/baton.toml"), FILE.as_bytes()).unwrap();
    Document::new(config, BTreeMap::new())
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
        .map(|p| format!("{:?} {} {}", p.origin, p.position, p.rule.to_toml()))
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

/// The middle between two neighbours is found twenty times, then all get new numbers.
#[test]
fn there_is_always_room_between_two() {
    let mut document = document();
    for number in 0..60 {
        let place = Place::After("one".into());
        document = amended(&document, add(&format!("n{number}"), place)).document;
    }
    let expected: Vec<String> = (0..60).rev().map(|number| format!("n{number}")).collect();
    let expected = format!("one {} two three", expected.join(" "));
    assert_eq!(order(&document, RuleKind::Route), expected);
    assert_eq!(meaning(&reread(&document)), meaning(&document));
}

#[test]
fn what_is_added_behind_all_stays_behind_what_the_file_gets() {
    let after = amended(&document(), add("last", Place::Last)).document;
    let more = format!("{FILE}\n[[route]]\nkey = \"four\"\ndestinations = [\"h9:9\"]\n");
    let config = Config::compile(Path::new("/etc/baton.toml"), more.as_bytes()).unwrap();
    let reloaded = Document::new(config, after.entries().clone());
    assert_eq!(order(&reloaded, RuleKind::Route), "one two three four last");
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
    let reset = Change::Reset {
        kind: Some(RuleKind::Route),
        key: Some("two".into()),
    };
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
        (
            Change::Edit {
                kind: RuleKind::Route,
                key: "one".into(),
                patch: json!({"sub": null}).as_object().unwrap().clone(),
            },
            "nothing would change",
        ),
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
            "another route has a destination two/h3:1:a",
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
        (
            Change::Edit {
                kind: RuleKind::Route,
                key: "one".into(),
                patch: json!({"regex": "("}).as_object().unwrap().clone(),
            },
            "route.regex: ",
        ),
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

#[test]
fn a_volatile_removal_hides_what_was_added_for_good() {
    let with = amended(&document(), add("new", Place::Last)).document;
    let without = with.amend(&remove("new"), true, 9).unwrap().document;
    assert_eq!(order(&without, RuleKind::Route), "one two three");
    assert!(without.entries().values().all(|entry| entry.volatile));
}

fn changes() -> impl Strategy<Value = Change> {
    let route = || prop::sample::select(vec!["one", "two", "three", "n1", "n2"]);
    let place = prop_oneof![
        Just(Place::First),
        Just(Place::Last),
        route().prop_map(|key| Place::Before(key.into())),
        route().prop_map(|key| Place::After(key.into())),
    ];
    let kind = prop::sample::select(RuleKind::ALL.to_vec());
    prop_oneof![
        (route(), place.clone()).prop_map(|(key, place)| add(key, place)),
        (route(), place).prop_map(|(key, place)| Change::Move {
            kind: RuleKind::Route,
            key: key.into(),
            place
        }),
        route().prop_map(remove),
        ("[a-c]", kind).prop_map(|(text, kind)| {
            let rule = match kind {
                RuleKind::Blocklist => json!({"rule": format!("sub {text}")}),
                RuleKind::Rewriter => json!({"old": text, "new": "z", "max": 1}),
                RuleKind::Aggregation => {
                    json!({"function": "sum", "format": text, "interval": 10, "wait": 20})
                }
                RuleKind::Route => json!({"key": text, "destinations": [format!("{text}:1")]}),
            };
            let rule = Form::Json(rule.as_object().unwrap().clone());
            Change::Add {
                kind,
                rule,
                place: Place::First,
            }
        }),
        (route(), "(one|\\.|x)").prop_map(|(key, sub)| Change::Edit {
            kind: RuleKind::Route,
            key: key.into(),
            patch: json!({"sub": sub}).as_object().unwrap().clone(),
        }),
        (route(), route()).prop_map(|(key, other)| Change::Edit {
            kind: RuleKind::Route,
            key: key.into(),
            patch: json!({"key": other}).as_object().unwrap().clone(),
        }),
        (route(), 0..3usize).prop_map(|(key, at)| Change::RemoveDestination {
            route: key.into(),
            destination: at.to_string()
        }),
        Just(Change::Reset {
            kind: None,
            key: None
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is done: what the database has gives the same table, undoing gives the one before, and the config compiles.
    #[test]
    fn changes_are_kept_and_undone(changes in prop::collection::vec(changes(), 1..12)) {
        let mut document = document();
        for change in changes {
            let Ok(amended) = document.amend(&change, false, 1) else { continue };
            prop_assert_eq!(meaning(&reread(&amended.document)), meaning(&amended.document));
            let rows = rows_from_json(&rows_to_json(&amended.undo)).unwrap();
            let undone = amended.document.amend(&Change::Restore { rows }, false, 2);
            prop_assert_eq!(meaning(&undone.unwrap().document), meaning(&document), "{:?}", change);
            let text = crate::config::print(&amended.document.config());
            prop_assert!(Config::compile(Path::new("/etc/baton.toml"), text.as_bytes()).is_ok(), "{}", text);
            document = amended.document;
        }
    }
}
