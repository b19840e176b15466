//! A destination: from its ring to the wire.
//!
//! The task that serves a destination owns nothing: where the connection is in the ring is in the ledger and in the
//! kernel (`link base + bytes acknowledged`, `+ bytes in the send buffer`), so a successor goes on at the exact byte,
//! after a hand-over and after a crash alike.

mod backoff;
mod connect;
mod file;
mod frames;
mod tcp;

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::Notify;

use crate::gate::Gate;
use crate::handover::Registry;
use crate::ledger::{Cell, Count, DropReason};
use crate::queue::{Queue, Ring};
use crate::spec::{self, Address};
use crate::sys::{self, Watched};
use frames::Staged;

/// Where lines go.
#[derive(Debug)]
pub struct Destination {
    /// As configured.
    pub spec: spec::Destination,
    /// The route it belongs to; empty for one that the config no longer has.
    pub route: String,
    /// Its queue.
    pub queue: Arc<Queue>,
    /// The ring of it that is sent from.
    ring: Arc<Ring>,
    gate: Arc<Gate>,
    registry: Arc<Registry>,
    link: Mutex<Link>,
    health: Mutex<Health>,
    draining: AtomicBool,
    /// It was given up: nothing is connected or sent any more.
    gone: AtomicBool,
    /// It may not connect: what is queued is being moved elsewhere.
    held: AtomicBool,
    /// Woken when something outside has changed what the task has to do.
    changed: Notify,
}

/// The connection in use.
#[derive(Debug, Default)]
struct Link {
    socket: Option<Arc<Watched>>,
    cookie: u64,
    peer: Option<SocketAddr>,
    /// The ring position of its first byte.
    base: u64,
    /// The ring position up to which it was written; `None`: the kernel is to be asked.
    written: Option<u64>,
    /// When the kernel was last asked what is acknowledged, and what was written then.
    asked: Option<(Instant, u64)>,
    /// Lines wait for company until then.
    company_until: Option<Instant>,
    /// Those before this position have waited.
    company_had: u64,
    /// It is to be given up at the end of a line or frame: the name means another address now, or the config another form.
    moving: bool,
    /// It is sent frames, of which this is the last; then `written` is where that ends.
    frames: Option<Staged>,
    /// The last connection ended with everything acknowledged and in order.
    ended_well: bool,
}

/// What a destination is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It never was up in this worker.
    Connecting,
    /// It is connected, the file is open.
    Up,
    /// It isn't.
    Down,
}

impl State {
    /// As in the status and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Connecting => "connecting",
            State::Up => "up",
            State::Down => "down",
        }
    }
}

/// A destination's state, for people.
#[derive(Clone, Debug)]
pub struct Health {
    /// What it is doing.
    pub state: State,
    /// The address it is connected to.
    pub peer: Option<SocketAddr>,
    /// The last error, until it is up again.
    pub error: Option<String>,
}

impl Link {
    /// The frame of a connection that is sent frames.
    fn staged(&mut self) -> &mut Staged {
        self.frames.get_or_insert_default()
    }
}

