use super::*;
use crate::aggregate::Function;
use crate::route::Patterns;

const NOW: u32 = 1_790_000_000;

fn rules() -> [Rule; 1] {
    [Rule::new(Function::Sum, &Patterns::default(), "all", 10, 20, false).unwrap()]
}

fn add(aggregating: &Aggregating, rules: &[Rule], names: std::ops::Range<u32>, now: u32) -> u64 {
    let names: Vec<String> = names.map(|name| format!("name.{name}")).collect();
    let points = names.iter().map(|name| Point {
        rule: &rules[0],
        number: 0,
        output: name.as_bytes(),
        value: 1.0,
        timestamp: NOW,
    });
    let mut refused = 0;
    aggregating.add(points, now, |_, told| refused += u64::from(told.is_err()));
    refused
}

fn take(aggregating: &Aggregating, now: u32) -> Option<Due> {
    aggregating.print_due(now);
    aggregating.take_due()
}

fn flushed(aggregating: &Aggregating, now: u32) -> (Tally, Vec<String>) {
    let (mut all, mut text) = (Tally::default(), Vec::new());
    while let Some(due) = take(aggregating, now) {
        for tally in due.tallies() {
            all.windows += tally.windows;
            all.points += tally.points;
            all.lines += tally.lines;
        }
        text.extend_from_slice(due.lines());
    }
    let text = String::from_utf8(text).unwrap();
    (all, text.lines().map(str::to_owned).collect())
}

/// What `old` has goes to `new`, all of it numbered.
fn pass(old: &Aggregating, new: &Aggregating, rules: &[Rule]) -> Merged {
    let mut bytes = Vec::new();
    let due = old.save(&mut bytes).unwrap();
    let tallies: Vec<Tally> = due.tallies().copied().collect();
    let next = 1 + tallies.len() as u32;
    new.put_before(Due::new(due.lines().to_vec(), tallies, 1).unwrap());
    let merged = new.merge(&bytes, next, rules, &mut vec![0; rules.len()]);
    new.release();
    merged.unwrap()
}

#[test]
fn case_29_windows_are_held_until_the_predecessors_have_come() {
    let rules = rules();
    let old = Aggregating::new(Limits::of(10_000), false);
    let new = Aggregating::new(Limits::of(10_000), true);
    assert_eq!(add(&old, &rules, 0..3000, NOW), 0);
    assert_eq!(add(&new, &rules, 1000..4000, NOW), 0);
    assert!(!new.is_due(NOW + 20));
    assert_eq!(flushed(&new, NOW + 20).0, Tally::default());
    let merged = pass(&old, &new, &rules);
    assert_eq!((merged.windows, merged.points), (3000, 3000));
    assert!(!new.is_due(NOW + 19) && new.is_due(NOW + 20));
    let (done, mut lines) = flushed(&new, NOW + 20);
    assert_eq!((done.windows, done.points, done.lines), (4000, 6000, 4000));
    lines.sort_unstable();
    let twos = lines.iter().filter(|line| line.contains(" 2 ")).count();
    assert_eq!((lines.len(), twos), (4000, 2000));
    assert_eq!(new.open(), (0, 0));
}

#[test]
fn a_predecessor_that_sends_rubbish_or_nothing_holds_nobody_up() {
    let rules = rules();
    let new = Aggregating::new(Limits::of(10), true);
    assert!(new.merge(b"rubbish", 1, &rules, &mut [0]).is_err());
    assert_eq!(add(&new, &rules, 0..1, NOW), 0);
    new.release();
    assert_eq!(flushed(&new, NOW + 20).0.lines, 1);
}

#[test]
fn where_there_is_no_room_for_lines_windows_stay_closed_and_wait() {
    let rules = rules();
    let aggregating = Aggregating::new(Limits::of(10_000), false);
    add(&aggregating, &rules, 0..10_000, NOW);
    // More than there is room for.
    assert_eq!(add(&aggregating, &rules, 10_000..10_005, NOW), 5);
    let first = take(&aggregating, NOW + 20).unwrap();
    let piece = first.piece(usize::MAX);
    assert_eq!((piece.through, piece.tallies[0].windows), (None, 256));
    let lines = first.lines().to_vec();
    aggregating.put_before(first);
    assert_eq!(aggregating.points()[&rules[0].id()], 10_000);
    assert_eq!(add(&aggregating, &rules, 0..1, NOW + 20), 1, "too old");
    assert_eq!(aggregating.save(&mut Vec::new()).unwrap().lines(), lines);
    assert_eq!(flushed(&aggregating, NOW + 20).0.lines, 10_000);
    assert_eq!(aggregating.open(), (0, 0));
}

