//! Whatever is done.

use proptest::prelude::*;
use serde_json::json;

use super::*;

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
        (route(), "(one|\\.|x)").prop_map(|(key, sub)| edit(key, json!({"sub": sub}))),
        (route(), route()).prop_map(|(key, other)| edit(key, json!({"key": other}))),
        (route(), route())
            .prop_map(|(key, id)| edit(key, json!({"destinations": [format!("{key}:9 id={id}")]}))),
        route().prop_map(reset),
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

/// What the database has after a change.
fn write(database: &mut BTreeMap<(RuleKind, String), Entry>, rows: &[Row]) {
    for row in rows {
        let name = (row.kind, row.key.clone());
        match row.lasting() {
            Some(entry) => database.insert(name, entry.clone()),
            None => database.remove(&name),
        };
    }
}

fn lasting(document: &Document) -> BTreeMap<(RuleKind, String), Entry> {
    let entries = document.entries().iter();
    let lasting =
        entries.filter_map(|(name, entry)| Some((name.clone(), entry.lasting()?.clone())));
    lasting.collect()
}

/// Without the numbers that say in which order.
fn in_order(document: &Document) -> Vec<String> {
    let rules = document.rules().iter();
    let rule = |p: &Placed| format!("{:?} {} {}", p.origin, p.volatile, p.rule.to_toml());
    rules.map(rule).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is done: what the database has gives the same table, but for what is volatile; undoing gives the one before; the
    /// config compiles; and what a change isn't about stays in force.
    #[test]
    fn changes_are_kept_and_undone(
        changes in prop::collection::vec((changes(), prop::bool::weighted(0.25)), 1..14)
    ) {
        let mut document = document();
        let mut database = BTreeMap::new();
        for (change, volatile) in changes {
            let Ok(amended) = document.amend(&change, volatile, 1) else { continue };
            let after = &amended.document;
            prop_assert_eq!(meaning(&reread(after)), meaning(after));
            prop_assert!(after.left_out().is_empty(), "{:?}", change);
            for placed in document.rules() {
                let (kind, key) = (placed.rule.kind(), &placed.key);
                let is_about = amended.rows.iter().any(|row| row.kind == kind && row.key == *key);
                prop_assert!(is_about || after.find(kind, key).is_some(), "{:?}: {}", change, key);
            }
            if !volatile {
                let undone = after.amend(&undo(&amended), false, 1).unwrap();
                prop_assert_eq!(in_order(&undone.document), in_order(&document), "{:?}", change);
                let before = database.clone();
                write(&mut database, &amended.rows);
                let mut as_before = database.clone();
                write(&mut as_before, &undone.rows);
                prop_assert_eq!(
                    in_order(&Document::new(document.file().clone(), as_before)),
                    in_order(&Document::new(document.file().clone(), before)),
                    "{:?}", change
                );
            }
            prop_assert_eq!(&lasting(after), &database, "{:?}", change);
            let text = crate::config::print(&after.config());
            prop_assert!(Config::compile(Path::new("/etc/baton.toml"), text.as_bytes()).is_ok(), "{}", text);
            document = amended.document;
        }
    }
}
