//! The view over HTTP: for Prometheus, for health checks, and for people.

mod serve;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::samples::samples;
use super::view::View;
use crate::intake;
use crate::metrics;

pub use serve::{Limits, serve, serve_with};

const INDEX: &str = "\
Baton, a relay for Graphite metric streams.

/metrics       counters, for Prometheus (OpenMetrics text)
/healthz       200 while a worker serves, 503 while none does
/api/status    everything there is to see (JSON)
/api/rejected  the last lines that were rejected (JSON)
";

/// Who knows what there is to see. It is asked on the threads that relay: it must not block.
pub trait Source: Send + Sync + 'static {
    /// The state at this moment.
    fn view(&self) -> View;
    /// The last rejected lines, the newest last.
    fn rejected(&self) -> Vec<intake::Sample>;
    /// Whether it serves, and isn't stopping.
    fn is_serving(&self) -> bool;
}

type Shared = State<Arc<dyn Source>>;

/// All pages. What isn't there is 404, a method that a page doesn't know 405, both with a JSON
/// object whose `error` says so.
pub fn router(source: Arc<dyn Source>) -> Router {
    Router::new()
        .route("/", get(INDEX))
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(healthz))
        .route("/api/status", get(status))
        .route("/api/rejected", get(rejected))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "no such page; / lists what there is") })
        .method_not_allowed_fallback(|| async {
            error(
                StatusCode::METHOD_NOT_ALLOWED,
                "this page is only read: GET or HEAD",
            )
        })
        .with_state(source)
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

async fn rejected(State(source): Shared) -> Json<Vec<RejectedLine>> {
    let lines = source.rejected().into_iter().map(|sample| RejectedLine {
        at_ms: sample.at_ms,
        reason: sample.reason,
        listener: sample.listener,
        peer: sample.peer,
        line: sample.line,
    });
    Json(lines.collect())
}

fn error(status: StatusCode, text: &str) -> Response {
    (status, Json(serde_json::json!({ "error": text }))).into_response()
}
