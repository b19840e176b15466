//! Ports for those who listen, and may cease to for a while.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Ports of loopback that neither TCP nor UDP uses, all different. Whoever else chooses here leaves them alone as long as
/// this process lives, also while nobody listens there.
///
/// They lie below those that the system gives to outgoing connections (ip(7), `ip_local_port_range`): one of those
/// may be taken again before the instance binds it.
pub fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut free = [0; N];
    let mut tries = 0;
    for port in &mut free {
        *port = loop {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            // Processes that run side by side begin far from each other.
            let spread = std::process::id().wrapping_mul(7919).wrapping_add(step);
            let port = 10_000 + (spread % 20_000) as u16;
            match claim(port) {
                Ok(()) => break port,
                Err(error) if tries > 1_000 => return Err(error),
                Err(_) => tries += 1,
            }
        };
    }
    Ok(free)
}

/// Makes a port this process's own, if nobody uses it or has claimed it.
fn claim(port: u16) -> io::Result<()> {
    /// Names of the abstract namespace (unix(7)) that stand for ports: they go with the process, and leave no files.
    static CLAIMED: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());
    let name = SocketAddr::from_abstract_name(format!("baton-port-{port}"))?;
    let claim = UnixDatagram::bind_addr(&name)?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    claimed.push(claim);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn a_port_is_claimed_once() {
        let [a, b] = free_ports().unwrap();
        assert_ne!(a, b);
        assert_eq!(claim(a).unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn a_port_in_use_is_not_claimed() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(claim(port).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(socket);
        // That it failed is no claim.
        claim(port).unwrap();
    }
}
