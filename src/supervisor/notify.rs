//! What systemd is told (sd_notify(3)). Without NOTIFY_SOCKET nothing happens.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::machine::State;
use crate::sys;

/// The service manager, seen from here.
#[derive(Debug)]
pub struct Notify {
    watchdog: Option<Duration>,
    next: Instant,
}

impl Notify {
    /// Reads what systemd asked for.
    pub fn new(now: Instant) -> Notify {
        // Half of the time, as sd_watchdog_enabled(3) advises.
        let watchdog = sd_notify::watchdog_enabled().map(|time| time / 2);
        Notify {
            watchdog,
            next: now,
        }
    }

    /// When `tick` is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.watchdog.map(|_| self.next)
    }

    /// Says that the supervisor's loop turns.
    pub fn tick(&mut self, now: Instant) {
        if let Some(every) = self.watchdog
            && now >= self.next
        {
            self.next = now + every;
            send(&[NotifyState::Watchdog]);
        }
    }

    /// Tells a state.
    pub fn tell(&self, state: &State, serving: Option<u64>) {
        let generation = serving.unwrap_or(0);
        match state {
            State::Reloading => {
                let mut states = vec![NotifyState::Reloading];
                if let Ok(now) = NotifyState::monotonic_usec_now() {
                    states.push(now);
                }
                send(&states);
            }
            State::Ready => {
                let text = format!("serving, generation {generation}");
                send(&[NotifyState::Ready, NotifyState::Status(&text)]);
            }
            State::Refused(why) => {
                let why = why.lines().next().unwrap_or_default();
                let text = format!("generation {generation} serves on; reload refused: {why}");
                send(&[NotifyState::Ready, NotifyState::Status(&text)]);
            }
            State::Recovering { why, .. } => {
                let text = format!("the worker died ({why}), starting another");
                send(&[NotifyState::Status(&text)]);
            }
            State::Stopping => send(&[NotifyState::Stopping]),
        }
    }
}

/// Says how long the next word may take, at most. systemd waits so long even if that is more than its own time.
pub fn extend(limit: Duration) {
    // sd_notify's own has 32 bits, which is an hour.
    let state = format!("EXTEND_TIMEOUT_USEC={}", limit.as_micros());
    send(&[NotifyState::Custom(&state)]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be notified");
    }
}

/// Whether there is a service manager that is told things.
pub fn is_heard() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Has the service manager keep a descriptor for the next process of this service (FDSTORE=1). It does if its unit has
/// room for one more (FileDescriptorStoreMax=), and doesn't say whether it did.
pub fn store(name: &str, fd: BorrowedFd<'_>) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let socket = UnixDatagram::unbound()?;
    match path.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(&path)?,
    }
    // FDPOLL=0: its other end closes when this process is killed, which is no reason to let go of it.
    let message = format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0\n");
    sys::send(socket.as_fd(), message.as_bytes(), &[fd], true)
}

/// Has it let go of those of this name.
pub fn remove(name: &str) {
    let name = format!("FDNAME={name}");
    send(&[
        NotifyState::Custom("FDSTOREREMOVE=1"),
        NotifyState::Custom(&name),
    ]);
}
