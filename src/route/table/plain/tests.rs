use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::route::{BlockRule, Decision, Entries, Fate, Matcher, Patterns, TableRoute};

fn matcher() -> impl Strategy<Value = Matcher> {
    let kind =
        prop_oneof![4 => Just("prefix"), 4 => Just("sub"), 2 => Just("regex"), 1 => Just("all")];
    (kind, "[ab.]{1,4}", any::<bool>()).prop_map(|(kind, text, more)| {
        let mut patterns = Patterns::default();
        match kind {
            "prefix" => patterns.prefix = text,
            "sub" => patterns.sub = text,
            "regex" => patterns.regex = format!("^{}.*b", text.replace('.', r"\.")),
            _ => {}
        }
        // One that must still be asked when it was found.
        if more {
            patterns.not_sub = "bb".into();
        }
        Matcher::new(&patterns).unwrap()
    })
}

fn tables() -> impl Strategy<Value = Table> {
    let members = proptest::collection::vec(matcher(), 1..4);
    let routes = proptest::collection::vec((matcher(), members), 16..40);
    let blocklist = proptest::collection::vec("(prefix|sub) [ab]{2,4}[.]", 0..9);
    (routes, blocklist, any::<bool>()).prop_map(|(routes, blocklist, first_only)| {
        let mut next = 0..;
        let routes = routes
            .into_iter()
            .enumerate()
            .map(|(at, (matcher, members))| {
                let members = next.by_ref().zip(members).collect();
                TableRoute::to_all(&at.to_string(), matcher, members)
            });
        let routes = routes.collect();
        Table::new(Entries {
            blocklist: blocklist
                .iter()
                .map(|rule| BlockRule::parse(rule).unwrap())
                .collect(),
            routes,
            destinations: next.next().unwrap(),
            first_only,
            ..Entries::default()
        })
    })
}

/// Whether the table says of this name what its full decision says; `known` are the outcomes by their numbers.
fn agrees(
    table: &Table,
    line: &str,
    room: &mut Scratch,
    known: &mut HashMap<u64, Vec<Taker>>,
) -> bool {
    let size = line.find(' ').unwrap_or(line.len());
    let mut expected = Decision::default();
    let name = &line.as_bytes()[..size];
    table.decide(name, 1_000, &mut Scratch::default(), &mut expected);
    let (outcome, _) = table.outcome(&Subject::within(line.as_bytes(), size), room);
    match outcome {
        Outcome::Blocked(rule) => expected.fate == Fate::Blocked(rule),
        Outcome::Taken(takers, number) => {
            let number = number.expect("a number, from sixteen rules on");
            expected.fate == Fate::Routed
                && takers == expected.takers
                && known.entry(number).or_insert_with(|| takers.to_vec()) == takers
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_short_way_comes_to_what_the_long_one_does(
        tables in proptest::collection::vec(tables(), 1..3),
        lines in proptest::collection::vec("[ab.]{1,40}( [0-9]{1,2} 1790000000)?", 1..60),
    ) {
        let mut room = Scratch::default();
        for table in &tables {
            prop_assert!(table.is_plain());
            let mut known = HashMap::new();
            // Names seen before, neighbours that begin alike, and back again.
            for line in lines.iter().chain(lines.iter().rev()) {
                prop_assert!(agrees(table, line, &mut room, &mut known), "{line}");
            }
        }
    }
}

/// As between two times in which names hardly come twice: those in between are decided on in full, in the same room.
#[test]
fn an_outcome_is_of_the_names_that_came_to_it_whatever_was_decided_meanwhile() {
    let routes = (0..20).map(|at| {
        let patterns = Patterns {
            sub: format!(".h{at:02}."),
            ..Patterns::default()
        };
        let matcher = Matcher::new(&patterns).unwrap();
        TableRoute::to_all(&at.to_string(), matcher, vec![(at, Matcher::all())])
    });
    let table = Table::new(Entries {
        destinations: 20,
        routes: routes.collect(),
        ..Entries::default()
    });
    let (mut room, mut known) = (Scratch::default(), HashMap::new());
    assert!(agrees(
        &table,
        "web.h01.a 1 1790000000",
        &mut room,
        &mut known
    ));
    table.decide(b"web.h02.a", 1_000, &mut room, &mut Decision::default());
    assert!(agrees(
        &table,
        "web.h02.b 1 1790000000",
        &mut room,
        &mut known
    ));
    table.decide(b"web.h01.a", 1_000, &mut room, &mut Decision::default());
    assert!(agrees(
        &table,
        "web.h01.c 1 1790000000",
        &mut room,
        &mut known
    ));
}

/// A thousand and more different sets of rules, of which some must make room for others, and some are long.
#[test]
fn outcomes_make_room_for_others() {
    let many = |text: &str, count: usize| -> Vec<String> { vec![text.into(); count] };
    let texts = (0..1_500).map(|at| format!("h{at}."));
    let texts: Vec<_> = texts.chain(many("long.", LONG + 1)).collect();
    let routes = texts.iter().enumerate().map(|(at, text)| {
        let patterns = Patterns {
            sub: text.clone(),
            ..Patterns::default()
        };
        let matcher = Matcher::new(&patterns).unwrap();
        TableRoute::to_all(&at.to_string(), matcher, vec![(at, Matcher::all())])
    });
    let table = Table::new(Entries {
        destinations: texts.len(),
        routes: routes.collect(),
        ..Entries::default()
    });
    let (mut room, mut known) = (Scratch::default(), HashMap::new());
    for at in 0..6_000 {
        let long = if at % 3 == 0 { "long." } else { "" };
        let line = format!("web.h{}.{long}{at} 1 1790000000", at * 7 % 1_500);
        assert!(agrees(&table, &line, &mut room, &mut known), "{line}");
    }
    let recent = &room.recent;
    let long = recent
        .outcomes
        .iter()
        .filter(|found| found.hits.len() > LONG);
    assert!(long.count() <= 1);
    assert_eq!(recent.outcomes.len(), KEPT);
}
