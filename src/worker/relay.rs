//! The parts of a running worker, put together.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use super::amend::{Amending, InForce, Leaving};
use super::charts::{self, Charting};
use super::standing::{self, Standing};
use super::tally;
use super::web::{Asked, Web};
use super::windows::Gathering;
use crate::admin::desk::Desk;
use crate::admin::telnet::{self, Sessions};
use crate::config::Config;
use crate::destination::{Destination, has_cookie};
use crate::handover::{Generation, Item, Registry};
use crate::ledger::{Count, Ledger, Object, Slot};
use crate::listen::{
    Connection, Inputs, Kind, Listener, Lost, Protocol, accept, place_inherited, read_datagrams,
    read_stream,
};
use crate::spool::Spool;
use crate::sys::{self, Watched};

/// A worker's parts.
#[derive(Debug)]
pub(super) struct Relay {
    pub generation: u64,
    pub version: String,
    /// As the file has it: what isn't about rules is as here.
    pub config: Config,
    pub config_hash: String,
    pub ledger: Arc<Ledger>,
    pub registry: Arc<Registry>,
    pub inputs: Arc<Inputs>,
    pub spool: Spool,
    pub standing: Standing,
    /// What the table makes of this worker.
    pub in_force: ArcSwap<InForce>,
    pub amending: Amending,
    /// Those that no rule names any more.
    pub leaving: Mutex<Vec<Leaving>>,
    pub listeners: Mutex<Vec<Arc<Listener>>>,
    /// Counts Baton's own metrics as an input.
    pub internal: Object,
    /// Counts the lines that aggregations make as an input.
    pub aggregated: Object,
    pub gathering: Gathering,
    pub charting: Charting,
    pub web: Web,
    pub sessions: Arc<Sessions>,
    pub history: Mutex<Vec<Generation>>,
    /// All that the supervisor holds would outlive it.
    pub kept: Mutex<Option<bool>>,
    /// It serves, and isn't stopping.
    pub serving: AtomicBool,
    /// It has served at least once.
    pub began: AtomicBool,
    /// Rings that will go on in memory of another size when they are found empty.
    pub resized: Mutex<Vec<Resized>>,
    /// Those whose ring is in new memory.
    pub fresh: Mutex<Vec<Arc<Destination>>>,
    /// Those that are configured otherwise than when their queue was registered.
    pub respecified: Vec<Arc<Destination>>,
    pub runtime: Handle,
}

