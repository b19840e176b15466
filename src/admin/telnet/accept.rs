//! Accepting sessions.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags, accept_with, send, sockopt};
use tokio::sync::watch;

use super::session::{Session, is_for_others};
use super::{MAX_OF_OTHERS, MAX_SESSIONS, Sessions, run};
use crate::admin::desk::Desk;
use crate::ledger::Count;
use crate::listen::Listener;
use crate::sys;

/// The pause when the kernel has no room for another one, or the supervisor is behind.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the listener leaves, or the worker stops.
pub async fn accept(
    sessions: Arc<Sessions>,
    listener: Arc<Listener>,
    desk: Arc<dyn Desk>,
    mut stopping: watch::Receiver<bool>,
) {
    let stopped = async {
        // That the sender has gone means the same.
        let _stopped = stopping.wait_for(|stopping| *stopping).await;
    };
    tokio::select! {
        ended = accept_for_ever(&sessions, &listener, &desk) => {
            if let Err(error) = ended {
                tracing::error!(listener = listener.address, %error, "no sessions are accepted");
            }
        }
        () = listener.leaving.notified() => {}
        () = stopped => {}
    }
}

async fn accept_for_ever(
    sessions: &Arc<Sessions>,
    listener: &Listener,
    desk: &Arc<dyn Desk>,
) -> io::Result<()> {
    let socket = sys::watch(listener.socket.try_clone()?)?;
    loop {
        let mut ready = socket.readable().await?;
        match accept_one(sessions, listener) {
            Ok(Some(session)) => {
                tokio::spawn(run::run(sessions.clone(), session, desk.clone()));
            }
            Ok(None) => {}
            Err(Turn::Closed) => sessions.gate.opened().await,
            Err(Turn::Failed(Errno::WOULDBLOCK)) => ready.clear_ready(),
            // The client has gone while it waited.
            Err(Turn::Failed(Errno::CONNABORTED | Errno::INTR)) => {}
            Err(Turn::Failed(error)) => {
                tracing::warn!(listener = listener.address, %error, "accepting sessions pauses");
                tokio::time::sleep(PAUSE).await;
            }
            Err(Turn::Later) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Why nobody was accepted.
enum Turn {
    /// The gate is.
    Closed,
    /// The supervisor is behind.
    Later,
    Failed(Errno),
}

/// Whether one more may be had at a listener; `Err`: so many are open, and that is all.
fn has_room(sessions: &Sessions, listener: &Listener) -> Result<(), usize> {
    let table = sessions.table();
    if table.len() >= MAX_SESSIONS {
        return Err(MAX_SESSIONS);
    }
    let of_others = table.values().filter(|one| one.is_for_others).count();
    match is_for_others(&listener.address) && of_others >= MAX_OF_OTHERS {
        true => Err(MAX_OF_OTHERS),
        false => Ok(()),
    }
}

/// Takes one, unless there are too many: then it is told so.
fn accept_one(sessions: &Sessions, listener: &Listener) -> Result<Option<Arc<Session>>, Turn> {
    let mut lane = sessions.gate.enter().ok_or(Turn::Closed)?;
    if !sessions.registry.keeps_up() {
        return Err(Turn::Later);
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = accept_with(&listener.socket, flags).map_err(Turn::Failed)?;
    lane.writer.add(listener.object, Count::Accepted, 1);
    if let Err(most) = has_room(sessions, listener) {
        lane.writer.add(listener.object, Count::Closed, 1);
        lane.writer.commit();
        let full = format!("ERR {most} sessions are open, and there may be no more\n");
        // It is closed either way.
        let _told = send(
            &socket,
            full.as_bytes(),
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        );
        return Ok(None);
    }
    lane.writer.commit();
    match begin(sessions, listener, socket) {
        Ok(session) => Ok(Some(session)),
        Err(error) => {
            lane.writer.add(listener.object, Count::Closed, 1);
            lane.writer.commit();
            tracing::error!(listener = listener.address, %error, "a session is turned away");
            Ok(None)
        }
    }
}

fn begin(sessions: &Sessions, listener: &Listener, socket: OwnedFd) -> io::Result<Arc<Session>> {
    if listener.is_tcp() {
        sockopt::set_socket_keepalive(&socket, true)?;
        sockopt::set_tcp_keepidle(&socket, Duration::from_secs(60))?;
        sockopt::set_tcp_nodelay(&socket, true)?;
    }
    let cookie = sys::cookie(socket.as_fd())?;
    let session = Arc::new(Session::new(
        cookie,
        (&listener.address, listener.object),
        socket,
    )?);
    session.started.store(true, Ordering::SeqCst);
    sessions.register(&session)?;
    sessions.table().insert(cookie, session.clone());
    Ok(session)
}
