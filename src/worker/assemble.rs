//! From a config and what the supervisor passed to the parts of a worker.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use super::Begun;
use super::amend::{Amending, InForce, Leaving};
use super::charts::Charting;
use super::loading::Loading;
use super::offered::Offered;
use super::relay::{Relay, Resized};
use super::standing::Standing;
use super::web::Web;
use super::windows::Gathering;
use crate::admin::telnet::Sessions;
use crate::aggregate;
use crate::aggregating::Aggregating;
use crate::amend::{Backlog, Document};
use crate::config::{self, Config, ListenAddress, ListenerKind};
use crate::destination::Destination;
use crate::gate::Gate;
use crate::handover::{Item, Registry};
use crate::intake::{Intake, Snapshot};
use crate::ledger::{self, Kind, Ledger};
use crate::listen::{Connections, Inputs, Limits, Listener};
use crate::queue::{self, Policy, Queue, WhenFull};
use crate::route::Table;
use crate::ruleset::{self, Ruleset};
use crate::spec::{self, Full, Replay};
use crate::spool::{self, Spool};
use crate::state;
use crate::sys;

/// Puts a worker together. Nothing moves yet: the gate is closed.
pub(super) fn assemble(
    begun: Begun,
    offered: &mut Offered,
    runtime: Handle,
    threads: usize,
) -> io::Result<Arc<Relay>> {
    let Begun {
        link,
        version,
        generation,
        config: file,
        ledger,
        kept,
        sessions,
        access,
        mut loading,
        token: _,
    } = begun;
    let (entries, changes) = kept;
    let document = Document::new(file, entries);
    for left in document.left_out() {
        tracing::error!(
            kind = left.kind.as_str(),
            key = left.key,
            reason = left.reason,
            "what was changed at run time can't be brought together with the config: it is left out"
        );
    }
    let run_time = super::report::run_time(&document);
    if run_time.overruled > 0 {
        tracing::info!(
            rules = run_time.overruled,
            "rules of the file are overruled by run-time changes: see baton config diff"
        );
    }
    let config = document.config();
    let registry = Arc::new(Registry::new(link));
    // One more than the runtime's threads, for the spool's.
    let gate = Arc::new(Gate::new(&ledger, threads + 1));
    let mut builder = Builder {
        ledger: &ledger,
        registry: &registry,
        gate: &gate,
        queues: std::mem::take(&mut offered.queues),
        resized: Vec::new(),
        respecified: Vec::new(),
        fresh: Vec::new(),
    };
    let Ruleset {
        entries,
        aggregations,
    } = ruleset::compile(&config).map_err(invalid)?;
    loading.has("compiled the rules");
    let table = Table::new(entries);
    loading.has("made the table");
    let destinations = builder.destinations(&config, &mut loading)?;
    let leaving = builder.leaving()?;
    let Builder {
        resized,
        respecified,
        fresh,
        ..
    } = builder;
    let object = |kind, name: &str| ledger.object(kind, name);
    let snapshot = Snapshot {
        rules: config.rules.clone(),
        queues: destinations.iter().map(|d| d.queue.clone()).collect(),
        up: ArcSwap::default(),
        routes: table
            .entries()
            .routes
            .iter()
            .map(|r| object(Kind::Route, &r.key))
            .collect::<io::Result<_>>()?,
        blocklist: table
            .entries()
            .blocklist
            .iter()
            .map(|r| object(Kind::Rule, &r.text))
            .collect::<io::Result<_>>()?,
        aggregation_counts: aggregations
            .iter()
            .map(|rule| object(Kind::Aggregation, &rule.text))
            .collect::<io::Result<_>>()?,
        aggregations,
        table,
    };
    let snapshot = Arc::new(snapshot);
    let gone = leaving.iter().map(|one| &one.destination);
    let spool = Spool::start(spool::Plan {
        settings: state::Settings {
            path: config.state.path.clone(),
            synchronous: match config.state.synchronous {
                config::Synchronous::Normal => state::Synchronous::Normal,
                config::Synchronous::Full => state::Synchronous::Full,
            },
            events_kept: config.state.events_kept,
        },
        max_size: config.state.max_size,
        gate: gate.clone(),
        destinations: destinations.iter().chain(gone).cloned().collect(),
        runtime: runtime.clone(),
    })?;
    // Until it is known that no predecessor has any.
    let windows = Aggregating::new(aggregate::Limits::of(config.max_windows), true);
    let access = Arc::new(access);
    let sessions = Sessions::new(
        gate.clone(),
        registry.clone(),
        access.clone(),
        (sessions, ledger.clone()),
    );
    let inputs = Arc::new(Inputs {
        ledger: ledger.clone(),
        gate,
        intake: Arc::new(Intake::new(snapshot.clone(), windows)),
        registry: registry.clone(),
        connections: Connections::default(),
        limits: Limits {
            max_line: config.input.max_line,
            max_frame: config.input.max_frame,
            max_connections: max_connections(&config),
            idle_timeout: config.input.idle_timeout,
        },
        waiting: AtomicUsize::new(0),
        frames: AtomicUsize::new(0),
        pickles: AtomicUsize::new(0),
        stopping: watch::Sender::new(false),
    });
    let listeners = offered
        .listeners
        .drain(..)
        .map(|(item, socket)| listener(&ledger, item, socket).map(Arc::new))
        .collect::<io::Result<Vec<_>>>()?;
    admitted(&config, &listeners)?;
    if !takes_metrics(&config, &listeners) {
        tracing::warn!(
            "nothing to listen on for metrics: [listen] names nothing, and systemd passes nothing"
        );
    }
    let standing = Standing::new(&config, &destinations);
    let relay = Arc::new(Relay {
        generation,
        version,
        config_hash: config.hash(),
        internal: ledger.object(Kind::Listener, "internal")?,
        aggregated: ledger.object(Kind::Listener, "aggregation")?,
        gathering: Gathering::default(),
        charting: Charting::default(),
        config: config.clone(),
        ledger,
        registry,
        inputs,
        spool,
        standing,
        in_force: ArcSwap::from_pointee(InForce {
            document,
            config,
            changes,
            volatile: 0,
            destinations,
            snapshot,
        }),
        amending: Amending::new(),
        leaving: Mutex::new(leaving),
        listeners: Mutex::new(listeners),
        web: Web::new(access),
        sessions: Arc::new(sessions),
        history: Mutex::default(),
        kept: Mutex::default(),
        serving: AtomicBool::new(false),
        began: AtomicBool::new(false),
        resized: Mutex::new(resized),
        respecified,
        fresh: Mutex::new(fresh),
        runtime,
    });
    relay.spool.keep_table_of(&relay);
    for (item, socket) in offered.connections.drain(..) {
        relay.add_connection(&item, socket)?;
        loading.has("took a connection");
    }
    for (cookie, listener, socket) in offered.sessions.drain(..) {
        relay.sessions.add(cookie, &listener, socket)?;
    }
    Ok(relay)
}

