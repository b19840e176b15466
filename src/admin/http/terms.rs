//! Who asks for a change, and on what terms.

use axum::http::header::{ETAG, IF_MATCH, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue};

use super::Peer;
use super::problem::{self, Problem};
use super::query::Query;
use crate::amend::{Backlog, Place};

/// Who asks, and on what condition.
pub(super) struct Asker {
    pub peer: String,
    pub via: &'static str,
    pub if_match: Option<Tags>,
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        _: &S,
    ) -> Result<Asker, Problem> {
        let peer = parts.extensions.get::<Peer>();
        let header = |name| {
            parts
                .headers
                .get(name)
                .and_then(|v: &HeaderValue| v.to_str().ok())
        };
        let via = match header(USER_AGENT).unwrap_or_default() {
            agent if agent.starts_with("baton/") => "cli",
            _ if parts.headers.contains_key("x-baton-page") => "page",
            _ => "http",
        };
        Ok(Asker {
            peer: peer.map_or_else(|| "unknown".to_owned(), |peer| peer.0.clone()),
            via,
            if_match: if_match(&parts.headers)?,
        })
    }
}

/// Versions of the table that a change may be made of (If-Match, RFC 9110, 13.1.1).
#[derive(Debug, PartialEq)]
pub(super) struct Tags(Vec<String>);

impl Tags {
    /// The one that the table is to have: that which it has, if it is among them. None of them may be one that a table can
    /// have.
    pub fn wanted(self, now: &str) -> String {
        let mut tags = self.0;
        let at = tags.iter().position(|tag| tag == now).unwrap_or(0);
        match tags.is_empty() {
            true => String::new(),
            false => tags.swap_remove(at),
        }
    }
}

/// `None`: any.
fn if_match(headers: &HeaderMap) -> Result<Option<Tags>, Problem> {
    let mut values = headers.get_all(IF_MATCH).iter().peekable();
    if values.peek().is_none() {
        return Ok(None);
    }
    let wrong =
        || problem::bad("If-Match: expected * or ETags in quotes, as the table was read with");
    // Headers of one name are one list.
    let list: Vec<&str> = values
        .map(|value| value.to_str())
        .collect::<Result<_, _>>()
        .map_err(|_| wrong())?;
    let list = list.join(",");
    match list.trim() {
        "*" => Ok(None),
        list => tags(list).map(|tags| Some(Tags(tags))).ok_or_else(wrong),
    }
}

/// Reads `"a", W/"b"`. Those that are weak are none that matches.
fn tags(mut list: &str) -> Option<Vec<String>> {
    let mut tags = Vec::new();
    loop {
        list = list.trim_start();
        let strong = list.strip_prefix("W/");
        let (is_weak, rest) = (strong.is_some(), strong.unwrap_or(list));
        let (tag, rest) = rest.strip_prefix('"')?.split_once('"')?;
        if !is_weak {
            tags.push(tag.to_owned());
        }
        match rest.trim_start() {
            "" => return Some(tags),
            more => list = more.strip_prefix(',')?,
        }
    }
}

/// The header that a version of the table is told in.
pub(super) fn etag(version: &str) -> [(axum::http::HeaderName, String); 1] {
    [(ETAG, format!("\"{version}\""))]
}

/// What a query says of a change.
pub(super) struct Terms {
    pub backlog: Option<Backlog>,
    pub volatile: bool,
    pub dry_run: bool,
    pub place: Option<Place>,
}

/// Reads a query; `places`: whether `place=` has a meaning.
///
/// # Errors
/// What can't be understood.
pub(super) fn terms(query: Option<&str>, places: bool) -> Result<Terms, Problem> {
    let mut known = vec!["backlog", "volatile", "dry_run"];
    if places {
        known.push("place");
    }
    let mut query = Query::read(query, &known).map_err(|wrong| problem::bad(&wrong))?;
    let backlog = match query
        .take("backlog")
        .map_err(|wrong| problem::bad(&wrong))?
    {
        None => None,
        Some(word) => {
            let found = Backlog::WORDS.into_iter().find(|(known, _)| *known == word);
            let (_, backlog) = found.ok_or_else(|| {
                problem::bad(&format!(
                    "backlog: expected drain, discard or keep, found {word:?}"
                ))
            })?;
            Some(backlog)
        }
    };
    let mut flag = |name| match query.take(name) {
        Ok(None) => Ok(false),
        Ok(Some(word)) if word == "true" => Ok(true),
        Ok(Some(word)) if word == "false" => Ok(false),
        Ok(Some(word)) => Err(problem::bad(&format!(
            "{name}: expected true or false, found {word:?}"
        ))),
        Err(wrong) => Err(problem::bad(&wrong)),
    };
    let (volatile, dry_run) = (flag("volatile")?, flag("dry_run")?);
    let place = match query.take("place").map_err(|wrong| problem::bad(&wrong))? {
        None => None,
        Some(text) => Some(place(&text).ok_or_else(|| {
            problem::bad(&format!(
                "place: expected first, last, before:KEY or after:KEY, found {text:?}"
            ))
        })?),
    };
    Ok(Terms {
        backlog,
        volatile,
        dry_run,
        place,
    })
}

fn place(text: &str) -> Option<Place> {
    match text {
        "first" => Some(Place::First),
        "last" => Some(Place::Last),
        text => {
            let (word, key) = text.split_once(':')?;
            match word {
                "before" => Some(Place::Before(key.to_owned())),
                "after" => Some(Place::After(key.to_owned())),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Option<Tags>, ()> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_MATCH, HeaderValue::from_str(value).unwrap());
        }
        if_match(&headers).map_err(|_problem| ())
    }

    #[test]
    fn if_match_is_a_list_of_strong_tags() {
        let tags = |tags: &[&str]| Ok(Some(Tags(tags.iter().map(|t| (*t).to_owned()).collect())));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[" * "]), Ok(None));
        assert_eq!(read(&["\"a,b\" , \"c\""]), tags(&["a,b", "c"]));
        assert_eq!(read(&["\"a\"", "W/\"w\", \"b\""]), tags(&["a", "b"]));
        assert_eq!(read(&["W/\"a\""]), tags(&[]));
        for wrong in [
            "",
            "a",
            "\"a",
            "\"a\" \"b\"",
            "\"a\",",
            "*, \"a\"",
            "w/\"a\"",
        ] {
            assert_eq!(read(&[wrong]), Err(()), "{wrong}");
        }
    }

    #[test]
    fn the_table_may_have_any_of_them() {
        let wanted =
            |tags: &[&str], now| Tags(tags.iter().map(|t| (*t).to_owned()).collect()).wanted(now);
        assert_eq!(wanted(&["1", "2"], "2"), "2");
        assert_eq!(wanted(&["1", "2"], "3"), "1");
        assert_eq!(wanted(&[], "3"), "");
    }
}
