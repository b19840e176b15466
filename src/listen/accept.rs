//! Accepting connections.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};

use super::{Connection, Inputs, Kind, Listener, Protocol, read_stream};
use crate::gate::Lane;
use crate::handover::Item;
use crate::ledger::{Count, Offset};
use crate::sys;

/// Connections taken in one turn, and passed to the supervisor in one message.
const TURN: usize = 64;
/// The pause when the kernel has no room for another connection, or the supervisor is behind.
const PAUSE: Duration = Duration::from_millis(50);

/// Descriptors that no client gets: a status, a hand-over and a lost destination need some.
const SPARE: u64 = 16;
/// The log hears of pauses at most so often: at a limit every connection that leaves ends one and begins one.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What one turn of accepting came to.
enum Turn {
    Took(Vec<Arc<Connection>>),
    Empty,
    Closed,
    /// At `max_connections`.
    Full,
    /// The kernel or the supervisor can't take more just now.
    Later(Option<io::Error>),
}

/// Accepts until the listener leaves.
pub async fn accept(inputs: Arc<Inputs>, listener: Arc<Listener>) {
    tokio::select! {
        () = accept_for_ever(&inputs, &listener) => {}
        () = listener.leaving.notified() => {}
        () = inputs.stopped() => {}
    }
}

async fn accept_for_ever(inputs: &Arc<Inputs>, listener: &Listener) {
    let socket = match listener.watched() {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(listener = listener.address, %error, "a listener can't be watched");
            return;
        }
    };
    // One message when clients begin to wait, one when none waits any more.
    let mut pausing = Pausing::default();
    loop {
        let Ok(mut ready) = socket.readable().await else {
            return;
        };
        match accept_some(inputs, listener) {
            Turn::Took(connections) => {
                for connection in connections {
                    tokio::spawn(read_stream(inputs.clone(), connection));
                }
            }
            Turn::Empty => {
                ready.clear_ready();
                if pausing.is_over() {
                    tracing::info!(listener = listener.address, "accepting again");
                }
            }
            Turn::Closed => inputs.gate.opened().await,
            Turn::Full => {
                if pausing.begins() {
                    tracing::warn!(
                        listener = listener.address,
                        max_connections = inputs.limits.max_connections,
                        "accepting pauses: max_connections is reached"
                    );
                }
                let closed = inputs.connections.closed.notified();
                if inputs.connections.len() >= inputs.limits.max_connections {
                    closed.await;
                }
            }
            Turn::Later(error) => {
                if let Some(error) = error
                    && pausing.begins()
                {
                    tracing::error!(listener = listener.address, %error, "accepting pauses");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// What the log was told of pauses.
#[derive(Default)]
struct Pausing {
    told: bool,
    last: Option<Instant>,
}

impl Pausing {
    /// There is a pause: whether the log is to be told.
    fn begins(&mut self) -> bool {
        if self.told || self.last.is_some_and(|at| at.elapsed() < SAY_EVERY) {
            return false;
        }
        self.last = Some(Instant::now());
        self.told = true;
        true
    }

    /// All were let in: whether the log waits to hear of it.
    fn is_over(&mut self) -> bool {
        std::mem::take(&mut self.told)
    }
}

/// Takes what waits on a listener that is going to close, so that no client that was let in is
/// turned away. Returns what it took.
pub fn empty_accept_queue(inputs: &Inputs, listener: &Listener) -> Vec<Arc<Connection>> {
    let mut all = Vec::new();
    loop {
        match accept_some(inputs, listener) {
            Turn::Took(connections) => all.extend(connections),
            Turn::Empty | Turn::Closed | Turn::Full | Turn::Later(_) => return all,
        }
    }
}

fn accept_some(inputs: &Inputs, listener: &Listener) -> Turn {
    let Some(mut lane) = inputs.gate.enter() else {
        return Turn::Closed;
    };
    if !inputs.registry.keeps_up() {
        return Turn::Later(None);
    }
    let room = inputs
        .limits
        .max_connections
        .saturating_sub(inputs.connections.len());
    if room == 0 {
        return Turn::Full;
    }
    // One at a time when descriptors become few.
    let like = listener.socket.as_fd();
    let turn = match sys::has_descriptors(like, SPARE + TURN as u64) {
        true => TURN,
        false if sys::has_descriptors(like, SPARE) => 1,
        false => return Turn::Later(Some(Errno::MFILE.into())),
    };
    let mut taken = Vec::new();
    let mut failure = None;
    while taken.len() < room.min(turn) {
        // Once a turn, and once more for a client more when they become few.
        match accept_with(
            &listener.socket,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        ) {
            Ok(socket) => taken.push(socket),
            Err(Errno::WOULDBLOCK) => break,
            // The client has gone while it waited.
            Err(Errno::CONNABORTED | Errno::INTR) => {}
            // Out of descriptors or memory: those who wait keep waiting in the kernel.
            Err(error) => {
                failure = Some(error.into());
                break;
            }
        }
    }
    if taken.is_empty() {
        return match failure {
            None => Turn::Empty,
            error => Turn::Later(error),
        };
    }
    match admit(inputs, listener, &mut lane, taken) {
        Ok(connections) => Turn::Took(connections),
        Err(error) => Turn::Later(Some(error)),
    }
}

/// Makes connections of sockets. The supervisor holds each before its first read.
fn admit(
    inputs: &Inputs,
    listener: &Listener,
    lane: &mut Lane,
    sockets: Vec<OwnedFd>,
) -> io::Result<Vec<Arc<Connection>>> {
    let kind = if listener.is_tcp() {
        Kind::Tcp
    } else {
        Kind::Unix
    };
    let mut connections = Vec::with_capacity(sockets.len());
    for socket in sockets {
        if kind == Kind::Tcp {
            keep_alive(&socket)?;
        }
        let cookie = sys::cookie(socket.as_fd())?;
        let Some(slot) = inputs.connections.take_slot() else {
            break;
        };
        let from = (listener.address.as_str(), listener.object);
        let protocol = listener.protocol();
        match Connection::new(cookie, slot, (kind, protocol), from, socket, false) {
            Ok(connection) => {
                let beginning = Offset {
                    pickle: protocol == Protocol::Pickle,
                    ..Offset::default()
                };
                lane.writer.open_stream(slot, cookie, beginning);
                connections.push(Arc::new(connection));
            }
            Err(error) => {
                inputs.connections.give_slot(slot);
                tracing::error!(listener = listener.address, %error, "a connection is turned away");
            }
        }
    }
    lane.writer
        .add(listener.object, Count::Accepted, connections.len() as u64);
    lane.writer.commit();
    let items: Vec<Item> = connections
        .iter()
        .map(|c| Item::Connection {
            cookie: c.cookie,
            slot: c.slot.number(),
            listener: c.listener.clone(),
        })
        .collect();
    let fds: Vec<_> = connections
        .iter()
        .map(|c| c.socket.get_ref().as_fd())
        .collect();
    if let Err(error) = inputs.registry.register(&items, &fds) {
        connections
            .iter()
            .for_each(|c| inputs.connections.give_slot(c.slot));
        return Err(error);
    }
    for connection in &connections {
        inputs.connections.insert(connection.clone());
    }
    Ok(connections)
}

/// Finds senders that are gone without a word: after a minute of silence, within two.
fn keep_alive(socket: &OwnedFd) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(socket, 6)?;
    Ok(())
}