/// Sockets that systemd passed are bound already; what holds for those of the config holds for them.
fn admitted(config: &Config, listeners: &[Arc<Listener>]) -> io::Result<()> {
    for listener in listeners.iter().filter(|listener| listener.passed) {
        let kind = ListenerKind::named(&listener.kind);
        let address = listener.address.parse::<ListenAddress>();
        if let (Some(kind), Ok(address)) = (kind, address) {
            let admitted = config.admin.admits(kind, &address);
            admitted.map_err(|message| invalid(format!("a socket from systemd: {message}")))?;
        }
    }
    Ok(())
}

/// Whether metrics can come in, other than by a listener that is about to leave.
fn takes_metrics(config: &Config, listeners: &[Arc<Listener>]) -> bool {
    let mut listed = config.listen.iter();
    let mut passed = listeners.iter().filter(|listener| listener.passed);
    listed.any(|one| one.kind.takes_metrics()) || passed.any(|one| one.takes_metrics())
}

/// The config's limit, or what the limit of open files leaves: each connection is one here and one
/// in the supervisor.
fn max_connections(config: &Config) -> usize {
    let files = sys::raise_open_files() as usize;
    let others = 256
        + 2 * config
            .routes
            .iter()
            .map(|r| r.destinations.len())
            .sum::<usize>();
    let room = files.saturating_sub(others).clamp(16, ledger::CONNECTIONS);
    if room < config.input.max_connections {
        tracing::info!(
            max_connections = config.input.max_connections,
            room,
            open_files = files,
            "the limit of open files allows fewer connections than max_connections"
        );
    }
    config.input.max_connections.min(room)
}

fn listener(ledger: &Ledger, item: Item, socket: OwnedFd) -> io::Result<Listener> {
    let Item::Listener {
        kind,
        address,
        cookie,
        unlisted,
        passed,
    } = item
    else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a listener"));
    };
    if unlisted {
        tracing::info!(address, kind, "serving a socket that [listen] doesn't name");
    }
    Ok(Listener {
        object: ledger.object(Kind::Listener, &address)?,
        address,
        kind,
        cookie,
        socket,
        passed,
        leaving: Notify::new(),
    })
}

/// A queue, as the supervisor holds it.
pub(super) fn queue_item(spec: &spec::Destination, size: u64) -> Item {
    let destination = spec.id.clone();
    let spec = serde_json::to_value(spec).unwrap_or_default();
    Item::Queue {
        destination,
        size,
        spec,
    }
}

