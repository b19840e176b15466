//! A client of the control socket: one JSON message there, one back.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use serde_json::Value;

/// The longest reply that is read.
const LONGEST: usize = 256 * 1024;

/// A connection to a control socket.
#[derive(Debug)]
pub(super) struct Client {
    socket: OwnedFd,
}

impl Client {
    pub(super) fn connect(path: &Path, timeout: Duration) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        let limit = TimeVal::new(timeout.as_secs() as i64, timeout.subsec_micros().into());
        setsockopt(&socket, sockopt::ReceiveTimeout, &limit)?;
        setsockopt(&socket, sockopt::SendTimeout, &limit)?;
        connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(Self { socket })
    }

    /// Sends a request and waits for the reply.
    pub(super) fn ask(&mut self, request: &Value) -> io::Result<Value> {
        let message = request.to_string();
        let fd = self.socket.as_raw_fd();
        send(fd, message.as_bytes(), MsgFlags::MSG_NOSIGNAL)?;
        let mut reply = vec![0; LONGEST];
        // With MSG_TRUNC the length is that of the message, not of what fitted.
        let length = recv(fd, &mut reply, MsgFlags::MSG_TRUNC)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let reply = reply.get(..length).ok_or_else(|| {
            io::Error::other(format!("a reply of {length} bytes, more than {LONGEST}"))
        })?;
        Ok(serde_json::from_slice(reply)?)
    }
}
