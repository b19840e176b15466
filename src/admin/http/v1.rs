//! `/api/v1`: the table, read and changed.
//!
//! Each kind of rule is a collection, each rule an element of it, known by its key. Whoever changes something may say
//! `If-Match` with the ETag that was read, so that two don't overwrite each other; and in the query `dry_run=true` (nothing
//! happens, the answer is what would), `volatile=true`, `backlog=drain|discard|keep`, for new rules and moves
//! `place=first|last|before:KEY|after:KEY`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde_json::{Map, Value};

use super::problem::{self, Problem};
use super::query::Query;
use super::terms::{Asker, Terms, etag, terms};
use super::{Shared, events, openapi, seen, subscribe};
use crate::admin::desk::{Asked, Desk, Refusal, TableRule, What};
use crate::amend::{Change, Form};
use crate::config::RuleKind;

/// The collections, and what is in each.
const COLLECTIONS: [(&str, RuleKind); 4] = [
    ("blocklist", RuleKind::Blocklist),
    ("rewriters", RuleKind::Rewriter),
    ("aggregations", RuleKind::Aggregation),
    ("routes", RuleKind::Route),
];

pub(super) fn routes() -> Router<Arc<dyn Desk>> {
    let mut router = Router::new()
        .route("/status", get(seen::status))
        .route("/rejected", get(seen::rejected))
        .route("/trace", get(seen::trace))
        .route("/config", get(seen::config))
        .route("/openapi.json", get(openapi::document))
        .route("/events", get(events::events))
        .route("/subscribe", get(subscribe::subscribe))
        .route("/charts", get(seen::charts))
        .route("/table", get(table))
        .route("/routes/{key}/destinations", post(add_destination))
        .route(
            "/routes/{key}/destinations/{destination}",
            patch(edit_destination).delete(remove_destination),
        )
        .route("/reset", post(reset))
        .route("/history", get(history))
        .route("/history/{id}/undo", post(undo))
        .route("/restart", post(restart));
    for (name, kind) in COLLECTIONS {
        let list = move |state| list(kind, state);
        let add = move |state, asker, query, body| add(kind, state, asker, query, body);
        let show = move |state, key| show(kind, state, key);
        let replace =
            move |state, asker, key, query, body| replace(kind, state, asker, key, query, body);
        let edit = move |state, asker, key, query, body| edit(kind, state, asker, key, query, body);
        let remove = move |state, asker, key, query| remove(kind, state, asker, key, query);
        let put = move |state, asker, key, query| move_it(kind, state, asker, key, query);
        router = router
            .route(&format!("/{name}"), get(list).post(add))
            .route(
                &format!("/{name}/{{key}}"),
                get(show).put(replace).patch(edit).delete(remove),
            )
            .route(&format!("/{name}/{{key}}/move"), post(put));
    }
    router
}

/// Has something slow done where that holds up no metric.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_ended| problem::unavailable("not serving"))
}

async fn table(State(desk): Shared) -> Result<Response, Problem> {
    let table = aside(move || desk.table()).await?;
    Ok((etag(&table.version), Json(table)).into_response())
}

async fn list(kind: RuleKind, State(desk): Shared) -> Result<Response, Problem> {
    let table = aside(move || desk.table()).await?;
    let of_kind = table.rules.into_iter().filter(|rule| rule.kind == kind);
    let rules: Vec<TableRule> = of_kind.collect();
    Ok((etag(&table.version), Json(rules)).into_response())
}

async fn show(
    kind: RuleKind,
    State(desk): Shared,
    Path(key): Path<String>,
) -> Result<Response, Problem> {
    let table = aside(move || desk.table()).await?;
    let mut rules = table.rules.into_iter();
    match rules.find(|rule| rule.kind == kind && rule.key == key) {
        Some(rule) => Ok((etag(&table.version), Json(rule)).into_response()),
        None => Err(problem::not_found(&format!(
            "there is no {} {key:?}",
            kind.one()
        ))),
    }
}

