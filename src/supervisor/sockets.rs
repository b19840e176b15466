//! Listening sockets: bound here or passed by systemd, held for the life of the supervisor.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, bind, listen,
    socket_with, sockopt,
};

use super::keep::Keep;
use crate::handover::{Item, Wanted};
use crate::sys;

/// A socket file, by its path, device and inode.
pub type SocketFile = (PathBuf, u64, u64);

const BACKLOG: i32 = 4096;
/// What is asked for UDP sockets; the kernel grants what net.core.rmem_max allows.
const UDP_BUFFER: usize = 8 << 20;

/// A socket that clients reach.
#[derive(Debug)]
pub struct Listener {
    /// What it serves: `line`, `pickle`, `http`.
    pub kind: String,
    /// Its address.
    pub address: Address,
    /// The socket.
    pub fd: Rc<OwnedFd>,
    /// SO_COOKIE.
    pub cookie: u64,
    /// systemd passed it: it is never closed or unlinked.
    pub passed: bool,
    /// Bound for this generation, which doesn't own it yet: not listening.
    pub pending: Option<u64>,
    /// The socket file that was made for it, by device and inode.
    file: Option<SocketFile>,
}

/// An address as configs write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `tcp://ip:port`
    Tcp(SocketAddr),
    /// `udp://ip:port`
    Udp(SocketAddr),
    /// `unix:path`
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(at) => write!(f, "tcp://{at}"),
            Address::Udp(at) => write!(f, "udp://{at}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// Reads what a worker sent.
    pub fn parse(text: &str) -> Option<Address> {
        if let Some(at) = text.strip_prefix("tcp://") {
            at.parse().ok().map(Address::Tcp)
        } else if let Some(at) = text.strip_prefix("udp://") {
            at.parse().ok().map(Address::Udp)
        } else {
            text.strip_prefix("unix:")
                .map(|path| Address::Unix(path.into()))
        }
    }

    /// Whether both can't be bound at one time though they differ: one is the wildcard of the
    /// other's family.
    fn overlaps(&self, other: &Address) -> bool {
        match (self, other) {
            (Address::Tcp(a), Address::Tcp(b)) | (Address::Udp(a), Address::Udp(b)) => {
                a.port() == b.port()
                    && a.is_ipv4() == b.is_ipv4()
                    && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
            }
            _ => false,
        }
    }
}

/// The sockets that systemd passed (sd_listen_fds(3)), and by their names the lots that it kept of supervisors that were
/// killed.
pub fn passed_by_systemd() -> (Vec<Listener>, Vec<(String, OwnedFd)>) {
    let passed = match sd_notify::listen_fds_with_names() {
        Ok(passed) => passed,
        Err(error) => {
            tracing::error!(%error, "systemd's sockets can't be taken");
            return (Vec::new(), Vec::new());
        }
    };
    let mut lots = Vec::new();
    let mut take = |(fd, name): (i32, String)| {
        if Keep::is_lot(&name) {
            lots.extend(sys::inherited(fd).ok().map(|fd| (name, fd)));
            return None;
        }
        let listener = sys::inherited(fd).and_then(|fd| Listener::passed(fd, &name));
        match listener {
            Ok(listener)
                if matches!(
                    listener.kind.as_str(),
                    "line" | "pickle" | "http" | "telnet"
                ) =>
            {
                tracing::info!(address = %listener.address, kind = name, "took a socket from systemd");
                Some(listener)
            }
            Ok(listener) => {
                tracing::error!(
                    address = %listener.address, kind = name,
                    "a socket from systemd whose FileDescriptorName is none of line, pickle, http and telnet isn't served"
                );
                None
            }
            Err(error) => {
                tracing::error!(fd, name, %error, "a socket from systemd can't be used");
                None
            }
        }
    };
    let listeners = passed.filter_map(&mut take).collect();
    (listeners, lots)
}

