//! What is seen of a relay: its status, what it rejects, what becomes of a metric, its config.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use tokio::time::Instant;

use super::events::Latest;
use super::kept::Kept;
use super::problem::{self, Problem};
use super::query;
use super::v1::aside;
use super::{MAX_TRACED, Shared};
use crate::admin::samples::samples;
use crate::metrics;
use crate::validate::Reason;

const JSON: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];
/// Texts of metrics in memory at most, and charts, of which one has 22 MB of numbers with ten thousand destinations.
const TEXTS: usize = 16;
const CHARTS: usize = 4;
/// There is a point each ten seconds: charts may be so old.
const SHARED: Duration = Duration::from_secs(1);

/// The last metrics.
#[derive(Clone, Debug)]
pub(super) struct Metrics(Arc<Kept>);

/// The last charts.
#[derive(Clone, Debug)]
pub(super) struct Drawn(Arc<Kept>);

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics(Arc::new(Kept::new(TEXTS)))
    }
}

impl Default for Drawn {
    fn default() -> Drawn {
        Drawn(Arc::new(Kept::new(CHARTS)))
    }
}

/// All there is to see.
pub(super) async fn status(
    State(source): Shared,
    Extension(latest): Extension<Arc<Latest>>,
) -> Result<Response, Problem> {
    let status = latest.status(&source).await?;
    Ok((JSON, status).into_response())
}

/// The counters, for Prometheus.
pub(super) async fn metrics(
    State(source): Shared,
    Extension(Metrics(kept)): Extension<Metrics>,
) -> Result<Response, Problem> {
    let make = move || Ok::<_, Infallible>(metrics::prometheus(samples(&source.view())).into());
    let text = kept.get(Instant::now(), make).await?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

/// The last half hour in points.
pub(super) async fn charts(
    State(source): Shared,
    Extension(Drawn(kept)): Extension<Drawn>,
) -> Result<Response, Problem> {
    let make = move || serde_json::to_vec(&source.charts());
    let charts = kept.get(Instant::now() - SHARED, make).await?;
    Ok((JSON, charts).into_response())
}

/// The config with the rules in force, as TOML.
pub(super) async fn config(State(source): Shared) -> Result<String, Problem> {
    aside(move || source.config()).await
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

/// The last lines that were rejected.
pub(super) async fn rejected(
    State(source): Shared,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let reason = rejected_reason(query.as_deref()).map_err(|wrong| problem::bad(&wrong))?;
    let lines = source.rejected(reason).into_iter();
    let lines = lines.map(|sample| RejectedLine {
        at_ms: sample.at_ms,
        reason: sample.reason,
        listener: sample.listener,
        peer: sample.peer,
        line: sample.line,
    });
    Ok(Json(lines.collect::<Vec<_>>()).into_response())
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

/// What becomes of metrics.
pub(super) async fn trace(
    State(source): Shared,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let metrics = traced(query.as_deref()).map_err(|wrong| problem::bad(&wrong))?;
    // It asks rule by rule, which is slow: not on a thread that moves metrics.
    Ok(Json(aside(move || source.trace(&metrics)).await?).into_response())
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
