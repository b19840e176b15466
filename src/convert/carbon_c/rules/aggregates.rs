//! Aggregates.

use super::super::super::Unreadable;
use super::super::super::expression::{any_of, merged};
use super::super::super::sheet::{Place, Sheet, Table};
use super::super::read::Statement;
use super::super::send_to;
use super::{Walk, any_of_or_none, expressions};

#[derive(Debug)]
pub(super) struct Aggregate {
    expressions: Vec<String>,
    interval: u64,
    wait: u64,
    at: String,
    /// Function and template of each output.
    outputs: Vec<(String, String)>,
    clusters: Vec<String>,
    stops: bool,
}

/// Their functions in Baton's words.
const FUNCTIONS: [(&str, &str); 13] = [
    ("sum", "sum"),
    ("summary", "sum"),
    ("count", "count"),
    ("cnt", "count"),
    ("max", "max"),
    ("maximum", "max"),
    ("min", "min"),
    ("minimum", "min"),
    ("avg", "avg"),
    ("average", "avg"),
    ("median", "median"),
    ("variance", "variance"),
    ("stddev", "stdev"),
];

impl Aggregate {
    pub(super) fn read(statement: &mut Statement) -> Result<Aggregate, Unreadable> {
        let expressions = expressions(statement, &["every"])?;
        statement.expect("every")?;
        let interval = statement.number("a number of seconds")?;
        statement.expect("seconds")?;
        statement.expect("expire")?;
        statement.expect("after")?;
        let wait = statement.number("a number of seconds")?;
        statement.expect("seconds")?;
        let mut at = "end".to_owned();
        if statement.take("timestamp") {
            statement.expect("at")?;
            at = statement.word("start, middle or end")?;
            statement.expect("of")?;
            statement.expect("bucket")?;
        }
        let mut outputs = Vec::new();
        while statement.take("compute") {
            let function = statement.word("a function")?;
            statement.expect("write")?;
            statement.expect("to")?;
            outputs.push((function, statement.word("a template")?));
        }
        let clusters = match statement.take("send") {
            true => send_to(statement)?,
            false => Vec::new(),
        };
        let stops = statement.take("stop");
        statement.end()?;
        if outputs.is_empty() {
            return Err(statement.unreadable("expected compute FUNCTION write to TEMPLATE"));
        }
        if !(1..=wait).contains(&interval) || interval == wait {
            return Err(
                statement.unreadable("expected to expire after more seconds than an interval has")
            );
        }
        Ok(Aggregate {
            expressions,
            interval,
            wait,
            at,
            outputs,
            clusters,
            stops,
        })
    }
}

impl Walk {
    pub(super) fn aggregate(&mut self, sheet: &mut Sheet, place: &Place, rule: &Aggregate) {
        if let Some(why) = self.unusable(&rule.expressions) {
            sheet.noted(place, format!("aggregate: {why}"));
            return;
        }
        let mut tables = Vec::new();
        for (function, template) in &rule.outputs {
            match self.output(rule, function, template) {
                Ok(table) => tables.push(table),
                Err(why) => sheet.note(
                    place,
                    format!("aggregate: {function} to {template:?}: {why}"),
                ),
            }
        }
        if tables.is_empty() {
            sheet.noted(
                place,
                "aggregate: none of what it computes has a counterpart: left out",
            );
            return;
        }
        tell(sheet, place, rule);
        self.tell_of_tags(sheet, place, &rule.expressions);
        if rule.stops {
            let regex = any_of(&rule.expressions);
            match (self.has_sent, tables.last_mut()) {
                // The routes before it still take the names.
                (true, _) | (_, None) => {
                    self.unsaid.push(regex.clone());
                    self.stop(regex);
                }
                // Before the last, the others would see nothing.
                (false, Some(last)) => {
                    last.set("dropRaw", true);
                }
            }
        }
        sheet.aggregations.extend(tables);
        sheet.converted();
        self.has_aggregated = true;
    }

    /// The aggregation of one output, for all expressions: what several of them make of names with the same output is put
    /// together, and with `dropRaw` none sees what another has taken.
    fn output(&self, rule: &Aggregate, function: &str, template: &str) -> Result<Table, String> {
        let Some((_, function)) = FUNCTIONS.iter().find(|(theirs, _)| *theirs == function) else {
            let function = match function {
                "percentile50" => "median",
                _ => {
                    return Err("Baton has median, and percentiles (25, 50, 75, 90, 95, 99, each with its suffix): \
                                choose one of them"
                        .to_owned());
                }
            };
            return self.output(rule, function, template);
        };
        let merged = merged(&rule.expressions, template)?;
        let mut table = Table::default();
        table
            .set("function", *function)
            .set("regex", merged.expression);
        table.set_text("notRegex", &any_of_or_none(&self.stopped));
        table.set("format", merged.template);
        table
            .set("interval", rule.interval as i64)
            .set("wait", rule.wait as i64);
        Ok(table)
    }
}

/// What is otherwise than it was.
fn tell(sheet: &mut Sheet, place: &Place, rule: &Aggregate) {
    if rule.at != "start" {
        let text = format!(
            "aggregate: points have the timestamp of their interval's start here, not of its {}",
            rule.at
        );
        sheet.note(place, text);
    }
    if !rule.clusters.is_empty() {
        let text = format!(
            "aggregate: send to {}: Baton's aggregates go to every route that matches them: give that route a pattern for them",
            rule.clusters.join(" ")
        );
        sheet.note(place, text);
    }
    if rule.expressions.len() > 1 && !rule.stops {
        let text = "aggregate: a name that several of its expressions match counts once, for the first of them: carbon-c-relay counts it for each";
        sheet.note(place, text);
    }
    if rule.wait >= 86_400 {
        sheet.note(
            place,
            "aggregate: it waits a day or more, and all that time its points lie in memory",
        );
    }
}
