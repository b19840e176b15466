//! The page: files that are in the binary, and nothing from elsewhere.
//!
//! What it does it does with the API, as any client could. It works under a content security policy that lets nothing run
//! but these files, so a metric's name that looks like a script is a text like any other.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use md5::{Digest, Md5};

use super::problem;
use crate::admin::desk::Desk;

/// A file of the page.
struct File {
    name: &'static str,
    kind: &'static str,
    body: &'static str,
}

macro_rules! files {
    ($($name:literal $kind:literal),+ $(,)?) => {
        [$(File { name: $name, kind: $kind, body: include_str!(concat!("../page/", $name)) }),+]
    };
}

const HTML: &str = "text/html; charset=utf-8";

const INDEX: &str = include_str!("../page/index.html");
/// What is in it for those alone who have logged in, and hidden from others.
const HIDDEN: &str = "<form id=\"logout\" method=\"post\" action=\"logout\" hidden>";
const SHOWN: &str = "<form id=\"logout\" method=\"post\" action=\"logout\">";
static INDEX_LOGGED_IN: LazyLock<(String, String)> = LazyLock::new(|| {
    let body = INDEX.replace(HIDDEN, SHOWN);
    let tag = tag(&body);
    (body, tag)
});

static FILES: [File; 21] = files![
    "style.css" "text/css; charset=utf-8",
    "lists.css" "text/css; charset=utf-8",
    "icon.svg" "image/svg+xml",
    "main.js" "text/javascript; charset=utf-8",
    "api.js" "text/javascript; charset=utf-8",
    "destinations.js" "text/javascript; charset=utf-8",
    "diff.js" "text/javascript; charset=utf-8",
    "dom.js" "text/javascript; charset=utf-8",
    "format.js" "text/javascript; charset=utf-8",
    "forms.js" "text/javascript; charset=utf-8",
    "hash.js" "text/javascript; charset=utf-8",
    "history.js" "text/javascript; charset=utf-8",
    "inputs.js" "text/javascript; charset=utf-8",
    "list.js" "text/javascript; charset=utf-8",
    "live.js" "text/javascript; charset=utf-8",
    "propose.js" "text/javascript; charset=utf-8",
    "restarts.js" "text/javascript; charset=utf-8",
    "series.js" "text/javascript; charset=utf-8",
    "table.js" "text/javascript; charset=utf-8",
    "tail.js" "text/javascript; charset=utf-8",
    "trace.js" "text/javascript; charset=utf-8",
];

static TAGS: LazyLock<Vec<String>> =
    LazyLock::new(|| FILES.iter().map(|file| tag(file.body)).collect());
static INDEX_TAG: LazyLock<String> = LazyLock::new(|| tag(INDEX));

/// The page's files, below `/page/`; the page itself is [`root`].
pub(super) fn routes() -> Router<Arc<dyn Desk>> {
    Router::new().route("/page/{file}", get(file))
}

/// `/`: the page for who takes HTML, for others this text.
pub(super) fn root(headers: &HeaderMap, logged_in: bool, text: &'static str) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let is_page = accept.is_some_and(|accept| accept.contains("text/html"));
    let mut response = match (is_page, logged_in) {
        (true, false) => served(HTML, INDEX, &INDEX_TAG, headers),
        (true, true) => {
            let (body, tag) = &*INDEX_LOGGED_IN;
            served(HTML, body, tag, headers)
        }
        (false, _) => text.into_response(),
    };
    let vary = axum::http::HeaderValue::from_static("accept, cookie");
    response.headers_mut().insert(VARY, vary);
    response
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match FILES.iter().position(|file| file.name == name) {
        Some(at) => served(FILES[at].kind, FILES[at].body, &TAGS[at], &headers),
        None => problem::not_found("the page has no such file").into_response(),
    }
}

/// A browser asks each time whether the file is still the same: after an upgrade no old part meets a new one.
fn served(kind: &'static str, body: &'static str, tag: &str, headers: &HeaderMap) -> Response {
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let same = known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag));
    let about = [
        (ETAG, tag),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    match same {
        true => (StatusCode::NOT_MODIFIED, about).into_response(),
        false => (about, [(CONTENT_TYPE, kind)], body).into_response(),
    }
}

fn tag(body: &str) -> String {
    let digest = Md5::digest(body);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}
