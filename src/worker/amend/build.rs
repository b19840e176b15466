//! From rules to what they make of the worker; and the moment in which that is in force.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{InForce, Leaving};
use crate::amend::{Backlog, Document};
use crate::config::Config;
use crate::destination::Destination;
use crate::intake::Snapshot;
use crate::ledger::{Kind, Object};
use crate::queue::Queue;
use crate::route::Table;
use crate::ruleset::{self, Known, Ruleset};
use crate::spec;
use crate::sys;
use crate::worker::assemble::{policy, queue_item, ring_size};
use crate::worker::relay::{Relay, lock};
use crate::worker::{report, stop};

/// How often it is looked whether the gate is open again.
const LOOK: Duration = Duration::from_millis(1);

/// A table that is ready to be in force.
pub(super) struct Built {
    document: Document,
    config: Config,
    destinations: Vec<Arc<Destination>>,
    snapshot: Arc<Snapshot>,
    /// Those whose queue is new.
    fresh: Vec<Arc<Destination>>,
    /// Those that take the place of another with the same queue.
    succeed: Vec<(Arc<Destination>, Arc<Destination>)>,
    /// Those of them that were leaving.
    taken_back: Vec<Arc<Destination>>,
    /// Those that go.
    gone: Vec<Arc<Destination>>,
}

/// Builds what these rules make of the worker. Nothing of what is in force is touched.
pub(super) fn build(relay: &Arc<Relay>, now: &InForce, document: Document) -> io::Result<Built> {
    let config = document.config();
    let mut old: HashMap<&str, &Arc<Destination>> = now
        .destinations
        .iter()
        .map(|d| (&d.spec.id[..], d))
        .collect();
    let mut built = Built {
        destinations: Vec::new(),
        snapshot: now.snapshot.clone(),
        fresh: Vec::new(),
        succeed: Vec::new(),
        taken_back: Vec::new(),
        gone: Vec::new(),
        document,
        config: config.clone(),
    };
    for route in &config.routes {
        for spec in &route.destinations {
            let there = old.remove(&spec.id[..]);
            if let Some(there) = there.filter(|d| d.spec == *spec && d.route == route.key) {
                built.destinations.push(there.clone());
                continue;
            }
            if let Err(error) = built.add(relay, spec, &route.key, there.cloned()) {
                built.give_up(relay);
                return Err(error);
            }
        }
    }
    built.gone = old.into_values().cloned().collect();
    match snapshot(relay, now, &built) {
        Ok(snapshot) => built.snapshot = Arc::new(snapshot),
        Err(error) => {
            built.give_up(relay);
            return Err(error);
        }
    }
    Ok(built)
}

fn new(
    relay: &Arc<Relay>,
    spec: &spec::Destination,
    route: &str,
    queue: Arc<Queue>,
) -> Arc<Destination> {
    let (gate, registry) = (relay.inputs.gate.clone(), relay.registry.clone());
    Arc::new(Destination::new(spec.clone(), route, queue, gate, registry))
}

/// A destination that there wasn't before. The supervisor holds its queue from here on.
fn fresh(
    relay: &Arc<Relay>,
    spec: &spec::Destination,
    route: &str,
) -> io::Result<Arc<Destination>> {
    let size = ring_size(spec.queue);
    let memory = sys::memfd("baton-queue", crate::queue::memory_for(size))?;
    relay
        .registry
        .register(&[queue_item(spec, size)], &[memory.as_fd()])?;
    let queue = Queue::open(&relay.ledger, &spec.id, memory, size, policy(spec, size));
    match queue {
        Ok(queue) => Ok(new(relay, spec, route, Arc::new(queue))),
        Err(error) => {
            relay.registry.release_queue(&spec.id)?;
            Err(error)
        }
    }
}

