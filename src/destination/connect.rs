//! Resolving and connecting.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpSocket, lookup_host};
use tokio::time::timeout;

use crate::spec::{self, Address};

/// How long data may stay unacknowledged before the kernel gives the connection up.
const USER_TIMEOUT_MS: u32 = 20_000;

/// The addresses of a host, IPv6 and IPv4 in turn (RFC 8305, section 4).
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
    let (mut six, mut four) = (
        found.iter().filter(|a| a.is_ipv6()).copied(),
        found.iter().filter(|a| a.is_ipv4()).copied(),
    );
    let mut addresses = Vec::with_capacity(found.len());
    loop {
        let pair = [six.next(), four.next()];
        if pair == [None, None] {
            break;
        }
        addresses.extend(pair.into_iter().flatten());
    }
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    Ok(addresses)
}

/// Connects to the first address that answers, all within the destination's timeout.
///
/// # Errors
/// The last attempt's, with its address.
pub async fn connect(
    spec: &spec::Destination,
    host: &str,
    port: u16,
) -> io::Result<(OwnedFd, SocketAddr)> {
    let named = |e: io::Error, what: &dyn std::fmt::Display| {
        io::Error::new(e.kind(), format!("{what}: {e}"))
    };
    let late = || {
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer in {:?}", spec.timeout),
        )
    };
    let addresses = match timeout(spec.timeout, resolve(host, port)).await {
        Ok(addresses) => addresses.map_err(|e| named(e, &host))?,
        Err(_) => return Err(named(late(), &host)),
    };
    let share = spec.timeout / addresses.len().max(1) as u32;
    let mut last = late();
    for address in addresses {
        match timeout(
            share.max(Duration::from_millis(250)),
            connect_to(address, spec.bind),
        )
        .await
        {
            Ok(Ok(socket)) => return Ok((socket, address)),
            Ok(Err(error)) => last = named(error, &address),
            Err(_) => last = named(late(), &address),
        }
    }
    Err(last)
}

async fn connect_to(address: SocketAddr, bind: Option<IpAddr>) -> io::Result<OwnedFd> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(ip) = bind {
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    let stream = socket.connect(address).await?;
    // Lines were in company long enough in the ring.
    stream.set_nodelay(true)?;
    let fd: OwnedFd = stream.into_std()?.into();
    sockopt::set_socket_keepalive(&fd, true)?;
    sockopt::set_tcp_keepidle(&fd, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(&fd, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(&fd, 6)?;
    sockopt::set_tcp_user_timeout(&fd, USER_TIMEOUT_MS)?;
    Ok(fd)
}

/// Whom a socket is connected to.
pub fn peer(socket: &OwnedFd) -> Option<SocketAddr> {
    let address = rustix::net::getpeername(socket).ok().flatten()?;
    SocketAddr::try_from(address).ok()
}

/// Whether a connection to `peer` is one to `address`, as far as that can be told without asking DNS.
pub fn is_literal_for(address: &Address, peer: Option<SocketAddr>) -> bool {
    match (address, peer) {
        (Address::Tcp { host, port, .. }, Some(peer)) => match host.parse::<IpAddr>() {
            Ok(ip) => peer == SocketAddr::new(ip, *port),
            Err(_) => peer.port() == *port,
        },
        // A lost peer will be noticed as such.
        (Address::Tcp { .. }, None) => true,
        (Address::File(_), _) => false,
    }
}
