//! What rewriters and aggregators do with names and points, case by case as the behaviour document numbers them, and as
//! carbon-relay-ng did when it was run.
#![allow(missing_docs)]

use baton::aggregate::{Function, Limits, Rule, Windows};
use baton::rewrite::Rewriter;
use baton::route::Patterns;

/// The rows of a table, without its heading. Fields may be in quotes, with newlines and doubled quotes inside.
fn rows(file: &str) -> Vec<Vec<String>> {
    let (mut rows, mut fields, mut quoted) = (Vec::new(), vec![String::new()], false);
    let mut chars = file.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => {
                fields.last_mut().unwrap().extend(chars.next())
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            '\r' => {}
            '\n' if !quoted => rows.push(std::mem::replace(&mut fields, vec![String::new()])),
            _ => fields.last_mut().unwrap().push(char),
        }
    }
    rows.remove(0);
    rows
}

fn rewritten(old: &str, new: &str, not: &str, max: &str, name: &str) -> String {
    let rewriter = match Rewriter::new(old, new, not, max.parse().unwrap()) {
        Ok(rewriter) => rewriter,
        Err(error) => return format!("ERROR {}", error.key()),
    };
    let mut to = Vec::new();
    match rewriter.rewrite(name.as_bytes(), &mut to) {
        true => String::from_utf8(to).unwrap(),
        false => name.to_owned(),
    }
}

#[test]
fn case_21_names_are_rewritten_as_by_carbon_relay_ng() {
    let mut errors = Vec::new();
    let rows = rows(include_str!("vectors/crng_rewriter.csv"));
    assert!(rows.len() >= 129);
    for row in rows {
        let [old, new, not, max, name, theirs] = &row[..] else {
            panic!("{row:?}")
        };
        let ours = rewritten(old, new, not, max, name);
        match theirs.starts_with("ERROR") {
            true => errors.push((theirs.clone(), ours)),
            false => assert_eq!(ours, *theirs, "{row:?}"),
        }
    }
    let keys: Vec<_> = errors.iter().map(|(_, ours)| &ours[..]).collect();
    assert_eq!(
        keys,
        ["ERROR max", "ERROR old", "ERROR old", "ERROR not"],
        "{errors:?}"
    );
}

#[test]
fn case_21_rewriters_follow_each_other() {
    let first = rewritten("/^a/", "b${0}", "", "-1", "a.c");
    assert_eq!(rewritten("ba", "x", "/^x/", "1", &first), "x.c");
    assert_eq!(rewritten("ba", "x", "/^b/", "1", &first), "ba.c");
}

fn rule(function: Function, regex: &str, format: &str) -> Rule {
    let patterns = Patterns {
        regex: regex.to_owned(),
        ..Patterns::default()
    };
    Rule::new(function, &patterns, format, 600, 1200, false).unwrap()
}

#[test]
fn case_28_outputs_are_named_as_by_carbon_relay_ng() {
    let rows = rows(include_str!("vectors/crng_aggregation_format.csv"));
    assert!(rows.len() >= 32);
    for row in rows {
        let [regex, format, name, theirs] = &row[..] else {
            panic!("{row:?}")
        };
        let mut to = Vec::new();
        let ours = match rule(Function::Sum, regex, format).output(name.as_bytes(), &mut to) {
            true => String::from_utf8(to).unwrap(),
            false => "(no match)".to_owned(),
        };
        assert_eq!(ours, *theirs, "{row:?}");
    }
}

/// The lines of a window, of values a second apart or of `value@timestamp`.
fn computed(function: Function, values: &str) -> Vec<String> {
    let (rule, mut windows) = (rule(function, "", "k"), Windows::new(Limits::of(100)));
    for (second, value) in values.split(' ').enumerate() {
        let (value, timestamp) = match value.split_once('@') {
            Some((value, timestamp)) => (value, timestamp.parse().unwrap()),
            None => (value, 600 + second as u32),
        };
        let value = value.parse().unwrap();
        windows.add(&rule, b"k", value, timestamp, 600).unwrap();
    }
    let mut to = Vec::new();
    assert!(!windows.flush(100_000, 100, &mut to).more);
    String::from_utf8(to)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// As carbon-relay-ng prints it, with six decimals.
fn shorter(line: &str) -> String {
    let [name, value, timestamp] = line.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{line}")
    };
    format!("{name} {:.6} {timestamp}", value.parse::<f64>().unwrap())
}

#[test]
fn case_27_functions_compute_what_carbon_relay_ng_does() {
    let rows = rows(include_str!("vectors/crng_aggregation.csv"));
    let mut functions = std::collections::BTreeSet::new();
    for row in &rows {
        let [function, values, theirs] = &row[..] else {
            panic!("{row:?}")
        };
        let function = Function::ALL
            .into_iter()
            .find(|f| f.as_str() == function)
            .unwrap();
        functions.insert(function.as_str());
        let ours: Vec<_> = computed(function, values)
            .iter()
            .map(|line| shorter(line))
            .collect();
        // What is infinite isn't sent.
        let theirs: Vec<_> = match &theirs[..] {
            "(nothing)" | "" | "k +Inf 600" => Vec::new(),
            theirs => theirs
                .lines()
                .map(|line| line.replace("-0.000000", "0.000000"))
                .collect(),
        };
        assert_eq!(ours, theirs, "{} {values}", function.as_str());
    }
    assert_eq!(functions.len(), 10);
}

#[test]
fn case_27_median_and_variance() {
    assert_eq!(
        computed(Function::Median, "4 8 15 16 23 42"),
        ["k 15.5 600"]
    );
    assert_eq!(computed(Function::Median, "3 1 2"), ["k 2 600"]);
    assert_eq!(computed(Function::Variance, "4 7 13 16"), ["k 22.5 600"]);
}

#[test]
fn case_28_values_are_printed_with_all_their_digits_and_no_more() {
    assert_eq!(computed(Function::Sum, "0.1 0.2 0.3"), ["k 0.6 600"]);
    assert_eq!(computed(Function::Max, "1e-09 2e-09"), ["k 2e-9 600"]);
    assert_eq!(
        computed(Function::Avg, "1 2 2"),
        ["k 1.6666666666666667 600"]
    );
    assert_eq!(computed(Function::Count, "1 2 2"), ["k 3 600"]);
}

#[test]
fn case_27_an_interval_of_zero_is_an_error() {
    let error = Rule::new(Function::Sum, &Patterns::default(), "k", 0, 10, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "interval: expected a second at least, found 0"
    );
}
