//! The keys of `carbon.conf`, each converted, not needed, or told.

use super::ini::{Entry, is_true};
use super::{Daemon, said};
use crate::convert::sheet::Sheet;

/// What is read where routes and rules are made.
const ELSEWHERE: &[&str] = &[
    "DESTINATIONS",
    "DESTINATION_PROTOCOL",
    "RELAY_METHOD",
    "ROUTER_HASH_TYPE",
    "REPLICATION_FACTOR",
    "DIVERSE_REPLICAS",
    "DYNAMIC_ROUTER",
    "USE_WHITELIST",
    "RELAY_RULES",
    "AGGREGATION_RULES",
    "REWRITE_RULES",
    "BLACKLIST",
    "WHITELIST",
    "FORWARD_ALL",
];

/// What is read where listeners are made.
const LISTENERS: &[&str] = &[
    "LINE_RECEIVER_INTERFACE",
    "LINE_RECEIVER_PORT",
    "ENABLE_UDP_LISTENER",
    "UDP_RECEIVER_INTERFACE",
    "UDP_RECEIVER_PORT",
    "PICKLE_RECEIVER_INTERFACE",
    "PICKLE_RECEIVER_PORT",
];

/// What Baton does by itself, or leaves to the system.
const NOT_NEEDED: &[&str] = &[
    "USER",
    "STORAGE_DIR",
    "CONF_DIR",
    "LOG_DIR",
    "PID_DIR",
    "LOCAL_DATA_DIR",
    "WHITELISTS_DIR",
    "ENABLE_LOGROTATION",
    "LOG_LISTENER_CONN_SUCCESS",
    "LOG_LISTENER_CONN_LOST",
    "LOG_AGGREGATOR_MISSES",
    "LOG_UPDATES",
    "LOG_CREATES",
    "LOG_CACHE_HITS",
    "LOG_CACHE_QUEUE_SORTS",
    "USE_FLOW_CONTROL",
    "QUEUE_LOW_WATERMARK_PCT",
    "MAX_QUEUE_SIZE_HARD_PCT",
    "TIME_TO_DEFER_SENDING",
    "TCP_KEEPALIVE",
    "TCP_KEEPIDLE",
    "TCP_KEEPINTVL",
    "TCP_KEEPCNT",
    "USE_RATIO_RESET",
    "MIN_RESET_STAT_FLOW",
    "MIN_RESET_RATIO",
    "MIN_RESET_INTERVAL",
    "DYNAMIC_ROUTER_MAX_RETRIES",
    "CACHE_METRIC_NAMES_MAX",
    "CACHE_METRIC_NAMES_TTL",
    "WRITE_BACK_FREQUENCY",
    "ENABLE_MANHOLE",
    "MANHOLE_INTERFACE",
    "MANHOLE_PORT",
    "MANHOLE_USER",
    "MANHOLE_PUBLIC_KEY",
    "MANHOLE_HOST_KEY_DIR",
    "RAVEN_DSN",
];

/// What has no meaning here unless it has carbon's default, and what to do.
const DEFAULTS: &[(&str, &str, &str)] = &[
    (
        "USE_INSECURE_UNPICKLER",
        "False",
        "Baton never runs what a pickle holds",
    ),
    (
        "MAX_QUEUE_SIZE",
        "10000",
        "Baton's queues are bytes: give destinations queue=16MiB, and a spool behind it",
    ),
    (
        "MAX_DATAPOINTS_PER_MESSAGE",
        "500",
        "Baton sends at most 500 points in a frame",
    ),
    (
        "DESTINATION_TRANSPORT",
        "none",
        "Baton's connections are plain: put a proxy that encrypts beside it",
    ),
    (
        "DESTINATION_SSL_CA",
        "",
        "Baton's connections are plain: put a proxy that encrypts beside it",
    ),
    (
        "DESTINATION_POOL_REPLICAS",
        "False",
        "destinations at one address are members of their own here",
    ),
    (
        "MIN_TIMESTAMP_RESOLUTION",
        "0",
        "Baton leaves timestamps as they are: set the resolution at the store",
    ),
    (
        "MAX_AGGREGATION_INTERVALS",
        "5",
        "an aggregation's wait says for how long points are taken",
    ),
    (
        "PROTOBUF_RECEIVER_INTERFACE",
        "0.0.0.0",
        "Baton takes no protobuf: let senders send lines or pickles",
    ),
    (
        "PROTOBUF_RECEIVER_PORT",
        "0",
        "Baton takes no protobuf: let senders send lines or pickles",
    ),
    (
        "ENABLE_AMQP",
        "False",
        "Baton has no AMQP input: feed it lines",
    ),
];

pub(super) fn read(sheet: &mut Sheet, daemon: &Daemon) {
    for entry in &daemon.section.entries {
        sheet.read();
        one(sheet, entry);
    }
    listeners(sheet, daemon);
}

