//! What moves when members come, go, or are down: only what the algorithm says.

use super::*;
use proptest::prelude::*;

const HASHES: [RouteKind; 5] = [
    RouteKind::ConsistentHashing,
    RouteKind::ConsistentHashingV2,
    RouteKind::CarbonCh,
    RouteKind::Fnv1aCh,
    RouteKind::JumpFnv1aCh,
];

fn hosts(count: usize) -> Vec<String> {
    (0..count)
        .map(|at| format!("10.7.{}.{at}:2003", at % 3))
        .collect()
}

fn names() -> impl Iterator<Item = String> {
    (0..2000).map(|at| format!("servers.web{at:04}.cpu{};dc=a", at % 7))
}

fn options(replication: usize, dynamic: bool) -> ChoiceOptions {
    ChoiceOptions {
        replication,
        dynamic,
        ..ChoiceOptions::default()
    }
}

/// Adding a member takes names from others and changes nothing among those. Moved entries of carbon's ring and of
/// carbon-relay-ng's second make a few exceptions, where members collide: their ends are the algorithm's.
#[test]
fn case_24_a_new_member_only_takes() {
    for kind in HASHES {
        for count in [2, 5, 20] {
            let (before, after) = (hosts(count), hosts(count + 1));
            let [old, new] =
                [&before, &after].map(|hosts| chooser(kind, hosts, ChoiceOptions::default()));
            let mut taken = 0;
            for name in names() {
                let (was, is) = (chosen(&old, &name, &[]), chosen(&new, &name, &[]));
                if was != is {
                    assert_eq!(is, [count], "{kind:?} {count} {name}");
                    taken += 1;
                }
            }
            // Its share, more or less: a hundred entries are no even spread.
            let share = 2000 / (count + 1);
            assert!(
                taken > share / 2 && taken < share * 2,
                "{kind:?} {count}: {taken}"
            );
        }
    }
}

/// Taking one away moves its names alone. (jump numbers its members: only its last one may go so. A member that is carbon's moves those of
/// its neighbours that had given way to it, some of 65536 positions.)
#[test]
fn case_24_a_member_that_goes_only_gives() {
    for kind in [RouteKind::ConsistentHashing, RouteKind::Fnv1aCh] {
        let all = hosts(12);
        let old = chooser(kind, &all, ChoiceOptions::default());
        for gone in [0, 5, 11] {
            let mut left = all.clone();
            left.remove(gone);
            let new = chooser(kind, &left, ChoiceOptions::default());
            for name in names() {
                let was = chosen(&old, &name, &[])[0];
                let is = &left[chosen(&new, &name, &[])[0]];
                assert!(was == gone || all[was] == *is, "{kind:?} {name}");
            }
        }
    }
    for kind in [RouteKind::CarbonCh, RouteKind::ConsistentHashingV2] {
        let all = hosts(12);
        let old = chooser(kind, &all, ChoiceOptions::default());
        for gone in [0, 5, 11] {
            let mut left = all.clone();
            left.remove(gone);
            let new = chooser(kind, &left, ChoiceOptions::default());
            let others = names().filter(|name| {
                let was = chosen(&old, name, &[])[0];
                was != gone && all[was] != left[chosen(&new, name, &[])[0]]
            });
            assert!(others.count() <= 2, "{kind:?}");
        }
    }
}

/// Members that are down lose their names to the others, and nobody else's change; but a hash that isn't dynamic keeps them.
#[test]
fn case_23_only_names_of_those_that_are_down_move() {
    let hosts = hosts(7);
    let mut up = [true; 7];
    (up[2], up[5]) = (false, false);
    for kind in HASHES.into_iter().chain([RouteKind::AnyOf]) {
        let fixed = chooser(kind, &hosts, ChoiceOptions::default());
        let dynamic = chooser(kind, &hosts, options(1, true));
        let mut got = [0; 7];
        for name in names() {
            let usual = chosen(&fixed, &name, &[true; 7]);
            let is = chosen(&dynamic, &name, &up);
            assert!(up[is[0]], "{kind:?} {name}");
            got[is[0]] += 1;
            if up[usual[0]] {
                assert_eq!(is, usual, "{kind:?} {name}");
            }
            if kind.is_hash() {
                assert_eq!(chosen(&fixed, &name, &up), usual);
            }
        }
        // Each of the five takes some of what the two had.
        assert!(
            got.iter().filter(|lines| **lines > 150).count() == 5,
            "{kind:?} {got:?}"
        );
    }
}

