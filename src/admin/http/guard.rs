//! Who is let in: every request passes here before it is looked at, and every answer behind it.
//!
//! Browsers run what anybody wrote. So a page of another site must not reach a relay through the browser of somebody who
//! may: neither under a name that it makes mean this machine (DNS rebinding, told by the Host header) nor by a form or a
//! script that posts here (told by Sec-Fetch-Site and Origin). And at an address that other machines reach, a token is
//! asked for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_SECURITY_POLICY, COOKIE, HOST, ORIGIN, REFERRER_POLICY,
    RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Router};

use super::problem::{Problem, bad, problem};
use super::{Peer, login, pprof};
use crate::admin::access::{Access, Token};

/// Nothing but what this relay serves itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Who can reach a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The socket file's owner.
    Owner,
    /// This machine's users, and pages in their browsers.
    Machine,
    /// Other machines.
    Others,
}

/// What is asked of the clients of a listener.
#[derive(Clone, Debug)]
pub struct Guard {
    pub(super) access: Arc<Access>,
    pub(super) reach: Reach,
}

impl Guard {
    /// Of a listener that these can reach.
    pub fn new(access: Arc<Access>, reach: Reach) -> Guard {
        Guard { access, reach }
    }

    /// The token that clients must know.
    pub(super) fn token(&self) -> Option<&Token> {
        match self.reach {
            Reach::Others => self.access.token.as_ref(),
            Reach::Owner | Reach::Machine => None,
        }
    }

    /// The pages by which one is let in and out, and those that this listener alone may have.
    pub(super) fn pages<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        match self.access.pprof {
            true => login::routes().merge(pprof::routes()),
            false => login::routes(),
        }
    }

    /// The pages, for those who are let in.
    pub(super) fn around(self, pages: Router) -> Router {
        let guard = Arc::new(self);
        pages
            .layer(Extension(guard.clone()))
            .layer(middleware::from_fn_with_state(guard, pass))
    }
}

async fn pass(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(refused) => *refused,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

type Refused = Box<Response>;

fn refused(problem: Problem) -> Refused {
    Box::new(problem.into_response())
}

impl Guard {
    fn check(&self, request: &Request) -> Result<(), Refused> {
        let is_open = self.is_open(request.uri());
        // Pages that everybody may see at this address may be asked for under every name, as Prometheus does.
        if self.reach != Reach::Owner && !(is_open && self.reach == Reach::Others) {
            self.check_host(request).map_err(refused)?;
        }
        let is_welcome = match is_acting(request) {
            true => self.is_from_here(request.headers()),
            false => is_from_here_or_gone_to(request.headers()),
        };
        if !is_welcome {
            let detail = "this comes from a page of another site";
            return Err(refused(problem(StatusCode::FORBIDDEN, detail)));
        }
        match self.token() {
            Some(token) if !is_open && !login::PAGES.contains(&request.uri().path()) => {
                self.check_token(token, request)
            }
            _ => Ok(()),
        }
    }

    /// Pages without secrets, for machines that have none.
    fn is_open(&self, uri: &Uri) -> bool {
        !self.access.protect_metrics && matches!(uri.path(), "/metrics" | "/healthz")
    }

    fn check_host(&self, request: &Request) -> Result<(), Problem> {
        let Some(host) = request.headers().get(HOST) else {
            // No browser speaks HTTP/1.0.
            return match request.version() {
                Version::HTTP_10 => Ok(()),
                _ => Err(bad("expected a Host header")),
            };
        };
        let name = host.to_str().ok().and_then(host_name).unwrap_or_default();
        if self.is_own(&name) {
            return Ok(());
        }
        let detail = format!(
            "this relay isn't called {name:?}: ask by its IP address, as localhost, or by a name of [admin] hosts"
        );
        Err(problem(StatusCode::MISDIRECTED_REQUEST, &detail))
    }

    /// Whether a name is one of this relay's. Nobody can make an IP address mean another machine.
    fn is_own(&self, name: &str) -> bool {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        name == "localhost"
            || bare.parse::<IpAddr>().is_ok()
            || self.access.hosts.iter().any(|own| own == name)
    }

    /// Whether it is of no browser, or of a page of this relay.
    fn is_from_here(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
        if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
            return matches!(site, "same-origin" | "none");
        }
        let Some(origin) = text(ORIGIN) else {
            return true;
        };
        // By name, port and scheme: who has another port of this machine is somebody else. "null" is of a page without an
        // origin. Where it is https that was spoken, with a proxy, browsers say Sec-Fetch-Site.
        let own = origin.strip_prefix("http://");
        own.is_some_and(|own| text(HOST).is_some_and(|host| host.eq_ignore_ascii_case(own)))
    }

    /// Whether a browser's user has logged in with it, by the form.
    pub(super) fn has_logged_in(&self, headers: &HeaderMap) -> bool {
        self.token()
            .is_some_and(|token| self.session(token, headers).is_some())
    }

    /// The session that goes on, of those whose cookies came.
    pub(super) fn session<'a>(&self, token: &Token, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = token.cookie();
        let cookies = headers.get_all(COOKIE).into_iter();
        let mut cookies = cookies
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='));
        let now = seconds();
        let (_, session) = cookies.find(|(key, value)| {
            *key == name && token.is_session(value, now) && !self.access.has_ended(value)
        })?;
        Some(session)
    }

    fn check_token(&self, token: &Token, request: &Request) -> Result<(), Refused> {
        let headers = request.headers();
        let bearer = headers.get(AUTHORIZATION).map(|value| {
            let (scheme, token) = split(value.as_bytes());
            (scheme.eq_ignore_ascii_case(b"bearer"), token)
        });
        match bearer {
            Some((true, given)) => self.judge(token, given, request),
            Some((false, _)) => Err(unauthorized()),
            None if self.session(token, headers).is_some() => Ok(()),
            None if wants_page(request) => Err(Box::new(Redirect::to(login::PAGE).into_response())),
            None => Err(unauthorized()),
        }
    }

    /// Compares a token that was given; who gives too many wrong ones must wait.
    fn judge(&self, token: &Token, given: &[u8], request: &Request) -> Result<(), Refused> {
        self.try_token(token, given, request.extensions().get::<Peer>())
            .map_err(|wait| match wait {
                Some(wait) => {
                    let response = problem(StatusCode::TOO_MANY_REQUESTS, WAIT).into_response();
                    Box::new(must_wait(response, wait))
                }
                None => unauthorized(),
            })
    }

    /// Whether a token is the one; `Some`: it isn't even looked at, for so long.
    pub(super) fn try_token(
        &self,
        token: &Token,
        given: &[u8],
        peer: Option<&Peer>,
    ) -> Result<(), Option<Duration>> {
        let now = Instant::now();
        let from = peer.and_then(|peer| peer.0.parse::<SocketAddr>().ok());
        let from = from.map(|from| from.ip());
        if let Some(wait) = from.and_then(|from| self.access.must_wait(from, now)) {
            return Err(Some(wait));
        }
        if token.is(given) {
            return Ok(());
        }
        if let Some(from) = from {
            self.access.failed(from, now);
            tracing::warn!(%from, "a wrong token");
        }
        Err(None)
    }
}

