//! The list of rules: matches, rewrites and aggregates, in the order of the file.

mod aggregates;

use std::collections::HashMap;

use super::super::Unreadable;
use super::super::expression::{any_of, check, framed};
use super::super::sheet::{Place, Sheet, Table};
use super::cluster::Cluster;
use super::read::Statement;
use super::{named, send_to};
use aggregates::Aggregate;

/// Rules, in order.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<(Place, Rule)>);

#[derive(Debug)]
enum Rule {
    Match(Match),
    Rewrite { expression: String, into: String },
    Aggregate(Aggregate),
}

#[derive(Debug)]
struct Match {
    expressions: Vec<String>,
    validates: bool,
    hashes_another_name: bool,
    clusters: Vec<String>,
    stops: bool,
}

impl Match {
    fn is_blackhole(&self) -> bool {
        self.clusters.is_empty() && self.stops
    }
}

const AFTER_EXPRESSIONS: [&str; 4] = ["validate", "route", "send", "stop"];

/// The texts of expressions; `*` is none.
fn expressions(statement: &mut Statement, keywords: &[&str]) -> Result<Vec<String>, Unreadable> {
    if statement.take("*") {
        return Ok(vec![String::new()]);
    }
    statement.words_until(keywords, "an expression")
}

impl Rules {
    pub(super) fn add_match(&mut self, statement: &mut Statement) -> Result<(), Unreadable> {
        let expressions = expressions(statement, &AFTER_EXPRESSIONS)?;
        let mut rule = Match {
            expressions,
            validates: false,
            hashes_another_name: false,
            clusters: Vec::new(),
            stops: false,
        };
        if statement.take("validate") {
            statement.word("an expression")?;
            statement.expect("else")?;
            statement.word("log or drop")?;
            rule.validates = true;
        }
        if statement.take("route") {
            statement.expect("using")?;
            statement.word("a template")?;
            rule.hashes_another_name = true;
        }
        if statement.take("send") {
            rule.clusters = send_to(statement)?;
        }
        rule.stops = statement.take("stop");
        if rule.clusters.iter().any(|name| name == "blackhole") {
            rule.clusters.retain(|name| name != "blackhole");
            rule.stops = true;
        }
        statement.end()?;
        self.0.push((statement.place.clone(), Rule::Match(rule)));
        Ok(())
    }

    pub(super) fn add_rewrite(&mut self, statement: &mut Statement) -> Result<(), Unreadable> {
        let expression = statement.word("an expression")?;
        statement.expect("into")?;
        let into = statement.word("a template")?;
        statement.end()?;
        let rule = Rule::Rewrite { expression, into };
        self.0.push((statement.place.clone(), rule));
        Ok(())
    }

    pub(super) fn add_aggregate(&mut self, statement: &mut Statement) -> Result<(), Unreadable> {
        let aggregate = Aggregate::read(statement)?;
        self.0
            .push((statement.place.clone(), Rule::Aggregate(aggregate)));
        Ok(())
    }

    pub(super) fn write(
        self,
        sheet: &mut Sheet,
        clusters: &HashMap<String, Cluster>,
    ) -> Result<(), Unreadable> {
        let mut walk = Walk {
            // Of several routes for the own metrics only the first would be asked.
            first_only: self.is_first_only() && sheet.routes.len() <= 1,
            own: sheet.own.clone(),
            ..Walk::default()
        };
        if walk.first_only {
            sheet.root.set("first_only", true);
        }
        for (place, rule) in self.0 {
            match rule {
                Rule::Match(rule) => walk.matched(sheet, &place, rule, clusters)?,
                Rule::Rewrite { expression, into } => {
                    walk.rewrite(sheet, &place, &expression, &into)
                }
                Rule::Aggregate(aggregate) => walk.aggregate(sheet, &place, &aggregate),
            }
        }
        Ok(())
    }

    /// Whether each match that sends stops, to one cluster, and what stops without sending is before them. The last
    /// one needs no stop.
    fn is_first_only(&self) -> bool {
        let matches = self.0.iter().filter_map(|(_, rule)| match rule {
            Rule::Match(rule) if !rule.validates || !rule.clusters.is_empty() => Some(rule),
            _ => None,
        });
        let matches: Vec<&Match> = matches.collect();
        let sending = matches.iter().skip_while(|rule| rule.is_blackhole());
        let sending: Vec<&&Match> = sending.collect();
        let last = sending.len().saturating_sub(1);
        let each =
            |(at, rule): (usize, &&&Match)| rule.clusters.len() == 1 && (rule.stops || at == last);
        sending.len() > 1 && sending.iter().enumerate().all(each)
    }
}

/// How far the list was walked.
#[derive(Default)]
struct Walk {
    first_only: bool,
    /// Expressions of the own metrics that have gone to routes of their own.
    own: Vec<String>,
    /// Expressions of names that go no further, one a rule.
    stopped: Vec<String>,
    /// Those of them that no route before says with `first_only`.
    unsaid: Vec<String>,
    /// Everything was stopped.
    is_over: bool,
    has_sent: bool,
    has_aggregated: bool,
    told_of_tags: bool,
}

