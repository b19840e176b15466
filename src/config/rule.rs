//! One rule of the table by itself: the text that commands, the database and people have of it.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use toml::de::DeTable;

use super::read::{Report, Section};
use super::{
    Config, ListenAddress, ListenerKind, Problem, Problems, compile, print, routes, rules,
};
use crate::spec::{Address, Aggregation, Rewriter, Route, one_of};

/// What kinds of rules there are, in the order in which a line meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleKind {
    /// Drops lines.
    Blocklist,
    /// Renames.
    Rewriter,
    /// Computes.
    Aggregation,
    /// Sends.
    Route,
}

impl RuleKind {
    /// All of them, in that order.
    pub const ALL: [RuleKind; 4] = [
        RuleKind::Blocklist,
        RuleKind::Rewriter,
        RuleKind::Aggregation,
        RuleKind::Route,
    ];

    /// As the config file has it, and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            RuleKind::Blocklist => "blocklist",
            RuleKind::Rewriter => "rewriter",
            RuleKind::Aggregation => "aggregation",
            RuleKind::Route => "route",
        }
    }

    /// One of that kind, in a sentence.
    pub fn one(self) -> &'static str {
        match self {
            RuleKind::Blocklist => "blocklist rule",
            other => other.as_str(),
        }
    }
}

impl FromStr for RuleKind {
    type Err = String;

    fn from_str(text: &str) -> Result<RuleKind, String> {
        let found = RuleKind::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| one_of(&RuleKind::ALL.map(RuleKind::as_str), text))
    }
}

impl fmt::Display for RuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A rule that can be compiled. Relative paths in it were made absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// As `route::BlockRule::parse` reads it.
    Blocklist(String),
    /// See [`Rewriter`].
    Rewriter(Rewriter),
    /// See [`Aggregation`].
    Aggregation(Aggregation),
    /// See [`Route`].
    Route(Box<Route>),
}

impl Rule {
    /// What kind it is.
    pub fn kind(&self) -> RuleKind {
        match self {
            Rule::Blocklist(_) => RuleKind::Blocklist,
            Rule::Rewriter(_) => RuleKind::Rewriter,
            Rule::Aggregation(_) => RuleKind::Aggregation,
            Rule::Route(_) => RuleKind::Route,
        }
    }

    /// What it is known by among those of its kind: a route's key, the canonical text of the others.
    pub fn key(&self) -> String {
        match self {
            Rule::Blocklist(rule) => rule.clone(),
            Rule::Rewriter(rewriter) => rewriter.to_string(),
            Rule::Aggregation(aggregation) => aggregation.to_string(),
            Rule::Route(route) => route.key.clone(),
        }
    }

    /// As it stands in a config file, with what isn't the default.
    pub fn to_toml(&self) -> String {
        match self {
            Rule::Blocklist(rule) => format!("blocklist = [{}]\n", toml::Value::from(&rule[..])),
            Rule::Rewriter(rewriter) => rewriter.to_toml(),
            Rule::Aggregation(aggregation) => aggregation.to_toml(),
            Rule::Route(route) => print::one_route(route),
        }
    }

