//! From a config to the rules that make a table, and what they are called: without sockets, queues or a worker.

use std::fmt::Display;
use std::sync::Arc;

use crate::aggregate::Rule;
use crate::config::Config;
use crate::pipeline::trace::Names;
use crate::route::{Aggregate, BlockRule, Chooser, Entries, Matcher, Rewrite, TableRoute};
use crate::spec::Route;

/// The rules of a config, compiled.
#[derive(Debug)]
pub struct Ruleset {
    /// What a table is made of. Destinations are numbered in the order of the config.
    pub entries: Entries,
    /// The aggregators among it, as those need them who keep their windows.
    pub aggregations: Vec<Rule>,
}

/// Compiles the rules of a config.
///
/// # Errors
/// In words, when a rule can't be compiled; those of a config that was compiled can.
pub fn compile(config: &Config) -> Result<Ruleset, String> {
    let (mut routes, mut destinations) = (Vec::new(), 0);
    for spec in &config.routes {
        routes.push(route(spec, destinations)?);
        destinations += spec.destinations.len();
    }
    let blocklist = config.blocklist.iter().map(|rule| BlockRule::parse(rule));
    let rewriters = config.rewriters.iter().map(|spec| {
        let rewriter = spec.compile().map_err(said)?;
        Ok(Arc::new(rewriter) as Arc<dyn Rewrite>)
    });
    let aggregations = config.aggregations.iter().map(|spec| spec.compile());
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
fn route(spec: &Route, first: usize) -> Result<TableRoute, String> {
    let matcher = |patterns| Matcher::new(patterns).map_err(said);
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
