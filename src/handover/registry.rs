//! The worker's side of what the supervisor holds for it.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{FromWorker, Item, Link};
use crate::sys::MAX_FDS;

/// Cookies in one message: it stays well below its limit.
const MESSAGE: usize = 2000;

/// Registers sockets and queues with the supervisor, and releases them.
#[derive(Debug)]
pub struct Registry {
    link: Arc<Link>,
    /// Released, and not yet said: the control socket was full.
    released: Mutex<Vec<u64>>,
}

impl Registry {
    /// Speaks over the worker's link.
    pub fn new(link: Arc<Link>) -> Registry {
        Registry {
            link,
            released: Mutex::default(),
        }
    }

    /// Whether the supervisor keeps up: while it doesn't, nothing new is accepted.
    pub fn keeps_up(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.link.fd(), PollFlags::OUT)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        matches!(poll(&mut fds, Some(&now)), Ok(n) if n > 0)
    }

    /// Passes descriptors to the supervisor, before their first read or write.
    ///
    /// # Errors
    /// When the supervisor is gone, or the kernel refuses for a second.
    pub fn register(&self, items: &[Item], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        for (items, fds) in items.chunks(MAX_FDS / 2).zip(fds.chunks(MAX_FDS / 2)) {
            let message = FromWorker::Register {
                items: items.to_vec(),
            };
            let mut tries = 0;
            loop {
                match self.link.send(&message, fds) {
                    // Too many descriptors in flight (unix(7)): the supervisor is taking them out.
                    Err(e) if e.raw_os_error() == Some(libc::ETOOMANYREFS) && tries < 1000 => {
                        tries += 1;
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    result => break result?,
                }
            }
        }
        Ok(())
    }

    /// Has the binary and the config on disk started as the next worker.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub fn ask_for_reload(&self) -> io::Result<()> {
        self.link.send(&FromWorker::Reload, &[])
    }

    /// Done with a socket. Never waits.
    pub fn release(&self, cookie: u64) {
        self.released
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .push(cookie);
        self.try_flush();
    }

    /// Says what was released, as far as there is room. Never waits.
    pub fn try_flush(&self) {
        let mut released = self.released.lock().unwrap_or_else(|e| e.into_inner());
        while !released.is_empty() {
            let from = released.len().saturating_sub(MESSAGE);
            let message = FromWorker::Release {
                cookies: released[from..].to_vec(),
                queues: Vec::new(),
            };
            if self.link.try_send(&message, &[]).is_err() {
                return;
            }
            released.truncate(from);
        }
    }

    /// Done with a destination's queue.
    pub fn release_queue(&self, destination: &str) -> io::Result<()> {
        let queues = vec![destination.to_owned()];
        self.link.send(
            &FromWorker::Release {
                cookies: Vec::new(),
                queues,
            },
            &[],
        )
    }

    /// Says what `release` couldn't; waits for room.
    pub fn flush(&self) -> io::Result<()> {
        let released =
            std::mem::take(&mut *self.released.lock().unwrap_or_else(|e| e.into_inner()));
        for cookies in released.chunks(MESSAGE) {
            let message = FromWorker::Release {
                cookies: cookies.to_vec(),
                queues: Vec::new(),
            };
            self.link.send(&message, &[])?;
        }
        Ok(())
    }
}
