//! The view over HTTP: for Prometheus, for health checks, and for people.

mod page;
mod problem;
mod query;
mod serve;
mod v1;

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::desk::Desk;
use super::samples::samples;
use super::view::View;
use crate::metrics;
use crate::validate::Reason;

pub use serve::{Limits, Socket, serve, serve_with};

const INDEX: &str = "\
Baton, a relay for Graphite metric streams.

/              for browsers, the page: the table, destinations, inputs, history; /help is this text
/metrics       counters, for Prometheus (OpenMetrics text)
/healthz       200 while a worker serves, 503 while none does
/api/status    everything there is to see (JSON)
/api/rejected  the last lines that were rejected (JSON); ?reason=value: those alone
/api/trace?metric=NAME  what becomes of a metric, or of a whole line (JSON)
";

/// Who a connection is from, for the history: in the extensions of each request.
#[derive(Clone, Debug)]
pub(crate) struct Peer(pub String);

/// Metrics in one request.
const MAX_TRACED: usize = 100;

type Shared = State<Arc<dyn Desk>>;

/// All pages. What isn't there is 404, a method that a page doesn't know 405, both with a JSON
/// object whose `error` says so.
pub fn router(source: Arc<dyn Desk>) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/help", get(INDEX))
        .merge(page::routes())
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(healthz))
        .route("/api/status", get(status))
        .route("/api/rejected", get(rejected))
        .route("/api/trace", get(trace))
        .nest("/api/v1", v1::routes())
        .fallback(|| async { error(StatusCode::NOT_FOUND, "no such page; / lists what there is") })
        .method_not_allowed_fallback(|| async {
            error(
                StatusCode::METHOD_NOT_ALLOWED,
                "this page is only read: GET or HEAD",
            )
        })
        .with_state(source)
}

async fn root(headers: HeaderMap) -> Response {
    page::root(&headers, INDEX)
}

async fn metrics_text(State(source): Shared) -> impl IntoResponse {
    let text = metrics::prometheus(samples(&source.view()));
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}

async fn healthz(State(source): Shared) -> (StatusCode, &'static str) {
    if source.is_serving() {
        (StatusCode::OK, "serving\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not serving\n")
    }
}

async fn status(State(source): Shared) -> Json<View> {
    Json(source.view())
}

/// A rejected line in JSON.
#[derive(Serialize)]
struct RejectedLine {
    at_ms: u64,
    reason: &'static str,
    listener: String,
    peer: String,
    line: String,
}

async fn rejected(State(source): Shared, RawQuery(query): RawQuery) -> Response {
    let reason = match rejected_reason(query.as_deref()) {
        Ok(reason) => reason,
        Err(wrong) => return error(StatusCode::BAD_REQUEST, &wrong),
    };
    let lines = source.rejected(reason).into_iter();
    let lines = lines.map(|sample| RejectedLine {
        at_ms: sample.at_ms,
        reason: sample.reason,
        listener: sample.listener,
        peer: sample.peer,
        line: sample.line,
    });
    Json(lines.collect::<Vec<_>>()).into_response()
}

/// The reason that is asked for; `None`: all.
fn rejected_reason(query: Option<&str>) -> Result<Option<Reason>, String> {
    let values = query::values(query, "reason")?;
    let wanted = match &values[..] {
        [] => return Ok(None),
        [one] => String::from_utf8_lossy(one),
        more => return Err(format!("expected one reason=, found {}", more.len())),
    };
    let found = Reason::ALL.into_iter().find(|r| r.as_str() == wanted);
    found.map(Some).ok_or_else(|| {
        let words = Reason::ALL.map(Reason::as_str).join(", ");
        format!("there is no reason {wanted:?}: expected one of {words}")
    })
}

async fn trace(State(source): Shared, RawQuery(query): RawQuery) -> Response {
    let metrics = match traced(query.as_deref()) {
        Ok(metrics) => metrics,
        Err(wrong) => return error(StatusCode::BAD_REQUEST, &wrong),
    };
    // It asks rule by rule, which is slow: not on a thread that moves metrics.
    let traces = tokio::task::spawn_blocking(move || source.trace(&metrics)).await;
    match traces {
        Ok(traces) => Json(traces).into_response(),
        Err(_ended) => error(StatusCode::SERVICE_UNAVAILABLE, "not serving"),
    }
}

fn traced(query: Option<&str>) -> Result<Vec<Vec<u8>>, String> {
    let metrics = query::values(query, "metric")?;
    match metrics.len() {
        0 => {
            Err("expected metric=NAME, or a whole line: metric=NAME%20VALUE%20TIMESTAMP".to_owned())
        }
        n if n > MAX_TRACED => Err(format!(
            "expected at most {MAX_TRACED} times metric=, found {n}"
        )),
        _ if metrics.iter().any(|metric| metric.contains(&b'\n')) => {
            Err("a metric has no newline in it: expected metric= once for each".to_owned())
        }
        _ => Ok(metrics),
    }
}

fn error(status: StatusCode, text: &str) -> Response {
    (status, Json(serde_json::json!({ "error": text }))).into_response()
}