/// The queue of a destination that leaves: beside how it is configured, what is to become of its lines.
pub(super) fn leaving_item(spec: &spec::Destination, size: u64, how: Backlog) -> Item {
    let mut item = queue_item(spec, size);
    if let Item::Queue { spec, .. } = &mut item
        && let Some(keys) = spec.as_object_mut()
    {
        keys.insert(
            BACKLOG.to_owned(),
            serde_json::to_value(how).unwrap_or_default(),
        );
    }
    item
}

/// Where that is among the keys. Who doesn't know it delivers them.
const BACKLOG: &str = "backlog";

fn backlog_of(spec: &serde_json::Value) -> Backlog {
    let said = spec.get(BACKLOG).cloned();
    said.and_then(|said| serde_json::from_value(said).ok())
        .unwrap_or(Backlog::Drain)
}

struct Builder<'a> {
    ledger: &'a Arc<Ledger>,
    registry: &'a Arc<Registry>,
    gate: &'a Arc<Gate>,
    queues: HashMap<String, (u64, serde_json::Value, OwnedFd)>,
    resized: Vec<Resized>,
    respecified: Vec<Arc<Destination>>,
    fresh: Vec<Arc<Destination>>,
}

impl Builder<'_> {
    /// In the order of the config, in which tables number them.
    fn destinations(
        &mut self,
        config: &Config,
        loading: &mut Loading,
    ) -> io::Result<Vec<Arc<Destination>>> {
        let mut destinations = Vec::new();
        for route in &config.routes {
            for spec in &route.destinations {
                let held = self.queues.get(&spec.id).map(|(_, held, _)| held.clone());
                let destination = Arc::new(self.destination(spec, &route.key)?);
                if held.is_none() {
                    self.fresh.push(destination.clone());
                }
                if held.is_some_and(|held| Ok(held) != serde_json::to_value(spec).map_err(drop)) {
                    self.respecified.push(destination.clone());
                }
                self.note_resize(&destination);
                destinations.push(destination);
                loading.has("opened a queue");
            }
        }
        Ok(destinations)
    }

    /// A destination with its ring: the one there is, or a new one.
    fn destination(&mut self, spec: &spec::Destination, route: &str) -> io::Result<Destination> {
        let (size, memory) = match self.queues.remove(&spec.id) {
            Some((size, _, memory)) => (size, memory),
            None => {
                let size = ring_size(spec.queue);
                let memory = sys::memfd("baton-queue", queue::memory_for(size))?;
                self.registry
                    .register(&[queue_item(spec, size)], &[memory.as_fd()])?;
                (size, memory)
            }
        };
        let queue = Queue::open(self.ledger, &spec.id, memory, size, policy(spec, size))?;
        let (gate, registry) = (self.gate.clone(), self.registry.clone());
        Ok(Destination::new(
            spec.clone(),
            route,
            Arc::new(queue),
            gate,
            registry,
        ))
    }

    fn note_resize(&mut self, destination: &Arc<Destination>) {
        let size = ring_size(destination.spec.queue);
        if destination.queue.size() == size && destination.queue.is_complete() {
            return;
        }
        match sys::memfd("baton-queue", queue::memory_for(size)) {
            Ok(memory) => {
                self.resized.push(Resized {
                    destination: destination.clone(),
                    size,
                    memory,
                });
            }
            Err(error) => tracing::error!(
                destination = destination.spec.id, %error, "no memory for the queue's new size"
            ),
        }
    }

    /// Queues whose destination the config no longer has: the rest is delivered to where it was
    /// meant for, unless somebody has said otherwise.
    fn leaving(&mut self) -> io::Result<Vec<Leaving>> {
        let mut leaving = Vec::new();
        for (id, (size, spec, memory)) in std::mem::take(&mut self.queues) {
            match serde_json::from_value::<spec::Destination>(spec.clone()) {
                Ok(own) => {
                    let how = backlog_of(&spec);
                    self.queues
                        .insert(id, (size, serde_json::Value::Null, memory));
                    let destination = Arc::new(self.destination(&own, "")?);
                    leaving.push(Leaving::new(destination, how));
                }
                Err(error) => {
                    tracing::error!(destination = id, %error, "a queue whose destination can't be read");
                }
            }
        }
        Ok(leaving)
    }
}

/// What a config was proven not to have.
fn invalid(error: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// How a queue whose rings have this size is to behave.
pub(super) fn policy(spec: &spec::Destination, size: u64) -> Policy {
    Policy {
        when_full: match spec.full {
            Full::Spool => WhenFull::Spool,
            Full::Block => WhenFull::Block,
            Full::Drop => WhenFull::Drop,
        },
        resend: spec.resend.min(size / 2),
        live_first: spec.spool.replay == Replay::LiveFirst,
    }
}

/// A multiple of the page size, as a ring must be.
pub(super) fn ring_size(bytes: u64) -> u64 {
    bytes.next_multiple_of(rustix::param::page_size() as u64)
}
