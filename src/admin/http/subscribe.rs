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
use super::stream::{Events, Gone, PATIENCE, Streaming};
use super::v1::aside;
use crate::admin::desk::Desk;
use crate::tap::{Event, KEYS, Subscription, Wanted, printable};

/// How often something is said when nothing comes.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// So many bytes of lines are in one event at most, but for a single longer line: who reads slowly reads some of it in time.
const PIECE: usize = 32 * 1024;
/// When serving ends, how long what is queued is sent: half of what connections are given then.
const MOMENT: Duration = Duration::from_millis(500);

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
        let patience = streaming.map_or(PATIENCE, |Extension(streaming)| streaming.patience());
        tokio::spawn(websocket::serve(upgrade, subscription, patience));
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

/// What of the queue is under way: when serving ends in the middle of it, it is known how far it came.
#[derive(Debug, Default)]
struct Hand {
    lines: Vec<u8>,
    /// So many bytes of them are sent.
    sent: usize,
    lost: u64,
}

impl Hand {
    fn take(&mut self, event: Event) {
        match event {
            Event::Lines(lines) => (self.lines, self.sent) = (lines, 0),
            Event::Lost(lines) => self.lost += lines,
        }
    }

    /// Whole lines, about [`PIECE`] of them.
    fn piece(&self) -> &[u8] {
        pieces(&self.lines[self.sent..]).next().unwrap_or_default()
    }

    /// A piece of that length is sent.
    fn is_sent(&mut self, len: usize) {
        self.sent += len;
        if self.sent == self.lines.len() {
            (self.lines, self.sent) = (Vec::new(), 0);
        }
    }

    /// Gives the rest up: so many lines are lost with it.
    fn lose(&mut self) -> u64 {
        let left = memchr::memchr_iter(b'\n', &self.lines[self.sent..]).count() as u64;
        let lost = left + self.lost;
        *self = Hand::default();
        lost
    }
}

/// Sends events until one side ends it. When serving ends, what is under way is given a moment; the rest is lost, and that
/// is told.
async fn send(events: Events, mut subscription: Subscription) {
    let mut hand = Hand::default();
    let sent = tokio::select! {
        sent = send_all(&events, &mut subscription, &mut hand) => sent,
        stopping = events.ended() => match stopping {
            true => Ok(()),
            false => Err(Gone),
        },
    };
    if sent.is_err() {
        return;
    }
    let rest = async {
        send_hand(&events, &mut hand).await?;
        while let Some(event) = subscription.try_next() {
            hand.take(event);
            send_hand(&events, &mut hand).await?;
        }
        Ok(())
    };
    let told = match timeout(MOMENT, rest).await {
        Ok(told) => told,
        Err(_late) => {
            let lost = hand.lose() + subscription.lose();
            events.send("lost", lost.to_string().as_bytes()).await
        }
    };
    if told.is_ok() {
        events.restarting().await;
    }
}

async fn send_all(
    events: &Events,
    subscription: &mut Subscription,
    hand: &mut Hand,
) -> Result<(), Gone> {
    // After a crash nobody says so.
    events.send_text(b"retry: 500\n\n".to_vec()).await?;
    loop {
        match timeout(KEEP_ALIVE, subscription.next()).await {
            Ok(Some(event)) => {
                hand.take(event);
                send_hand(events, hand).await?;
            }
            Ok(None) => return Ok(()),
            Err(_silence) => events.send_text(b":\n\n".to_vec()).await?,
        }
    }
}

/// Sends what is under way. Whoever gives up waiting finds the rest there.
async fn send_hand(events: &Events, hand: &mut Hand) -> Result<(), Gone> {
    loop {
        let piece = hand.piece();
        if piece.is_empty() {
            break;
        }
        let len = piece.len();
        let mut text = String::with_capacity(len * 5 / 4 + 16);
        text.push_str("event: line\n");
        for line in printable(piece).lines() {
            text.extend(["data: ", line, "\n"]);
        }
        text.push('\n');
        events.send_text(text.into_bytes()).await?;
        hand.is_sent(len);
    }
    if hand.lost > 0 {
        let lost = hand.lost.to_string();
        events.send("lost", lost.as_bytes()).await?;
        hand.lost = 0;
    }
    Ok(())
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
mod tests;
