use proptest::prelude::*;

use super::*;
use crate::route::Patterns;

const NOW: u32 = 1_790_000_000;

fn rule(function: Function, interval: u32, wait: u32) -> Rule {
    Rule::new(function, &Patterns::default(), "all", interval, wait, false).unwrap()
}

fn windows() -> Windows {
    Windows::new(Limits::of(1000))
}

fn flushed(windows: &mut Windows, now: u32) -> String {
    let mut to = Vec::new();
    while windows.flush(now, 2, &mut to).more {}
    String::from_utf8(to).unwrap()
}

#[test]
fn a_reason_indexes_its_own_counter() {
    for (index, reason) in Refused::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, index);
    }
}

#[test]
fn case_26_a_window_is_closed_when_its_time_has_come() {
    let (rule, mut windows) = (rule(Function::Sum, 10, 20), windows());
    for (value, timestamp) in [(1.0, NOW), (2.0, NOW + 9), (4.0, NOW + 10), (8.0, NOW + 1)] {
        windows.add(&rule, b"a", value, timestamp, NOW + 5).unwrap();
    }
    assert_eq!((windows.len(), windows.points()), (2, 4));
    assert_eq!(windows.next_due(), Some(NOW + 20));
    assert_eq!(flushed(&mut windows, NOW + 19), "");
    assert_eq!(flushed(&mut windows, NOW + 20), format!("a 11 {NOW}\n"));
    assert_eq!(
        flushed(&mut windows, NOW + 30),
        format!("a 4 {}\n", NOW + 10)
    );
    assert_eq!(
        (windows.len(), windows.points(), windows.next_due()),
        (0, 0, None)
    );
}

#[test]
fn case_26_points_that_come_too_late_or_too_early_are_told() {
    let (rule, mut windows) = (rule(Function::Sum, 10, 20), windows());
    let mut add = |timestamp, now| windows.add(&rule, b"a", 1.0, timestamp, now);
    // Of a window that would have been closed, whether it was there or not.
    assert_eq!(add(NOW, NOW + 20), Err(Refused::TooOld));
    assert_eq!(add(NOW, NOW + 19), Ok(()));
    assert_eq!(add(NOW, NOW + 20), Err(Refused::TooOld));
    assert_eq!(add(0, NOW), Err(Refused::TooOld));
    assert_eq!(add(NOW + 3600, NOW), Ok(()));
    assert_eq!(add(NOW + 3601, NOW), Err(Refused::TooNew));
    assert_eq!(add(u32::MAX, NOW), Err(Refused::TooNew));
}

#[test]
fn a_clock_set_back_opens_no_window_again() {
    let (rule, mut windows) = (rule(Function::Sum, 10, 20), windows());
    windows.add(&rule, b"a", 1.0, NOW, NOW).unwrap();
    assert_ne!(flushed(&mut windows, NOW + 20), "");
    let mut add = |now| windows.add(&rule, b"a", 1.0, NOW, now);
    assert_eq!(add(NOW + 10), Err(Refused::TooOld));
    // A clock that was wrong by years doesn't end aggregation.
    let year = 365 * 86_400;
    assert_eq!(flushed(&mut windows, NOW + year), "");
    windows.add(&rule, b"a", 1.0, NOW + 30, NOW + 30).unwrap();
    assert_eq!(
        flushed(&mut windows, NOW + 50),
        format!("a 1 {}\n", NOW + 30)
    );
}

#[test]
fn case_29_windows_are_bounded() {
    let mut windows = Windows::new(Limits::of(2));
    let (sum, median) = (rule(Function::Sum, 10, 20), rule(Function::Median, 10, 20));
    let mut add = |rule, name: &str| windows.add(rule, name.as_bytes(), 1.0, NOW, NOW);
    assert_eq!(add(&median, "a"), Ok(()));
    assert_eq!(add(&sum, "a"), Ok(()));
    assert_eq!(add(&sum, "b"), Err(Refused::Windows));
    // Those that are open go on, but no window keeps all the values of the world.
    assert_eq!(add(&sum, "a"), Ok(()));
    for _ in 1..32 {
        assert_eq!(add(&median, "a"), Ok(()));
    }
    assert_eq!(add(&median, "a"), Err(Refused::Windows));
    assert_ne!(flushed(&mut windows, NOW + 20), "");
    assert_eq!(
        windows.used(),
        Limits {
            windows: 0,
            names: 0,
            values: 0
        }
    );
    windows.add(&sum, b"b", 1.0, NOW + 20, NOW + 20).unwrap();
}

