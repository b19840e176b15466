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
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

use super::frames::{self, Close, MAX_FRAME, Opcode, Said};
use super::{Hand, KEEP_ALIVE, MOMENT};
use crate::admin::http::problem::{Problem, bad, problem};
use crate::tap::{Subscription, printable};

/// A client that isn't heard for so long though it is pinged has gone.
const SILENCE: Duration = Duration::from_secs(45);

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

/// Serves until one side ends it. Who doesn't take a piece within `patience` has gone.
pub(super) async fn serve(upgrade: OnUpgrade, subscription: Subscription, patience: Duration) {
    if let Ok(upgraded) = upgrade.await {
        // Its errors are the client's.
        let _gone = serve_on(TokioIo::new(upgraded), subscription, (patience, SILENCE)).await;
    }
}

async fn serve_on<I: AsyncRead + AsyncWrite + Unpin>(
    io: I,
    mut subscription: Subscription,
    (patience, silence): (Duration, Duration),
) -> io::Result<()> {
    let mut socket = Socket {
        io,
        came: Vec::new(),
        frame: Vec::new(),
        written: 0,
        heard: Instant::now(),
        patience,
        silence,
    };
    let mut hand = Hand::default();
    let why = converse(&mut socket, &mut subscription, &mut hand).await?;
    let rest = async {
        socket.tell(&mut hand).await?;
        while let Some(event) = subscription.try_next() {
            hand.take(event);
            socket.tell(&mut hand).await?;
        }
        io::Result::Ok(())
    };
    let lost = match timeout(MOMENT, rest).await {
        Ok(told) => told.map(|()| 0)?,
        Err(_late) => hand.lose() + subscription.lose(),
    };
    let end = async {
        hand.lost = lost;
        socket.tell(&mut hand).await?;
        socket.send(Opcode::Close, &frames::close(why)).await
    };
    timeout(MOMENT, end)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn converse<I: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut Socket<I>,
    subscription: &mut Subscription,
    hand: &mut Hand,
) -> io::Result<Close> {
    loop {
        tokio::select! {
            event = timeout(KEEP_ALIVE, subscription.next()) => match event {
                Ok(Some(event)) => hand.take(event),
                Ok(None) => return Ok(Close::Restart),
                Err(_silence) => socket.send(Opcode::Ping, b"").await?,
            },
            said = socket.hear() => {
                if let Some(why) = socket.heed(said?).await? {
                    return Ok(why);
                }
                continue;
            }
        }
        tokio::select! {
            biased;
            told = socket.tell(hand) => told?,
            () = subscription.over() => return Ok(Close::Restart),
        }
        if socket.heard.elapsed() > socket.silence {
            // It may be alive and only say nothing.
            socket.send(Opcode::Ping, b"").await?;
            let said = timeout(socket.silence, socket.hear()).await;
            let said = said.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            if let Some(why) = socket.heed(said).await? {
                return Ok(why);
            }
        }
    }
}

/// Frames over what was an HTTP connection.
struct Socket<I> {
    io: I,
    /// Bytes of the client that aren't read yet.
    came: Vec<u8>,
    /// The frame that is being written: none is ever left half written.
    frame: Vec<u8>,
    written: usize,
    /// When something came last.
    heard: Instant,
    patience: Duration,
    silence: Duration,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Socket<I> {
    /// Sends what is under way. Whoever gives up waiting finds the rest there.
    async fn tell(&mut self, hand: &mut Hand) -> io::Result<()> {
        self.flush().await?;
        loop {
            let piece = hand.piece();
            if piece.is_empty() {
                break;
            }
            let len = piece.len();
            frames::write(Opcode::Text, printable(piece).as_bytes(), &mut self.frame);
            hand.is_sent(len);
            self.flush().await?;
        }
        if hand.lost > 0 {
            let lost = format!("{{\"lost\": {}}}", std::mem::take(&mut hand.lost));
            self.send(Opcode::Text, lost.as_bytes()).await?;
        }
        Ok(())
    }

    /// Does what the client asks for; tells whether that ends it, and why.
    async fn heed(&mut self, said: Result<Said, Close>) -> io::Result<Option<Close>> {
        match said {
            Ok(Said::Ping(payload)) => self.send(Opcode::Pong, &payload).await.map(|()| None),
            Ok(Said::Other) => Ok(None),
            Ok(Said::Close) => Ok(Some(Close::Normal)),
            Err(why) => Ok(Some(why)),
        }
    }

    /// Sends a frame, behind one that was begun.
    async fn send(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        self.flush().await?;
        frames::write(opcode, payload, &mut self.frame);
        self.flush().await
    }

    /// Sends the rest of the frame, within the client's patience.
    async fn flush(&mut self) -> io::Result<()> {
        let write = async {
            while self.written < self.frame.len() {
                let (io, left) = (&mut self.io, &self.frame[self.written..]);
                let written =
                    std::future::poll_fn(|c| Pin::new(&mut *io).poll_write(c, left)).await?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                self.written += written;
            }
            (self.frame, self.written) = (Vec::new(), 0);
            std::future::poll_fn(|c| Pin::new(&mut self.io).poll_flush(c)).await
        };
        timeout(self.patience, write)
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

#[cfg(test)]
mod tests;
