//! From a change to the entries that it sets and drops.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::change::{Amended, Change, Form, Place, Refused};
use super::preview::differences;
use super::{BEHIND, Document, Entry, Placed, Row, STEP};
use crate::config::{Problem, Rule, RuleKind};
use crate::spec::{Destination, Route, Word, quoted, split};

impl Document {
    /// What a change would make of it.
    ///
    /// # Errors
    /// Why there can't be such a change; nothing is changed.
    pub fn amend(&self, change: &Change, volatile: bool, now_ms: u64) -> Result<Amended, Refused> {
        let mut draft = Draft {
            document: self,
            rows: Vec::new(),
            rules: BTreeMap::new(),
            warnings: Vec::new(),
            volatile,
            now_ms,
        };
        draft.take(change)?;
        draft.finish(matches!(change, Change::Restore { .. }))
    }
}

/// A change in the making.
struct Draft<'d> {
    document: &'d Document,
    rows: Vec<Row>,
    /// Of the rows that set one: the rule.
    rules: BTreeMap<(RuleKind, String), Arc<Rule>>,
    warnings: Vec<String>,
    volatile: bool,
    now_ms: u64,
}

impl Draft<'_> {
    fn take(&mut self, change: &Change) -> Result<(), Refused> {
        match change {
            Change::Add { kind, rule, place } => {
                let rule = self.read(*kind, rule)?;
                let position = self.position(*kind, place, None)?;
                self.put(rule, position)
            }
            Change::Replace { kind, key, rule } => {
                let rule = self.read(*kind, rule)?;
                self.swap(*kind, key, rule)
            }
            Change::Edit { kind, key, patch } => {
                let mut keys = self.known(*kind, key)?.rule.to_json();
                // What is left out of a list that was given anew is gone, also in its other form.
                if patch.contains_key("destinations") {
                    keys.remove("destination");
                }
                for (name, value) in patch {
                    keys.insert(name.clone(), value.clone());
                }
                let rule = self.read(*kind, &Form::Json(keys))?;
                self.swap(*kind, key, rule)
            }
            Change::Remove { kind, key } => {
                self.known(*kind, key)?;
                self.remove(*kind, key);
                Ok(())
            }
            Change::Move { kind, key, place } => {
                let placed = self.known(*kind, key)?;
                let rule = placed.rule.clone();
                let position = self.position(*kind, place, Some(key))?;
                self.set(key.clone(), rule, position);
                Ok(())
            }
            Change::AddDestination { route, destination } => {
                self.edit_route(route, |route, texts| {
                    texts.push(destination.clone());
                    let _unchanged = route;
                    Ok(())
                })
            }
            Change::EditDestination {
                route,
                destination,
                options,
            } => self.edit_route(route, |route, texts| {
                let at = destination_at(route, destination)?;
                texts[at] = edited(&route.destinations[at], options)?;
                Ok(())
            }),
            Change::RemoveDestination { route, destination } => {
                self.edit_route(route, |route, texts| {
                    let at = destination_at(route, destination)?;
                    texts.remove(at);
                    Ok(())
                })
            }
            Change::Reset { kind, key } => self.reset(*kind, key.as_deref()),
            Change::Restore { rows } => {
                for row in rows {
                    let entry = row.entry.clone().map(|entry| Entry {
                        volatile: self.volatile,
                        changed_at_ms: self.now_ms,
                        ..entry
                    });
                    if let Some(spec) = entry.as_ref().and_then(|entry| entry.spec.as_ref()) {
                        self.read(row.kind, &Form::Toml(spec.clone()))?;
                    }
                    self.rows.push(Row {
                        entry,
                        ..row.clone()
                    });
                }
                Ok(())
            }
        }
    }

    fn known(&self, kind: RuleKind, key: &str) -> Result<&Placed, Refused> {
        self.document
            .find(kind, key)
            .ok_or_else(|| Refused::Unknown {
                kind,
                key: key.to_owned(),
                known: self.document.of_kind(kind).map(|p| p.key.clone()).collect(),
            })
    }

    fn read(&mut self, kind: RuleKind, form: &Form) -> Result<Rule, Refused> {
        let folder = self.document.file.path.parent();
        let folder = folder.unwrap_or(std::path::Path::new("/"));
        let read = match form {
            Form::Toml(text) => Rule::parse(kind, text, folder),
            Form::Json(keys) => Rule::from_json(kind, keys, folder),
        };
        let (rule, warnings) = read.map_err(Refused::Bad)?;
        let said = warnings.into_iter().map(|warning| match &warning.key[..] {
            "" => warning.message,
            key => format!("{key}: {}", warning.message),
        });
        self.warnings.extend(said);
        Ok(rule)
    }

    /// A rule that is new.
    fn put(&mut self, rule: Rule, position: i64) -> Result<(), Refused> {
        let (kind, key) = (rule.kind(), rule.key());
        if self.document.find(kind, &key).is_some() {
            return Err(Refused::Exists { kind, key });
        }
        self.set(key, Arc::new(rule), position);
        Ok(())
    }

    /// A rule in the place of another.
    fn swap(&mut self, kind: RuleKind, key: &str, rule: Rule) -> Result<(), Refused> {
        let position = self.known(kind, key)?.position;
        if rule.key() == key {
            self.set(key.to_owned(), Arc::new(rule), position);
            return Ok(());
        }
        self.remove(kind, key);
        self.put(rule, position)
    }

    fn set(&mut self, key: String, rule: Arc<Rule>, position: i64) {
        let kind = rule.kind();
        self.rows.push(Row {
            kind,
            key: key.clone(),
            entry: Some(Entry {
                position,
                spec: Some(rule.to_toml()),
                volatile: self.volatile,
                changed_at_ms: self.now_ms,
            }),
        });
        self.rules.insert((kind, key), rule);
    }

    fn remove(&mut self, kind: RuleKind, key: &str) {
        let of_file = self.document.in_file(kind, key);
        // What comes back after a restart has to be hidden until then.
        let entry = (of_file.is_some() || self.volatile).then(|| Entry {
            position: of_file.map_or(BEHIND, |own| own.position),
            spec: None,
            volatile: self.volatile,
            changed_at_ms: self.now_ms,
        });
        self.rows.push(Row {
            kind,
            key: key.to_owned(),
            entry,
        });
    }

    fn edit_route(
        &mut self,
        key: &str,
        edit: impl FnOnce(&Route, &mut Vec<String>) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let placed = self.known(RuleKind::Route, key)?.rule.clone();
        let Rule::Route(route) = &*placed else {
            return Ok(());
        };
        let mut texts = route.destinations.iter().map(ToString::to_string).collect();
        edit(route, &mut texts)?;
        let mut keys = placed.to_json();
        keys.remove("destination");
        keys.insert("destinations".to_owned(), texts.into());
        let rule = self.read(RuleKind::Route, &Form::Json(keys))?;
        self.swap(RuleKind::Route, key, rule)
    }

    fn reset(&mut self, kind: Option<RuleKind>, key: Option<&str>) -> Result<(), Refused> {
        let names = self.document.entries.keys();
        let meant = names.filter(|(own, name)| {
            kind.is_none_or(|kind| kind == *own) && key.is_none_or(|key| key == name)
        });
        let rows: Vec<Row> = meant
            .map(|(kind, key)| Row {
                kind: *kind,
                key: key.clone(),
                entry: None,
            })
            .collect();
        if let (Some(kind), Some(key), true) = (kind, key, rows.is_empty()) {
            self.known(kind, key)?;
        }
        self.rows.extend(rows);
        Ok(())
    }

    /// The position of a place, which the rule `own` of this kind is to get.
    fn position(
        &mut self,
        kind: RuleKind,
        place: &Place,
        own: Option<&str>,
    ) -> Result<i64, Refused> {
        let others = |draft: &Self| -> Vec<(String, i64)> {
            let of_kind = draft.document.of_kind(kind);
            let others = of_kind.filter(|placed| Some(&placed.key[..]) != own);
            others.map(|p| (p.key.clone(), p.position)).collect()
        };
        let all = others(self);
        let at = match place {
            Place::First => 0,
            Place::Last => all.len(),
            Place::Before(key) | Place::After(key) => {
                self.known(kind, key)?;
                // Before or behind itself: where it is.
                let at = all.iter().position(|(other, _)| other == key);
                let Some(at) = at else {
                    return Ok(self.known(kind, key)?.position);
                };
                at + usize::from(matches!(place, Place::After(_)))
            }
        };
        let before = at.checked_sub(1).map(|at| all[at].1);
        let behind = all.get(at).map(|other| other.1);
        Ok(match (before, behind) {
            (_, None) => before.map_or(BEHIND, |before| (before + STEP).max(BEHIND)),
            (None, Some(behind)) => behind - STEP,
            (Some(before), Some(behind)) if behind - before > 1 => before + (behind - before) / 2,
            // No number is left between them: all get new ones.
            (Some(_), Some(_)) => {
                for (number, (key, _)) in (0..).zip(&all) {
                    let rule = self.known(kind, key)?.rule.clone();
                    let behind_it = if number < at as i64 { 0 } else { STEP };
                    self.set(key.clone(), rule, BEHIND + number * STEP + behind_it);
                }
                BEHIND + at as i64 * STEP
            }
        })
    }

    fn finish(self, restores: bool) -> Result<Amended, Refused> {
        let Draft {
            document,
            rows,
            rules,
            mut warnings,
            ..
        } = self;
        let mut entries = document.entries.clone();
        let mut undo = Vec::new();
        for row in &rows {
            let name = (row.kind, row.key.clone());
            let before = match &row.entry {
                Some(entry) => entries.insert(name, entry.clone()),
                None => entries.remove(&name),
            };
            undo.push(Row {
                entry: before,
                ..row.clone()
            });
        }
        undo.reverse();
        let mut known: BTreeMap<(RuleKind, String), Arc<Rule>> = document
            .placed
            .iter()
            .map(|p| ((p.rule.kind(), p.key.clone()), p.rule.clone()))
            .collect();
        // What isn't set by this change is what it was, unless its entry goes or comes back.
        for row in &rows {
            known.remove(&(row.kind, row.key.clone()));
        }
        known.extend(rules);
        let mut after = Document {
            entries,
            ..document.clone()
        };
        after.lay(&known);
        let touched: HashSet<(RuleKind, &str)> =
            rows.iter().map(|row| (row.kind, &row.key[..])).collect();
        let mut problems = Vec::new();
        for placed in &after.placed {
            let Rule::Route(route) = &*placed.rule else {
                continue;
            };
            if touched.contains(&(RuleKind::Route, &placed.key[..])) {
                let others = after.placed.iter().filter_map(|other| match &*other.rule {
                    Rule::Route(other) => Some(&**other),
                    _ => None,
                });
                problems.extend(after.file.conflicts(route, others));
                warnings.extend(after.file.circles(route));
            }
        }
        let mut left = after.left_out.iter();
        if let Some(left) = left.find(|left| touched.contains(&(left.kind, &left.key[..]))) {
            problems.push(Problem {
                line: None,
                column: None,
                key: format!("{} {}", left.kind, left.key),
                message: left.reason.clone(),
            });
        }
        if !problems.is_empty() {
            return Err(Refused::Bad(problems));
        }
        let mut preview = differences(document, &after, &touched);
        // To forget an entry that says what the file says is a change, to make one isn't.
        let sets = !restores && rows.iter().any(|row| row.entry.is_some());
        let same = rows.iter().zip(undo.iter().rev()).all(same);
        if preview.differences.is_empty() && (same || sets) {
            return Err(Refused::Nothing);
        }
        preview.warnings = warnings;
        Ok(Amended {
            document: after,
            rows,
            undo,
            preview,
        })
    }
}