/// Finds or binds what a worker wants; new sockets are bound, and listen at `go`.
///
/// # Errors
/// Every address that can't be had, in one text; nothing new is kept then.
pub fn provide(held: &mut Vec<Listener>, wanted: &[Wanted], generation: u64) -> Result<(), String> {
    let mut problems = Vec::new();
    let mut fresh = Vec::new();
    for want in wanted {
        let Some(address) = Address::parse(&want.address) else {
            problems.push(format!(
                "{}: not an address this supervisor knows",
                want.address
            ));
            continue;
        };
        if held.iter().any(|l| l.address == address) {
            continue;
        }
        if let Some(other) = held.iter().find(|l| l.address.overlaps(&address)) {
            problems.push(format!(
                "{address} overlaps {}, which is held: this change needs a full restart",
                other.address
            ));
            continue;
        }
        match Listener::bind(address.clone(), &want.kind, generation) {
            Ok(listener) => fresh.push(listener),
            Err(error) => problems.push(format!("cannot bind {address}: {error}")),
        }
    }
    if problems.is_empty() {
        held.extend(fresh);
        Ok(())
    } else {
        fresh.into_iter().for_each(|l| l.close());
        Err(problems.join("\n"))
    }
}

impl Listener {
    fn bind(address: Address, kind: &str, generation: u64) -> io::Result<Listener> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let mut file = None;
        let fd = match &address {
            Address::Tcp(at) => {
                let fd = socket_with(family(at), SocketType::STREAM, flags, None)?;
                sockopt::set_socket_reuseaddr(&fd, true)?;
                only_v6(&fd, at)?;
                bind(&fd, at)?;
                fd
            }
            Address::Udp(at) => {
                let fd = socket_with(family(at), SocketType::DGRAM, flags, None)?;
                only_v6(&fd, at)?;
                // Root may exceed net.core.rmem_max; others get what it allows.
                if sockopt::set_socket_recv_buffer_size_force(&fd, UDP_BUFFER).is_err() {
                    sockopt::set_socket_recv_buffer_size(&fd, UDP_BUFFER)?;
                }
                bind(&fd, at)?;
                fd
            }
            Address::Unix(path) => {
                remove_stale(path)?;
                let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
                if kind == "http" || kind == "telnet" {
                    // Who may ask it may change the table. The file has the mode that the socket has at bind, so there
                    // is no moment at which others could connect.
                    rustix::fs::fchmod(&fd, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
                }
                bind(&fd, &SocketAddrUnix::new(path)?)?;
                let meta = std::fs::symlink_metadata(path)?;
                file = Some((path.clone(), meta.dev(), meta.ino()));
                fd
            }
        };
        let cookie = sys::cookie(fd.as_fd())?;
        Ok(Listener {
            kind: kind.to_owned(),
            address,
            fd: Rc::new(fd),
            cookie,
            passed: false,
            pending: Some(generation),
            file,
        })
    }

    /// Begins to listen, if it was bound for a worker that now owns it.
    pub fn open(&mut self) -> io::Result<()> {
        if self.pending.take().is_some() && !matches!(self.address, Address::Udp(_)) {
            listen(&*self.fd, BACKLOG)?;
        }
        Ok(())
    }

    /// A socket that systemd passed under `name`.
    pub fn passed(fd: OwnedFd, name: &str) -> io::Result<Listener> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let stream = sockopt::socket_type(&fd)? == SocketType::STREAM;
        let at = rustix::net::getsockname(&fd)?;
        let address = match (SocketAddr::try_from(at.clone()), stream) {
            (Ok(at), true) => Address::Tcp(at),
            (Ok(at), false) => Address::Udp(at),
            (Err(_), true) => Address::Unix(unix_path(at)?),
            (Err(_), false) => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "a unix socket that is not a stream",
                ));
            }
        };
        let cookie = sys::cookie(fd.as_fd())?;
        Ok(Listener {
            kind: name.to_owned(),
            address,
            fd: Rc::new(fd),
            cookie,
            passed: true,
            pending: None,
            file: None,
        })
    }

    /// One that a supervisor had bound that was killed, from what is said of it by [`item`](Listener::item); none if its
    /// socket file is another's by now.
    pub fn kept(item: Item, file: Option<SocketFile>, fd: OwnedFd) -> Option<Listener> {
        let Item::Listener {
            kind,
            address,
            cookie,
            ..
        } = item
        else {
            return None;
        };
        let is_there = file.as_ref().is_none_or(|(path, dev, ino)| {
            std::fs::symlink_metadata(path)
                .is_ok_and(|meta| (meta.dev(), meta.ino()) == (*dev, *ino))
        });
        let address = Address::parse(&address).filter(|_| is_there)?;
        Some(Listener {
            kind,
            address,
            fd: Rc::new(fd),
            cookie,
            passed: false,
            pending: None,
            file,
        })
    }

    /// What it is, for who comes after this process.
    pub fn item(&self) -> Item {
        Item::Listener {
            kind: self.kind.clone(),
            address: self.address.to_string(),
            cookie: self.cookie,
            unlisted: false,
            passed: self.passed,
        }
    }

    /// The socket file that was made for it.
    pub fn file(&self) -> Option<SocketFile> {
        self.file.clone()
    }

    /// Closes it for good, and removes the socket file if it is still the one that was made.
    pub fn close(self) {
        if let Some((path, dev, ino)) = &self.file
            && let Ok(meta) = std::fs::symlink_metadata(path)
            && (meta.dev(), meta.ino()) == (*dev, *ino)
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), %error, "the socket file could not be removed");
        }
    }
}