pub(super) const WAIT: &str = "too many wrong tokens came from your address: wait a minute";

/// Says after which time one may come again.
pub(super) fn must_wait(mut response: Response, wait: Duration) -> Response {
    let seconds = HeaderValue::from(wait.as_secs() + 1);
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

/// `Bearer abc` → both words.
fn split(value: &[u8]) -> (&[u8], &[u8]) {
    let at = value.iter().position(|byte| *byte == b' ');
    let (scheme, rest) = value.split_at(at.unwrap_or(value.len()));
    (scheme, rest.trim_ascii())
}

fn unauthorized() -> Refused {
    let detail = "expected the token: Authorization: Bearer …, or log in at /login";
    let mut response = problem(StatusCode::UNAUTHORIZED, detail).into_response();
    let asks = HeaderValue::from_static("Bearer realm=\"baton\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, asks);
    Box::new(response)
}

/// Now, in seconds since 1970.
pub(super) fn seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// Whether a person looks with a browser.
fn wants_page(request: &Request) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|v| v.to_str().ok());
    request.method() == Method::GET && accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Whether it changes something, or begins a conversation that answers whoever began it (RFC 6455, 10.2).
fn is_acting(request: &Request) -> bool {
    let is_read = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    // What costs time may not be asked for by an image of another site either.
    let is_costly = request.uri().path().starts_with("/debug/");
    !is_read || is_costly || request.headers().contains_key(UPGRADE)
}

/// Whether what only reads is of no browser, of a page of this relay, or of somebody who follows a link. Other pages could
/// not see what is answered, but hold streams, and have the relay work.
fn is_from_here_or_gone_to(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"))
        || text("sec-fetch-mode") == Some("navigate")
            && text("sec-fetch-dest").is_none_or(|dest| dest == "document")
}

/// The name without a port, as names are compared.
fn host_name(authority: &str) -> Option<String> {
    let name = match authority.rfind(']') {
        Some(end) => &authority[..=end],
        None => authority
            .split_once(':')
            .map_or(authority, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_ports_and_dots() {
        for (authority, name) in [
            ("localhost:8081", "localhost"),
            ("LocalHost", "localhost"),
            ("relay1.example.:80", "relay1.example"),
            ("[::1]:8081", "[::1]"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(host_name(authority).as_deref(), Some(name));
        }
        assert_eq!(host_name(":80"), None);
        assert_eq!(host_name(""), None);
    }
}