/// Places windows until so many of the predecessor's are; tells the lines.
fn place(aggregating: &Aggregating, passed: u32) -> Vec<String> {
    let (mut text, mut last) = (Vec::new(), 0);
    while last < passed {
        let mut due = take(aggregating, NOW + 60).unwrap();
        while last < passed && !due.is_empty() {
            let piece = due.piece(0);
            text.extend_from_slice(&due.lines()[..piece.bytes]);
            last = last.max(piece.passed);
            due.placed(&piece);
        }
        aggregating.put_before(due);
    }
    let text = String::from_utf8(text).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// However many the successor has closed when it dies: each window comes once.
#[test]
fn case_29_what_a_successor_has_placed_is_not_placed_again_and_the_rest_is() {
    let rules = rules();
    for placed in [0, 1, 99, 100, 101, 333, 899, 900] {
        let old = Aggregating::new(Limits::of(10_000), false);
        add(&old, &rules, 0..901, NOW);
        // Of these, some wait, and one is gone.
        let mut due = take(&old, NOW + 20).unwrap();
        let piece = due.piece(0);
        due.placed(&piece);
        old.put_before(due);
        let new = Aggregating::new(Limits::of(10_000), true);
        // What the successor had opened before changes no order: some the old one has, some it hasn't.
        add(&new, &rules, 500..1000, NOW);
        pass(&old, &new, &rules);
        let mut lines = place(&new, placed);
        old.forget_first(placed as usize, NOW + 20, |_| false);
        lines.extend(flushed(&old, NOW + 60).1);
        let mut names: Vec<&str> = lines
            .iter()
            .map(|line| line.split(' ').next().unwrap())
            .filter(|name| name[5..].parse::<u32>().unwrap() < 901)
            .collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!((all, names.len()), (900, 900), "{placed} placed");
        assert_eq!(old.open(), (0, 0));
    }
}

#[test]
fn case_29_windows_of_a_rule_that_the_successor_lacked_stay() {
    let max = Rule::new(Function::Max, &Patterns::default(), "all", 10, 20, false).unwrap();
    let [sum] = rules();
    let old = Aggregating::new(Limits::of(10_000), false);
    for rule in [&sum, &max] {
        add(&old, std::slice::from_ref(rule), 0..10, NOW);
    }
    old.forget_first(20, NOW, |rule| rule == max.id());
    let points = old.points();
    assert_eq!((points.len(), points[&max.id()]), (1, 10));
    assert_eq!(flushed(&old, NOW + 20).0.lines, 10);
}

/// A million values take long to sort: a freeze must not wait for them, nor a batch of points.
#[test]
fn lines_are_made_in_bounded_steps_that_hold_nobody_up() {
    const VALUES: u32 = 50_000;
    let rules = [Rule::new(
        Function::Percentiles,
        &Patterns::default(),
        "all",
        10,
        20,
        false,
    )
    .unwrap()];
    let aggregating = Aggregating::new(Limits::of(100_000), false);
    for name in 0..8 {
        let name = format!("name.{name}");
        let points = (0..VALUES).map(|value| Point {
            rule: &rules[0],
            number: 0,
            output: name.as_bytes(),
            value: value.into(),
            timestamp: NOW,
        });
        aggregating.add(points, NOW, |_, told| assert!(told.is_ok()));
    }
    for _ in 0..4 {
        let windows = take(&aggregating, NOW + 20).unwrap().tallies().len();
        assert_eq!(windows, 2, "their values bound a step");
    }
    assert_eq!(aggregating.open(), (0, 0));
    // Somebody is at it: what is done inside of the gate waits for nothing.
    let printing = aggregating.printing.lock().unwrap();
    assert_eq!(add(&aggregating, &rules, 0..1, NOW + 20), 1);
    assert!(aggregating.take_due().is_none() && !aggregating.is_due(NOW + 20));
    aggregating.put_before(Due::new(b"a 1 2\n".to_vec(), [one_line()], 0).unwrap());
    assert!(aggregating.take_due().is_some());
    drop(printing);
}

fn one_line() -> Tally {
    Tally {
        rule: 1,
        windows: 1,
        points: 1,
        lines: 1,
    }
}