    /// The keys of its table; a blocklist rule has one, `rule`.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut keys = Map::new();
        if let Rule::Blocklist(rule) = self {
            keys.insert("rule".to_owned(), Value::from(&rule[..]));
            return keys;
        }
        let table = self.to_toml().parse::<toml::Table>().unwrap_or_default();
        let tables = table.get(self.kind().as_str());
        let own = tables.and_then(|tables| tables.get(0)?.as_table());
        for (key, value) in own.into_iter().flatten() {
            keys.insert(key.clone(), json_of(value));
        }
        keys
    }

    /// Reads what [`to_toml`](Rule::to_toml) writes, and what people write so: one rule of this kind. Relative paths are in
    /// `folder`. Beside it: what can be run and is most likely not meant.
    ///
    /// # Errors
    /// All that is wrong, with the lines of this text.
    pub fn parse(
        kind: RuleKind,
        text: &str,
        folder: &Path,
    ) -> Result<(Rule, Vec<Problem>), Vec<Problem>> {
        Rule::of(kind, Report::new(text), text, folder)
    }

    fn of(
        kind: RuleKind,
        mut report: Report,
        text: &str,
        folder: &Path,
    ) -> Result<(Rule, Vec<Problem>), Vec<Problem>> {
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            report.syntax(error);
        }
        let root = Section::root(&mut report, document.get_ref(), &[kind.as_str()]);
        let mut found: Vec<Rule> = match kind {
            RuleKind::Blocklist => {
                let list = compile::blocklist(&mut report, &root).into_iter();
                list.map(Rule::Blocklist).collect()
            }
            RuleKind::Rewriter => {
                let list = rules::rewriters(&mut report, &root).into_iter();
                list.map(Rule::Rewriter).collect()
            }
            RuleKind::Aggregation => {
                let list = rules::aggregations(&mut report, &root).into_iter();
                list.map(Rule::Aggregation).collect()
            }
            RuleKind::Route => {
                let list = routes::compile(&mut report, &root, folder).into_iter();
                list.map(|(route, _)| Rule::Route(Box::new(route)))
                    .collect()
            }
        };
        if found.len() != 1 && report.problems.is_empty() {
            let message = format!("expected one {}, found {}", kind.one(), found.len());
            report.problem(0, kind.as_str(), message);
        }
        match found.pop() {
            Some(rule) if report.problems.is_empty() => Ok((rule, report.warnings)),
            _ => Err(Problems::of(folder, report.problems).problems),
        }
    }

    /// Reads what [`to_json`](Rule::to_json) writes. A key that is `null` counts as not given.
    ///
    /// # Errors
    /// All that is wrong, without lines.
    pub fn from_json(
        kind: RuleKind,
        keys: &Map<String, Value>,
        folder: &Path,
    ) -> Result<(Rule, Vec<Problem>), Vec<Problem>> {
        let bad = |key: &str, message| vec![Problem::without_line(key, message)];
        let mut root = toml::Table::new();
        if kind == RuleKind::Blocklist {
            let given = keys.iter().filter(|(_, value)| !value.is_null());
            for (key, value) in given {
                match (&key[..], value) {
                    ("rule", Value::String(rule)) => {
                        root.insert(
                            kind.as_str().to_owned(),
                            toml::Value::Array(vec![rule.clone().into()]),
                        );
                    }
                    ("rule", other) => {
                        return Err(bad("rule", format!("expected a text, found {other}")));
                    }
                    (other, _) => return Err(bad(other, "unknown key: expected rule".to_owned())),
                }
            }
        } else {
            let table = table_of(keys)
                .map_err(|(key, message)| bad(&format!("{}.{key}", kind.as_str()), message))?;
            root.insert(
                kind.as_str().to_owned(),
                toml::Value::Array(vec![toml::Value::Table(table)]),
            );
        }
        let unplaced = |mut problems: Vec<Problem>| {
            for problem in &mut problems {
                (problem.line, problem.column) = (None, None);
            }
            problems
        };
        let text = root.to_string();
        let mut report = Report::new(&text);
        report.is_of_lines = false;
        Rule::of(kind, report, &text, folder)
            .map(|(rule, warnings)| (rule, unplaced(warnings)))
            .map_err(unplaced)
    }
}