/// A ring's new memory.
#[derive(Debug)]
pub(super) struct Resized {
    pub destination: Arc<Destination>,
    pub size: u64,
    pub memory: OwnedFd,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Relay {
    /// What the table makes of this worker now.
    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// Replaces that, for batches, for those who judge who is up, and for people.
    pub fn put_in_force(&self, next: InForce) {
        let next = Arc::new(next);
        self.standing.judge_others(&next, || {
            self.inputs.intake.snapshot.store(next.snapshot.clone());
            self.in_force.store(next.clone());
        });
    }

    /// Starts the tasks; they wait at the gate.
    pub fn start_tasks(self: &Arc<Self>) {
        for destination in self.all_destinations() {
            self.runtime.spawn(destination.run());
        }
        self.runtime.spawn(standing::keep(self.clone()));
        self.runtime.spawn(charts::keep(self.clone()));
        self.runtime.spawn(tally::keep(self.clone()));
        for connection in self.inputs.connections.all() {
            self.runtime
                .spawn(read_stream(self.inputs.clone(), connection));
        }
    }

    fn start_listener(self: &Arc<Self>, listener: Arc<Listener>) {
        match listener.kind.as_str() {
            "http" => {}
            "telnet" => {
                let desk = Arc::new(Asked(self.clone()));
                let stopping = self.inputs.stopping.subscribe();
                let sessions = self.sessions.clone();
                self.runtime
                    .spawn(telnet::accept(sessions, listener, desk, stopping));
            }
            _ if listener.is_udp() => {
                self.runtime
                    .spawn(read_datagrams(self.inputs.clone(), listener));
            }
            _ => {
                self.runtime.spawn(accept(self.inputs.clone(), listener));
            }
        }
    }

    /// Adds a connection that was passed. Its task is the caller's to start.
    ///
    /// `None`: its slot in the ledger has another owner, so it was closed before it could be passed.
    pub fn add_connection(
        &self,
        item: &Item,
        socket: OwnedFd,
    ) -> std::io::Result<Option<Arc<Connection>>> {
        let broken =
            |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
        let Item::Connection {
            cookie,
            slot,
            listener,
        } = item
        else {
            return Err(broken("not a connection"));
        };
        let slot = Slot::from_number(*slot).ok_or_else(|| broken("a slot out of range"))?;
        let (owner, offset) = self.ledger.stream(slot);
        if owner != *cookie {
            let _gone = rustix::net::shutdown(&socket, rustix::net::Shutdown::Both);
            self.registry.release(*cookie);
            return Ok(None);
        }
        let kind = if listener.starts_with("tcp://") {
            Kind::Tcp
        } else {
            Kind::Unix
        };
        let protocol = match offset.pickle {
            true => Protocol::Pickle,
            false => Protocol::Line,
        };
        let object = self
            .ledger
            .object(crate::ledger::Kind::Listener, listener)?;
        let connection = Connection::new(
            *cookie,
            slot,
            (kind, protocol),
            (listener, object),
            socket,
            true,
        )?;
        let connection = Arc::new(connection);
        self.inputs.connections.insert(connection.clone());
        Ok(Some(connection))
    }

    /// Gives each destination the connection that the ledger names. The others are let go of.
    pub fn link_destinations(&self, outbound: &mut HashMap<u64, Arc<Watched>>) {
        for destination in self.all_destinations() {
            let cookie = destination.queue.linked();
            let own = destination.socket().map(|(_, socket)| socket);
            let own = own.filter(|socket| has_cookie(socket, cookie));
            destination.take_over(own.or_else(|| outbound.remove(&cookie)));
        }
        for (cookie, socket) in outbound.drain() {
            let _gone = rustix::net::shutdown(socket.get_ref(), rustix::net::Shutdown::Both);
            self.registry.release(cookie);
        }
    }

    /// Stops all reading, writing and accepting, and tells what only this process knows: of its connections, and of its
    /// sessions.
    pub fn freeze(&self) -> ([Vec<u8>; 4], Option<Vec<u8>>) {
        let _no_table_is_swapped = lock(&self.amending.swapping);
        self.serving.store(false, Ordering::SeqCst);
        self.spool.freeze();
        self.inputs.gate.close();
        self.gathering
            .count(&mut self.inputs.gate.inside_closed().writer);
        let mut frozen = self.inputs.connections.freeze();
        for destination in self.all_destinations() {
            if let Some((cookie, _)) = destination.socket() {
                frozen.link(cookie);
            }
        }
        let sessions = self.sessions.freeze();
        tally::note(self, &mut self.inputs.gate.inside_closed().writer);
        (frozen.finish(), sessions)
    }

    /// Goes on after a worker that died, or after a successor that failed: the ledger and the
    /// kernel know where. `mine`: these are this process's own connections.
    pub fn recover_connections(&self, mine: bool) {
        let mut lane = self.inputs.gate.inside_closed();
        let (mut cut, mut bytes) = (0, 0);
        for connection in self.inputs.connections.all() {
            match self
                .inputs
                .connections
                .recover(&connection, &self.ledger, mine)
            {
                Ok(Lost::Nothing) => {}
                Ok(Lost::Bytes(lost)) => {
                    cut += 1;
                    bytes += lost;
                    lane.writer.add(connection.object, Count::LostByCrash, lost);
                    let state = self.inputs.connections.state(&connection);
                    lane.writer
                        .set_offset(connection.slot, connection.offset(&state));
                    lane.writer.commit();
                    drop(state);
                    if connection.protocol == Protocol::Pickle {
                        // Its task hears of it, and ends it.
                        let socket = connection.socket.get_ref();
                        let _gone = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
                    }
                }
                Err(error) => {
                    tracing::error!(peer = connection.peer, %error, "its stream can't be found again");
                }
            }
        }
        if cut > 0 {
            tracing::warn!(
                connections = cut,
                bytes,
                "lost by a crash: read, and not queued"
            );
        }
    }

    /// Rings whose memory is new begin anew, whatever the ledger says of one of that name.
    pub fn reset_fresh_rings(&self) {
        let mut lane = self.inputs.gate.inside_closed();
        for destination in lock(&self.fresh).drain(..) {
            destination.queue.reset(&mut lane.writer);
        }
    }

    /// Puts rings into memory of their new size, those that are empty.
    pub fn resize_rings(&self) {
        for Resized {
            destination,
            size,
            memory,
        } in lock(&self.resized).drain(..)
        {
            let id = &destination.spec.id;
            if !destination.queue.is_empty(destination.socket().is_some()) {
                let now = destination.queue.size();
                tracing::warn!(
                    destination = id,
                    now,
                    wanted = size,
                    "the queue keeps its size: it isn't empty. A later reload changes it"
                );
                continue;
            }
            let item = super::assemble::queue_item(&destination.spec, size);
            let resized = self
                .registry
                .register(&[item], &[memory.as_fd()])
                .and_then(|()| destination.queue.replace_memory(memory, size));
            if let Err(error) = resized {
                tracing::error!(destination = id, %error, "the queue keeps its size");
            }
        }
    }

    /// Opens the gate: from now on this worker serves.
    pub fn open(self: &Arc<Self>) {
        self.standing.recall(self);
        self.serving.store(true, Ordering::SeqCst);
        self.inputs.intake.tap.open();
        self.inputs.gate.open();
        self.amending.begins();
        self.spool.open();
        let relay = self.clone();
        self.runtime
            .spawn_blocking(move || super::amend::refresh(&relay));
        let inputs = self.inputs.clone();
        self.runtime.spawn(async move { place_inherited(&inputs) });
        let listeners = lock(&self.listeners);
        if !self.began.swap(true, Ordering::SeqCst) {
            listeners
                .iter()
                .for_each(|listener| self.start_listener(listener.clone()));
        }
        let desk: Arc<dyn Desk> = Arc::new(Asked(self.clone()));
        self.sessions.start(&desk, &self.runtime);
        for listener in listeners.iter().filter(|l| l.kind == "http") {
            self.web.serve(self, listener);
        }
    }

    /// Datagrams that the kernel dropped on a socket.
    pub fn kernel_dropped(listener: &Listener) -> u64 {
        if !listener.is_udp() {
            return 0;
        }
        sys::kernel_dropped(listener.socket.as_fd()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
