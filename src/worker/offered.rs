//! What a supervisor passed to a worker that isn't serving yet.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::handover::Item;
use crate::sys::{self, Watched};

/// Sockets and queues by what they are.
#[derive(Debug, Default)]
pub(super) struct Offered {
    pub listeners: Vec<(Item, OwnedFd)>,
    /// Connections that aren't in the table yet.
    pub connections: Vec<(Item, OwnedFd)>,
    /// Sessions that aren't in the table yet.
    pub sessions: Vec<(u64, String, OwnedFd)>,
    /// Outbound connections by cookie, already watched: nothing slow is left for the pause.
    pub outbound: HashMap<u64, Arc<Watched>>,
    /// Queues by destination.
    pub queues: HashMap<String, (u64, serde_json::Value, OwnedFd)>,
}

impl Offered {
    /// Takes a batch, each socket being what it was said to be.
    ///
    /// # Errors
    /// `InvalidData` when one isn't.
    pub fn take(&mut self, items: Vec<Item>, fds: Vec<OwnedFd>) -> io::Result<()> {
        if items.len() != fds.len() {
            let what = format!("{} items came with {} descriptors", items.len(), fds.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        for (item, fd) in items.into_iter().zip(fds) {
            if let Some(cookie) = item.cookie() {
                let found = sys::cookie(fd.as_fd())?;
                if found != cookie {
                    let what = format!("{item:?} came as the socket {found}");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
            }
            match item {
                Item::Listener { .. } => self.listeners.push((item, fd)),
                Item::Connection { .. } => self.connections.push((item, fd)),
                Item::Session { cookie, listener } => self.sessions.push((cookie, listener, fd)),
                Item::Outbound { cookie, .. } => {
                    self.outbound.insert(cookie, Arc::new(sys::watch(fd)?));
                }
                Item::Queue {
                    destination,
                    size,
                    spec,
                } => {
                    self.queues.insert(destination, (size, spec, fd));
                }
            }
        }
        Ok(())
    }
}
