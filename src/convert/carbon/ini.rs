//! Files of sections and `key = value`, as Python's configparser reads them.

use super::super::sheet::Place;
use super::super::{Source, Unreadable};

/// `[name]`, with its keys in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) entries: Vec<Entry>,
}

/// `key = value`.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) place: Place,
}

impl Section {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key == key)
    }

    /// A value that is set; carbon takes many spellings of yes.
    pub(super) fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(|entry| is_true(&entry.value))
    }
}

pub(super) fn is_true(value: &str) -> bool {
    matches!(&value.to_ascii_lowercase()[..], "true" | "yes" | "on" | "1")
}

pub(super) fn read(source: &Source) -> Result<Vec<Section>, Unreadable> {
    let mut sections: Vec<Section> = Vec::new();
    for (line, place) in lines(source) {
        let unreadable = |message: String| Unreadable {
            file: place.file.clone(),
            line: place.line,
            message,
        };
        let text = line.trim();
        if let Some(name) = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
        {
            sections.push(Section {
                name: name.trim().to_owned(),
                place,
                entries: Vec::new(),
            });
            continue;
        }
        let Some(section) = sections.last_mut() else {
            return Err(unreadable(format!("expected [section], found {text:?}")));
        };
        if line.starts_with([' ', '\t'])
            && let Some(last) = section.entries.last_mut()
        {
            last.value = format!("{} {text}", last.value);
            continue;
        }
        let Some(at) = text.find(['=', ':']) else {
            return Err(unreadable(format!("expected key = value, found {text:?}")));
        };
        section.entries.push(Entry {
            key: text[..at].trim().to_owned(),
            value: text[at + 1..].trim().to_owned(),
            place,
        });
    }
    Ok(sections)
}

/// The lines that say something, each with its place.
pub(super) fn lines(source: &Source) -> impl Iterator<Item = (&str, Place)> {
    let numbered = source.text.lines().enumerate();
    let told = numbered.filter(|(_, line)| {
        let text = line.trim();
        !text.is_empty() && !text.starts_with(['#', ';'])
    });
    told.map(|(index, line)| {
        let place = Place {
            file: source.name.clone(),
            line: index + 1,
        };
        (line, place)
    })
}
