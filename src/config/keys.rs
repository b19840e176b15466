use crate::spec::{CHOICE, OPTIONS, PATTERNS};

pub(super) const ROOT: &[&str] = &[
    "blocklist",
    "first_only",
    "max_windows",
    "supervisor",
    "state",
    "listen",
    "admin",
    "input",
    "validation",
    "log",
    "instrumentation",
    "rewriter",
    "aggregation",
    "route",
];
/// What carbon-relay-ng's file has at its root beside these: `relay_ng` makes Baton's keys of them.
pub(super) const RELAY_NG: &[&str] = &[
    "instance",
    "max_procs",
    "pid_file",
    "spool_dir",
    "log_level",
    "admin_addr",
    "http_addr",
    "listen_addr",
    "plain_read_timeout",
    "pickle_addr",
    "pickle_read_timeout",
    "validation_level_legacy",
    "validation_level_m20",
    "validate_order",
    "bad_metrics_max_age",
    "blacklist",
    "init",
    "amqp",
    "routes",
];
pub(super) const SUPERVISOR: &[&str] = &["control", "ready_timeout", "probation", "stop_timeout"];
pub(super) const STATE: &[&str] = &["path", "synchronous", "max_size", "events_kept"];
pub(super) const LISTEN: &[&str] = &["line", "pickle", "http"];
pub(super) const ADMIN: &[&str] = &[
    "api",
    "token_file",
    "allow_anyone",
    "hosts",
    "protect_metrics",
    "pprof",
];
pub(super) const INPUT: &[&str] = &["max_line", "max_frame", "max_connections", "idle_timeout"];
pub(super) const VALIDATION: &[&str] = &[
    "level",
    "level_m20",
    "clean_dots",
    "sort_tags",
    "order",
    "order_names",
];
pub(super) const LOG: &[&str] = &["level", "format"];
pub(super) const INSTRUMENTATION: &[&str] = &["prefix", "interval"];

pub(super) const REWRITER: &[&str] = &["old", "new", "not", "max"];

/// An aggregator's own keys and the patterns that it has like a route. The names are carbon-relay-ng's.
pub(super) fn aggregation() -> Vec<&'static str> {
    let own = ["function", "format", "interval", "wait", "dropRaw", "cache"];
    [&own, PATTERNS].concat()
}

/// A route's own keys and the patterns that it has like a destination.
pub(super) fn route() -> Vec<&'static str> {
    let own = ["key", "type", "destinations", "destination"];
    [&own, CHOICE, PATTERNS].concat()
}

/// Every key there is, by the table that it stands in: the root's name is empty.
pub fn keys() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("", ROOT.to_vec()),
        ("supervisor", SUPERVISOR.to_vec()),
        ("state", STATE.to_vec()),
        ("listen", LISTEN.to_vec()),
        ("admin", ADMIN.to_vec()),
        ("input", INPUT.to_vec()),
        ("validation", VALIDATION.to_vec()),
        ("log", LOG.to_vec()),
        ("instrumentation", INSTRUMENTATION.to_vec()),
        ("rewriter", REWRITER.to_vec()),
        ("aggregation", aggregation()),
        ("route", route()),
        ("route.destination", [&["address"], OPTIONS].concat()),
    ]
}
