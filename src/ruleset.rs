//! From a config to the rules that make a table, and what they are called: without sockets, queues or a worker.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use crate::aggregate::Rule;
use crate::config::Config;
use crate::pipeline::trace::Names;
use crate::route::{
    Aggregate, BlockRule, Chooser, Entries, Matcher, Patterns, Rewrite, TableRoute,
};
use crate::spec::Route;

/// The rules of a config, compiled.
#[derive(Debug)]
pub struct Ruleset {
    /// What a table is made of. Destinations are numbered in the order of the config.
    pub entries: Entries,
    /// The aggregators among it, as those need them who keep their windows.
    pub aggregations: Vec<Rule>,
}

/// What of a table can be used again in the next: expressions take long to compile, and a change is about one of them.
#[derive(Debug, Default)]
pub struct Known<'a> {
    matchers: HashMap<&'a Patterns, &'a Matcher>,
    blocklist: HashMap<&'a str, &'a BlockRule>,
    rewriters: HashMap<String, &'a Arc<dyn Rewrite>>,
    aggregations: HashMap<String, &'a Rule>,
}

impl<'a> Known<'a> {
    /// Of a table that was compiled of this config.
    pub fn of(config: &'a Config, entries: &'a Entries, aggregations: &'a [Rule]) -> Known<'a> {
        let mut known = Known::default();
        for (spec, route) in config.routes.iter().zip(&entries.routes) {
            known.matchers.insert(&spec.patterns, &route.matcher);
            let destinations = spec.destinations.iter().zip(&route.destinations);
            let matchers = destinations.map(|(spec, (_, matcher))| (&spec.patterns, matcher));
            known.matchers.extend(matchers);
        }
        let blocklist = config.blocklist.iter().zip(&entries.blocklist);
        known.blocklist = blocklist.map(|(text, rule)| (&text[..], rule)).collect();
        let text = |rule: &dyn Display| rule.to_string();
        let rewriters = config.rewriters.iter().zip(&entries.rewriters);
        known.rewriters = rewriters.map(|(spec, rule)| (text(spec), rule)).collect();
        let rules = config.aggregations.iter().zip(aggregations);
        known.aggregations = rules.map(|(spec, rule)| (text(spec), rule)).collect();
        known
    }

    fn matcher(&self, patterns: &Patterns) -> Result<Matcher, String> {
        match self.matchers.get(patterns) {
            Some(matcher) => Ok((*matcher).clone()),
            None => Matcher::new(patterns).map_err(said),
        }
    }
}

/// Compiles the rules of a config.
///
/// # Errors
/// In words, when a rule can't be compiled; those of a config that was compiled can.
pub fn compile(config: &Config) -> Result<Ruleset, String> {
    compile_with(config, &Known::default())
}

/// [`compile`], but for what is known already.
///
/// # Errors
/// As there.
pub fn compile_with(config: &Config, known: &Known) -> Result<Ruleset, String> {
    let (mut routes, mut destinations) = (Vec::new(), 0);
    for spec in &config.routes {
        routes.push(route(spec, destinations, known)?);
        destinations += spec.destinations.len();
    }
    let blocklist = config.blocklist.iter().map(|rule| {
        let known = known.blocklist.get(&rule[..]).map(|known| (*known).clone());
        known.map_or_else(|| BlockRule::parse(rule), Ok)
    });
    let rewriters = config.rewriters.iter().map(|spec| {
        if let Some(known) = known.rewriters.get(&spec.to_string()) {
            return Ok(Arc::clone(known));
        }
        let rewriter = spec.compile().map_err(said)?;
        Ok(Arc::new(rewriter) as Arc<dyn Rewrite>)
    });
    let aggregations = config.aggregations.iter().map(|spec| {
        let known = known.aggregations.get(&spec.to_string());
        known.map_or_else(|| spec.compile(), |known| Ok((*known).clone()))
    });
    let aggregations = aggregations.collect::<Result<Vec<_>, _>>().map_err(said)?;
    let aggregators = aggregations.iter().cloned();
    Ok(Ruleset {
        entries: Entries {
            blocklist: blocklist.collect::<Result<_, _>>().map_err(said)?,
            rewriters: rewriters.collect::<Result<_, String>>()?,
            aggregators: aggregators
                .map(|rule| Arc::new(rule) as Arc<dyn Aggregate>)
                .collect(),
            routes,
            first_only: config.first_only,
            destinations,
        },
        aggregations,
    })
}

/// A route whose destinations are numbered from `first` on.
fn route(spec: &Route, first: usize, known: &Known) -> Result<TableRoute, String> {
    let matcher = |patterns| known.matcher(patterns);
    let chooser = Chooser::new(spec.kind, spec.members(first), spec.choice.options());
    let destinations = spec.destinations.iter().zip(first..);
    let destinations = destinations.map(|(one, at)| Ok((at, matcher(&one.patterns)?)));
    Ok(TableRoute {
        key: spec.key.clone(),
        chooser: chooser.map_err(said)?,
        matcher: matcher(&spec.patterns)?,
        destinations: destinations.collect::<Result<_, String>>()?,
    })
}

fn said(error: impl Display) -> String {
    error.to_string()
}

/// What rules and destinations of a config are called, each in its order.
pub fn names(config: &Config) -> Names {
    let destinations = config.routes.iter().flat_map(|route| &route.destinations);
    let aggregators = config.aggregations.iter();
    Names {
        rewriters: config.rewriters.iter().map(ToString::to_string).collect(),
        aggregators: aggregators
            .map(|one| (one.to_string(), one.function))
            .collect(),
        destinations: destinations
            .map(|one| (one.id.clone(), one.address.to_string()))
            .collect(),
    }
}
