//! What went wrong, as RFC 9457 has it: `application/problem+json`.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::admin::desk::{BacklogOf, Refusal};
use crate::amend::Refused;

/// What axum says in words is shorter.
const MAX_DETAIL: usize = 4096;

/// A problem; its `type` is about:blank, so the title says what the status does.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    status: u16,
    title: &'static str,
    detail: String,
    /// What is wrong with a rule, key by key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<KeyError>,
    /// What destinations have that would go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backlog: Vec<BacklogOf>,
    /// The version that the table has.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

#[derive(Debug, Serialize)]
struct KeyError {
    key: String,
    message: String,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = serde_json::to_vec(&self).unwrap_or_default();
        (status, [(CONTENT_TYPE, "application/problem+json")], json).into_response()
    }
}

/// A problem of that status.
pub(super) fn problem(status: StatusCode, detail: &str) -> Problem {
    Problem {
        status: status.as_u16(),
        title: status.canonical_reason().unwrap_or("Error"),
        detail: detail.to_owned(),
        errors: Vec::new(),
        backlog: Vec::new(),
        version: None,
    }
}

/// What was asked can't be understood.
pub(super) fn bad(detail: &str) -> Problem {
    problem(StatusCode::BAD_REQUEST, detail)
}

/// There is no such thing.
pub(super) fn not_found(detail: &str) -> Problem {
    problem(StatusCode::NOT_FOUND, detail)
}

/// It can't be done now.
pub(super) fn unavailable(detail: &str) -> Problem {
    problem(StatusCode::SERVICE_UNAVAILABLE, detail)
}

/// Axum refuses in plain text what doesn't come as far as a handler, such as a body that is too long.
pub(super) async fn instead_of_text(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE);
    let is_text = kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !status.is_client_error() || !is_text {
        return response;
    }
    let (parts, body) = response.into_parts();
    let said = axum::body::to_bytes(body, MAX_DETAIL).await;
    let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
    let detail = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "expected a body of at most 1 MiB",
        _ => &said,
    };
    let mut response = problem(status, detail).into_response();
    for (name, value) in &parts.headers {
        if name != CONTENT_TYPE && name != CONTENT_LENGTH {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

/// Why a change isn't made.
pub(super) fn of(refusal: &Refusal) -> Problem {
    let status = match refusal {
        Refusal::Refused(Refused::Unknown { .. } | Refused::UnknownDestination { .. }) => {
            StatusCode::NOT_FOUND
        }
        Refusal::NoSuchChange(_) => StatusCode::NOT_FOUND,
        Refusal::Superseded { .. } => StatusCode::CONFLICT,
        Refusal::Refused(Refused::Exists { .. } | Refused::Volatile { .. } | Refused::Nothing)
        | Refusal::Backlog(_) => StatusCode::CONFLICT,
        Refusal::Refused(Refused::Bad(_)) => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Stale { .. } => StatusCode::PRECONDITION_FAILED,
        Refusal::Restarting | Refusal::Database(_) | Refusal::Failed(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    let mut problem = problem(status, &refusal.to_string());
    match refusal {
        Refusal::Refused(Refused::Bad(problems)) => {
            let errors = problems.iter().map(|one| KeyError {
                key: one.key.clone(),
                message: one.message.clone(),
            });
            problem.errors = errors.collect();
        }
        Refusal::Backlog(backlog) => problem.backlog.clone_from(backlog),
        Refusal::Stale { version } => problem.version = Some(version.clone()),
        _ => {}
    }
    problem
}