fn one(sheet: &mut Sheet, entry: &Entry) {
    let (key, value) = (&entry.key[..], &entry.value[..]);
    let place = &entry.place;
    if ELSEWHERE.contains(&key) {
        return elsewhere(sheet, entry);
    }
    if LISTENERS.contains(&key) {
        return sheet.converted();
    }
    if NOT_NEEDED.contains(&key) {
        return sheet.noted(place, format!("{key}: not needed"));
    }
    if let Some((_, default, what)) = DEFAULTS.iter().find(|(known, _, _)| *known == key) {
        return match value.eq_ignore_ascii_case(default) || value.is_empty() {
            true => sheet.converted(),
            false => sheet.noted(place, format!("{}: {what}", said(entry))),
        };
    }
    match key {
        "MAX_RECEIVER_CONNECTIONS" => match value.parse::<i64>() {
            Ok(most) if (1..=262_144).contains(&most) => {
                sheet.section("input").set("max_connections", most);
                sheet.converted();
            }
            _ if value == "inf" => sheet.converted(),
            _ => sheet.noted(
                place,
                format!(
                    "{}: Baton has 1 to 262144: input.max_connections",
                    said(entry)
                ),
            ),
        },
        "METRIC_CLIENT_IDLE_TIMEOUT" => match value.parse::<u64>() {
            Ok(seconds) if seconds > 0 => {
                sheet
                    .section("input")
                    .set("idle_timeout", format!("{seconds}s"));
                sheet.converted();
            }
            _ if matches!(value, "None" | "0" | "") => sheet.converted(),
            _ => sheet.noted(
                place,
                format!("{}: expected seconds: input.idle_timeout", said(entry)),
            ),
        },
        "PICKLE_RECEIVER_MAX_LENGTH" => match value.parse::<i64>() {
            Ok(bytes) if bytes > 0 => {
                if bytes != 1 << 20 {
                    sheet.section("input").set("max_frame", bytes);
                }
                sheet.converted();
            }
            _ => sheet.noted(
                place,
                format!("{}: expected bytes: input.max_frame", said(entry)),
            ),
        },
        "TAG_RELAY_NORMALIZED" => {
            if is_true(value) {
                sheet.section("validation").set("sort_tags", true);
            }
            sheet.converted();
        }
        "CARBON_METRIC_PREFIX" => {
            if value != "carbon" {
                let prefix = format!("{}.relays.{{host}}.baton", value.trim_matches('.'));
                sheet.section("instrumentation").set("prefix", prefix);
            }
            sheet.converted();
        }
        "CARBON_METRIC_INTERVAL" => match value.parse::<u64>() {
            Ok(seconds) if seconds <= 3600 => {
                if seconds != 60 {
                    sheet
                        .section("instrumentation")
                        .set("interval", format!("{seconds}s"));
                }
                sheet.converted();
            }
            _ => sheet.noted(
                place,
                format!(
                    "{}: Baton has 1s to 1h: instrumentation.interval",
                    said(entry)
                ),
            ),
        },
        _ => sheet.noted(place, format!("{}: no meaning here", said(entry))),
    }
}

fn elsewhere(sheet: &mut Sheet, entry: &Entry) {
    let protocols = ["pickle", "line"];
    if entry.key == "DESTINATION_PROTOCOL" && !protocols.contains(&&entry.value[..]) {
        let text = format!(
            "{}: Baton sends lines and pickles: the destinations have pickles here",
            said(entry)
        );
        return sheet.noted(&entry.place, text);
    }
    if entry.key == "DYNAMIC_ROUTER" && is_true(&entry.value) {
        let text = "DYNAMIC_ROUTER: dynamic = true: lines for a member that is down go to the next at once, and not after retries";
        sheet.note(&entry.place, text);
    }
    sheet.converted();
}

fn listeners(sheet: &mut Sheet, daemon: &Daemon) {
    let address = |scheme: &str, kind: &str, default: &str| {
        let port = daemon.text(&format!("{kind}_RECEIVER_PORT"), default);
        let port: u16 = port.parse().unwrap_or_default();
        let interface = daemon.text(&format!("{kind}_RECEIVER_INTERFACE"), "0.0.0.0");
        let interface = match interface.contains(':') {
            true => format!("[{}]", interface.trim_matches(['[', ']'])),
            false => interface,
        };
        (port != 0).then(|| format!("{scheme}://{interface}:{port}"))
    };
    let mut lines: Vec<String> = address("tcp", "LINE", "2003").into_iter().collect();
    if daemon.section.is_true("ENABLE_UDP_LISTENER") {
        lines.extend(address("udp", "UDP", "2003"));
    }
    let pickles: Vec<String> = address("tcp", "PICKLE", "2004").into_iter().collect();
    for (kind, list) in [("line", lines), ("pickle", pickles)] {
        if !list.is_empty() {
            sheet.section("listen").set(kind, list);
        }
    }
}
