//! `GET /debug/pprof/profile?seconds=N`: where the CPU's time goes, as Go's programs tell it and `go tool pprof` reads it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use tokio::time::sleep;

use super::guard::{Guard, Reach};
use super::problem::{Problem, bad, problem, unavailable};
use super::query::Query;
use super::stream::Streaming;
use super::v1::aside;
use crate::profile::{Error, Profiler};

const LONGEST: u64 = 60;

pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/debug/pprof/profile", get(profile))
}

async fn profile(
    Extension(guard): Extension<Arc<Guard>>,
    streaming: Option<Extension<Streaming>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    if guard.reach == Reach::Others && guard.token().is_none() {
        let detail = "at an address that others reach, only who knows the token may profile";
        return Err(problem(StatusCode::FORBIDDEN, detail));
    }
    let seconds = seconds(query.as_deref())?;
    let Some(Extension(streaming)) = streaming else {
        return Err(unavailable("not on this connection"));
    };
    let _outlives = streaming.hold()?;
    let profiler = Profiler::begin().map_err(|error| match error {
        Error::Running => problem(StatusCode::CONFLICT, &error.to_string()),
        Error::System(_) => unavailable(&error.to_string()),
    })?;
    tokio::select! {
        () = sleep(Duration::from_secs(seconds)) => {}
        // What there is, before this worker ends.
        () = streaming.stopped() => {}
        // Others may profile at once.
        () = streaming.hung_up() => return Err(unavailable("nobody waits for it any more")),
    }
    let profile = aside(move || profiler.finish()).await?;
    let profile = profile.map_err(|error| unavailable(&error.to_string()))?;
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (CONTENT_DISPOSITION, "attachment; filename=\"profile.pb\""),
    ];
    Ok((headers, profile).into_response())
}

fn seconds(query: Option<&str>) -> Result<u64, Problem> {
    let mut query = Query::read(query, &["seconds"]).map_err(|wrong| bad(&wrong))?;
    let Some(text) = query.take("seconds").map_err(|wrong| bad(&wrong))? else {
        return Ok(30);
    };
    let seconds = text.parse().ok();
    seconds
        .filter(|seconds| (1..=LONGEST).contains(seconds))
        .ok_or_else(|| bad(&format!("seconds: expected 1 to {LONGEST}, found {text:?}")))
}
