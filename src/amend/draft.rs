//! From a change to the entries that it sets and drops.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::change::{Amended, Change, Form, Refused};
use super::{BEHIND, Document, Entry, Placed, Row, Spot};
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
pub(super) struct Draft<'d> {
    pub document: &'d Document,
    pub rows: Vec<Row>,
    /// Of the rows that set one: the rule.
    pub rules: BTreeMap<(RuleKind, String), Arc<Rule>>,
    pub warnings: Vec<String>,
    pub volatile: bool,
    now_ms: u64,
}

impl Draft<'_> {
    fn take(&mut self, change: &Change) -> Result<(), Refused> {
        match change {
            Change::Add { kind, rule, place } => {
                let rule = self.read(*kind, rule)?;
                let spot = self.spot(*kind, place, None)?;
                self.put(rule, spot)
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
                let rule = self.known(*kind, key)?.rule.clone();
                let spot = self.spot(*kind, place, Some(key))?;
                self.set(key.clone(), rule, spot)
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
            Change::Restore { rows } => rows.iter().try_for_each(|row| self.restore(row)),
        }
    }

    pub(super) fn known(&self, kind: RuleKind, key: &str) -> Result<&Placed, Refused> {
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
    fn put(&mut self, rule: Rule, spot: Spot) -> Result<(), Refused> {
        let (kind, key) = (rule.kind(), rule.key());
        if self.document.find(kind, &key).is_some() {
            return Err(Refused::Exists { kind, key });
        }
        self.set(key, Arc::new(rule), spot)
    }

    /// A rule in the place of another.
    fn swap(&mut self, kind: RuleKind, key: &str, rule: Rule) -> Result<(), Refused> {
        let spot = self.known(kind, key)?.spot;
        if rule.key() == key {
            return self.set(key.to_owned(), Arc::new(rule), spot);
        }
        self.lasts(kind, key)?;
        self.remove(kind, key);
        self.put(rule, Spot::chosen(spot.position))
    }

    fn set(&mut self, key: String, rule: Arc<Rule>, spot: Spot) -> Result<(), Refused> {
        let kind = rule.kind();
        self.lasts(kind, &key)?;
        let entry = self.entry(kind, &key, spot, Some(rule.to_toml()));
        self.rows.push(Row {
            kind,
            key: key.clone(),
            entry: Some(entry),
        });
        self.rules.insert((kind, key), rule);
        Ok(())
    }

    /// What is to be written can't build on what isn't.
    fn lasts(&self, kind: RuleKind, key: &str) -> Result<(), Refused> {
        let there = self.document.entries.get(&(kind, key.to_owned()));
        match there {
            Some(entry) if entry.volatile && !self.volatile => Err(Refused::Volatile {
                kind,
                key: key.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// An entry of this change.
    fn entry(&self, kind: RuleKind, key: &str, spot: Spot, spec: Option<String>) -> Entry {
        let beneath = self.volatile.then(|| self.lasting(kind, key)).flatten();
        Entry {
            spot,
            spec,
            volatile: self.volatile,
            beneath: beneath.map(|entry| Box::new(entry.clone())),
            changed_at_ms: self.now_ms,
        }
    }

    /// What the database has of a rule.
    fn lasting(&self, kind: RuleKind, key: &str) -> Option<&Entry> {
        let there = self.document.entries.get(&(kind, key.to_owned()));
        there.and_then(Entry::lasting)
    }

    fn remove(&mut self, kind: RuleKind, key: &str) {
        let of_file = self.document.in_file(kind, key).map(|own| own.spot);
        // What comes back after a restart has to be hidden until then.
        let comes_back = self.volatile && self.lasting(kind, key).is_some();
        let spot = of_file.unwrap_or(Spot::chosen(BEHIND));
        let hides = of_file.is_some() || comes_back;
        self.rows.push(Row {
            kind,
            key: key.to_owned(),
            entry: hides.then(|| self.entry(kind, key, spot, None)),
        });
    }

    /// A rule is as the file has it.
    fn forget(&self, kind: RuleKind, key: &str) -> Option<Entry> {
        if !self.volatile || self.lasting(kind, key).is_none() {
            return None;
        }
        let own = self.document.in_file(kind, key);
        let spot = own.map_or(Spot::chosen(BEHIND), |own| own.spot);
        let spec = own.map(|own| own.rule.to_toml());
        Some(self.entry(kind, key, spot, spec))
    }

    /// An entry becomes what it was before a change.
    fn restore(&mut self, row: &Row) -> Result<(), Refused> {
        let (kind, key) = (row.kind, row.key.clone());
        let entry = match &row.entry {
            Some(was) if self.volatile => Some(self.entry(kind, &key, was.spot, was.spec.clone())),
            Some(was) => Some(was.clone().at(self.now_ms)),
            None => self.forget(kind, &key),
        };
        if !entry.as_ref().is_some_and(|entry| entry.volatile) {
            self.lasts(kind, &key)?;
        }
        if let Some(spec) = entry.as_ref().and_then(|entry| entry.spec.as_ref()) {
            self.read(kind, &Form::Toml(spec.clone()))?;
        }
        self.rows.push(Row { kind, key, entry });
        Ok(())
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

    /// What was changed is forgotten; by a change that isn't written first what wasn't either.
    fn reset(&mut self, kind: Option<RuleKind>, key: Option<&str>) -> Result<(), Refused> {
        let meant = self.document.entries.iter().filter(|((own, name), _)| {
            kind.is_none_or(|kind| kind == *own) && key.is_none_or(|key| key == name)
        });
        let rows: Vec<Row> = meant
            .map(|((kind, key), entry)| Row {
                kind: *kind,
                key: key.clone(),
                entry: match self.volatile && entry.volatile {
                    true => entry.lasting().cloned(),
                    false => self.forget(*kind, key),
                },
            })
            .collect();
        if let (Some(kind), Some(key), true) = (kind, key, rows.is_empty()) {
            self.known(kind, key)?;
        }
        self.rows.extend(rows);
        Ok(())
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
    let bad =
        |message: String| Refused::Bad(vec![Problem::without_line("route.destinations", message)]);
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
