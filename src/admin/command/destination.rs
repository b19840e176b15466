//! Commands about the destinations of a route, a destination in carbon-relay-ng's words.

use super::change::{backlog_of, translated, unknown_option, without_backlog};
use super::{Wanted, first_word, words};
use crate::amend::{Backlog, Change};
use crate::spec::{OPTIONS, Word, split};

/// `<key> <destination string>`
pub(super) fn add(rest: &str) -> Result<Wanted, String> {
    let (route, text) = first_word(rest);
    if route.is_empty() || text.is_empty() {
        return Err("expected <key> <host:port> [option=value …]".to_owned());
    }
    Ok(Wanted::Change(Change::AddDestination {
        route: route.to_owned(),
        destination: translated(text)?,
    }))
}

/// `<key> <id, address or number> [backlog]`
pub(super) fn remove(rest: &str, backlog: &mut Option<Backlog>) -> Result<Wanted, String> {
    let words = words(rest)?;
    let ([route, which] | [route, which, _]) = &words[..] else {
        return Err(
            "expected <key> <id, address or number of the destination> [drain|discard|keep]"
                .to_owned(),
        );
    };
    *backlog = backlog_of(words.get(2))?;
    Ok(Wanted::Change(Change::RemoveDestination {
        route: route.clone(),
        destination: which.clone(),
    }))
}

/// `<key> <id, address or number> addr=… option=… [backlog]`; an empty value is the default. With another `id` it is another
/// destination, and the one of the old id goes.
pub(super) fn edit(rest: &str, backlog: &mut Option<Backlog>) -> Result<Wanted, String> {
    let (route, rest) = first_word(rest);
    let words = words(rest)?;
    let words = without_backlog(&words, backlog);
    let Some((which, given)) = words.split_first().filter(|(_, given)| !given.is_empty()) else {
        return Err(
            "expected <key> <id, address or number of the destination> addr=… <option>=<value> …"
                .to_owned(),
        );
    };
    let known = [&["addr", "address"], OPTIONS].concat();
    let mut options: Vec<(String, Option<String>)> = Vec::new();
    for word in given {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let in_our_words = match value {
            "" if key == "spool" => vec![("full".to_owned(), None)],
            "" => vec![(key.to_owned(), None)],
            value if ["addr", "address"].contains(&key) => {
                vec![("address".to_owned(), Some(value.to_owned()))]
            }
            value => option(key, value)?,
        };
        for (key, value) in in_our_words {
            if !known.contains(&&key[..]) || !word.contains('=') {
                return Err(unknown_option(&key, &known));
            }
            if options.iter().any(|(other, _)| *other == key) {
                return Err(format!("{key}: given twice"));
            }
            options.push((key, value));
        }
    }
    Ok(Wanted::Change(Change::EditDestination {
        route: route.to_owned(),
        destination: which.clone(),
        options,
    }))
}

/// An option of carbon-relay-ng's in Baton's words; `pickle=false` stays one.
fn option(key: &str, value: &str) -> Result<Vec<(String, Option<String>)>, String> {
    if key != "spool" {
        return Ok(vec![(key.to_owned(), Some(value.to_owned()))]);
    }
    let text = translated(&format!("- {key}={}", crate::spec::quoted(value)))?;
    let options = split(&text)?.into_iter().filter_map(|word| match word {
        Word::Option { key, value } => Some((key, Some(value))),
        Word::Plain(_) => None,
    });
    Ok(options.collect())
}