impl Destination {
    /// A destination that isn't connected yet.
    pub fn new(
        spec: spec::Destination,
        route: &str,
        queue: Arc<Queue>,
        gate: Arc<Gate>,
        registry: Arc<Registry>,
    ) -> Destination {
        Destination {
            spec,
            route: route.to_owned(),
            ring: queue.send.clone(),
            queue,
            gate,
            registry,
            link: Mutex::default(),
            health: Mutex::new(Health {
                state: State::Connecting,
                peer: None,
                error: None,
            }),
            draining: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            held: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// Serves it until it is given up.
    pub async fn run(self: Arc<Self>) {
        match &self.spec.address {
            Address::Tcp { host, port, .. } => self.run_tcp(host, *port).await,
            Address::File(path) => self.run_file(path).await,
        }
    }

    /// Goes on with this connection, which a predecessor made; the ledger names it as the ring's link. `None`: there is none.
    pub fn take_over(&self, socket: Option<Arc<Watched>>) {
        let mut link = self.link();
        let (cookie, framed) = (self.queue.linked(), self.ring.cell(Cell::FramedLink) != 0);
        *link = Link::default();
        if let Some(socket) = socket {
            link.peer = connect::peer(socket.get_ref());
            link.moving = !connect::is_literal_for(&self.spec.address, link.peer)
                || framed != self.spec.pickle;
            link.frames = framed.then(Staged::default);
            link.base = self.ring.cell(Cell::LinkBase);
            link.cookie = cookie;
            link.socket = Some(socket);
        }
        drop(link);
        self.changed.notify_one();
        self.queue.taken_over();
    }

    /// Takes the place of `other`, which has the same queue, after a change of how it is configured: its connection goes on,
    /// and is given up once all that was sent is acknowledged if the peer or the form is another now. False: the gate is
    /// closed, nothing has happened.
    pub fn succeed(&self, other: &Destination) -> bool {
        let Some(mut lane) = self.gate.enter() else {
            return false;
        };
        let mut theirs = other.link();
        let mut link = self.link();
        if matches!(self.spec.address, Address::File(_))
            && let Some(socket) = theirs.socket.clone()
        {
            other.read_acknowledgements(&mut lane, &mut theirs, Instant::now());
            // What lies in the kernel goes to the file: a reset takes it back.
            let _already_gone = rustix::net::connect_unspec(socket.get_ref());
            other.close(&mut theirs);
        }
        other.gone.store(true, Ordering::SeqCst);
        *link = std::mem::take(&mut *theirs);
        let same_peer =
            other.spec.address == self.spec.address && other.spec.bind == self.spec.bind;
        link.moving |= !same_peer || other.spec.pickle != self.spec.pickle;
        self.held
            .store(other.held.load(Ordering::SeqCst), Ordering::SeqCst);
        let health = other.health();
        *self.health.lock().unwrap_or_else(|e| e.into_inner()) = health;
        drop((theirs, link));
        other.changed.notify_one();
        true
    }

    /// The connection in use and its cookie.
    pub fn socket(&self) -> Option<(u64, Arc<Watched>)> {
        let link = self.link();
        link.socket.clone().map(|socket| (link.cookie, socket))
    }

    /// From now on it hurries: lines wait for no company.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.changed.notify_one();
    }

    /// Whether everything that is in memory is acknowledged.
    pub fn is_drained(&self) -> bool {
        self.queue.queued_bytes() == 0
    }

    /// Ends the connection for good, so that nothing more of it is delivered: what isn't acknowledged can go elsewhere. False
    /// while the gate is closed.
    pub fn stand_down(&self) -> bool {
        let Some(mut lane) = self.gate.enter() else {
            return false;
        };
        let mut link = self.link();
        self.gone.store(true, Ordering::SeqCst);
        self.read_acknowledgements(&mut lane, &mut link, Instant::now());
        if let Some(socket) = link.socket.as_ref().filter(|_| self.queue.send.used() > 0) {
            // What lies in the kernel must not arrive after all: a reset takes it back.
            let _already_gone = rustix::net::connect_unspec(socket.get_ref());
        }
        self.close(&mut link);
        self.changed.notify_one();
        true
    }

    /// Keeps it from connecting, while what is queued is moved elsewhere. False: it is connected, or isn't a peer.
    pub fn hold(&self) -> bool {
        let link = self.link();
        let may = link.socket.is_none() && matches!(self.spec.address, Address::Tcp { .. });
        self.held.store(may, Ordering::SeqCst);
        may
    }

    /// Lets it connect again.
    pub fn let_go(&self) {
        self.held.store(false, Ordering::SeqCst);
    }

    /// Gives up what isn't acknowledged and the connection, for good. Returns the lines dropped; `None`: the gate is closed.
    pub fn give_up(&self, reason: DropReason) -> Option<u64> {
        let mut lane = self.gate.enter()?;
        let mut link = self.link();
        self.gone.store(true, Ordering::SeqCst);
        let lines = self.queue.discard(&mut lane.writer, reason);
        self.close(&mut link);
        self.changed.notify_one();
        Some(lines)
    }

    /// Its state, for people.
    pub fn health(&self) -> Health {
        self.health
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .clone()
    }

    /// Whether it was given up.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn is_up(&self, peer: Option<SocketAddr>) {
        let mut health = self.health.lock().unwrap_or_else(|e| e.into_inner());
        if health.state != State::Up {
            tracing::info!(
                destination = self.spec.id,
                peer = peer.map(tracing::field::display),
                "a destination is up"
            );
            self.queue.wake_spool();
        }
        *health = Health {
            state: State::Up,
            peer,
            error: None,
        };
    }

    /// Says why it is down; in the log once for each new reason.
    fn is_down(&self, error: String) {
        // We have ended it ourselves.
        if self.is_gone() {
            return;
        }
        let mut health = self.health.lock().unwrap_or_else(|e| e.into_inner());
        if self.is_draining() && self.is_drained() {
            // A peer that closes its side after ours.
            tracing::debug!(destination = self.spec.id, error, "a destination is down");
        } else if health.error.as_ref() != Some(&error) {
            tracing::warn!(destination = self.spec.id, error, "a destination is down");
        }
        *health = Health {
            state: State::Down,
            peer: None,
            error: Some(error),
        };
    }

    /// Lets go of the connection: here, at the peer, at the supervisor.
    fn close(&self, link: &mut Link) {
        if let Some(socket) = link.socket.take() {
            let _already_gone =
                rustix::net::shutdown(socket.get_ref(), rustix::net::Shutdown::Both);
            self.registry.release(link.cookie);
        }
        link.peer = None;
        link.written = None;
    }

    /// Counts what was just written: `from..to`, some of it perhaps for the second time.
    fn count_sent(&self, writer: &mut crate::ledger::Writer, from: u64, to: u64) {
        let lines = |from: u64, to: u64| {
            let bytes = self.ring.bytes(from, (to - from) as usize);
            memchr::memchr_iter(b'\n', bytes).count() as u64
        };
        let before = self.ring.cell(Cell::SentUpTo).clamp(from, to);
        writer.add(self.ring.counts(), Count::Resent, lines(from, before));
        writer.add(self.ring.counts(), Count::Sent, lines(before, to));
        if to > before {
            writer.set(self.ring.cells(), Cell::SentUpTo, to);
        }
        writer.commit();
    }
}

/// Whether a socket is the one with that cookie.
pub fn has_cookie(socket: &Watched, cookie: u64) -> bool {
    matches!(sys::cookie(socket.get_ref().as_fd()), Ok(found) if found == cookie)
}
