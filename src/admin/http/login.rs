//! A form for people whose browser has no token yet. Once they have told it, a cookie says so: no script can read it, and
//! no other site has it sent.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};

use super::Peer;
use super::guard::{Guard, must_wait, seconds};
use super::query::Query;

/// Where it is.
pub(super) const PAGE: &str = "/login";
const OUT: &str = "/logout";
/// Nobody must have been let in before: not to come in, nor to be told that one is out already.
pub(super) const PAGES: [&str; 2] = [PAGE, OUT];

const FORM: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<meta name=\"color-scheme\" content=\"light dark\">
<title>Baton: log in</title>
<h1>Baton</h1>
<form method=\"post\" action=\"/login\">
<p><label for=\"token\">Token (the first line of the file that [admin] token_file names)</label></p>
<p><input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required autofocus></p>
<!--wrong-->
<p><button>Log in</button></p>
</form>
</html>
";

pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route(PAGE, get(form).post(log_in))
        .route(OUT, post(log_out))
}

/// The form again, with what was wrong.
fn again(status: StatusCode, said: &str) -> Response {
    let said = format!("<p role=\"alert\">{said}</p>");
    (status, Html(FORM.replace("<!--wrong-->", &said))).into_response()
}

async fn form(Extension(guard): Extension<Arc<Guard>>) -> Response {
    match guard.token() {
        Some(_) => Html(FORM).into_response(),
        // Nobody needs to.
        None => Redirect::to("/").into_response(),
    }
}

async fn log_in(
    Extension(guard): Extension<Arc<Guard>>,
    peer: Option<Extension<Peer>>,
    body: Bytes,
) -> Response {
    let Some(token) = guard.token() else {
        return Redirect::to("/").into_response();
    };
    let query = str::from_utf8(&body)
        .map_err(|_| "expected a form".to_owned())
        .and_then(|form| Query::read(Some(form), &["token"]));
    let given = query.and_then(|mut query| query.take("token"));
    let given = given.ok().flatten().unwrap_or_default();
    let peer = peer.as_ref().map(|Extension(peer)| peer);
    match guard.try_token(token, given.trim().as_bytes(), peer) {
        Ok(()) => match token.session(seconds()) {
            Some((session, holds)) => with_cookie(&format!(
                "{}={session}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict",
                token.cookie(),
                holds.as_secs()
            )),
            None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        },
        Err(Some(wait)) => {
            let said = "Too many wrong tokens came from your address: wait a minute.";
            must_wait(again(StatusCode::TOO_MANY_REQUESTS, said), wait)
        }
        Err(None) => again(StatusCode::FORBIDDEN, "This is not the token."),
    }
}

async fn log_out(Extension(guard): Extension<Arc<Guard>>, headers: HeaderMap) -> Response {
    let Some(token) = guard.token() else {
        return Redirect::to("/").into_response();
    };
    // Whoever has a copy of the cookie is out, too.
    if let Some(session) = guard.session(token, &headers) {
        guard.access.end_session(session, seconds());
    }
    with_cookie(&format!(
        "{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict",
        token.cookie()
    ))
}

/// To the first page, with this cookie.
fn with_cookie(cookie: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_static("/"));
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        headers.insert(SET_COOKIE, cookie);
    }
    response
}
