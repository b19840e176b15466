//! Packets over a SOCK_SEQPACKET socket, with descriptors beside them (SCM_RIGHTS, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The kernel's limit of descriptors in one message (SCM_MAX_FD).
pub const MAX_FDS: usize = 253;

const SPACE: usize = rustix::cmsg_space!(ScmRights(253));

/// One received message.
#[derive(Debug)]
pub struct Packet {
    /// The bytes; empty when the peer has closed.
    pub bytes: Vec<u8>,
    /// Descriptors, close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// Sends one message. `wait`: block when the socket is full, else `WouldBlock`.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    wait: bool,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "over 253 descriptors",
        ));
    }
    let mut flags = SendFlags::NOSIGNAL;
    if !wait {
        flags |= SendFlags::DONTWAIT;
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives one message of at most `scratch.len()` bytes. Whether it waits is the socket's mode
/// and `wait`'s choice.
///
/// # Errors
/// `InvalidData` when the message or its descriptors were truncated: the descriptors that did
/// arrive are closed, and the caller must treat the conversation as broken.
pub fn receive(socket: BorrowedFd<'_>, scratch: &mut [u8], wait: bool) -> io::Result<Packet> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut flags = RecvFlags::CMSG_CLOEXEC;
    if !wait {
        flags |= RecvFlags::DONTWAIT;
    }
    let message = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(scratch)], &mut control, flags) {
            Ok(message) => break message,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let mut fds = Vec::new();
    for item in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = item {
            fds.extend(received);
        }
    }
    if message
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a truncated message (out of descriptors, or too large)",
        ));
    }
    Ok(Packet {
        bytes: scratch[..message.bytes].to_vec(),
        fds,
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn a_message_arrives_whole_with_its_253_descriptors() {
        let (a, b) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let fds = vec![a.as_fd(); MAX_FDS];
        send(a.as_fd(), b"hello", &fds, true).unwrap();
        let packet = receive(b.as_fd(), &mut [0; 100], true).unwrap();
        assert_eq!(
            (packet.bytes.as_slice(), packet.fds.len()),
            (&b"hello"[..], MAX_FDS)
        );
        assert!(send(a.as_fd(), b"x", &vec![a.as_fd(); MAX_FDS + 1], true).is_err());
        send(a.as_fd(), b"too long", &[], true).unwrap();
        assert!(
            receive(b.as_fd(), &mut [0; 3], true).is_err(),
            "truncation is an error"
        );
        drop((packet, a));
        assert!(
            receive(b.as_fd(), &mut [0; 3], true)
                .unwrap()
                .bytes
                .is_empty(),
            "closed"
        );
    }
}
