//! A subscription as a WebSocket (RFC 6455). Text frames that end in a newline are lines; one that doesn't is a JSON object,
//! `{"lost": 5}`. The close code at a hand-over is 1012: whoever sees it connects again.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

use super::frames::{self, Close, MAX_FRAME, Opcode, Said};
use super::{KEEP_ALIVE, pieces};
use crate::admin::http::problem::{Problem, bad, problem};
use crate::tap::{Event, Subscription, printable};

/// A client that doesn't take a piece in that time, or isn't heard for so long though it is pinged, has gone.
const PATIENCE: Duration = Duration::from_secs(45);
/// At the end, for what is still to be said.
const GRACE: Duration = Duration::from_secs(1);

/// Whether the request is for a WebSocket.
pub(super) fn is_asked_for(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::GET && has(headers, UPGRADE, "websocket")
}

/// Whether one of the words of a header is that.
fn has(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let values = headers.get_all(name);
    let mut texts = values.iter().filter_map(|value| value.to_str().ok());
    texts.any(|text| {
        text.split(',')
            .any(|one| one.trim().eq_ignore_ascii_case(word))
    })
}

/// Agrees to it (section 4.2).
pub(super) fn accept(mut request: Request) -> Result<(OnUpgrade, Response), Problem> {
    let headers = request.headers();
    if !has(headers, CONNECTION, "upgrade") {
        return Err(bad("an upgrade needs the header Connection: Upgrade"));
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(bad("expected Sec-WebSocket-Version: 13"));
    }
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY) else {
        return Err(bad("expected Sec-WebSocket-Key"));
    };
    // A browser would let any page read what its user may; it says which page it is.
    if !is_same_site(headers) {
        let why = "pages of other sites may not subscribe";
        return Err(problem(StatusCode::FORBIDDEN, why));
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = frames::accept_key(key.as_bytes());
    let answer = answer
        .parse()
        .map_err(|_| bad("Sec-WebSocket-Key can't be answered"))?;
    let to = response.headers_mut();
    to.insert(CONNECTION, axum::http::HeaderValue::from_static("Upgrade"));
    to.insert(UPGRADE, axum::http::HeaderValue::from_static("websocket"));
    to.insert(SEC_WEBSOCKET_ACCEPT, answer);
    Ok((hyper::upgrade::on(&mut request), response))
}

/// Whether the page that asks, if a page does, is of the host that is asked.
fn is_same_site(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok();
    let origin = origin.and_then(|origin| origin.split_once("://"));
    matches!((origin, host), (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host))
}

/// Serves until one side ends it.
pub(super) async fn serve(upgrade: OnUpgrade, mut subscription: Subscription) {
    let Ok(upgraded) = upgrade.await else {
        return;
    };
    let mut socket = Socket {
        io: TokioIo::new(upgraded),
        came: Vec::new(),
        heard: Instant::now(),
    };
    // Its errors are the client's.
    if let Ok(why) = converse(&mut socket, &mut subscription).await {
        let last = async {
            while let Some(event) = subscription.try_next() {
                socket.tell(event).await?;
            }
            socket.send(Opcode::Close, &frames::close(why)).await
        };
        let _said = timeout(GRACE, last).await;
    }
}

async fn converse(socket: &mut Socket, subscription: &mut Subscription) -> io::Result<Close> {
    loop {
        let next = tokio::select! {
            event = timeout(KEEP_ALIVE, subscription.next()) => event,
            said = socket.hear() => match said? {
                Ok(Said::Ping(payload)) => {
                    socket.send(Opcode::Pong, &payload).await?;
                    continue;
                }
                Ok(Said::Other) => continue,
                Ok(Said::Close) => return Ok(Close::Normal),
                Err(why) => return Ok(why),
            },
        };
        match next {
            Ok(Some(event)) => socket.tell(event).await?,
            Ok(None) => return Ok(Close::Restart),
            Err(_silence) => socket.send(Opcode::Ping, b"").await?,
        }
        if socket.heard.elapsed() > PATIENCE {
            // It may be alive and only say nothing.
            socket.send(Opcode::Ping, b"").await?;
            let pong = timeout(PATIENCE, socket.hear()).await;
            if !matches!(pong, Ok(Ok(Ok(_)))) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

/// Frames over what was an HTTP connection.
struct Socket {
    io: TokioIo<Upgraded>,
    /// Bytes of the client that aren't read yet.
    came: Vec<u8>,
    /// When something came last.
    heard: Instant,
}

impl Socket {
    async fn tell(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Lost(lines) => {
                let lost = format!("{{\"lost\": {lines}}}");
                self.send(Opcode::Text, lost.as_bytes()).await
            }
            Event::Lines(lines) => {
                for piece in pieces(&lines) {
                    self.send(Opcode::Text, printable(piece).as_bytes()).await?;
                }
                Ok(())
            }
        }
    }

    /// Sends a frame, within [`PATIENCE`].
    async fn send(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(payload.len() + 10);
        frames::write(opcode, payload, &mut frame);
        let mut left = &frame[..];
        let write = async {
            while !left.is_empty() {
                let io = &mut self.io;
                let written =
                    std::future::poll_fn(|c| Pin::new(&mut *io).poll_write(c, left)).await?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                left = &left[written..];
            }
            std::future::poll_fn(|c| Pin::new(&mut self.io).poll_flush(c)).await
        };
        timeout(PATIENCE, write)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Waits for the next frame of the client. Whoever gives up waiting loses nothing.
    async fn hear(&mut self) -> io::Result<Result<Said, Close>> {
        loop {
            match frames::read(&self.came) {
                Err(why) => return Ok(Err(why)),
                Ok(Some((length, said))) => {
                    self.came.drain(..length);
                    return Ok(Ok(said));
                }
                Ok(None) => {}
            }
            // One frame at most is kept, since a longer one isn't waited for.
            let mut room = [0; MAX_FRAME];
            let mut room = ReadBuf::new(&mut room);
            let io = &mut self.io;
            std::future::poll_fn(|c| Pin::new(&mut *io).poll_read(c, &mut room)).await?;
            if room.filled().is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.heard = Instant::now();
            self.came.extend_from_slice(room.filled());
        }
    }
}
