//! Accepting connections.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};

use super::{Connection, Inputs, Kind, Listener, read_stream};
use crate::gate::Lane;
use crate::handover::Item;
use crate::ledger::{Count, Offset};
use crate::sys;

/// Connections taken in one turn, and passed to the supervisor in one message.
const TURN: usize = 64;
/// The pause when the kernel has no room for another connection, or the supervisor is behind.
const PAUSE: Duration = Duration::from_millis(50);

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
        () = inputs.stopping.notified() => {}
    }
}

async fn accept_for_ever(inputs: &Arc<Inputs>, listener: &Listener) {
    let socket = match listener.watched() {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(listener = listener.address, %error, "can't be watched");
            return;
        }
    };
    // One message when it begins to fail, one when it goes again.
    let mut failing = false;
    loop {
        let Ok(mut ready) = socket.readable().await else {
            return;
        };
        match accept_some(inputs, listener) {
            Turn::Took(connections) => {
                if std::mem::take(&mut failing) {
                    tracing::info!(listener = listener.address, "accepting again");
                }
                for connection in connections {
                    tokio::spawn(read_stream(inputs.clone(), connection));
                }
            }
            Turn::Empty => ready.clear_ready(),
            Turn::Closed => inputs.gate.opened().await,
            Turn::Full => {
                if !std::mem::replace(&mut failing, true) {
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
                    && !std::mem::replace(&mut failing, true)
                {
                    tracing::error!(listener = listener.address, %error, "accepting pauses");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
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
    let mut taken = Vec::new();
    let mut failure = None;
    while taken.len() < room.min(TURN) {
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
        match Connection::new(cookie, slot, kind, from, socket, false) {
            Ok(connection) => {
                lane.writer.open_stream(slot, cookie, Offset::default());
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
