//! The operating system: what std, nix and rustix don't offer, behind safe functions.
//!
//! The only room with `unsafe`; each block states the contract that makes it sound. Everything
//! here is Linux.

#![expect(
    unsafe_code,
    reason = "the one address of unsafe code; each block has its contract"
)]

mod child;
mod directories;
mod limits;
mod memory;
mod passing;
mod socket;
mod watch;

pub use child::{
    CONTROL_FD, Child, ignore_termination_signals, inherited, set_process_name, spawn_worker,
};
pub use directories::Directories;
pub use limits::{has_descriptors, raise_open_files};
pub use memory::{MappedRing, Words, memfd, memfd_with, read_memfd, seal};
pub use passing::{MAX_FDS, Packet, receive, send};
pub use socket::{TcpInfo, cookie, kernel_dropped, queued_out, tcp_info, unread};
pub use watch::{Watched, watch};
