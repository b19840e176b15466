use super::*;
use crate::pipeline::{Batch, Terms};
use crate::route::{Entries, Fate, Matcher, Moment, Patterns, TableRoute};

/// A table that is worth a memo.
fn table() -> Table {
    let patterns = Patterns {
        regex: "a+b".to_owned(),
        ..Patterns::default()
    };
    Table::new(Entries {
        routes: vec![TableRoute::to_all(
            "",
            Matcher::new(&patterns).unwrap(),
            vec![(0, Matcher::all())],
        )],
        destinations: 1,
        ..Entries::default()
    })
}

fn blocked(rule: usize) -> Decision {
    Decision {
        fate: Fate::Blocked(rule),
        ..Decision::default()
    }
}

/// Looks up, and keeps what isn't known; whether it was known, and then with what was kept.
fn pass(memo: &mut Memo, name: &str, decision: &Decision) -> Option<Decision> {
    let hash = memo.hash(name.as_bytes())?;
    let slot = memo.slot(hash);
    match memo.find(name.as_bytes(), hash, slot) {
        Known::As(number) => Some(memo.decision(number).clone()),
        Known::Not(hash) => {
            memo.keep(name.as_bytes(), hash, decision);
            None
        }
        Known::Skipped => None,
    }
}

#[test]
fn more_names_than_there_is_room_for_are_hardly_looked_up_though_they_come_again() {
    let mut memo = Memo::default();
    memo.begin(&table(), &Rules::default());
    let names = 2 * ENTRIES / 40;
    let mut looked_up = [0; 8];
    for round in &mut looked_up {
        for at in 0..names {
            let name = format!("servers.web{at:07}.cpu.total.user");
            *round += usize::from(memo.hash(name.as_bytes()).is_some());
            pass(&mut memo, &name, &blocked(at % 7));
        }
    }
    let [.., before_last, last] = looked_up;
    assert!(before_last + last < names / 4, "{looked_up:?} of {names}");
}

/// Whether only a sample is looked up still, after more new names than the credit allows and then 20,000 names over and over,
/// of which so many hosts send in turn.
fn samples_at_the_end(hosts: usize) -> bool {
    let routes = (0..hosts.max(100)).map(|host| {
        let patterns = Patterns {
            sub: format!(".h{host:03}."),
            ..Patterns::default()
        };
        let matcher = Matcher::new(&patterns).unwrap();
        TableRoute::to_all(&host.to_string(), matcher, vec![(0, Matcher::all())])
    });
    let table = Table::new(Entries {
        routes: routes.collect(),
        destinations: 1,
        ..Entries::default()
    });
    let terms = Terms {
        table: &table,
        rules: &Rules::default(),
        now: 1_790_000_000,
        moment: Moment {
            up: &[true],
            turn: 0,
        },
        order: None,
    };
    let mut batch = Batch::new();
    let mut send = |numbers: std::ops::Range<usize>| {
        let line = |at| format!("servers.h{:03}.m{at} 1 1790000000\n", at % hosts);
        let text: String = numbers.map(line).collect();
        batch.run(&terms, text.as_bytes());
        assert_eq!(batch.unrouted(), 0);
        batch.memo.is_sampling()
    };
    assert!(send(100_000..110_000 + CREDIT as usize), "all are new");
    let passes = (0..10).map(|_| send(0..20_000));
    passes.last().unwrap()
}

#[test]
fn names_that_other_rules_are_found_for_are_seen_to_come_again() {
    assert!(!samples_at_the_end(100));
    // The same rules are found for each name: there is nothing to be saved.
    assert!(samples_at_the_end(1));
}

#[test]
fn of_names_of_every_kind_about_one_in_a_sample_is() {
    type Name = fn(usize) -> String;
    let kinds: [(&str, Name); 6] = [
        ("numbered at the end", |at| {
            format!("servers.h{:03}.cpu{}.user.{at:07}", at / 10 % 1000, at % 10)
        }),
        ("numbered in the middle", |at| {
            format!("servers.web{at:06}.cpu.total.user")
        }),
        ("numbered at the beginning", |at| {
            format!("{at:06}.collectd.cpu.idle")
        }),
        ("the number twice", |at| {
            format!("jobs.{at:05}.worker.{at:05}.count")
        }),
        ("in hex, long", |at| {
            format!("a.{:016x}.{:060}.end", at * 7_919, 0)
        }),
        ("short", |at| format!("m{at}")),
    ];
    for (kind, name) in kinds {
        let sampled = (0..64_000)
            .filter(|at| is_sampled(name(*at).as_bytes()))
            .count();
        assert!((30..500).contains(&sampled), "{kind}: {sampled}");
    }
}

#[test]
fn names_that_come_again_are_known() {
    let mut memo = Memo::default();
    memo.begin(&table(), &Rules::default());
    let name = |at: usize| format!("servers.web{at}.cpu.user");
    for at in 0..100_000 {
        assert_eq!(pass(&mut memo, &name(at), &blocked(at % 7)), None);
    }
    assert!(memo.decisions.len() == 7);
    let known = (0..100_000).filter(|at| {
        let found = pass(&mut memo, &name(*at), &blocked(at % 7));
        assert!(found.is_none() || found == Some(blocked(at % 7)));
        found.is_some()
    });
    assert!(known.count() > 99_900);
    memo.begin(&table(), &Rules::default());
    assert_eq!(
        pass(&mut memo, &name(1), &blocked(1)),
        None,
        "another table decides anew"
    );
}

#[test]
fn names_that_never_come_again_are_hardly_kept_and_what_comes_again_is_seen() {
    let mut memo = Memo::default();
    memo.begin(&table(), &Rules::default());
    let name = |at: usize| format!("{at:x}.{:060}.{:x}", at, at * 7919);
    // Each with a decision of its own: the worst that can be.
    for at in 0..600_000 {
        assert_eq!(pass(&mut memo, &name(at), &blocked(at)), None);
    }
    assert!(memo.is_sampling());
    assert!(memo.entries.len() <= ENTRIES && memo.decision_bytes <= DECISIONS + 1024);
    for _ in 0..24 {
        for at in 0..50_000 {
            let found = pass(&mut memo, &name(at), &blocked(at));
            assert!(found.is_none() || found == Some(blocked(at)));
        }
    }
    assert!(!memo.is_sampling());
}
