//! What becomes of a metric, step by step, for people: asked of the code that decides when lines come in.
//!
//! A line is judged as in a batch, its name is decided on as in a batch; what a decision doesn't say (which rewriter it
//! was) is asked of the rules themselves, one by one.

mod words;

use serde::{Deserialize, Serialize};

use super::judge::{self, Verdict};
use super::{Terms, decide, is_too_long};
use crate::aggregate::{self, Function};
use crate::decode::line::{self, Line};
use crate::route::{self, Decision, Fate, Open, Taker};
use crate::validate::Reason;

/// What rules and destinations are called, each in the order of the table that is traced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Texts of rewriters.
    pub rewriters: Vec<String>,
    /// Texts of aggregators, and what they compute.
    pub aggregators: Vec<(String, Function)>,
    /// Ids and addresses of destinations.
    pub destinations: Vec<(String, String)>,
}

/// What becomes of a metric. In texts of names, bytes that can't be shown are escaped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trace {
    /// As it was asked for.
    pub input: String,
    /// Whether that is a name alone. It is taken for a line with the value 0, now.
    pub is_name: bool,
    /// How far it comes.
    pub outcome: Outcome,
    /// Why it is rejected.
    pub rejected: Option<Rejected>,
    /// The name with its dots and tags in order, if that changed it.
    pub cleaned: Option<String>,
    /// The rule of the blocklist that drops it.
    pub blocked_by: Option<String>,
    /// What rewriters made of the name, one after the other.
    pub rewritten: Vec<Rewritten>,
    /// What aggregators make of it.
    pub aggregated: Vec<Aggregated>,
    /// The aggregator that lets it go no further (`dropRaw`).
    pub consumed_by: Option<String>,
    /// The routes that match it.
    pub routes: Vec<Routed>,
}

/// How far a metric comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// There is nothing in the line: it is passed over.
    #[default]
    Empty,
    /// To validation, or to rewriters that spoil it.
    Rejected,
    /// To the blocklist.
    Blocked,
    /// To an aggregator with `dropRaw`.
    Consumed,
    /// No destination takes it.
    Unrouted,
    /// To a destination at least.
    Routed,
}

/// Why a line is rejected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rejected {
    /// As in the counters.
    pub reason: String,
    /// What that means.
    pub text: String,
}

/// What a rewriter did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rewritten {
    /// The rewriter's text.
    pub by: String,
    /// The name after it.
    pub name: String,
}

/// A metric that an aggregator makes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Aggregated {
    /// The aggregator's text.
    pub by: String,
    /// What it is called.
    pub name: String,
    /// Why there will be none.
    pub refused: Option<String>,
    /// The routes that match it.
    pub routes: Vec<Routed>,
}

/// A route that matches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Routed {
    /// Its key.
    pub key: String,
    /// Its type, as configured.
    #[serde(rename = "type")]
    pub kind: String,
    /// Those that it gives the line to now; none, if none of them takes it.
    pub destinations: Vec<Destination>,
    /// Why these.
    pub why: Option<String>,
    /// Ids of those that could have it, and are taken for down.
    pub down: Vec<String>,
}

/// A destination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// Its id.
    pub id: String,
    /// Where it is, as configured.
    pub address: String,
}

/// Traces one metric after the other.
#[derive(Debug)]
pub struct Tracer<'a> {
    terms: Terms<'a>,
    names: &'a Names,
    scratch: judge::Scratch,
    room: route::Scratch,
    decision: Decision,
}

