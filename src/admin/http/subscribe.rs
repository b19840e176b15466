//! `GET /api/v1/subscribe`: a live stream of what matches, as server-sent events or, when asked to upgrade, as a WebSocket.
//!
//! Events: `event: line`, each of its `data:` lines is one line; `event: lost`, data is how many lines were lost there. A
//! comment each fifteen seconds keeps proxies from ending what is silent. At a hand-over `event: restarting`, and the end.

mod frames;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{RawQuery, Request, State};
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::Shared;
use super::problem::{self, Problem, unavailable};
use super::query::Query;
use super::stream::{Events, Gone, Streaming};
use super::v1::aside;
use crate::admin::desk::Desk;
use crate::tap::{Event, KEYS, Subscription, Wanted, printable};

/// How often something is said when nothing comes.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// So many bytes of lines are in one event at most, but for a single longer line: who reads slowly reads some of it in time.
const PIECE: usize = 32 * 1024;

pub(super) async fn subscribe(
    State(desk): Shared,
    RawQuery(query): RawQuery,
    streaming: Option<Extension<Streaming>>,
    request: Request,
) -> Result<Response, Problem> {
    let wanted = wanted(query.as_deref()).map_err(|wrong| problem::bad(&wrong))?;
    if websocket::is_asked_for(&request) {
        let (upgrade, response) = websocket::accept(request)?;
        let subscription = begin(desk, wanted).await?;
        tokio::spawn(websocket::serve(upgrade, subscription));
        return Ok(response);
    }
    let Some(Extension(streaming)) = streaming else {
        return Err(unavailable("there are no events on this connection"));
    };
    let subscription = begin(desk, wanted).await?;
    let (events, response) = streaming.begin()?;
    // To HEAD, the head alone: nobody would read the rest.
    if request.method() != Method::HEAD {
        tokio::spawn(send(events, subscription));
    }
    Ok(response.into_response())
}

fn wanted(query: Option<&str>) -> Result<Wanted, String> {
    let mut query = Query::read(query, &KEYS)?;
    let mut pairs = Vec::new();
    for key in KEYS {
        pairs.extend(query.take(key)?.map(|value| (key, value)));
    }
    Wanted::from_pairs(pairs.iter().map(|(key, value)| (*key, &value[..])))
}

async fn begin(desk: Arc<dyn Desk>, wanted: Wanted) -> Result<Subscription, Problem> {
    let begun = aside(move || {
        wanted.check().map_err(|wrong| problem::bad(&wrong))?;
        desk.subscribe(&wanted).map_err(|why| unavailable(&why))
    });
    begun.await?
}

/// Sends events until one side ends it.
async fn send(events: Events, mut subscription: Subscription) {
    let sent = tokio::select! {
        sent = send_all(&events, &mut subscription) => sent,
        stopping = events.ended() => match stopping {
            true => Ok(()),
            false => Err(Gone),
        },
    };
    if sent.is_err() {
        return;
    }
    // What was queued when the end came.
    while let Some(event) = subscription.try_next() {
        if send_one(&events, event).await.is_err() {
            return;
        }
    }
    events.restarting().await;
}

async fn send_all(events: &Events, subscription: &mut Subscription) -> Result<(), Gone> {
    // After a crash nobody says so.
    events.send_text(b"retry: 500\n\n".to_vec()).await?;
    loop {
        match timeout(KEEP_ALIVE, subscription.next()).await {
            Ok(Some(event)) => send_one(events, event).await?,
            Ok(None) => return Ok(()),
            Err(_silence) => events.send_text(b":\n\n".to_vec()).await?,
        }
    }
}

async fn send_one(events: &Events, event: Event) -> Result<(), Gone> {
    match event {
        Event::Lost(lines) => events.send("lost", lines.to_string().as_bytes()).await,
        Event::Lines(lines) => {
            for piece in pieces(&lines) {
                let mut text = String::with_capacity(piece.len() * 5 / 4 + 16);
                text.push_str("event: line\n");
                for line in printable(piece).lines() {
                    text.extend(["data: ", line, "\n"]);
                }
                text.push('\n');
                events.send_text(text.into_bytes()).await?;
            }
            Ok(())
        }
    }
}

/// Whole lines, [`PIECE`] at a time.
fn pieces(mut lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let near = &lines[..lines.len().min(PIECE)];
        let end = memchr::memrchr(b'\n', near).or_else(|| memchr::memchr(b'\n', lines));
        let (piece, rest) = lines.split_at(end.map_or(lines.len(), |at| at + 1));
        lines = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_lines() {
        let long = "x".repeat(PIECE * 2);
        let text = format!(
            "{}{long}\n{}",
            "a 1 2\n".repeat(10_000),
            "b 1 2\n".repeat(3)
        );
        let all: Vec<&[u8]> = pieces(text.as_bytes()).collect();
        assert_eq!(all.concat(), text.as_bytes());
        assert!(all.iter().all(|piece| piece.ends_with(b"\n")));
        assert!(
            all.iter()
                .all(|piece| piece.len() <= PIECE || piece.len() == long.len() + 1)
        );
        assert_eq!(pieces(b"").count(), 0);
    }

    #[test]
    fn queries_are_read_strictly() {
        let read = wanted(Some("at=in&glob=a.*%7Bb%2Cc%7D&sample=3")).unwrap();
        assert_eq!((&read.glob[..], read.sample), ("a.*{b,c}", Some(3)));
        for query in [
            "at=out",
            "globs=a",
            "glob=a&glob=b",
            "prefix=%ff",
            "sample=x",
        ] {
            assert!(wanted(Some(query)).is_err(), "{query}");
        }
    }
}
