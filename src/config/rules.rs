use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::keys;
use super::read::{Report, Section, Value};
use crate::rewrite::BadRewriter;
use crate::spec::{Aggregation, AggregationDraft, BadOption, Note, Rewriter, one_line};

/// With as many, their names and states take some gigabytes.
const MAX_WINDOWS: RangeInclusive<usize> = 1..=10_000_000;
/// A name takes 34 bytes.
const ORDER_NAMES: RangeInclusive<usize> = 1..=100_000_000;

/// Of how many names the order of points is validated, if it is.
pub(super) fn order(report: &mut Report, root: &Section) -> Option<usize> {
    // What is wrong with the table as a whole was told when its other keys were read.
    let section = root.section(&mut Report::new(""), "validation", keys::VALIDATION);
    let order = section.value("order");
    let order = order.and_then(|value| value.flag(report)).unwrap_or(false);
    let names = section.value("order_names");
    let names = names.and_then(|value| value.number(report, &ORDER_NAMES));
    order.then(|| names.unwrap_or(1_000_000))
}

/// How many windows may be open.
pub(super) fn max_windows(report: &mut Report, root: &Section) -> usize {
    let value = root.value("max_windows");
    let number = value.and_then(|value| value.number(report, &MAX_WINDOWS));
    number.unwrap_or(1_000_000)
}

/// The tables of `[[key]]`.
fn tables<'d>(report: &mut Report, root: &Section<'d>, key: &'static str) -> Vec<Value<'d>> {
    let tables = root.value(key).map(|value| value.tables(report));
    tables.unwrap_or_default()
}

/// A rule is known by its text, so a second one with the same can't be told apart.
fn is_new(
    report: &mut Report,
    table: &Value,
    texts: &mut HashMap<String, usize>,
    text: String,
) -> bool {
    if let Some(line) = texts.get(&text) {
        let message = format!("expected each rule once, found that of line {line} again");
        table.refuse(report, message);
        return false;
    }
    texts.insert(text, report.line(table.at));
    true
}

fn warn(report: &mut Report, section: &Section, table: &Value, notes: Vec<Note>) {
    for note in notes {
        let at = section.value(note.key).map_or(table.at, |value| value.at);
        let key = format!("{}.{}", table.key, note.key);
        report.warn(Some(at), &key, note.message);
    }
}

pub(super) fn rewriters(report: &mut Report, root: &Section) -> Vec<Rewriter> {
    let mut texts = HashMap::new();
    let mut kept = Vec::new();
    for table in tables(report, root, "rewriter") {
        let Some(section) = table.table(report, keys::REWRITER) else {
            continue;
        };
        let Some(rewriter) = rewriter(report, &section) else {
            continue;
        };
        if is_new(report, &table, &mut texts, rewriter.to_string()) {
            warn(report, &section, &table, rewriter.notes());
            kept.push(rewriter);
        }
    }
    kept
}

fn rewriter(report: &mut Report, section: &Section) -> Option<Rewriter> {
    let mut is_bad = false;
    let mut text = |report: &mut Report, key| {
        let value = section.value(key)?;
        let text = value.text(report).map(str::to_owned);
        is_bad |= text.is_none();
        text
    };
    let old = text(report, "old");
    let new = text(report, "new");
    let not = text(report, "not").unwrap_or_default();
    let max = match section.value("max") {
        Some(value) => value.integer(report),
        None => {
            // carbon-relay-ng has 0 then, and such a rewriter does nothing.
            let is_plain =
                |old: &String| !(old.len() > 1 && old.starts_with('/') && old.ends_with('/'));
            if old.as_ref().is_some_and(is_plain) {
                let message =
                    "isn't set: all occurrences are replaced (carbon-relay-ng replaces none then)";
                report.warn(Some(section.at), "rewriter.max", message.to_owned());
            }
            Some(-1)
        }
    };
    if section.value("old").is_none() {
        report.missing(
            section.at,
            "rewriter.old",
            "missing: expected what is replaced",
        );
    }
    if section.value("new").is_none() {
        let message = "missing: expected by what old is replaced, \"\" by nothing";
        report.missing(section.at, "rewriter.new", message);
    }
    let rewriter = Rewriter {
        old: old?,
        new: new?,
        not,
        max: max?,
    };
    if let Err(bad) = rewriter.compile() {
        refuse(report, section, &bad);
        return None;
    }
    (!is_bad).then_some(rewriter)
}

fn refuse(report: &mut Report, section: &Section, bad: &BadRewriter) {
    let key = bad.key();
    let at = section.value(key).map_or(section.at, |value| value.at);
    let said = one_line(&bad.to_string());
    let message = said.strip_prefix(&format!("{key}: ")).unwrap_or(&said);
    report.problem(at, &format!("rewriter.{key}"), message);
}

pub(super) fn aggregations(report: &mut Report, root: &Section) -> Vec<Aggregation> {
    let mut texts = HashMap::new();
    let mut kept = Vec::new();
    for table in tables(report, root, "aggregation") {
        let Some(section) = table.table(report, &keys::aggregation()) else {
            continue;
        };
        let (aggregation, notes) = aggregation(report, &section, &table);
        let Some(aggregation) = aggregation else {
            continue;
        };
        if is_new(report, &table, &mut texts, aggregation.to_string()) {
            warn(report, &section, &table, notes);
            warn(report, &section, &table, aggregation.notes());
            kept.push(aggregation);
        }
    }
    kept
}

fn aggregation(
    report: &mut Report,
    section: &Section,
    table: &Value,
) -> (Option<Aggregation>, Vec<Note>) {
    let mut draft = AggregationDraft::default();
    let mut is_bad = false;
    for key in keys::aggregation() {
        let Some(value) = section.value(key) else {
            continue;
        };
        let text = match key {
            "interval" | "wait" => value.seconds_text(report),
            "dropRaw" | "cache" => value.flag(report).map(|flag| flag.to_string()),
            _ => value.text(report).map(str::to_owned),
        };
        match text {
            Some(text) => {
                if let Err(bad) = draft.set(key, &text) {
                    value.refuse(report, bad.message);
                    is_bad = true;
                }
            }
            None => {
                draft.skip(key);
                is_bad = true;
            }
        }
    }
    let notes = draft.notes();
    match draft.finish() {
        Ok(aggregation) => ((!is_bad).then_some(aggregation), notes),
        Err(problems) => {
            for BadOption { option, message } in problems {
                let key = format!("{}.{option}", table.key);
                let given = keys::aggregation().into_iter().find(|key| *key == option);
                match given.and_then(|key| section.value(key)) {
                    Some(value) => value.refuse(report, message),
                    None => report.missing(section.at, &key, &message),
                }
            }
            (None, notes)
        }
    }
}
