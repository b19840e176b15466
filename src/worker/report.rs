//! A worker's counters as the view that everything shows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use super::amend::Leaving;
use super::assemble::{leaving_item, queue_item};
use super::relay::{Relay, lock};
use crate::admin::samples::samples;
use crate::admin::view::{
    AggregationView, DestinationView, ListenerView, OrphanView, RouteView, RuleView, RunTimeView,
    SpoolView, StateView, SubscribersView, Totals, View, WindowsView,
};
use crate::aggregate::{Refused, Rule};
use crate::amend::{Document, Origin};
use crate::destination::Destination;
use crate::handover::Item;
use crate::intake::now_ms;
use crate::ledger::{Cell, Count, DropReason, Kind, Object};
use crate::metrics;
use crate::route::Patterns;
use crate::spec::Full;
use crate::spool::Health;
use crate::state::Total;
use crate::validate::Reason;

/// Everything there is to see.
pub(super) fn view(relay: &Relay) -> View {
    let mut listeners = listeners(relay);
    let mut totals = Totals::default();
    // Those of listeners that have gone stay in the sum: totals never go back.
    for object in relay.ledger.objects(Kind::Listener) {
        add(&mut totals, &listener_totals(relay, object));
    }
    listeners.sort_by(|a, b| a.address.cmp(&b.address));
    let in_force = relay.in_force();
    let snapshot = &in_force.snapshot;
    let rules = snapshot
        .table
        .entries()
        .blocklist
        .iter()
        .zip(&snapshot.blocklist);
    let blocklist = rules.map(|(rule, object)| RuleView {
        rule: rule.text.clone(),
        blocked: relay.ledger.total(*object, Count::Lines),
    });
    let routes = in_force.config.routes.iter().zip(&snapshot.routes);
    let routes = routes.map(|(route, object)| RouteView {
        key: route.key.clone(),
        kind: route.kind.as_str().to_owned(),
        matcher: set_patterns(&route.patterns),
        lines: relay.ledger.total(*object, Count::Lines),
    });
    let health = relay.spool.health();
    let destinations: Vec<DestinationView> = relay
        .all_destinations()
        .iter()
        .map(|d| destination(relay, d, health.totals.get(&d.spec.id)))
        .collect();
    View {
        now_ms: now_ms(),
        state: state(&health, &destinations),
        generation: relay.generation,
        pid: std::process::id(),
        version: relay.version.clone(),
        config_hash: relay.config_hash.clone(),
        serving: relay.serving.load(Ordering::SeqCst),
        run_time: run_time(&in_force.document),
        dropped: dropped(relay),
        blocklist: blocklist.collect(),
        aggregations: aggregations(relay),
        windows: windows(relay),
        subscribers: SubscribersView {
            now: relay.inputs.intake.tap.subscribers() as u64,
            lines_lost: relay.ledger.total(relay.internal, Count::Unseen),
        },
        wrong_tokens: relay.ledger.total(relay.internal, Count::WrongTokens),
        routes: routes.collect(),
        destinations,
        listeners,
        totals,
        generations: lock(&relay.history).clone(),
        kept: *lock(&relay.kept),
    }
}

/// What was changed at run time.
pub(super) fn run_time(document: &Document) -> RunTimeView {
    let rules = |origin| {
        let all = document.rules().iter();
        all.filter(|rule| rule.origin == origin).count() as u64
    };
    RunTimeView {
        overruled: rules(Origin::Changed) + document.removed().count() as u64,
        added: rules(Origin::Added),
    }
}

/// Those of destinations that have gone stay in the sum: totals never go back.
fn dropped(relay: &Relay) -> BTreeMap<&'static str, u64> {
    let mut sum = BTreeMap::new();
    for object in relay.ledger.objects(Kind::Destination) {
        for reason in DropReason::ALL {
            let lines = relay.ledger.total(object, reason);
            if lines > 0 {
                *sum.entry(reason.as_str()).or_default() += lines;
            }
        }
    }
    sum
}

fn windows(relay: &Relay) -> WindowsView {
    let intake = &relay.inputs.intake;
    let (open, points) = intake.windows.open();
    let (order_names, order_forgotten) = intake.order.get().map_or((0, 0), |order| order.known());
    WindowsView {
        open: open as u64,
        points,
        held: relay.gathering.is_held(),
        order_names: order_names as u64,
        order_forgotten,
    }
}

