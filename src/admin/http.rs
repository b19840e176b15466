//! The view over HTTP: for Prometheus, for health checks, and for people.

mod events;
mod guard;
mod kept;
mod login;
mod openapi;
mod page;
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
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router, middleware};

use super::desk::Desk;

pub use guard::{Guard, Reach};
pub use serve::{Limits, Socket, serve, serve_with};

const INDEX: &str = "\
Baton, a relay for Graphite metric streams.

/              for browsers, the page: the table, destinations, inputs, history; /help is this text
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

/// All pages, for everybody who connects.
pub fn router(source: Arc<dyn Desk>) -> Router {
    whole(pages(), source)
}

/// All pages, for those whom a guard lets in, and those by which it does.
pub fn guarded(source: Arc<dyn Desk>, guard: Guard) -> Router {
    let pages = whole(pages().merge(guard.pages()), source);
    guard.around(pages)
}

fn pages() -> Router<Arc<dyn Desk>> {
    Router::new()
        .route("/", get(root))
        .route("/help", get(INDEX))
        .merge(page::routes())
        .route("/metrics", get(seen::metrics))
        .route("/healthz", get(healthz))
        // As they were called before there were versions.
        .route("/api/status", get(seen::status))
        .route("/api/rejected", get(seen::rejected))
        .route("/api/trace", get(seen::trace))
        .nest("/api/v1", v1::routes())
}

/// What isn't there is 404, a method that a page doesn't know 405, a body that is too long 413: all of it as RFC 9457 has
/// it.
fn whole(pages: Router<Arc<dyn Desk>>, source: Arc<dyn Desk>) -> Router {
    pages
        .fallback(|| async { problem::not_found("there is no such page: / lists what there is") })
        .method_not_allowed_fallback(|| async {
            let detail = "this page doesn't know the method: Allow says which it knows";
            problem::problem(StatusCode::METHOD_NOT_ALLOWED, detail)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::map_response(problem::instead_of_text))
        .layer(Extension(Arc::<events::Latest>::default()))
        .layer(Extension(seen::Metrics::default()))
        .layer(Extension(seen::Drawn::default()))
        .with_state(source)
}

async fn root(headers: HeaderMap, guard: Option<Extension<Arc<Guard>>>) -> Response {
    let logged_in = guard.is_some_and(|guard| guard.has_logged_in(&headers));
    page::root(&headers, logged_in, INDEX)
}

async fn healthz(State(source): Shared) -> (StatusCode, &'static str) {
    if source.is_serving() {
        (StatusCode::OK, "serving\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not serving\n")
    }
}