#[test]
fn long_names_take_no_more_than_short_ones() {
    let rule = rule(Function::Sum, 10, 20);
    let mut windows = Windows::new(Limits::of(100));
    let name = |i: u8| [vec![b'a' + i], vec![b'x'; 10_000]].concat();
    let mut add = |name: &[u8]| windows.add(&rule, name, 1.0, NOW, NOW);
    assert_eq!(add(&name(0)), Ok(()));
    assert_eq!(add(&name(1)), Ok(()));
    assert_eq!(add(&name(2)), Err(Refused::Windows));
    assert_eq!(add(b""), Err(Refused::Name));
    assert_eq!(add(&[b'x'; 16_385]), Err(Refused::Name));
}

#[test]
fn what_is_no_number_poisons_no_window() {
    let (rule, mut windows) = (rule(Function::Sum, 10, 20), windows());
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(
            windows.add(&rule, b"a", value, NOW, NOW),
            Err(Refused::Value)
        );
    }
}

#[test]
fn percentiles_stand_before_the_tags() {
    let (rule, mut windows) = (rule(Function::Percentiles, 10, 20), windows());
    windows.add(&rule, b"a;k=v", 1.5, NOW, NOW).unwrap();
    let said = flushed(&mut windows, NOW + 20);
    assert!(
        said.starts_with(&format!("a.p25;k=v 1.5 {NOW}\na.p50;k=v")),
        "{said}"
    );
    assert_eq!(said.lines().count(), 6);
}

#[test]
fn windows_of_a_rule_that_is_gone_are_let_go() {
    let (kept, gone, mut windows) = (
        rule(Function::Sum, 10, 20),
        rule(Function::Max, 10, 20),
        windows(),
    );
    for name in ["a", "b", "c"] {
        windows.add(&gone, name.as_bytes(), 1.0, NOW, NOW).unwrap();
        windows.add(&gone, name.as_bytes(), 1.0, NOW, NOW).unwrap();
    }
    windows.add(&kept, b"a", 1.0, NOW, NOW).unwrap();
    // One of them was about to be closed.
    let mut to = Vec::new();
    assert!(windows.flush(NOW + 20, 1, &mut to).more);
    assert_eq!(windows.open_of(&gone) + windows.open_of(&kept), 3);
    let points = windows.points();
    let let_go = windows.retain(std::slice::from_ref(&kept));
    assert_eq!(windows.len() as u64 + let_go.windows, 3);
    assert_eq!(windows.points() + let_go.points, points);
    assert_eq!(windows.open_of(&gone), 0);
    assert_eq!(windows.retain(std::slice::from_ref(&kept)), Gone::default());
    while windows.flush(NOW + 20, 1, &mut to).more {}
    let said = String::from_utf8(to).unwrap();
    assert!(said.contains(&format!("a 1 {NOW}\n")), "{said}");
    assert!(windows.is_empty());
}

/// A point of a series, of the window at NOW or the next.
fn points() -> impl Strategy<Value = Vec<(usize, u8, f64, u32)>> {
    let point = (0..Function::ALL.len(), 0u8..4, -1e6f64..1e6, NOW..NOW + 20);
    prop::collection::vec(point, 0..80)
}

fn rules() -> Vec<Rule> {
    Function::ALL.map(|function| rule(function, 10, 20)).into()
}

fn add(windows: &mut Windows, rules: &[Rule], points: &[(usize, u8, f64, u32)]) {
    for (rule, name, value, timestamp) in points {
        windows
            .add(&rules[*rule], &[b'a' + name], *value, *timestamp, NOW)
            .unwrap();
    }
}

