//! A descriptor in tokio's reactor.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// A socket whose readiness tokio tells of. Needs a runtime's context.
pub type Watched = AsyncFd<OwnedFd>;

/// Puts a descriptor into the reactor; it is taken out when the value is dropped.
pub fn watch(fd: OwnedFd) -> io::Result<Watched> {
    // SAFETY: an `OwnedFd` is open and means the same description from now until the `AsyncFd`
    // that owns it is dropped: nothing else can close it, and its number never changes.
    unsafe { AsyncFd::register(fd) }.map_err(|error| error.into_parts().1)
}