fn snapshot(relay: &Relay, now: &InForce, built: &Built) -> io::Result<Snapshot> {
    let config = &built.config;
    let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
    let entries = now.snapshot.table.entries();
    let known = Known::of(&now.config, entries, &now.snapshot.aggregations);
    let Ruleset {
        entries,
        aggregations,
    } = ruleset::compile_with(config, &known).map_err(invalid)?;
    let object = |kind, name: &str| relay.ledger.object(kind, name);
    let objects = |kind, names: Vec<&str>| -> io::Result<Vec<Object>> {
        names.into_iter().map(|name| object(kind, name)).collect()
    };
    let up: HashMap<&str, bool> = now
        .destinations
        .iter()
        .zip(&**now.snapshot.up.load())
        .map(|(d, up)| (&d.spec.id[..], *up))
        .collect();
    let routes = entries.routes.iter().map(|route| &route.key[..]);
    let blocklist = entries.blocklist.iter().map(|rule| &rule.text[..]);
    let rules = aggregations.iter().map(|rule| &rule.text[..]);
    Ok(Snapshot {
        rules: config.rules.clone(),
        queues: built.destinations.iter().map(|d| d.queue.clone()).collect(),
        up: arc_swap::ArcSwap::from_pointee(
            built
                .destinations
                .iter()
                .map(|d| up.get(&d.spec.id[..]).copied().unwrap_or(true))
                .collect(),
        ),
        routes: objects(Kind::Route, routes.collect())?,
        blocklist: objects(Kind::Rule, blocklist.collect())?,
        aggregation_counts: objects(Kind::Aggregation, rules.collect())?,
        aggregations,
        table: Table::new(entries),
    })
}

impl Built {
    /// Adds a destination that isn't as it was: `there` is the one of this id in force.
    fn add(
        &mut self,
        relay: &Arc<Relay>,
        spec: &spec::Destination,
        route: &str,
        there: Option<Arc<Destination>>,
    ) -> io::Result<()> {
        let back = match &there {
            Some(_) => None,
            None => relay.take_back(&spec.id).map_err(io::Error::other)?,
        };
        self.taken_back.extend(back.iter().cloned());
        let destination = match there.or(back) {
            Some(there) => {
                let new = new(relay, spec, route, there.queue.clone());
                self.succeed.push((new.clone(), there));
                new
            }
            None => {
                let new = fresh(relay, spec, route)?;
                self.fresh.push(new.clone());
                new
            }
        };
        self.destinations.push(destination);
        Ok(())
    }

    /// It won't be in force: what was made for it is let go of.
    pub fn give_up(self, relay: &Arc<Relay>) {
        relay.leave_it(&self.taken_back);
        for destination in self.fresh {
            let id = &destination.spec.id;
            if let Err(error) = relay.registry.release_queue(id) {
                tracing::error!(destination = id, %error, "its queue can't be released");
            }
        }
    }

    /// Puts it in force. Returns when no batch sees the table that was before.
    pub fn swap(self, relay: &Arc<Relay>, changes: u64, volatile: u64, how: Backlog) {
        // A hand-over may be under way. If it ends well this process ends with it. From here to the end there is none.
        let _swapping = loop {
            let swapping = lock(&relay.amending.swapping);
            if let Some(mut lane) = relay.inputs.gate.enter() {
                for destination in &self.fresh {
                    destination.queue.reset(&mut lane.writer);
                }
                break swapping;
            }
            drop(swapping);
            std::thread::sleep(LOOK);
        };
        for (new, _) in &self.succeed {
            let size = new.queue.size();
            new.queue.set_policy(policy(&new.spec, size));
        }
        let leaving: Vec<Leaving> = self
            .gone
            .iter()
            .map(|gone| Leaving::new(new(relay, &gone.spec, "", gone.queue.clone()), how))
            .collect();
        let next = InForce {
            document: self.document,
            config: self.config,
            changes,
            volatile,
            destinations: self.destinations,
            snapshot: self.snapshot,
        };
        relay.leave_with(&self.taken_back, &leaving, || relay.put_in_force(next));
        relay.inputs.gate.pass();
        let replaced = self.succeed.iter().cloned();
        let left = leaving.iter().zip(&self.gone);
        let left = left.map(|(one, gone)| (one.destination.clone(), gone.clone()));
        for (new, old) in replaced.chain(left) {
            let succeeded = new.succeed(&old);
            debug_assert!(succeeded, "the gate stays open while a table is swapped");
            relay.runtime.spawn(new.run());
        }
        for (new, _) in &self.succeed {
            report::remember_spec(relay, new);
        }
        for one in &leaving {
            report::remember_leaving(relay, one);
        }
        for new in &self.fresh {
            relay.runtime.spawn(new.clone().run());
        }
        if self.fresh.len() + self.succeed.len() + self.gone.len() > 0 {
            relay.spool.serve(relay.all_destinations());
        }
        if !leaving.is_empty() {
            relay.runtime.spawn(stop::leave(relay.clone(), leaving));
        }
        relay.amending.changed.fetch_add(1, Ordering::SeqCst);
        report::reclaim(relay);
    }
}
