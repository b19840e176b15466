//! Serving with bounds: who connects and stays silent, or asks and doesn't read, costs a known
//! amount for a known time.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Peer;
use super::stream::{self, Streaming};

/// Of the head of a request, and of an answer before it is written.
const BUFFER: usize = 64 * 1024;
/// How long it may take to find a user's name.
const NAMED: Duration = Duration::from_secs(1);
/// The pause when the kernel has no room for another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// What all clients together may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at one time; more wait in the kernel.
    pub connections: usize,
    /// Of those, answers that go on; who asks for more is refused.
    pub streams: usize,
    /// How long such an answer may find nobody who reads it.
    pub patience: Duration,
    /// From being ready for a request to the end of its head.
    pub head: Duration,
    /// How long a connection is kept, whatever goes on, but for answers that go on.
    pub life: Duration,
    /// What answers under way get of it before they are cut off; also when serving ends.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 64,
            streams: 32,
            patience: stream::PATIENCE,
            head: Duration::from_secs(10),
            life: Duration::from_secs(60),
            grace: Duration::from_secs(1),
        }
    }
}

/// A socket to serve on.
#[derive(Debug)]
pub enum Socket {
    /// Clients are known by their address.
    Tcp(TcpListener),
    /// Clients are known by their user.
    Unix(UnixListener),
}

impl From<TcpListener> for Socket {
    fn from(listener: TcpListener) -> Socket {
        Socket::Tcp(listener)
    }
}

impl From<UnixListener> for Socket {
    fn from(listener: UnixListener) -> Socket {
        Socket::Unix(listener)
    }
}

/// Who has connected.
enum Client {
    Tcp(TcpStream, Peer),
    Unix(UnixStream),
}

impl Client {
    /// Its socket once more; none if there are no descriptors left: then a hang-up is seen later.
    fn duplicate(&self) -> Option<OwnedFd> {
        let socket = match self {
            Client::Tcp(stream, _) => stream.as_fd(),
            Client::Unix(stream) => stream.as_fd(),
        };
        socket.try_clone_to_owned().ok()
    }
}

impl Socket {
    async fn accept(&self) -> io::Result<Client> {
        match self {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(Client::Tcp(stream, Peer(peer.to_string())))
            }
            Socket::Unix(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| Client::Unix(stream)),
        }
    }
}

/// The user at the other end: `alice (uid 1000)`.
async fn user(stream: &UnixStream) -> Peer {
    match stream.peer_cred() {
        Ok(credentials) => named(credentials.uid(), name_of).await,
        Err(_unknown) => Peer("unknown".to_owned()),
    }
}

fn name_of(uid: u32) -> Option<String> {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
    user.ok().flatten().map(|user| user.name)
}

/// Names may come over the network, and not come: then the number does. Those who look hold so many threads at most.
async fn named(uid: u32, name_of: impl FnOnce(u32) -> Option<String> + Send + 'static) -> Peer {
    static LOOKING: Semaphore = Semaphore::const_new(4);
    let found = async {
        let place = LOOKING.acquire().await.ok()?;
        let look = move || {
            let name = name_of(uid);
            drop(place);
            name
        };
        tokio::task::spawn_blocking(look).await.ok().flatten()
    };
    match timeout(NAMED, found).await {
        Ok(Some(name)) => Peer(format!("{name} (uid {uid})")),
        _nameless => Peer(format!("uid {uid}")),
    }
}

/// Serves until `shutdown`: then accepts no more, gives answers under way a second, and closes
/// everything. What wasn't accepted is left to whoever holds the listener as well.
pub async fn serve(
    listener: impl Into<Socket>,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    serve_with(Limits::default(), listener, router, shutdown).await;
}

/// [`serve`] with limits of one's own.
pub async fn serve_with(
    limits: Limits,
    listener: impl Into<Socket>,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let listener = listener.into();
    let mut shutdown = pin!(shutdown);
    let stop = watch::Sender::new(());
    let room = Arc::new(Semaphore::new(limits.streams));
    let mut connections = JoinSet::new();
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if connections.len() < limits.connections => accepted,
        };
        match accepted {
            Ok(client) => {
                failing = false;
                let (router, stop) = (router.clone(), stop.subscribe());
                let streaming = Streaming::new(room.clone(), stop, limits.patience);
                let streaming = streaming.on(client.duplicate());
                connections.spawn(async move {
                    match client {
                        Client::Tcp(socket, peer) => {
                            connection(limits, socket, peer, router, streaming).await;
                        }
                        Client::Unix(socket) => {
                            let peer = user(&socket).await;
                            connection(limits, socket, peer, router, streaming).await;
                        }
                    }
                });
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "accepting HTTP connections pauses");
                }
                tokio::select! {
                    () = &mut shutdown => break,
                    () = sleep(PAUSE) => {}
                }
            }
        }
    }
    drop(listener);
    drop(stop);
    // Each connection sees to its own grace: this waits no longer than that.
    while connections.join_next().await.is_some() {}
}

/// Answers one client, until it is done, `stop` is dropped, or its time is over.
async fn connection(
    limits: Limits,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    streaming: Streaming,
) {
    let router = router
        .layer(Extension(peer))
        .layer(Extension(streaming.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(BUFFER)
        // `printf … | nc` has nothing more to say, and still listens.
        .half_close(true)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            // Its errors are the client's: gone, too slow, or no HTTP.
            _ended = &mut connection => return,
            // Who doesn't read events is not waited for.
            () = streaming.cut() => return,
            () = streaming.stopped() => break,
            () = sleep(limits.life.saturating_sub(limits.grace)) => {}
        }
        // What goes on has limits of its own.
        if !streaming.is_open() {
            break;
        }
    }
    connection.as_mut().graceful_shutdown();
    let _answered = timeout(limits.grace, connection).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_no_name_in_time_is_known_by_number() {
        let found = named(7, |uid| Some(format!("name{uid}"))).await;
        assert_eq!(found.0, "name7 (uid 7)");
        assert_eq!(named(7, |_| None).await.0, "uid 7");
        // As many as may hang do, and one more.
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let ended = Arc::new(std::sync::Mutex::new(ended));
        let all = (0..5).map(|_| {
            let ended = ended.clone();
            tokio::spawn(named(7, move |_| {
                let _ended = ended.lock().unwrap().recv();
                None
            }))
        });
        for one in all.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap().0, "uid 7");
        }
        drop(end);
    }
}