#[test]
fn case_23_failover_takes_the_first_that_is_up() {
    let route = chooser(RouteKind::Failover, &hosts(3), ChoiceOptions::default());
    for (up, expected) in [
        ([true, true, true], 0),
        ([false, true, true], 1),
        ([false, false, true], 2),
        ([true, false, true], 0),
        ([false, false, false], 0),
    ] {
        assert_eq!(chosen(&route, "x", &up), [expected]);
    }
    // Of those whose own matcher accepts the name.
    let mut found = Vec::new();
    let moment = Moment {
        up: &[true, true, true],
        turn: 0,
    };
    route.choose(b"x", &[1, 2], &moment, &mut found);
    route.choose(b"x", &[], &moment, &mut found);
    assert_eq!(found, [1]);
    assert!(!route.is_fixed());
}

#[test]
fn case_23_round_robin_takes_those_that_are_up_in_turn() {
    let route = chooser(RouteKind::RoundRobin, &hosts(3), ChoiceOptions::default());
    let order = |up: [bool; 3]| {
        let mut found = Vec::new();
        for turn in 0..6 {
            let moment = Moment { up: &up, turn };
            route.choose(b"x", &[0, 1, 2], &moment, &mut found);
        }
        found
    };
    assert_eq!(order([true; 3]), [0, 1, 2, 0, 1, 2]);
    assert_eq!(order([true, false, true]), [0, 2, 0, 2, 0, 2]);
    assert_eq!(order([false; 3]), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn bad_choices_are_refused() {
    let new = |kind, count, replication| {
        Chooser::new(kind, members(&hosts(count)), options(replication, false)).map(drop)
    };
    for kind in HASHES {
        assert!(new(kind, 3, 3).is_ok());
        assert!(new(kind, 3, 4).is_err() && new(kind, 3, 0).is_err() && new(kind, 0, 1).is_err());
        assert!(new(kind, 1001, 1).is_err());
    }
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    let text = "(10\\.0\\.0\\.[1-4]|h[a-c]|::1|größe):(1|2003|65535)(=([0-9]{1,2}|[a-c]))?";
    proptest::collection::vec(text, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the members are, colliding ones too: as many distinct members as wanted, the same each time, and those that are up first.
    #[test]
    fn a_name_has_as_many_members_as_wanted(
        texts in texts(), name: Vec<u8>, wanted in 1usize..24, up in proptest::collection::vec(any::<bool>(), 0..24), dynamic: bool,
    ) {
        let wanted = wanted.min(texts.len());
        for kind in HASHES {
            let chooser = chooser(kind, &texts, options(wanted, dynamic));
            let moment = Moment { up: &up, turn: 3 };
            let mut found = vec![7];
            chooser.choose(&name, chooser.everyone(), &moment, &mut found);
            let found = &found[1..];
            prop_assert_eq!(found.len(), wanted);
            let distinct: std::collections::BTreeSet<_> = found.iter().collect();
            prop_assert_eq!(distinct.len(), wanted);
            prop_assert!(found.iter().all(|at| *at < texts.len()));
            let is_up = |at: &usize| up.get(*at).copied().unwrap_or(true);
            if dynamic {
                let ups = (0..texts.len()).filter(is_up).count();
                prop_assert_eq!(found.iter().filter(|at| is_up(at)).count(), wanted.min(ups));
            }
            // The first of many is the one of one.
            let one = super::chooser(kind, &texts, options(1, false));
            let first = super::chooser(kind, &texts, options(wanted, false));
            let name = String::from_utf8_lossy(&name);
            prop_assert_eq!(chosen(&one, &name, &[])[0], chosen(&first, &name, &[])[0]);
        }
    }
}