impl Walk {
    fn matched(
        &mut self,
        sheet: &mut Sheet,
        place: &Place,
        rule: Match,
        clusters: &HashMap<String, Cluster>,
    ) -> Result<(), Unreadable> {
        let clusters = named(clusters, &rule.clusters, place)?;
        if let Some(why) = self.unusable(&rule.expressions) {
            sheet.noted(place, format!("match: {why}"));
            return Ok(());
        }
        if rule.validates {
            let text = "match: validate: Baton checks each value and timestamp itself: the expression is left out";
            match rule.clusters.is_empty() {
                // It would drop all that it matches.
                true => {
                    sheet.noted(place, format!("{text}, and so is the rule"));
                    return Ok(());
                }
                false => sheet.note(place, text),
            }
        }
        self.tell_of_tags(sheet, place, &rule.expressions);
        if rule.expressions.len() > 1 && !rule.stops {
            let text = "match: a name that several of its expressions match is sent once: carbon-c-relay sends it as often";
            sheet.note(place, text);
        }
        let regex = any_of(&rule.expressions);
        if clusters.is_empty() {
            match rule.stops {
                true => self.blackhole(sheet, place, &rule.expressions, regex),
                false => sheet.noted(place, "match: it neither sends nor stops: left out"),
            }
            return Ok(());
        }
        let mut sent = Vec::new();
        for (name, cluster) in clusters {
            if !cluster.is_usable() {
                sheet.note(
                    place,
                    format!("match: cluster {name} was left out: nothing goes there"),
                );
                continue;
            }
            if sent.contains(&name) {
                sheet.note(
                    place,
                    format!("match: cluster {name} is named twice: names are sent there once"),
                );
                continue;
            }
            let mut route = Table::default();
            route.set("key", sheet.key(&name));
            route.set_text("regex", &regex);
            let gone = match self.first_only {
                true => self.unsaid.clone(),
                false => [&self.own[..], &self.stopped[..]].concat(),
            };
            route.set_text("notRegex", &any_of_or_none(&gone));
            cluster.write(&mut route);
            sheet.routes.push(route);
            sent.push(name);
        }
        if rule.hashes_another_name {
            let text = "match: route using: Baton hashes the name itself, so that names go to other members than before";
            sheet.note(place, text);
        }
        match sent.is_empty() {
            true => sheet.noted(
                place,
                "match: none of its clusters can be sent to: left out",
            ),
            false => sheet.converted(),
        }
        self.has_sent = true;
        if rule.stops {
            if sent.is_empty() {
                self.unsaid.push(regex.clone());
            }
            self.stop(regex);
        }
        Ok(())
    }

    /// Names that go nowhere from here on: blocked, if nobody has had them yet.
    fn blackhole(
        &mut self,
        sheet: &mut Sheet,
        place: &Place,
        expressions: &[String],
        regex: String,
    ) {
        sheet.converted();
        if !self.has_sent && !self.has_aggregated {
            for expression in expressions {
                sheet.blocklist.push(match expression.is_empty() {
                    true => "regex ^".to_owned(),
                    false => format!("regex {expression}"),
                });
            }
            if regex.is_empty() {
                sheet.note(place, "match: it drops everything");
            }
            self.is_over |= regex.is_empty();
            return;
        }
        self.unsaid.push(regex.clone());
        self.stop(regex);
    }

    fn stop(&mut self, regex: String) {
        self.is_over |= regex.is_empty();
        self.stopped.push(regex);
    }

    /// Why a rule with these expressions has no counterpart.
    fn unusable(&self, expressions: &[String]) -> Option<String> {
        if self.is_over {
            return Some(
                "never reached, since a rule before it stops everything: left out".to_owned(),
            );
        }
        let bad = |expression: &String| match check(expression) {
            Err(error) => Some(format!(
                "{expression:?} is no expression that Baton can have ({error}): write it anew"
            )),
            // What a blocklist rule trims.
            Ok(_) if expression.trim() != expression => Some(format!(
                "{expression:?} matches blanks, which no name has: left out"
            )),
            Ok(_) => None,
        };
        expressions.iter().find_map(bad)
    }

    fn tell_of_tags(&mut self, sheet: &mut Sheet, place: &Place, expressions: &[String]) {
        let asks_for_the_end = |text: &String| text.contains('$') && !text.ends_with("\\$");
        if self.told_of_tags || !expressions.iter().any(asks_for_the_end) {
            return;
        }
        self.told_of_tags = true;
        let text = "here and below: Baton's expressions see a name with its tags, carbon-c-relay's what is before the \
                    first ';': if names have tags, write (;|$) where $ stands";
        sheet.note(place, text);
    }

    fn rewrite(&mut self, sheet: &mut Sheet, place: &Place, expression: &str, into: &str) {
        if let Some(why) = self.unusable(&[expression.to_owned()]) {
            sheet.noted(place, format!("rewrite: {why}"));
            return;
        }
        if self.has_sent || self.has_aggregated || !self.stopped.is_empty() {
            let text = "rewrite: it stands behind rules that see the name as it was, and Baton rewrites before all else: left out";
            sheet.noted(place, text);
            return;
        }
        let written = framed(expression, false).and_then(|framed| {
            let new = framed.template(into)?;
            Ok((framed.expression, new))
        });
        let (old, new) = match written {
            Ok(written) => written,
            Err(why) => {
                sheet.noted(place, format!("rewrite: {into:?}: {why}: left out"));
                return;
            }
        };
        if into.contains(char::is_whitespace) {
            sheet.note(
                place,
                "rewrite: a name with blanks is rejected here: take them out of the template",
            );
        }
        if expression.contains('|') {
            let text = "rewrite: of alternatives Baton takes the first that matches, carbon-c-relay the longest match";
            sheet.note(place, text);
        }
        self.tell_of_tags(sheet, place, &[expression.to_owned()]);
        let mut rewriter = Table::default();
        rewriter
            .set("old", format!("/{old}/"))
            .set("new", new)
            .set("max", -1);
        sheet.rewriters.push(rewriter);
        sheet.converted();
    }
}

/// Any of several, nothing for none.
fn any_of_or_none(expressions: &[String]) -> String {
    if expressions.is_empty() {
        String::new()
    } else {
        any_of(expressions)
    }
}
