//! The view over HTTP: for Prometheus, for health checks, and for people.

mod events;
mod guard;
mod login;
mod openapi;
mod pprof;
mod problem;
mod query;
mod seen;
mod serve;
mod stream;
mod subscribe;
mod terms;
mod v1;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Router, middleware};

use super::desk::Desk;
use super::samples::samples;
use crate::metrics;

pub use guard::{Guard, Reach};
pub use serve::{Limits, Socket, serve, serve_with};

const INDEX: &str = "\
Baton, a relay for Graphite metric streams.

/metrics       counters, for Prometheus (OpenMetrics text)
/healthz       200 while a worker serves, 503 while none does
/api/v1/openapi.json  what may be asked, for programs (OpenAPI 3.1)
/api/v1/status        everything there is to see (JSON)
/api/v1/rejected      the last lines that were rejected (JSON); ?reason=value: those alone
/api/v1/trace?metric=NAME  what becomes of a metric, or of a whole line (JSON)
/api/v1/table         the rules in force (JSON)
/api/v1/history       who changed what (JSON)
/api/v1/subscribe     a live stream of lines; ?at=in|routed|rejected and prefix, sub, regex, glob, sample=N
/api/v1/charts        the last half hour in points of ten seconds (JSON)
/api/v1/config        the config with the rules in force (TOML)
";

/// Who a connection is from, for the history: in the extensions of each request.
#[derive(Clone, Debug)]
pub(crate) struct Peer(pub String);

/// Metrics in one request.
const MAX_TRACED: usize = 100;

type Shared = State<Arc<dyn Desk>>;

/// A longer body is refused.
const MAX_BODY: usize = 1 << 20;

/// All pages. What isn't there is 404, a method that a page doesn't know 405, a body that is too long 413: all of it as
/// RFC 9457 has it.
pub fn router(source: Arc<dyn Desk>) -> Router {
    Router::new()
        .route("/", get(INDEX))
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(healthz))
        // As they were called before there were versions.
        .route("/api/status", get(seen::status))
        .route("/api/rejected", get(seen::rejected))
        .route("/api/trace", get(seen::trace))
        .nest("/api/v1", v1::routes())
        .fallback(|| async { problem::not_found("there is no such page: / lists what there is") })
        .method_not_allowed_fallback(|| async {
            let detail = "this page doesn't know the method: Allow says which it knows";
            problem::problem(StatusCode::METHOD_NOT_ALLOWED, detail)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::map_response(problem::instead_of_text))
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