fn object(body: &Bytes) -> Result<Map<String, Value>, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| problem::bad(&format!("expected a JSON object with the keys: {error}")))
}

/// Makes a change, or shows what it would make.
async fn change(
    desk: Arc<dyn Desk>,
    asker: Asker,
    terms: Terms,
    what: What,
    command: String,
) -> Result<Response, Problem> {
    let dry_run = terms.dry_run;
    let asked = Asked {
        what,
        backlog: terms.backlog,
        volatile: terms.volatile,
        if_version: asker.if_match.map(|tags| tags.wanted(&desk.version())),
        via: asker.via,
        peer: asker.peer,
        command,
    };
    let outcome = aside(move || match dry_run {
        true => desk.preview(&asked),
        false => desk.change(&asked),
    });
    let outcome = outcome
        .await?
        .map_err(|refusal: Refusal| problem::of(&refusal))?;
    Ok((etag(&outcome.version), Json(outcome)).into_response())
}

async fn add(
    kind: RuleKind,
    State(desk): Shared,
    asker: Asker,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, Problem> {
    let mut terms = terms(query.as_deref(), true)?;
    let keys = object(&body)?;
    let command = format!("add {kind} {}", Value::Object(keys.clone()));
    let named = keys.get(if kind == RuleKind::Blocklist {
        "rule"
    } else {
        "key"
    });
    let location = named.and_then(Value::as_str).map(str::to_owned);
    let (dry_run, what) = (
        terms.dry_run,
        What::Change(Change::Add {
            kind,
            rule: Form::Json(keys),
            place: terms.place.take().unwrap_or_default(),
        }),
    );
    let mut response = change(desk, asker, terms, what, command).await?;
    if !dry_run {
        *response.status_mut() = StatusCode::CREATED;
        let of = COLLECTIONS.iter().find(|(_, of)| *of == kind);
        if let (Some((name, _)), Some(key)) = (of, location)
            && let Ok(value) = HeaderValue::from_str(&format!("/api/v1/{name}/{}", escaped(&key)))
        {
            response.headers_mut().insert(LOCATION, value);
        }
    }
    Ok(response)
}

/// As a segment of a path.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

async fn replace(
    kind: RuleKind,
    State(desk): Shared,
    asker: Asker,
    Path(key): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, Problem> {
    let terms = terms(query.as_deref(), false)?;
    let keys = object(&body)?;
    let command = format!("replace {kind} {key} {}", Value::Object(keys.clone()));
    let rule = Form::Json(keys);
    let what = What::Change(Change::Replace { kind, key, rule });
    change(desk, asker, terms, what, command).await
}

async fn edit(
    kind: RuleKind,
    State(desk): Shared,
    asker: Asker,
    Path(key): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, Problem> {
    let terms = terms(query.as_deref(), false)?;
    let patch = object(&body)?;
    let command = format!("edit {kind} {key} {}", Value::Object(patch.clone()));
    let what = What::Change(Change::Edit { kind, key, patch });
    change(desk, asker, terms, what, command).await
}

async fn remove(
    kind: RuleKind,
    State(desk): Shared,
    asker: Asker,
    Path(key): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let terms = terms(query.as_deref(), false)?;
    let command = format!("remove {kind} {key}");
    let what = What::Change(Change::Remove { kind, key });
    change(desk, asker, terms, what, command).await
}

async fn move_it(
    kind: RuleKind,
    State(desk): Shared,
    asker: Asker,
    Path(key): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut terms = terms(query.as_deref(), true)?;
    let Some(place) = terms.place.take() else {
        return Err(problem::bad(
            "expected place=first, last, before:KEY or after:KEY",
        ));
    };
    let command = format!("move {kind} {key} {place}");
    let what = What::Change(Change::Move { kind, key, place });
    change(desk, asker, terms, what, command).await
}

async fn add_destination(
    State(desk): Shared,
    asker: Asker,
    Path(route): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, Problem> {
    let terms = terms(query.as_deref(), false)?;
    let keys = object(&body)?;
    let destination = match keys.get("destination") {
        Some(Value::String(text)) if keys.len() == 1 => text.clone(),
        _ => {
            return Err(problem::bad(
                "expected {\"destination\": \"host:port option=value …\"}",
            ));
        }
    };
    let command = format!("add destination {destination} to route {route}");
    let what = What::Change(Change::AddDestination { route, destination });
    let dry_run = terms.dry_run;
    let mut response = change(desk, asker, terms, what, command).await?;
    if !dry_run {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

async fn edit_destination(
    State(desk): Shared,
    asker: Asker,
    Path((route, destination)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, Problem> {
    let terms = terms(query.as_deref(), false)?;
    let mut options = Vec::new();
    for (name, value) in object(&body)? {
        let value = match value {
            Value::Null => None,
            Value::String(text) => Some(text),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Number(number) => Some(number.to_string()),
            other => {
                return Err(problem::bad(&format!(
                    "{name}: expected a text, a number, true, false or null, found {other}"
                )));
            }
        };
        options.push((name, value));
    }
    let words: Vec<String> = options
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("(default)")))
        .collect();
    let command = format!(
        "edit destination {destination} of route {route}: {}",
        words.join(" ")
    );
    let what = What::Change(Change::EditDestination {
        route,
        destination,
        options,
    });
    change(desk, asker, terms, what, command).await
}

async fn remove_destination(
    State(desk): Shared,
    asker: Asker,
    Path((route, destination)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let terms = terms(query.as_deref(), false)?;
    let command = format!("remove destination {destination} of route {route}");
    let what = What::Change(Change::RemoveDestination { route, destination });
    change(desk, asker, terms, what, command).await
}

async fn reset(
    State(desk): Shared,
    asker: Asker,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, Problem> {
    let terms = terms(query.as_deref(), false)?;
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Which {
        kind: Option<RuleKind>,
        key: Option<String>,
    }
    let all = Which {
        kind: None,
        key: None,
    };
    let which = match body.is_empty() {
        true => all,
        false => serde_json::from_slice(&body).map_err(|error| {
            problem::bad(&format!("expected {{\"kind\": …, \"key\": …}}: {error}"))
        })?,
    };
    let Which { kind, key } = which;
    if key.is_some() && kind.is_none() {
        return Err(problem::bad("key: expected kind beside it"));
    }
    let named = [kind.map(|kind| kind.to_string()), key.clone()];
    let named: Vec<String> = named.into_iter().flatten().collect();
    let command = format!(
        "reset {}",
        if named.is_empty() {
            "all".to_owned()
        } else {
            named.join(" ")
        }
    );
    let what = What::Change(Change::Reset { kind, key });
    change(desk, asker, terms, what, command).await
}

async fn history(State(desk): Shared, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let mut query = Query::read(query.as_deref(), &["before", "limit"])
        .map_err(|wrong| problem::bad(&wrong))?;
    let mut number = |name: &str| -> Result<Option<u64>, Problem> {
        let text = query.take(name).map_err(|wrong| problem::bad(&wrong))?;
        let parsed = text.map(|text| {
            text.parse()
                .map_err(|_| problem::bad(&format!("{name}: expected a number, found {text:?}")))
        });
        parsed.transpose()
    };
    let before = number("before")?;
    let most = number("limit")?.unwrap_or(100).min(1000) as u32;
    let changes = aside(move || desk.history(before, most)).await?;
    let changes = changes.map_err(|error| problem::unavailable(&error))?;
    Ok(Json(changes).into_response())
}

async fn undo(
    State(desk): Shared,
    asker: Asker,
    Path(id): Path<u64>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let terms = terms(query.as_deref(), false)?;
    let command = format!("undo {id}");
    change(desk, asker, terms, What::Undo(id), command).await
}

async fn restart(State(desk): Shared, asker: Asker) -> Result<Response, Problem> {
    let asked = aside(move || desk.restart(asker.via, &asker.peer)).await?;
    asked.map_err(|error| problem::unavailable(&error))?;
    Ok(StatusCode::ACCEPTED.into_response())
}
