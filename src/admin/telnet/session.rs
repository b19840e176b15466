//! A session, and where it is.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use super::carried::Carried;
use super::state::State;
use crate::config::ListenAddress;
use crate::ledger::Object;
use crate::sys::{self, Watched};

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    /// SO_COOKIE.
    pub cookie: u64,
    /// The address it came in on.
    pub listener: String,
    /// Counts it there.
    pub object: Object,
    /// Who it is.
    pub peer: String,
    /// The socket.
    pub socket: Watched,
    /// Something has changed that its task doesn't see in the socket.
    pub woken: Notify,
    /// A task serves it.
    pub started: AtomicBool,
    /// Other machines can reach it: it has to say the token, if there is one.
    pub is_for_others: bool,
    state: Mutex<State>,
}

impl Session {
    /// A new one.
    pub fn new(
        cookie: u64,
        (listener, object): (&str, Object),
        socket: OwnedFd,
    ) -> io::Result<Session> {
        let peer = peer(&socket);
        Ok(Session {
            cookie,
            listener: listener.to_owned(),
            object,
            peer,
            socket: sys::watch(socket)?,
            woken: Notify::new(),
            started: AtomicBool::new(false),
            is_for_others: is_for_others(listener),
            state: Mutex::new(State::new()),
        })
    }

    /// One that another worker had.
    pub fn passed(cookie: u64, listener: (&str, Object), socket: OwnedFd) -> io::Result<Session> {
        let session = Session::new(cookie, listener, socket)?;
        session.lock().cut = true;
        Ok(session)
    }

    /// Where it is.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What of it travels; the half line and the output go behind `bytes`. `None`: nothing is known of it.
    pub fn freeze(&self, bytes: &mut Vec<u8>) -> Option<Carried> {
        let mut state = self.lock();
        state.frozen = positions(&self.socket);
        if state.cut {
            return None;
        }
        Some(state.carry(self.cookie, bytes))
    }

    /// Goes on where a predecessor was.
    pub fn take_over(&self, carried: Carried, half: &[u8], output: &[u8], generation: u64) {
        *self.lock() = State::carried(carried, half, output, generation);
    }

    /// Goes on after a successor that had begun and failed, if that neither read nor wrote here.
    pub fn recover(&self) {
        let mut state = self.lock();
        let now = positions(&self.socket);
        if now.is_none() || now != state.frozen {
            state.cut = true;
        }
    }
}

/// Whether other machines can reach a listener. An address that can't be read is taken for the worst.
pub(super) fn is_for_others(listener: &str) -> bool {
    let address = listener.parse::<ListenAddress>();
    address.map_or(true, |address| address.is_for_others())
}

/// How far both streams of a connection are: bytes that anybody has read, and has written. `None`: the kernel doesn't tell.
fn positions(socket: &Watched) -> Option<(u64, u64)> {
    /// Of TCP_INFO's states: the peer has ended its side, which counts as a byte.
    const CLOSE_WAIT: u8 = 8;
    let fd = socket.get_ref().as_fd();
    for _ in 0..8 {
        let info = sys::tcp_info(fd).ok()?;
        let (unread, queued) = (sys::unread(fd).ok()?, sys::queued_out(fd).ok()?);
        if sys::tcp_info(fd).ok()? == info {
            let end = u64::from(info.state == CLOSE_WAIT);
            let read = info.bytes_received.checked_sub(unread + end)?;
            return Some((read, info.bytes_acked + queued));
        }
    }
    None
}

fn peer(socket: &OwnedFd) -> String {
    let address = rustix::net::getpeername(socket).ok().flatten();
    let address = address.and_then(|address| std::net::SocketAddr::try_from(address).ok());
    match address {
        Some(address) => address.to_string(),
        None => match rustix::net::sockopt::socket_peercred(socket) {
            Ok(user) => format!("uid {}", user.uid.as_raw()),
            Err(_) => "a unix socket".to_owned(),
        },
    }
}
