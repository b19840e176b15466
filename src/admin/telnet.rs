//! Sessions in which a person, or a script, types [commands](super::command).
//!
//! **A session survives a hot restart.** Its socket is held by the supervisor too, and all that a worker knows of it is its
//! [`State`](state::State): the half line, the lines that wait, what isn't sent yet, the subscription. Whoever reads,
//! writes or begins a command passes the gate, so that at a freeze that state is what the client sees; it travels beside
//! that of the connections. A command that only looks is asked again by the successor; of one that changes something it
//! isn't known whether it was done, and the client is told so. Changes aren't begun while a restart is under way.
//!
//! Where other machines reach it, the first line is `auth` and the token, if there is one; see
//! [`Access`](super::access::Access).
//!
//! A line of HTTP ends the session: a page that a browser here shows may have sent it. Where other machines come in they have
//! half a minute to say the token, and a part of the places.
//!
//! After a crash nobody knows what was answered: the client is told, and the session ends.

mod accept;
mod carried;
mod input;
mod run;
mod session;
mod state;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::access::Access;
use super::desk::Desk;
use crate::gate::Gate;
use crate::handover::{Item, Registry};
use crate::ledger::{Count, Kind, Ledger, Object, Writer};
use session::Session;

pub use accept::accept;
pub use input::{Input, Line, MAX_LINE};

/// So many sessions at one time.
pub const MAX_SESSIONS: usize = 64;
/// And so many of them at addresses that other machines reach: they mustn't keep out who sits here.
pub const MAX_OF_OTHERS: usize = 48;
/// How often it is logged that browsers are sent here.
const INTRUDERS: Duration = Duration::from_secs(60);

/// The sessions of a worker.
#[derive(Debug)]
pub struct Sessions {
    gate: Arc<Gate>,
    registry: Arc<Registry>,
    access: Arc<Access>,
    /// The supervisor knows what a session is, and holds them.
    held: bool,
    ledger: Arc<Ledger>,
    table: Mutex<BTreeMap<u64, Arc<Session>>>,
    /// When it was last logged that a browser was sent here.
    told: Mutex<Option<Instant>>,
}

impl Sessions {
    /// None yet. `held`: the supervisor knows of sessions.
    pub fn new(
        gate: Arc<Gate>,
        registry: Arc<Registry>,
        access: Arc<Access>,
        (held, ledger): (bool, Arc<Ledger>),
    ) -> Sessions {
        Sessions {
            gate,
            registry,
            access,
            held,
            ledger,
            table: Mutex::default(),
            told: Mutex::default(),
        }
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Session>>> {
        self.table.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What counts them, at their listeners.
    pub fn objects(&self) -> Vec<Object> {
        self.table().values().map(|one| one.object).collect()
    }

    /// How many there are at a listener.
    pub fn count(&self, listener: &str) -> usize {
        let table = self.table();
        table
            .values()
            .filter(|one| one.listener == listener)
            .count()
    }

    /// Adds one that another worker had. Until its state comes it is one that is cut.
    ///
    /// # Errors
    /// The kernel can't watch the socket.
    pub fn add(&self, cookie: u64, listener: &str, socket: OwnedFd) -> io::Result<()> {
        let object = self.ledger.object(Kind::Listener, listener)?;
        let session = Session::passed(cookie, (listener, object), socket)?;
        self.table().insert(cookie, Arc::new(session));
        Ok(())
    }

    /// Another worker has ended one.
    pub fn forget(&self, cookie: u64) {
        self.table().remove(&cookie);
    }

    /// What a successor must know. To be called while the gate is closed.
    pub fn freeze(&self) -> Option<Vec<u8>> {
        let table = self.table();
        (!table.is_empty()).then(|| carried::write(table.values()))
    }

    /// Goes on where a predecessor was.
    ///
    /// # Errors
    /// It isn't understood. Sessions of which nothing is known are cut.
    pub fn take_over(&self, state: &[u8], generation: u64) -> io::Result<()> {
        let table = self.table();
        carried::read(state, |carried, half, output| {
            if let Some(session) = table.get(&carried.cookie) {
                session.take_over(carried, half, output, generation);
            }
        })
    }

    /// Goes on after a successor that had begun, and failed: with those that it left alone.
    pub fn recover(&self) {
        for session in self.table().values() {
            session.recover();
        }
    }

    /// Serves those that aren't yet. They wait at the gate.
    pub fn start(self: &Arc<Self>, desk: &Arc<dyn Desk>, runtime: &Handle) {
        for session in self.table().values() {
            if !session.started.swap(true, Ordering::SeqCst) {
                runtime.spawn(run::run(self.clone(), session.clone(), desk.clone()));
            }
        }
    }

    /// Has the supervisor hold it too, before its first read.
    fn register(&self, session: &Session) -> io::Result<()> {
        if !self.held {
            return Ok(());
        }
        let item = Item::Session {
            cookie: session.cookie,
            listener: session.listener.clone(),
        };
        self.registry
            .register(&[item], &[session.socket.get_ref().as_fd()])
    }

    /// Whether it is to be logged once more that a browser was sent here.
    fn may_tell_of_intruders(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(|e| e.into_inner());
        let may = told.is_none_or(|told| told.elapsed() > INTRUDERS);
        if may {
            *told = Some(Instant::now());
        }
        may
    }

    /// It has ended. To be called behind the gate, so that a freeze knows of it or has its state.
    fn end(&self, session: &Session, writer: &mut Writer) {
        // The supervisor has the socket too: that one closes it is not enough.
        let _gone = rustix::net::shutdown(session.socket.get_ref(), rustix::net::Shutdown::Both);
        self.table().remove(&session.cookie);
        writer.add(session.object, Count::Closed, 1);
        writer.commit();
        if self.held {
            self.registry.release(session.cookie);
        }
    }
}
