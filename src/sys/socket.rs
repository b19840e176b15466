//! What the kernel knows of a socket: its identity, and how far its streams have got.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The kernel's name for a socket (SO_COOKIE): unique since boot, the same for every duplicate.
pub fn cookie(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(rustix::net::sockopt::socket_cookie(fd)?)
}

/// The fields of `struct tcp_info` that tell how far the two streams of a connection have got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpInfo {
    /// TCP_ESTABLISHED is 1, TCP_CLOSE 7, TCP_CLOSE_WAIT 8 (include/net/tcp_states.h).
    pub state: u8,
    /// Bytes that the peer acknowledged, the SYN of an active open among them.
    pub bytes_acked: u64,
    /// Bytes that arrived in order, a FIN counted as one.
    pub bytes_received: u64,
}

/// Field offsets in `struct tcp_info` of include/uapi/linux/tcp.h, which only grows.
const BYTES_ACKED: usize = 120;
const BYTES_RECEIVED: usize = 128;

/// TCP_INFO of a connection (tcp(7)). Both byte counts need Linux 4.1.
pub fn tcp_info(fd: BorrowedFd<'_>) -> io::Result<TcpInfo> {
    let mut raw = [0u8; 256];
    let mut len = raw.len() as libc::socklen_t;
    // SAFETY: `raw` is writable for `len` bytes and outlives the call; the kernel writes no more
    // than `len` and updates it.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            raw.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    if (len as usize) < BYTES_RECEIVED + 8 {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the kernel's tcp_info is too old",
        ));
    }
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&raw[at..at + 8]);
        u64::from_ne_bytes(bytes)
    };
    Ok(TcpInfo {
        state: raw[0],
        bytes_acked: word(BYTES_ACKED),
        bytes_received: word(BYTES_RECEIVED),
    })
}

/// Bytes that arrived and weren't read (SIOCINQ; unix stream sockets too).
pub fn unread(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(rustix::io::ioctl_fionread(fd)?)
}

/// Bytes written and not yet acknowledged by the peer (SIOCOUTQ, tcp(7)).
pub fn queued_out(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut value: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int to the pointer, which is valid for the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut value) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(value as u64)
}

/// Datagrams that the kernel dropped on this socket since it exists (SO_MEMINFO, the counter
/// that SO_RXQ_OVFL reports).
pub fn kernel_dropped(fd: BorrowedFd<'_>) -> io::Result<u64> {
    const SO_MEMINFO: libc::c_int = 55;
    const SK_MEMINFO_DROPS: usize = 8;
    let mut raw = [MaybeUninit::<u32>::zeroed(); 16];
    let mut len = size_of_val(&raw) as libc::socklen_t;
    // SAFETY: `raw` is writable for `len` bytes; the kernel writes no more and updates `len`.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            raw.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    if (len as usize) < (SK_MEMINFO_DROPS + 1) * size_of::<u32>() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "SO_MEMINFO has no drop counter",
        ));
    }
    // SAFETY: zeroed, and every bit pattern is a u32.
    Ok(u64::from(unsafe { raw[SK_MEMINFO_DROPS].assume_init() }))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn tcp_info_counts_both_streams_exactly() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[b'x'; 1000]).unwrap();
        let mut buffer = [0; 400];
        server.read_exact(&mut buffer).unwrap();
        let info = tcp_info(server.as_fd()).unwrap();
        assert_eq!(info.state, 1);
        assert_eq!(info.bytes_received - unread(server.as_fd()).unwrap(), 400);
        let sent = tcp_info(client.as_fd()).unwrap();
        assert_eq!(
            sent.bytes_acked - 1 + queued_out(client.as_fd()).unwrap(),
            1000
        );
        drop(client);
        server.read_exact(&mut [0; 600]).unwrap();
        assert_eq!(server.read(&mut buffer).unwrap(), 0);
        let info = tcp_info(server.as_fd()).unwrap();
        assert_eq!(
            (info.state, info.bytes_received),
            (8, 1001),
            "a FIN counts as one byte"
        );
    }

    #[test]
    fn a_datagram_dropped_by_the_kernel_is_seen() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&server, 4096).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..100 {
            client
                .send_to(&[0; 1000], server.local_addr().unwrap())
                .unwrap();
        }
        assert!(kernel_dropped(server.as_fd()).unwrap() > 50);
    }
}
