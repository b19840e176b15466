//! `GET /api/v1/events`: the status each second, and that the table has changed, as server-sent events.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Shared;
use super::kept::Kept;
use super::problem::{Problem, unavailable};
use super::stream::{Events, Gone, Streaming};
use crate::admin::desk::Desk;

/// How often the table is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// So many looks are from one status to the next.
const LOOKS: u32 = 5;

/// What is before the status in an event, and behind it.
const BEFORE: &[u8] = b"event: status\ndata: ";
const BEHIND: &[u8] = b"\n\n";
/// Statuses in memory at most: so many were read slowly by as many clients.
const STATUSES: usize = 16;

/// The last status, as an event: for all who listen, and for all who ask.
#[derive(Debug)]
pub(super) struct Latest(Kept);

impl Default for Latest {
    fn default() -> Latest {
        Latest(Kept::new(STATUSES))
    }
}

impl Latest {
    /// The event. For those who listen it is made once a second.
    async fn event(&self, desk: &Arc<dyn Desk>, not_before: Instant) -> Result<Bytes, Problem> {
        let desk = desk.clone();
        let make = move || {
            let mut text = BEFORE.to_vec();
            serde_json::to_writer(&mut text, &desk.view())?;
            text.extend_from_slice(BEHIND);
            Ok::<_, serde_json::Error>(text)
        };
        self.0.get(not_before, make).await
    }

    /// The status as it is now.
    pub(super) async fn status(&self, desk: &Arc<dyn Desk>) -> Result<Bytes, Problem> {
        let event = self.event(desk, Instant::now()).await?;
        Ok(event.slice(BEFORE.len()..event.len() - BEHIND.len()))
    }
}

pub(super) async fn events(
    State(desk): Shared,
    method: Method,
    streaming: Option<Extension<Streaming>>,
    Extension(latest): Extension<Arc<Latest>>,
) -> Result<Response, Problem> {
    let Some(Extension(streaming)) = streaming else {
        return Err(unavailable("there are no events on this connection"));
    };
    let (events, response) = streaming.begin()?;
    // To HEAD, the head alone: nobody would read the rest.
    if method != Method::HEAD {
        tokio::spawn(async move {
            tokio::select! {
                // To the end of who listens.
                Err(Gone) | Ok(()) = send(&events, &desk, &latest) => return,
                stopping = events.ended() => if !stopping { return },
            }
            events.restarting().await;
        });
    }
    Ok(response)
}

async fn send(events: &Events, desk: &Arc<dyn Desk>, latest: &Latest) -> Result<(), Gone> {
    // After a crash nobody says so.
    events.send_text(b"retry: 500\n\n".to_vec()).await?;
    let mut version = String::new();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = 0;
    loop {
        looks.tick().await;
        let now = desk.version();
        if now != version {
            let data = serde_json::json!({ "version": now }).to_string();
            events.send("table", data.as_bytes()).await?;
            version = now;
        }
        if look % LOOKS == 0 {
            let recent = Instant::now() - LOOK * (LOOKS - 1);
            // It can't be had while the worker ends, and while others read slowly: then there is the next one.
            if let Ok(status) = latest.event(desk, recent).await {
                events.send_shared(status).await?;
            }
        }
        look = look.wrapping_add(1);
    }
}