fn aggregations(relay: &Relay) -> Vec<AggregationView> {
    let snapshot = relay.inputs.intake.snapshot.load();
    let windows = &relay.inputs.intake.windows;
    let open = windows.open_of(&snapshot.aggregations);
    let rules = snapshot.aggregations.iter();
    let rules = rules.zip(&snapshot.aggregation_counts);
    let view = |(at, (rule, object)): (usize, (&Rule, &Object))| {
        let total = |count: Count| relay.ledger.total(*object, count);
        let refused = Refused::ALL
            .into_iter()
            .map(|reason| (reason.as_str(), total(reason.into())));
        AggregationView {
            aggregation: rule.text.clone(),
            open_points: (total(Count::Lines) + total(Count::Restored))
                .saturating_sub(total(Count::Flushed) + total(Count::Lost)),
            points: total(Count::Lines),
            refused: refused.filter(|(_, points)| *points > 0).collect(),
            restored: total(Count::Restored),
            flushed: total(Count::Flushed),
            lost_points: total(Count::Lost),
            windows: total(Count::Windows),
            lines_out: total(Count::Out),
            open_windows: open[at] as u64,
        }
    };
    rules.enumerate().map(view).collect()
}

fn listeners(relay: &Relay) -> Vec<ListenerView> {
    let mut connections: HashMap<String, (u64, &str)> = HashMap::new();
    for connection in relay.inputs.connections.all() {
        let entry = connections.entry(connection.listener.clone());
        let protocol = connection.protocol.as_str();
        entry.or_insert((0, protocol)).0 += 1;
    }
    let mut views = Vec::new();
    for listener in lock(&relay.listeners).iter() {
        views.push(ListenerView {
            kernel_dropped: Relay::kernel_dropped(listener),
            ..listener_view(relay, &listener.address, &listener.kind, listener.object)
        });
    }
    views.push(listener_view(relay, "internal", "internal", relay.internal));
    let made = relay.aggregated;
    views.push(listener_view(relay, "aggregation", "internal", made));
    for view in &mut views {
        view.connections = connections
            .remove(&view.address)
            .map_or(0, |(count, _)| count)
            + relay.sessions.count(&view.address) as u64;
    }
    // Those that came in on a listener that has gone.
    for (address, (count, protocol)) in connections {
        if let Ok(object) = relay.ledger.object(Kind::Listener, &address) {
            let view = listener_view(relay, &address, protocol, object);
            views.push(ListenerView {
                connections: count,
                ..view
            });
        }
    }
    views
}

fn listener_view(relay: &Relay, address: &str, kind: &str, object: Object) -> ListenerView {
    let total = |count: Count| relay.ledger.total(object, count);
    ListenerView {
        address: address.to_owned(),
        kind: kind.to_owned(),
        connections: 0,
        accepted: total(Count::Accepted),
        closed: total(Count::Closed),
        bytes: total(Count::Bytes),
        kernel_dropped: 0,
        totals: listener_totals(relay, object),
    }
}

fn listener_totals(relay: &Relay, object: Object) -> Totals {
    let total = |count: Count| relay.ledger.total(object, count);
    let rejected = Reason::ALL
        .into_iter()
        .map(|reason| (reason.as_str(), total(reason.into())));
    Totals {
        lines: total(Count::Lines),
        rejected: rejected.filter(|(_, lines)| *lines > 0).collect(),
        blocked: total(Count::Blocked),
        consumed: total(Count::Consumed),
        unrouted: total(Count::Unrouted),
        routed: total(Count::Routed),
        copies: total(Count::Copies),
        lost_by_crash_bytes: total(Count::LostByCrash),
        unread_at_stop_bytes: total(Count::UnreadAtStop),
    }
}

fn add(sum: &mut Totals, part: &Totals) {
    sum.lines += part.lines;
    for (reason, lines) in &part.rejected {
        *sum.rejected.entry(reason).or_default() += lines;
    }
    sum.blocked += part.blocked;
    sum.consumed += part.consumed;
    sum.unrouted += part.unrouted;
    sum.routed += part.routed;
    sum.copies += part.copies;
    sum.lost_by_crash_bytes += part.lost_by_crash_bytes;
    sum.unread_at_stop_bytes += part.unread_at_stop_bytes;
}

fn state(health: &Health, destinations: &[DestinationView]) -> StateView {
    let known = |id: &str| destinations.iter().any(|destination| destination.id == id);
    let orphans = health.totals.iter().filter(|(id, _)| !known(id));
    StateView {
        path: health.path.display().to_string(),
        ok: health.error.is_none(),
        error: health.error.clone(),
        moved_aside: health
            .moved_aside
            .as_ref()
            .map(|path| path.display().to_string()),
        file_bytes: health.file,
        free_bytes: health.free,
        limit_bytes: health.limit,
        wal_bytes: health.wal,
        wal_held: health.wal_held,
        orphans: orphans
            .map(|(id, total)| OrphanView {
                destination: id.clone(),
                spool: spool(total),
            })
            .collect(),
    }
}

