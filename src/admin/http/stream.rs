//! Answers that go on: events for as long as somebody listens. They may outlive what is granted to an ordinary
//! connection, so there are fewer of them; who doesn't read is cut off; and they are told when serving ends.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
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
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::problem::{Problem, unavailable};

/// How long an event may wait for who asked for it; then the connection is cut.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether a client is gone to whom nothing is written.
const HUNG_UP: Duration = Duration::from_millis(250);
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
    /// The connection's socket, to see whether somebody is there while nothing is written.
    socket: Option<Arc<OwnedFd>>,
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
            socket: None,
        }
    }

    /// With a duplicate of the connection's socket.
    pub(super) fn on(self, socket: Option<OwnedFd>) -> Streaming {
        Streaming {
            socket: socket.map(Arc::new),
            ..self
        }
    }

    /// Waits until the client has ended its side. One that has may still listen (`printf … | nc`), and mostly it is gone:
    /// what keeps others out isn't gone on with for it.
    pub(super) async fn hung_up(&self) {
        let Some(socket) = &self.socket else {
            return std::future::pending().await;
        };
        let has_ended = || {
            let mut seen = [PollFd::new(socket, PollFlags::RDHUP)];
            let now = Timespec::default();
            poll(&mut seen, Some(&now)).is_ok_and(|number| number > 0)
        };
        while !has_ended() {
            sleep(HUNG_UP).await;
        }
    }

    /// How long who doesn't read is waited for.
    pub(super) fn patience(&self) -> Duration {
        self.patience
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

    /// For an answer that takes long, but doesn't go on: its connection may outlive others as well.
    ///
    /// # Errors
    /// As [`Streaming::begin`].
    pub(crate) fn hold(&self) -> Result<Held, Problem> {
        let place = self.room.clone().try_acquire_owned().map_err(|_full| {
            unavailable("as many clients as may listen to events do so: ask again later")
        })?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Held {
            open: self.open.clone(),
            _place: place,
        })
    }

    /// Begins an answer that goes on: what is sent, and the answer.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub(crate) fn begin(&self) -> Result<(Events, Response), Problem> {
        let held = self.hold()?;
        let (sender, receiver) = mpsc::channel(UNDER_WAY);
        let body = Going {
            receiver,
            _held: held,
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
        self.send_shared(text.into()).await
    }

    /// Sends what is already in the format, and may be sent to others as well.
    ///
    /// # Errors
    /// As [`Events::send`].
    pub(crate) async fn send_shared(&self, text: Bytes) -> Result<(), Gone> {
        match timeout(self.patience, self.sender.send(text)).await {
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
    _held: Held,
}

/// A place among the answers that go on; dropped, it is another's.
#[derive(Debug)]
pub(crate) struct Held {
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

impl Drop for Held {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streaming(room: usize) -> (watch::Sender<()>, Streaming) {
        let stop = watch::Sender::new(());
        let room = Arc::new(Semaphore::new(room));
        let streaming = Streaming::new(room, stop.subscribe(), Duration::from_millis(50));
        (stop, streaming)
    }

    #[tokio::test]
    async fn who_does_not_read_is_cut_off() {
        let (_stop, streaming) = streaming(1);
        let (events, response) = streaming.begin().unwrap();
        for _ in 0..UNDER_WAY {
            assert!(events.send("status", b"{}").await.is_ok());
        }
        assert!(events.send("status", b"{}").await.is_err());
        timeout(PATIENCE, streaming.cut())
            .await
            .expect("the connection is cut");
        drop(response);
    }

    #[tokio::test]
    async fn there_is_room_for_so_many_until_one_ends() {
        let (_stop, streaming) = streaming(2);
        let (first, answer) = streaming.begin().unwrap();
        let _second = streaming.begin().unwrap();
        assert!(streaming.begin().is_err() && streaming.hold().is_err());
        drop(answer);
        assert!(!first.ended().await, "who asked has gone");
        assert!(first.send("status", b"{}").await.is_err());
        assert!(streaming.is_open());
        streaming.begin().unwrap();
    }

    #[tokio::test]
    async fn the_end_of_serving_is_heard() {
        let (stop, streaming) = streaming(1);
        let (events, response) = streaming.begin().unwrap();
        drop(stop);
        assert!(events.ended().await);
        streaming.stopped().await;
        events.restarting().await;
        let all = axum::body::to_bytes(response.into_body(), 1000)
            .await
            .unwrap();
        assert_eq!(all, "retry: 500\nevent: restarting\ndata: {}\n\n");
        assert!(!streaming.is_open());
    }
}