fn family(at: &SocketAddr) -> AddressFamily {
    if at.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    }
}

/// `[::]` and `0.0.0.0` are two addresses, whatever net.ipv6.bindv6only says.
fn only_v6(fd: &OwnedFd, at: &SocketAddr) -> io::Result<()> {
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(fd, true)?;
    }
    Ok(())
}

/// Removes a socket file that nobody answers on.
pub fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(meta) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !meta.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the path exists and is not a socket",
        ));
    }
    for kind in [SocketType::STREAM, SocketType::SEQPACKET] {
        let probe = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        match rustix::net::connect(&probe, &SocketAddrUnix::new(path)?) {
            // A server of the other kind refuses by EPROTOTYPE: it lives.
            Err(rustix::io::Errno::PROTOTYPE) => {}
            Err(rustix::io::Errno::CONNREFUSED) => return std::fs::remove_file(path),
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            _ => break,
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        "another process answers on it",
    ))
}

fn unix_path(at: SocketAddrAny) -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let at = SocketAddrUnix::try_from(at)?;
    match at.path_bytes() {
        Some(path) => Ok(std::ffi::OsString::from_vec(path.to_vec()).into()),
        None => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a unix socket without a path",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_overlaps_the_addresses_of_its_own_family() {
        let parse = |text| Address::parse(text).unwrap();
        for (a, b, overlap) in [
            ("tcp://0.0.0.0:1", "tcp://127.0.0.1:1", true),
            ("tcp://127.0.0.1:1", "tcp://0.0.0.0:1", true),
            ("tcp://[::]:1", "tcp://127.0.0.1:1", false),
            ("tcp://127.0.0.1:1", "tcp://127.0.0.2:1", false),
            ("tcp://127.0.0.1:1", "udp://127.0.0.1:1", false),
            ("tcp://0.0.0.0:1", "tcp://127.0.0.1:2", false),
        ] {
            assert_eq!(parse(a).overlaps(&parse(b)), overlap, "{a} {b}");
            assert_eq!(parse(a).to_string(), a);
        }
    }

    #[test]
    fn a_stale_socket_file_goes_and_a_served_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let served = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(remove_stale(&path).is_err());
        drop(served);
        remove_stale(&path).unwrap();
        assert!(!path.exists());
        std::fs::write(&path, "not a socket").unwrap();
        assert!(remove_stale(&path).is_err());
    }

    #[test]
    fn only_the_owner_may_ask_over_a_socket_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mode = |kind: &str| {
            let path = dir.path().join(kind);
            let socket = Listener::bind(Address::Unix(path.clone()), kind, 1).unwrap();
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            socket.close();
            assert!(!path.exists());
            mode & 0o777
        };
        assert_eq!((mode("http"), mode("telnet")), (0o600, 0o600));
        assert_ne!(mode("line"), 0o600, "as the umask says");
    }

    #[test]
    fn when_one_address_fails_none_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let good = dir.path().join("good");
        let wanted = |address: String| Wanted {
            kind: "line".into(),
            address,
        };
        let mut held = Vec::new();
        let error = provide(
            &mut held,
            &[
                wanted(format!("unix:{}", good.display())),
                wanted("unix:/no/such/folder/s".into()),
            ],
            1,
        )
        .unwrap_err();
        assert!(error.contains("/no/such/folder/s"), "{error}");
        assert!(held.is_empty() && !good.exists());
    }
}
