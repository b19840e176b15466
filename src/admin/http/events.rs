//! `GET /api/v1/events`: the status each second, and that the table has changed, as server-sent events.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Shared;
use super::problem::{Problem, unavailable};
use super::stream::{Events, Gone, Streaming};
use super::v1::aside;
use crate::admin::desk::Desk;

/// How often the table is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// So many looks are from one status to the next.
const LOOKS: u32 = 5;

/// The last status, for all who listen: it is made once a second, however many they are.
#[derive(Debug, Default)]
pub(super) struct Latest(Mutex<Option<(Instant, Bytes)>>);

impl Latest {
    async fn status(&self, desk: &Arc<dyn Desk>) -> Result<Bytes, Problem> {
        let fresh = |last: &(Instant, Bytes)| last.0.elapsed() < LOOK * (LOOKS - 1);
        let kept = |last: &Mutex<Option<_>>| {
            let last = last.lock().unwrap_or_else(|e| e.into_inner()).clone();
            last.filter(fresh)
        };
        if let Some((_, status)) = kept(&self.0) {
            return Ok(status);
        }
        let (now, desk) = (Instant::now(), desk.clone());
        let json = aside(move || serde_json::to_vec(&desk.view())).await?;
        let json = json.map_err(|error| unavailable(&error.to_string()))?;
        let status = Bytes::from(json);
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = Some((now, status.clone()));
        Ok(status)
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
            // It can't be had while the worker ends; then the events end, too.
            let status = latest.status(desk).await.map_err(|_ending| Gone)?;
            events.send("status", &status).await?;
        }
        look = look.wrapping_add(1);
    }
}