impl<'a> Tracer<'a> {
    /// By these rules, as if a line came in now.
    pub fn new(terms: Terms<'a>, names: &'a Names) -> Tracer<'a> {
        Tracer {
            terms,
            names,
            scratch: judge::Scratch::default(),
            room: route::Scratch::default(),
            decision: Decision::default(),
        }
    }

    /// What becomes of a line, without its newline, or of a name.
    pub fn trace(&mut self, input: &[u8]) -> Trace {
        let trimmed = input.trim_ascii();
        let is_name = !trimmed.is_empty() && !trimmed.iter().any(|byte| b" \t".contains(byte));
        let mut trace = Trace {
            input: shown(input),
            is_name,
            ..Trace::default()
        };
        if is_name {
            let now = self.terms.now.to_string();
            self.line(&[trimmed, b" 0 ", now.as_bytes()].concat(), &mut trace);
        } else {
            self.line(input, &mut trace);
        }
        trace
    }

    fn line(&mut self, line: &[u8], trace: &mut Trace) {
        self.scratch.clear();
        let Terms { rules, now, .. } = self.terms;
        let (name, size) = match judge::judge(rules, now, line, true, &mut self.scratch) {
            Verdict::Empty => return,
            Verdict::Rejected(reason) => return reject(trace, reason),
            Verdict::AsItCame { name } => (line[..name].to_vec(), line.len() + 1),
            Verdict::Changed { name, text } => {
                (self.scratch.text(text.clone())[..name].to_vec(), text.len())
            }
        };
        if let Line::Point(fields) = line::fields(line)
            && fields.name != name
        {
            trace.cleaned = Some(shown(&name));
        }
        let mut decision = std::mem::take(&mut self.decision);
        decide(&self.terms, &name, &mut self.room, &mut decision);
        self.follow(&name, size, &decision, trace);
        self.decision = decision;
    }

    /// From the blocklist on. `size` is that of the line, newline included.
    fn follow(&mut self, name: &[u8], size: usize, decision: &Decision, trace: &mut Trace) {
        let table = self.terms.table;
        if let Fate::Blocked(rule) = decision.fate {
            trace.outcome = Outcome::Blocked;
            let rule = table.entries().blocklist.get(rule);
            trace.blocked_by = rule.map(|rule| rule.text.clone());
            return;
        }
        trace.rewritten = self.rewritten(name);
        let renamed = decision.renamed().unwrap_or(name);
        let new_size = size - name.len() + renamed.len();
        if decision.fate == Fate::BadRewrite
            || decision.renamed().is_some() && is_too_long(self.terms.rules, new_size)
        {
            return reject(trace, Reason::Rewrite);
        }
        for output in &decision.outputs {
            let made = &decision.text[output.name.clone()];
            trace.aggregated.extend(self.aggregated(output.rule, made));
        }
        if decision.fate == Fate::Consumed {
            trace.outcome = Outcome::Consumed;
            trace.consumed_by = trace.aggregated.last().map(|made| made.by.clone());
            return;
        }
        trace.routes = self.routes(renamed, decision);
        let taken = trace.routes.iter().any(|r| !r.destinations.is_empty());
        trace.outcome = match taken {
            true => Outcome::Routed,
            false => Outcome::Unrouted,
        };
    }

    /// What each rewriter does, to the first that spoils the name.
    fn rewritten(&self, name: &[u8]) -> Vec<Rewritten> {
        let (mut name, mut steps) = (name.to_vec(), Vec::new());
        let rewriters = &self.terms.table.entries().rewriters;
        for (at, rule) in rewriters.iter().enumerate() {
            let mut next = Vec::new();
            if !rule.rewrite(&name, &mut next) || next == name {
                continue;
            }
            steps.push(Rewritten {
                by: self.names.rewriters.get(at).cloned().unwrap_or_default(),
                name: shown(&next),
            });
            if next.is_empty() || next.len() > self.terms.rules.max_line {
                break;
            }
            name = next;
        }
        steps
    }

    /// The metrics that a rule makes of what it calls so.
    fn aggregated(&mut self, rule: usize, made: &[u8]) -> Vec<Aggregated> {
        let (by, function) = match self.names.aggregators.get(rule) {
            Some((by, function)) => (by.clone(), *function),
            None => (String::new(), Function::Sum),
        };
        if made.is_empty() || made.len() > aggregate::MAX_NAME {
            let name = shown(made);
            let refused = Some(words::NO_OUTPUT.to_owned());
            let routes = Vec::new();
            return vec![Aggregated {
                by,
                name,
                refused,
                routes,
            }];
        }
        let mut decision = Decision::default();
        let suffixes = aggregate::suffixes(function).into_iter();
        let one = suffixes.map(|suffix| {
            let mut name = Vec::new();
            aggregate::suffixed(made, suffix, &mut name);
            let table = self.terms.table;
            table.decide_routes(&name, &mut self.room, &mut decision);
            Aggregated {
                by: by.clone(),
                name: shown(&name),
                refused: None,
                routes: self.routes(&name, &decision),
            }
        });
        one.collect()
    }

    /// The routes that match a name, with those who take it, in the order in which they are asked.
    fn routes(&mut self, name: &[u8], decision: &Decision) -> Vec<Routed> {
        let (table, moment) = (self.terms.table, &self.terms.moment);
        let mut takers = decision.takers.clone();
        table.settle(decision, name, moment, &mut self.room, &mut takers);
        let mut routes = Vec::new();
        for (index, route) in table.entries().routes.iter().enumerate() {
            let takers = takers.iter().filter(|taker| taker.route == index);
            let takers: Vec<Taker> = takers.copied().collect();
            if takers.is_empty() && !route.matcher.matches(name) {
                continue;
            }
            let open = decision.open.iter().find(|open| open.route == index);
            routes.push(self.routed(index, &takers, open));
            if table.entries().first_only {
                break;
            }
        }
        routes
    }

    fn routed(&self, index: usize, takers: &[Taker], open: Option<&Open>) -> Routed {
        let entries = self.terms.table.entries();
        let (route, moment) = (&entries.routes[index], &self.terms.moment);
        let destination = |index: usize| match self.names.destinations.get(index) {
            None => Destination::default(),
            Some((id, address)) => Destination {
                id: id.clone(),
                address: address.clone(),
            },
        };
        let is_down = |index: &usize| moment.up.get(*index) == Some(&false);
        let able = open.map_or(&[][..], |open| &open.accepting);
        let able = able.iter().map(|at| route.destinations[*at].0);
        let down: Vec<usize> = able.clone().filter(is_down).collect();
        let choice = words::Choice {
            kind: route.chooser.kind(),
            is_taken: !takers.is_empty(),
            is_fixed: route.chooser.is_fixed(),
            first_only: entries.first_only,
            able: able.count(),
            down: down.len(),
            chosen_down: takers.iter().any(|taker| is_down(&taker.destination)),
            is_known: !moment.up.is_empty(),
        };
        Routed {
            key: route.key.clone(),
            kind: choice.kind.as_str().to_owned(),
            destinations: takers.iter().map(|t| destination(t.destination)).collect(),
            why: choice.why(),
            down: down.iter().map(|index| destination(*index).id).collect(),
        }
    }
}

fn reject(trace: &mut Trace, reason: Reason) {
    trace.outcome = Outcome::Rejected;
    trace.rejected = Some(Rejected {
        reason: reason.as_str().to_owned(),
        text: words::of(reason).to_owned(),
    });
}

/// As text: as it is, or escaped where that may do something to a terminal or isn't UTF-8.
fn shown(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests;
