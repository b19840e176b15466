//! Answers that go on: events for as long as somebody listens. They may outlive what is granted to an ordinary
//! connection, so there are fewer of them; who doesn't read is cut off; and they are told when serving ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::problem::{Problem, unavailable};

/// How long an event may wait for who asked for it; then the connection is cut.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Events on their way to a connection.
const UNDER_WAY: usize = 4;

/// What a connection and its answers that go on know of each other: in the extensions of each request.
#[derive(Clone, Debug)]
pub(crate) struct Streaming {
    /// Of all connections of a listener.
    room: Arc<Semaphore>,
    /// Those of this connection that go on.
    open: Arc<AtomicUsize>,
    /// The connection is to be cut off.
    cut: Arc<Notify>,
    /// Changes, or has gone, when serving ends.
    stop: watch::Receiver<()>,
    patience: Duration,
}

impl Streaming {
    /// For a connection of a listener that has this room.
    pub(super) fn new(
        room: Arc<Semaphore>,
        stop: watch::Receiver<()>,
        patience: Duration,
    ) -> Streaming {
        Streaming {
            room,
            open: Arc::default(),
            cut: Arc::default(),
            stop,
            patience,
        }
    }

    /// Whether an answer of this connection goes on.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    /// Waits until serving ends.
    pub(super) async fn stopped(&self) {
        // That the sender has gone means the same.
        let _stopping = self.stop.clone().changed().await;
    }

    /// Waits until the connection is to be cut off.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }

    /// Begins an answer that goes on: what is sent, and the answer.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub(crate) fn begin(&self) -> Result<(Events, Response), Problem> {
        let place = self.room.clone().try_acquire_owned().map_err(|_full| {
            unavailable("as many clients as may listen to events do so: ask again later")
        })?;
        self.open.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(UNDER_WAY);
        let body = Going {
            receiver,
            open: self.open.clone(),
            _place: place,
        };
        let mut response = Response::new(Body::new(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let events = Events {
            sender,
            stop: self.stop.clone(),
            cut: self.cut.clone(),
            patience: self.patience,
        };
        Ok((events, response))
    }
}

/// Sends server-sent events (the event stream format of the HTML standard).
#[derive(Debug)]
pub(crate) struct Events {
    sender: mpsc::Sender<Bytes>,
    stop: watch::Receiver<()>,
    cut: Arc<Notify>,
    patience: Duration,
}

/// Nobody listens any more.
#[derive(Debug)]
pub(crate) struct Gone;

impl Events {
    /// Sends an event; its data is one line.
    ///
    /// # Errors
    /// Who asked has gone, or was cut off since it doesn't read.
    pub(crate) async fn send(&self, event: &str, data: &[u8]) -> Result<(), Gone> {
        let mut text = Vec::with_capacity(event.len() + data.len() + 16);
        for part in [b"event: ", event.as_bytes(), b"\ndata: ", data, b"\n\n"] {
            text.extend_from_slice(part);
        }
        self.send_text(text).await
    }

    /// Sends what is already in the format.
    ///
    /// # Errors
    /// As [`Events::send`].
    pub(crate) async fn send_text(&self, text: Vec<u8>) -> Result<(), Gone> {
        match timeout(self.patience, self.sender.send(text.into())).await {
            Ok(sent) => sent.map_err(|_gone| Gone),
            Err(_too_slow) => {
                self.cut.notify_one();
                Err(Gone)
            }
        }
    }

    /// Waits for the end: `true` when serving ends here, `false` when who asked has gone.
    pub(crate) async fn ended(&self) -> bool {
        let mut stop = self.stop.clone();
        tokio::select! {
            _stopping = stop.changed() => true,
            () = self.sender.closed() => false,
        }
    }

    /// The last event: another worker answers very soon.
    pub(crate) async fn restarting(self) {
        // Who doesn't get it finds a closed connection, and asks again a little later.
        let last = b"retry: 500\nevent: restarting\ndata: {}\n\n".to_vec();
        let _sent = self.send_text(last).await;
    }
}

/// The body of an answer that goes on.
struct Going {
    receiver: mpsc::Receiver<Bytes>,
    open: Arc<AtomicUsize>,
    _place: OwnedSemaphorePermit,
}

impl HttpBody for Going {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let event = self.receiver.poll_recv(context);
        event.map(|event| event.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
