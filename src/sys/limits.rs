//! Resource limits.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one; returns it.
pub fn raise_open_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 1024;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// Whether a process may open `spare` descriptors more, at least.
///
/// The kernel gives out the lowest number that is free: were all others taken, this is how many are left.
pub fn has_descriptors(like: BorrowedFd<'_>, spare: u64) -> bool {
    let (Ok((limit, _)), Ok(lowest)) = (
        getrlimit(Resource::RLIMIT_NOFILE),
        rustix::io::fcntl_dupfd_cloexec(like, 0),
    ) else {
        return false;
    };
    lowest.as_raw_fd() as u64 + spare < limit
}