fn spool(total: &Total) -> SpoolView {
    let time = |ms: u64| {
        let at = UNIX_EPOCH + Duration::from_millis(ms);
        humantime::format_rfc3339_millis(at).to_string()
    };
    SpoolView {
        rows: total.rows,
        lines: total.lines,
        bytes: total.bytes,
        oldest: total.oldest_ms.map(time),
        newest: total.newest_ms.map(time),
    }
}

fn destination(
    relay: &Relay,
    destination: &Destination,
    spooled: Option<&Total>,
) -> DestinationView {
    let (queue, ring) = (&destination.queue, &destination.queue.send);
    let total = |count: Count| relay.ledger.total(ring.counts(), count);
    let dropped = DropReason::ALL
        .into_iter()
        .map(|reason| (reason.as_str(), total(reason.into())));
    let health = destination.health();
    let oldest = ring.cell(Cell::OldestAt);
    let age = match (oldest, destination.is_drained()) {
        (0, _) | (_, true) => 0,
        (oldest, false) => now_ms().saturating_sub(oldest),
    };
    DestinationView {
        id: destination.spec.id.clone(),
        route: destination.route.clone(),
        address: destination.spec.address.to_string(),
        state: health.state.as_str(),
        peer: health.peer.map(|peer| peer.to_string()),
        error: health.error,
        given: total(Count::Given),
        acknowledged: total(Count::Acknowledged),
        queued: queue.queued_lines(),
        queued_bytes: queue.queued_bytes(),
        spooled: queue.spooled_lines(),
        imported: total(Count::Imported),
        moved: total(Count::Moved),
        queue_bytes: ring.size(),
        spool_limit_bytes: match destination.spec.full {
            Full::Spool => Some(destination.spec.spool.max),
            Full::Block | Full::Drop => None,
        },
        sent: total(Count::Sent),
        resent: total(Count::Resent),
        dropped: dropped.filter(|(_, lines)| *lines > 0).collect(),
        oldest_age_s: age as f64 / 1000.0,
        full: destination.spec.full.as_str(),
        pickle: destination.spec.pickle,
        connects: total(Count::Connects),
        connect_failures: total(Count::ConnectFailures),
        disconnects: total(Count::Disconnects),
        spool: spooled.map(spool).unwrap_or_default(),
    }
}

fn set_patterns(patterns: &Patterns) -> BTreeMap<&'static str, String> {
    patterns
        .named()
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(key, text)| (key, text.to_owned()))
        .collect()
}

/// Baton's own counters as lines of Graphite.
pub(super) fn graphite(relay: &Relay, prefix: &str, now_s: u32) -> String {
    let host = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    let prefix = metrics::expand_host(prefix, host.as_deref().unwrap_or("unknown"));
    metrics::graphite(&prefix, &samples(&view(relay)), now_s)
}

/// Tells the supervisor how a destination is configured now, for the day when the config lacks it.
pub(super) fn remember_spec(relay: &Relay, destination: &Arc<Destination>) {
    let item = queue_item(&destination.spec, destination.queue.size());
    remember(relay, destination, item);
}

/// Tells it what is to become of the lines of one that leaves, for who takes over meanwhile.
pub(super) fn remember_leaving(relay: &Relay, leaving: &Leaving) {
    let destination = &leaving.destination;
    let item = leaving_item(&destination.spec, destination.queue.size(), leaving.how);
    remember(relay, destination, item);
}

fn remember(relay: &Relay, destination: &Arc<Destination>, item: Item) {
    if let Err(error) = relay
        .registry
        .register(&[item], &[destination.queue.memory().as_fd()])
    {
        tracing::error!(destination = destination.spec.id, %error, "can't be registered");
    }
}

/// Forgets the counters of what the config no longer has, if the ledger is filling up.
pub(super) fn reclaim(relay: &Relay) {
    let snapshot = relay.inputs.intake.snapshot.load();
    let mut used: HashSet<Object> = snapshot
        .routes
        .iter()
        .chain(&snapshot.blocklist)
        .chain(&snapshot.aggregation_counts)
        .copied()
        .collect();
    used.extend([relay.internal, relay.aggregated]);
    used.extend(lock(&relay.listeners).iter().map(|l| l.object));
    used.extend(relay.inputs.connections.all().iter().map(|c| c.object));
    used.extend(relay.sessions.objects());
    for destination in relay.all_destinations() {
        let queue = &destination.queue;
        used.extend([queue.counts(), queue.send.cells(), queue.intake.cells()]);
    }
    relay.ledger.reclaim(|object| used.contains(&object));
}
