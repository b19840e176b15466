//! The config that is being written: what stands at the root and in sections first, then the lists of tables.

use std::collections::HashSet;

use super::{Converted, Note, Statements};

/// Where in the files something is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: usize,
}

/// A table that is being written, key by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table(Vec<(&'static str, toml::Value)>);

impl Table {
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<toml::Value>) -> &mut Table {
        let value = value.into();
        match self.0.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
        self
    }

    /// Sets it, if there is something to say.
    pub(super) fn set_text(&mut self, key: &'static str, text: &str) -> &mut Table {
        if !text.is_empty() {
            self.set(key, text);
        }
        self
    }

    fn print(&self, text: &mut String) {
        for (key, value) in &self.0 {
            let value = match value {
                toml::Value::Array(list) if list.len() > 1 => {
                    let elements: Vec<String> =
                        list.iter().map(|one| format!("    {one},\n")).collect();
                    format!("[\n{}]", elements.concat())
                }
                value => value.to_string(),
            };
            text.push_str(&format!("{key} = {value}\n"));
        }
    }
}

/// All of it, and what there is to say.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pub(super) root: Table,
    pub(super) sections: Vec<(&'static str, Table)>,
    pub(super) rewriters: Vec<Table>,
    pub(super) aggregations: Vec<Table>,
    pub(super) routes: Vec<Table>,
    pub(super) blocklist: Vec<String>,
    pub(super) listeners: Vec<String>,
    /// Expressions of the own metrics that have routes of their own.
    pub(super) own: Vec<String>,
    notes: Vec<Note>,
    statements: Statements,
    keys: HashSet<String>,
}

impl Sheet {
    pub(super) fn note(&mut self, place: &Place, text: impl Into<String>) {
        let text: String = text.into();
        let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.notes.push(Note {
            file: place.file.clone(),
            line: place.line,
            text: one_line,
        });
    }

    /// Counts a statement that is in the config.
    pub(super) fn converted(&mut self) {
        self.statements.converted += 1;
    }

    /// Counts one that isn't, and says why.
    pub(super) fn noted(&mut self, place: &Place, text: impl Into<String>) {
        self.statements.noted += 1;
        self.note(place, text);
    }

    /// Counts one that was read.
    pub(super) fn read(&mut self) {
        self.statements.read += 1;
    }

    pub(super) fn section(&mut self, name: &'static str) -> &mut Table {
        let at = match self.sections.iter().position(|(known, _)| *known == name) {
            Some(at) => at,
            None => {
                self.sections.push((name, Table::default()));
                self.sections.len() - 1
            }
        };
        &mut self.sections[at].1
    }

    /// A route's key that no other has: a word.
    pub(super) fn key(&mut self, wanted: &str) -> String {
        let plain = |c: char| {
            if c.is_whitespace() || c.is_control() {
                '_'
            } else {
                c
            }
        };
        let short: String = wanted.chars().map(plain).take(20).collect();
        let base = if short.is_empty() {
            "route".to_owned()
        } else {
            short
        };
        let mut key = base.clone();
        let mut number = 2;
        while !self.keys.insert(key.clone()) {
            key = format!("{base}-{number}");
            number += 1;
        }
        key
    }

    pub(super) fn finish(mut self) -> Converted {
        let mut toml = String::new();
        if !self.blocklist.is_empty() {
            let list = std::mem::take(&mut self.blocklist);
            self.root.set("blocklist", list);
        }
        self.root.print(&mut toml);
        let lists = [
            ("[rewriter]", &self.rewriters),
            ("[aggregation]", &self.aggregations),
            ("[route]", &self.routes),
        ];
        let sections = self.sections.iter().map(|(name, table)| (*name, table));
        let tables = lists
            .iter()
            .flat_map(|(name, tables)| tables.iter().map(move |table| (*name, table)));
        for (name, table) in sections
            .chain(tables)
            .filter(|(_, table)| !table.0.is_empty())
        {
            let gap = if toml.is_empty() { "" } else { "\n" };
            toml.push_str(&format!("{gap}[{name}]\n"));
            table.print(&mut toml);
        }
        // Notes come as the rules are understood; people read them along the file.
        let mut order: Vec<String> = Vec::new();
        for note in &self.notes {
            if !order.contains(&note.file) {
                order.push(note.file.clone());
            }
        }
        let rank = |note: &Note| order.iter().position(|file| *file == note.file);
        self.notes.sort_by_key(|note| (rank(note), note.line));
        Converted {
            toml,
            notes: self.notes,
            statements: self.statements,
        }
    }
}
