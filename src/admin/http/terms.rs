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
    pub if_match: Option<String>,
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

fn if_match(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(tag) = headers.get(IF_MATCH) else {
        return Ok(None);
    };
    match tag.to_str().map(str::trim) {
        Ok("*") => Ok(None),
        Ok(tag) if tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"') => {
            Ok(Some(tag[1..tag.len() - 1].to_owned()))
        }
        _ => Err(problem::bad(
            "If-Match: expected one ETag in quotes, as the table was read with",
        )),
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