fn destination_at(route: &Route, text: &str) -> Result<usize, Refused> {
    let all = &route.destinations;
    let by_name = all
        .iter()
        .position(|one| one.id == text || one.address.to_string() == text);
    let by_number = || text.parse().ok().filter(|at: &usize| *at < all.len());
    by_name
        .or_else(by_number)
        .ok_or_else(|| Refused::UnknownDestination {
            route: route.key.clone(),
            destination: text.to_owned(),
            known: all.iter().map(|one| one.id.clone()).collect(),
        })
}

/// A destination string with some options otherwise. Its id stays, unless that is given.
fn edited(
    destination: &Destination,
    options: &[(String, Option<String>)],
) -> Result<String, Refused> {
    let bad = |message: String| {
        Refused::Bad(vec![Problem {
            line: None,
            column: None,
            key: "route.destinations".to_owned(),
            message,
        }])
    };
    let words = split(&destination.to_string()).map_err(bad)?;
    let (mut address, mut kept) = (String::new(), Vec::new());
    for word in words {
        match word {
            Word::Plain(text) => address = text,
            Word::Option { key, value } => kept.push((key, value)),
        }
    }
    if !kept.iter().any(|(key, _)| key == "id") {
        kept.push(("id".to_owned(), destination.id.clone()));
    }
    for (name, value) in options {
        let name = match &name[..] {
            "addr" | "address" => {
                let Some(value) = value else {
                    return Err(bad("address: expected host:port or file:PATH".to_owned()));
                };
                address.clone_from(value);
                continue;
            }
            "reconn" => "reconnect",
            name => name,
        };
        kept.retain(|(key, _)| key != name);
        if let Some(value) = value {
            kept.push((name.to_owned(), value.clone()));
        }
    }
    let mut text = quoted(&address).into_owned();
    for (key, value) in kept {
        text.push_str(&format!(" {key}={}", quoted(&value)));
    }
    Ok(text)
}

/// Whether a row leaves everything as it is.
fn same((now, was): (&Row, &Row)) -> bool {
    let parts = |row: &Row| {
        let entry = row.entry.as_ref();
        entry.map(|entry| (entry.position, entry.spec.clone(), entry.volatile))
    };
    parts(now) == parts(was)
}
