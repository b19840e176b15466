//! Putting one key for another in a document, so that problems still name the line that people wrote.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::config::read::{Report, Value};

/// An entry that was taken out of a table: its key, where it stands, and its value.
pub(super) struct Given<'d> {
    pub(super) key: &'static str,
    pub(super) at: usize,
    pub(super) value: Spanned<DeValue<'d>>,
}

impl<'d> Given<'d> {
    pub(super) fn of(table: &mut DeTable<'d>, key: &'static str) -> Option<Given<'d>> {
        let (written, value) = table.remove_entry(key)?;
        let at = written.span().start;
        Some(Given { key, at, value })
    }

    pub(super) fn as_value(&self) -> Value<'_> {
        Value::new(self.key, self.value.span().start, self.value.get_ref())
    }

    /// The same for a key of a section.
    pub(super) fn as_value_of(&self, section: &str) -> Value<'_> {
        let key = format!("{section}.{}", self.key);
        Value::new(key, self.value.span().start, self.value.get_ref())
    }

    pub(super) fn text(&self, report: &mut Report) -> Option<String> {
        self.as_value().text(report).map(str::to_owned)
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// Says that nothing came of it, and why.
    pub(super) fn not_needed(&self, report: &mut Report, why: &str) {
        report.note(self.at, self.key, format!("not needed: {why}"));
    }
}

pub(super) fn string<'d>(text: impl Into<String>, span: Range<usize>) -> Spanned<DeValue<'d>> {
    Spanned::new(span, DeValue::String(Cow::Owned(text.into())))
}

pub(super) fn strings<'d>(
    texts: impl IntoIterator<Item = String>,
    span: &Range<usize>,
) -> Spanned<DeValue<'d>> {
    let mut list = DeArray::new();
    for text in texts {
        list.push(string(text, span.clone()));
    }
    Spanned::new(span.clone(), DeValue::Array(list))
}

pub(super) fn flag<'d>(flag: bool, span: Range<usize>) -> Spanned<DeValue<'d>> {
    Spanned::new(span, DeValue::Boolean(flag))
}

pub(super) fn insert<'d>(table: &mut DeTable<'d>, key: &'static str, value: Spanned<DeValue<'d>>) {
    let key = Spanned::new(value.span(), Cow::Borrowed(key));
    table.insert(key, value);
}

/// Puts a value at `section.key`, unless somebody gave that, too. An empty section is the root.
pub(super) fn put<'d>(
    report: &mut Report,
    root: &mut DeTable<'d>,
    (section, key): (&'static str, &'static str),
    alias: (&'static str, usize),
    value: Spanned<DeValue<'d>>,
) {
    let table = match section {
        "" => root,
        section => {
            if !root.contains_key(section) {
                let empty = DeValue::Table(DeTable::new());
                insert(root, section, Spanned::new(value.span(), empty));
            }
            // Of another type it is told about when it is read.
            match root.get_mut(section).map(Spanned::get_mut) {
                Some(DeValue::Table(table)) => table,
                _ => return,
            }
        }
    };
    if table.contains_key(key) {
        let path = format!("{section}.{key}");
        let path = path.trim_start_matches('.');
        let message = format!("given twice: {path} is the same");
        report.problem(alias.1, alias.0, message);
        return;
    }
    insert(table, key, value);
}

/// The list at a key of the root, made if it isn't there; `None` when it is no list.
pub(super) fn list<'a, 'd>(
    root: &'a mut DeTable<'d>,
    key: &'static str,
    at: Range<usize>,
) -> Option<&'a mut DeArray<'d>> {
    if !root.contains_key(key) {
        insert(root, key, Spanned::new(at, DeValue::Array(DeArray::new())));
    }
    match root.get_mut(key).map(Spanned::get_mut) {
        Some(DeValue::Array(list)) => Some(list),
        _ => None,
    }
}

/// Puts a value before all others in the list at a key of the root.
pub(super) fn put_first<'d>(
    root: &mut DeTable<'d>,
    key: &'static str,
    value: Spanned<DeValue<'d>>,
) {
    if let Some(list) = list(root, key, value.span()) {
        let others = std::mem::replace(list, DeArray::new());
        *list = std::iter::once(value).chain(others).collect();
    }
}

/// The tables in a list at a key of the root.
pub(super) fn tables<'a, 'd>(
    root: &'a mut DeTable<'d>,
    key: &str,
) -> impl Iterator<Item = (usize, &'a mut DeTable<'d>)> {
    let list = match root.get_mut(key).map(Spanned::get_mut) {
        Some(DeValue::Array(list)) => Some(list),
        _ => None,
    };
    let entries = list.into_iter().flat_map(|list| list.iter_mut());
    entries.filter_map(|entry| {
        let at = entry.span().start;
        match entry.get_mut() {
            DeValue::Table(table) => Some((at, table)),
            _ => None,
        }
    })
}

/// Gives keys the spelling that they are known by: in carbon-relay-ng's file case doesn't count.
pub(super) fn respell<'d>(table: &mut DeTable<'d>, known: &[&'static str]) {
    for &right in known {
        if table.contains_key(right) {
            continue;
        }
        let other = table
            .keys()
            .find(|key| key.get_ref().eq_ignore_ascii_case(right));
        let Some(other) = other.map(|key| key.get_ref().to_string()) else {
            continue;
        };
        if let Some((key, value)) = table.remove_entry(&other[..]) {
            table.insert(Spanned::new(key.span(), Cow::Borrowed(right)), value);
        }
    }
}