fn json_of(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(&text[..]),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(flag) => Value::from(*flag),
        toml::Value::Datetime(time) => Value::from(time.to_string()),
        toml::Value::Array(list) => list.iter().map(json_of).collect(),
        toml::Value::Table(table) => table
            .iter()
            .map(|(key, value)| (key.clone(), json_of(value)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

/// An error has the key that it lies in.
fn table_of(keys: &Map<String, Value>) -> Result<toml::Table, (String, String)> {
    let mut table = toml::Table::new();
    for (key, value) in keys.iter().filter(|(_, value)| !value.is_null()) {
        let value = toml_of(value).map_err(|message| (key.clone(), message))?;
        table.insert(key.clone(), value);
    }
    Ok(table)
}

fn toml_of(value: &Value) -> Result<toml::Value, String> {
    Ok(match value {
        Value::Null => return Err("expected a value, found null".to_owned()),
        Value::Bool(flag) => toml::Value::Boolean(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => toml::Value::Integer(number),
            (None, Some(number)) => toml::Value::Float(number),
            (None, None) => return Err(format!("expected a smaller number, found {number}")),
        },
        Value::String(text) => toml::Value::from(&text[..]),
        Value::Array(list) => {
            toml::Value::Array(list.iter().map(toml_of).collect::<Result<_, _>>()?)
        }
        Value::Object(keys) => toml::Value::Table(
            table_of(keys).map_err(|(key, message)| format!("{key}: {message}"))?,
        ),
    })
}

impl Config {
    /// The rules, kind by kind in the order of [`RuleKind::ALL`], each kind in its order.
    pub fn rules_of_table(&self) -> Vec<Rule> {
        let blocklist = self.blocklist.iter().cloned().map(Rule::Blocklist);
        let rewriters = self.rewriters.iter().cloned().map(Rule::Rewriter);
        let aggregations = self.aggregations.iter().cloned().map(Rule::Aggregation);
        let routes = self.routes.iter().cloned();
        let routes = routes.map(|route| Rule::Route(Box::new(route)));
        let all = blocklist.chain(rewriters).chain(aggregations);
        all.chain(routes).collect()
    }

    /// This config with these rules in place of its own.
    pub fn with_rules<'r>(&self, rules: impl IntoIterator<Item = &'r Rule>) -> Config {
        let mut config = Config {
            blocklist: Vec::new(),
            rewriters: Vec::new(),
            aggregations: Vec::new(),
            routes: Vec::new(),
            ..self.without_rules()
        };
        for rule in rules {
            match rule {
                Rule::Blocklist(rule) => config.blocklist.push(rule.clone()),
                Rule::Rewriter(rewriter) => config.rewriters.push(rewriter.clone()),
                Rule::Aggregation(aggregation) => config.aggregations.push(aggregation.clone()),
                Rule::Route(route) => config.routes.push((**route).clone()),
            }
        }
        config
    }

    fn without_rules(&self) -> Config {
        Config {
            path: self.path.clone(),
            source: self.source.clone(),
            listen: self.listen.clone(),
            input: self.input.clone(),
            log: self.log,
            admin: self.admin.clone(),
            instrumentation: self.instrumentation.clone(),
            blocklist: Vec::new(),
            rewriters: Vec::new(),
            aggregations: Vec::new(),
            routes: Vec::new(),
            supervisor: self.supervisor.clone(),
            state: self.state.clone(),
            warnings: self.warnings.clone(),
            rules: self.rules.clone(),
            ..*self
        }
    }

    /// What a new route, or a changed one, claims that others of the table or of this config have: ids, files, paths.
    pub fn conflicts<'r>(
        &self,
        route: &Route,
        others: impl Iterator<Item = &'r Route>,
    ) -> Vec<Problem> {
        let mut ids: HashMap<&str, &str> = HashMap::new();
        let mut files: HashMap<&Path, String> = HashMap::new();
        for other in others.filter(|other| other.key != route.key) {
            for destination in &other.destinations {
                ids.insert(&destination.id, &other.key);
                if let Address::File(path) = &destination.address {
                    files.insert(path, format!("route {} writes to it", other.key));
                }
            }
        }
        let taken = self.taken_paths();
        for (path, who) in &taken {
            files.insert(path, who.clone());
        }
        let mut problems = Vec::new();
        let mut refuse =
            |message| problems.push(Problem::without_line("route.destinations", message));
        for destination in &route.destinations {
            let id = &destination.id;
            if let Some(other) = ids.get(&id[..]) {
                let message =
                    format!("expected an id of its own, found {id:?}: route {other} has it");
                refuse(message);
            }
            if let Address::File(path) = &destination.address
                && let Some(who) = files.get(path.as_path())
            {
                refuse(format!(
                    "expected a file of its own, found {}: {who}",
                    path.display()
                ));
            }
        }
        problems
    }

    /// Destinations of a route that are this config's own listeners: its lines would go in a circle.
    pub fn circles(&self, route: &Route) -> Vec<String> {
        let line = self
            .listen
            .iter()
            .filter(|one| one.kind == ListenerKind::Line);
        let own: Vec<_> = line.map(|one| &one.address).collect();
        let of = |address: &Address| {
            own.iter()
                .find(|listener| routes::reaches(address, listener))
                .map(|listener| {
                    format!(
                        "{address} is Baton's own listener {listener}: its lines will go in a circle"
                    )
                })
        };
        let destinations = route.destinations.iter();
        destinations.filter_map(|one| of(&one.address)).collect()
    }

    /// Paths that no destination may write to, and who has each.
    fn taken_paths(&self) -> Vec<(PathBuf, String)> {
        let mut taken = vec![
            (self.path.clone(), "the config has it".to_owned()),
            (
                self.supervisor.control.clone(),
                "the control socket has it".to_owned(),
            ),
        ];
        for listener in &self.listen {
            if let ListenAddress::Unix(path) = &listener.address {
                taken.push((path.clone(), "a listener has it".to_owned()));
            }
        }
        for ending in super::state::BESIDE_IT {
            let mut own = self.state.path.as_os_str().to_owned();
            own.push(ending);
            taken.push((own.into(), "the database has it".to_owned()));
        }
        taken
    }
}