fn saved(windows: &Windows) -> Vec<u8> {
    let mut bytes = Vec::new();
    windows.save(&mut bytes).unwrap();
    bytes
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

proptest! {
    #[test]
    fn case_29_a_successor_has_what_one_worker_had_seen(
        points in points(), cut in any::<prop::sample::Index>(), most in 1usize..50,
    ) {
        let rules = rules();
        let (earlier, later) = points.split_at(cut.index(points.len() + 1));
        let (mut one, mut old, mut new) = (windows(), windows(), windows());
        add(&mut one, &rules, &points);
        add(&mut old, &rules, earlier);
        add(&mut new, &rules, later);
        let bytes = saved(&old);
        let mut saved = Saved::new(&bytes, &rules).unwrap();
        while new.merge(&mut saved, most).unwrap() {}
        prop_assert_eq!(saved.merged().points, earlier.len() as u64);
        prop_assert_eq!((new.len(), new.points(), new.used()), (one.len(), one.points(), one.used()));
        for now in [NOW + 20, NOW + 30] {
            let (one, new) = (flushed(&mut one, now), flushed(&mut new, now));
            prop_assert_eq!(sorted(&one), sorted(&new));
        }
        prop_assert!(new.is_empty());
    }

    #[test]
    fn saved_windows_of_other_rules_are_let_go(points in points()) {
        let rules = rules();
        let mut old = windows();
        add(&mut old, &rules, &points);
        let bytes = saved(&old);
        let mut saved = Saved::new(&bytes, &rules[..4]).unwrap();
        let mut new = windows();
        while new.merge(&mut saved, 3).unwrap() {}
        let merged = saved.merged();
        prop_assert_eq!(merged.points + merged.gone_points, points.len() as u64);
        prop_assert_eq!(merged.points, points.iter().filter(|point| point.0 < 4).count() as u64);
        prop_assert_eq!(new.len() as u64 + merged.gone_windows, old.len() as u64);
    }

    #[test]
    fn no_bytes_make_it_panic(
        points in points(), at in any::<prop::sample::Index>(), with in prop::collection::vec(any::<u8>(), 0..9),
        cut in any::<bool>(),
    ) {
        let rules = rules();
        let mut old = windows();
        add(&mut old, &rules, &points);
        let mut bytes = saved(&old);
        let at = at.index(bytes.len());
        match cut {
            true => bytes.truncate(at),
            false => { bytes.splice(at..(at + with.len()).min(bytes.len()), with); }
        }
        let mut new = windows();
        if let Ok(mut saved) = Saved::new(&bytes, &rules) {
            while let Ok(true) = new.merge(&mut saved, 10) {}
            prop_assert!(!cut || saved.left() > 0 || new.merge(&mut saved, 1).is_err() || at == bytes.len());
        }
        // Names need not be UTF-8.
        while new.flush(u32::MAX, 2, &mut Vec::new()).more {}
        prop_assert!(new.is_empty());
    }

    /// However they come and go, the table finds each window and forgets none.
    #[test]
    fn windows_come_and_go(steps in prop::collection::vec((0u8..6, 0u32..50, 0usize..4), 1..200)) {
        let rule = rule(Function::Count, 10, 20);
        let mut windows = windows();
        let (mut now, mut taken, mut to) = (NOW, 0, Vec::new());
        for (name, ahead, most) in steps {
            taken += u64::from(windows.add(&rule, &[b'a' + name], 1.0, now + ahead, now).is_ok());
            now += ahead / 10;
            windows.flush(now, most, &mut to);
        }
        while windows.flush(u32::MAX, 100, &mut to).more {}
        let text = String::from_utf8(to).unwrap();
        let counted: u64 = text.lines().map(|line| line.split(' ').nth(1).unwrap().parse::<u64>().unwrap()).sum();
        prop_assert_eq!(counted, taken);
        let windows: Vec<_> = text.lines().map(|line| (line.split(' ').next(), line.split(' ').nth(2))).collect();
        let different: std::collections::BTreeSet<_> = windows.iter().collect();
        prop_assert_eq!(different.len(), windows.len());
    }
}
