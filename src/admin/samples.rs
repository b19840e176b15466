//! A view as metrics.

use super::view::{AggregationView, DestinationView, ListenerView, StateView, View};
use crate::metrics::names::*;
use crate::metrics::{Family, Metric, Number};

/// All metrics of a view.
pub fn samples(view: &View) -> Vec<Metric> {
    let mut all = vec![
        Metric::new(&BUILD_INFO, 1).with("version", &view.version),
        Metric::new(&SERVING, view.serving),
        Metric::new(&GENERATION, view.generation),
        Metric::new(&RESTARTS, restarts(view)),
        Metric::new(&SUBSCRIBERS, view.subscribers.now),
        Metric::new(&SUBSCRIBER_LINES_LOST, view.subscribers.lines_lost),
        Metric::new(&WRONG_TOKENS, view.wrong_tokens),
    ];
    let pause = view.generations.iter().rev().find_map(|g| g.pause_us);
    all.extend(pause.map(|us| Metric::new(&HANDOVER_PAUSE, us as f64 / 1e6)));
    all.extend(view.kept.map(|kept| Metric::new(&KEPT, kept)));
    of_state(&mut all, &view.state);
    for listener in &view.listeners {
        of_listener(&mut all, listener);
    }
    for rule in &view.blocklist {
        all.push(Metric::new(&LINES_BLOCKED, rule.blocked).with("rule", &rule.rule));
    }
    for aggregation in &view.aggregations {
        of_aggregation(&mut all, aggregation);
    }
    for route in &view.routes {
        all.push(Metric::new(&ROUTE_LINES, route.lines).with("route", &route.key));
    }
    for (reason, lines) in &view.dropped {
        all.push(Metric::new(&LINES_DROPPED, *lines).with("reason", reason));
    }
    for destination in &view.destinations {
        of_destination(&mut all, destination);
    }
    all
}

/// The list of generations may be cut; their numbers tell how many there were.
fn restarts(view: &View) -> u64 {
    let ids = view.generations.iter().map(|generation| generation.id);
    ids.fold(view.generation, u64::max).saturating_sub(1)
}

fn of_state(all: &mut Vec<Metric>, state: &StateView) {
    all.extend([
        Metric::new(&STATE_OK, state.ok),
        Metric::new(&STATE_FILE_BYTES, state.file_bytes),
        Metric::new(&STATE_FREE_BYTES, state.free_bytes),
        Metric::new(&STATE_LIMIT, state.limit_bytes),
        Metric::new(&STATE_WAL_BYTES, state.wal_bytes),
    ]);
    // No route leads to them.
    for orphan in &state.orphans {
        let metric = |family, value: u64| {
            let metric = Metric::new(family, value).with("destination", &orphan.destination);
            metric.with("route", "")
        };
        all.push(metric(&SPOOL_ROWS, orphan.spool.rows));
        all.push(metric(&SPOOL_BYTES, orphan.spool.bytes));
    }
}

fn of_listener(all: &mut Vec<Metric>, listener: &ListenerView) {
    let mut add = |family: &'static Family, value: u64| {
        all.push(Metric::new(family, value).with("listener", &listener.address));
    };
    let is_udp = listener.address.starts_with("udp://");
    if !is_udp && listener.kind != "internal" {
        add(&CONNECTIONS, listener.connections);
        add(&ACCEPTED, listener.accepted);
        add(&CLOSED, listener.closed);
    }
    if is_udp {
        add(&KERNEL_DROPPED, listener.kernel_dropped);
    }
    if matches!(listener.kind.as_str(), "http" | "telnet") {
        return;
    }
    let totals = &listener.totals;
    add(&INPUT_BYTES, listener.bytes);
    add(&LINES_IN, totals.lines);
    add(&LISTENER_BLOCKED, totals.blocked);
    add(&LINES_CONSUMED, totals.consumed);
    add(&LINES_UNROUTED, totals.unrouted);
    add(&LINES_ROUTED, totals.routed);
    add(&COPIES, totals.copies);
    add(&LOST_BY_CRASH, totals.lost_by_crash_bytes);
    add(&UNREAD_AT_STOP, totals.unread_at_stop_bytes);
    for (reason, lines) in &totals.rejected {
        let metric = Metric::new(&LINES_REJECTED, *lines).with("listener", &listener.address);
        all.push(metric.with("reason", reason));
    }
}

fn of_aggregation(all: &mut Vec<Metric>, view: &AggregationView) {
    let metric =
        |family, value: u64| Metric::new(family, value).with("aggregation", &view.aggregation);
    let counts = [
        (&AGGREGATION_POINTS, view.points),
        (&AGGREGATION_RESTORED, view.restored),
        (&AGGREGATION_FLUSHED, view.flushed),
        (&AGGREGATION_LOST, view.lost_points),
        (&AGGREGATION_WINDOWS, view.windows),
        (&AGGREGATION_LINES, view.lines_out),
        (&AGGREGATION_OPEN, view.open_windows),
        (&AGGREGATION_OPEN_POINTS, view.open_points),
    ];
    all.extend(counts.map(|(family, count)| metric(family, count)));
    for (reason, points) in &view.refused {
        all.push(metric(&AGGREGATION_REFUSED, *points).with("reason", reason));
    }
}

fn of_destination(all: &mut Vec<Metric>, destination: &DestinationView) {
    let metric = |family, value: Number| {
        let metric = Metric::new(family, value).with("destination", &destination.id);
        metric.with("route", &destination.route)
    };
    let counts = [
        (&GIVEN, destination.given),
        (&ACKNOWLEDGED, destination.acknowledged),
        (&SENT, destination.sent),
        (&RESENT, destination.resent),
        (&IMPORTED, destination.imported),
        (&MOVED, destination.moved),
        (&QUEUED_LINES, destination.queued),
        (&SPOOLED_LINES, destination.spooled),
        (&SPOOL_ROWS, destination.spool.rows),
        (&SPOOL_BYTES, destination.spool.bytes),
        (&QUEUED_BYTES, destination.queued_bytes),
        (&QUEUE_BYTES, destination.queue_bytes),
        (&CONNECTS, destination.connects),
        (&CONNECT_FAILURES, destination.connect_failures),
        (&DISCONNECTS, destination.disconnects),
    ];
    all.extend(counts.map(|(family, count)| metric(family, count.into())));
    all.push(metric(&OLDEST_AGE, destination.oldest_age_s.into()));
    all.push(metric(
        &DROPS_WHEN_FULL,
        (destination.full == "drop").into(),
    ));
    let limit = destination.spool_limit_bytes;
    all.extend(limit.map(|bytes| metric(&SPOOL_LIMIT, bytes.into())));
    all.push(metric(&UP, (destination.state == "up").into()));
    for (reason, lines) in &destination.dropped {
        all.push(metric(&DROPPED, (*lines).into()).with("reason", reason));
    }
}
