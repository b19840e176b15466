//! Baton's own metrics, and the pages that show them.
#![allow(missing_docs)]

#[path = "metrics/http.rs"]
mod http;

use std::collections::{BTreeMap, HashSet};

use baton::admin::samples::samples;
use baton::admin::view::{DestinationView, ListenerView, RouteView, RuleView, Totals, View};
use baton::handover::{Generation, Origin};
use baton::metrics::names::{self, Kind};
use baton::metrics::{Metric, expand_host, graphite, prometheus};
use baton::pipeline::{Batch, Terms};
use baton::route::{Entries, Matcher, Moment, Table, TableRoute};
use baton::validate::{Level, LevelM20, Rules};
use proptest::prelude::*;

const NOW: u32 = 1_790_000_000;

fn generation(id: u64, pause_us: Option<u64>) -> Generation {
    Generation {
        id,
        pid: 1,
        version: String::new(),
        config_hash: String::new(),
        reason: Origin::Reload,
        started_at: String::new(),
        serving_at: None,
        ended_at: None,
        outcome: String::new(),
        pause_us,
    }
}

/// One of each, with texts of one's own.
fn view(listener: &str, rule: &str, route: &str, destination: &str) -> View {
    let totals = Totals {
        lines: 10,
        rejected: BTreeMap::from([("too-long", 1), ("value", 2)]),
        blocked: 2,
        consumed: 1,
        unrouted: 1,
        routed: 3,
        copies: 6,
        lost_by_crash_bytes: 7,
        unread_at_stop_bytes: 8,
    };
    let listener = ListenerView {
        address: listener.to_owned(),
        kind: "line".to_owned(),
        connections: 4,
        accepted: 9,
        closed: 5,
        bytes: 400,
        totals,
        ..ListenerView::default()
    };
    let destination = DestinationView {
        id: destination.to_owned(),
        route: route.to_owned(),
        state: "up",
        given: 6,
        acknowledged: 4,
        queued: 1,
        dropped: BTreeMap::from([("full", 1)]),
        oldest_age_s: 0.25,
        ..DestinationView::default()
    };
    View {
        generation: 3,
        version: "0.1.0".to_owned(),
        serving: true,
        listeners: vec![listener],
        blocklist: vec![RuleView {
            rule: rule.to_owned(),
            blocked: 3,
        }],
        routes: vec![RouteView {
            key: route.to_owned(),
            lines: 3,
            ..RouteView::default()
        }],
        destinations: vec![destination],
        generations: vec![
            generation(2, Some(900)),
            generation(3, Some(1500)),
            generation(4, None),
        ],
        ..View::default()
    }
}

fn usual() -> View {
    view(
        "tcp://127.0.0.1:2003",
        "prefix collectd.localhost",
        "carbon-default",
        "carbon-default/[::1]:2014",
    )
}

fn assert_has_lines(text: &str, expected: &[&str]) {
    for line in expected {
        assert!(
            text.lines().any(|found| found == *line),
            "{line:?} isn't in:\n{text}"
        );
    }
}

#[test]
fn a_view_becomes_openmetrics_text() {
    let text = prometheus(samples(&usual()));
    assert_has_lines(
        &text,
        &[
            r#"baton_lines_in_total{listener="tcp://127.0.0.1:2003"} 10"#,
            r#"baton_lines_rejected_total{listener="tcp://127.0.0.1:2003",reason="too-long"} 1"#,
            r#"baton_lines_blocked_total{rule="prefix collectd.localhost"} 3"#,
            r#"baton_connections{listener="tcp://127.0.0.1:2003"} 4"#,
            r#"baton_route_lines_total{route="carbon-default"} 3"#,
            r#"baton_destination_given_total{destination="carbon-default/[::1]:2014",route="carbon-default"} 6"#,
            r#"baton_destination_dropped_total{destination="carbon-default/[::1]:2014",route="carbon-default",reason="full"} 1"#,
            r#"baton_destination_oldest_age_seconds{destination="carbon-default/[::1]:2014",route="carbon-default"} 0.25"#,
            r#"baton_build_info{version="0.1.0"} 1"#,
            "# TYPE baton_restarts counter",
            "baton_restarts_total 3",
            "baton_handover_pause_seconds 0.0015",
            "baton_serving 1",
        ],
    );
    assert!(text.ends_with("\n# EOF\n"));
    assert_eq!(text.matches("# EOF").count(), 1);
}

#[test]
fn names_and_heads_are_as_the_format_wants_them() {
    let text = prometheus(samples(&usual()));
    let mut heads = HashSet::new();
    let mut series = HashSet::new();
    let mut family = ("", "");
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            family = head.split_once(' ').unwrap();
            assert!(heads.insert(family.0), "{} has two heads", family.0);
        } else if !line.starts_with("# HELP ") {
            let (name, _) = line.split_once(['{', ' ']).unwrap();
            let suffix = name.strip_prefix(family.0).unwrap();
            assert_eq!(
                suffix,
                if family.1 == "counter" { "_total" } else { "" },
                "{line}"
            );
            assert!(
                series.insert(line.rsplit_once(' ').unwrap().0),
                "{line} is there twice"
            );
        }
    }
    assert!(heads.len() > 25, "{text}");
}

#[test]
fn a_counter_is_named_so_and_nothing_else_is() {
    let mut seen = HashSet::new();
    for family in names::ALL {
        assert_eq!(
            family.kind == Kind::Counter,
            family.name.ends_with("_total"),
            "{}",
            family.name
        );
        assert!(family.name.starts_with("baton_"));
        assert!(seen.insert(family.name));
        assert!(
            family.path.is_none_or(|path| seen.insert(path)),
            "{}",
            family.name
        );
    }
}

#[test]
fn hostile_labels_are_escaped() {
    let text = prometheus(samples(&view("unix:a\"} 1\nb\\", "regex ^\\d", "r", "d")));
    assert_has_lines(
        &text,
        &[
            r#"baton_lines_in_total{listener="unix:a\"} 1\nb\\"} 10"#,
            r#"baton_lines_blocked_total{rule="regex ^\\d"} 3"#,
        ],
    );
}

#[test]
fn a_repeated_series_is_written_once() {
    let metric = Metric::new(&names::LINES_BLOCKED, 3).with("rule", "prefix a");
    let text = prometheus(vec![metric.clone(), metric]);
    assert_eq!(text.matches("rule=").count(), 1);
}

#[test]
fn each_listener_shows_what_it_can_count() {
    let listener = |address: &str, kind: &str| ListenerView {
        address: address.to_owned(),
        kind: kind.to_owned(),
        ..ListenerView::default()
    };
    let listeners = vec![
        listener("udp://[::]:2003", "line"),
        listener("tcp://[::]:8081", "http"),
        listener("internal", "internal"),
    ];
    let text = prometheus(samples(&View {
        listeners,
        ..View::default()
    }));
    let of = |name: &str| {
        let head = format!("{name}{{listener=\"");
        let values = text
            .lines()
            .filter_map(|line| line.strip_prefix(&head)?.split('"').next());
        values.collect::<Vec<_>>()
    };
    assert_eq!(of("baton_kernel_dropped_total"), ["udp://[::]:2003"]);
    assert_eq!(of("baton_connections"), ["tcp://[::]:8081"]);
    assert_eq!(of("baton_lines_in_total"), ["internal", "udp://[::]:2003"]);
    assert!(
        !text.contains("baton_handover_pause_seconds"),
        "there was no hand-over"
    );
    assert_has_lines(&text, &["baton_restarts_total 0"]);
    assert!(!text.contains("baton_kept"), "nobody keeps anything");
    let kept = Some(false);
    let view = View {
        kept,
        ..View::default()
    };
    assert_has_lines(&prometheus(samples(&view)), &["baton_kept 0"]);
}

#[test]
fn a_view_becomes_graphite_lines() {
    let text = graphite("carbon.relays.h.baton", &samples(&usual()), NOW);
    assert_has_lines(
        &text,
        &[
            "carbon.relays.h.baton.listeners.tcp_127_0_0_1_2003.in 10 1790000000",
            "carbon.relays.h.baton.listeners.tcp_127_0_0_1_2003.rejected.too-long 1 1790000000",
            "carbon.relays.h.baton.blocklist.prefix_collectd_localhost.lines 3 1790000000",
            "carbon.relays.h.baton.routes.carbon-default.lines 3 1790000000",
            "carbon.relays.h.baton.destinations.carbon-default_1_2014.acknowledged 4 1790000000",
            "carbon.relays.h.baton.destinations.carbon-default_1_2014.oldest_age_seconds 0.25 1790000000",
            "carbon.relays.h.baton.serving 1 1790000000",
        ],
    );
    assert!(!text.contains("build_info"));
}

#[test]
fn paths_that_would_look_the_same_are_told_apart() {
    let metric = |rule| Metric::new(&names::LINES_BLOCKED, 1).with("rule", rule);
    let rules = [
        metric("sub a.b"),
        metric("sub a_b"),
        metric("sub a_b-2"),
        metric("sub a.b"),
    ];
    let text = graphite("p", &rules, 5);
    assert_eq!(
        text,
        "p.blocklist.sub_a_b.lines 1 5\np.blocklist.sub_a_b-2.lines 1 5\n\
         p.blocklist.sub_a_b-2-2.lines 1 5\np.blocklist.sub_a_b.lines 1 5\n"
    );
}

#[test]
fn what_is_no_number_in_graphite_is_left_out() {
    let age = |age: f64| Metric::new(&names::OLDEST_AGE, age).with("destination", "d");
    let text = graphite("p", &[age(f64::NAN), age(f64::INFINITY), age(1e-7)], 5);
    assert_eq!(text, "p.destinations.d.oldest_age_seconds 0.0000001 5\n");
}

#[test]
fn the_host_is_one_node() {
    assert_eq!(
        expand_host("carbon.relays.{host}.baton", "web-1.example.org"),
        "carbon.relays.web-1_example_org.baton"
    );
    assert_eq!(expand_host("{host}.x", ""), "_.x");
    assert_eq!(expand_host("no.host", "h"), "no.host");
}

/// Baton's own table under the strictest rules takes each line as it came.
fn assert_passes_strict_validation(text: &str) -> Result<(), TestCaseError> {
    let route = TableRoute::to_all("all", Matcher::all(), vec![(0, Matcher::all())]);
    let table = Table::new(Entries {
        routes: vec![route],
        destinations: 1,
        ..Entries::default()
    });
    let rules = Rules {
        level: Level::Strict,
        level_m20: LevelM20::Medium,
        clean_dots: true,
        sort_tags: true,
        ..Rules::default()
    };
    let mut batch = Batch::new();
    let moment = Moment {
        up: &[true],
        turn: 0,
    };
    let terms = Terms {
        table: &table,
        rules: &rules,
        now: NOW,
        moment,
        order: None,
    };
    batch.run(&terms, text.as_bytes());
    let rejected = batch
        .rejections()
        .first()
        .map(|rejection| &text[rejection.range.clone()]);
    prop_assert_eq!(rejected, None);
    prop_assert_eq!(batch.routed(), text.lines().count() as u64);
    prop_assert!(batch.placed()[0].spans.iter().all(|span| !span.changed));
    Ok(())
}

/// Any text at all, and such as comes near to what validation knows.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a_is.;= -]{0,30}", "\\PC{150,300}"]
}

proptest! {
    #[test]
    fn graphite_lines_pass_strict_validation(
        host in hostile(), listener in hostile(), rule in hostile(), route in hostile(),
        destination in hostile(), age in any::<f64>(), lines in any::<u64>(),
    ) {
        let mut view = view(&listener, &rule, &route, &destination);
        view.destinations[0].oldest_age_s = age;
        view.routes[0].lines = lines;
        view.blocklist.push(RuleView { rule: rule.replace('_', "."), blocked: 1 });
        let prefix = expand_host("carbon.relays.a_{host}_is.baton", &host);
        let text = graphite(&prefix, &samples(&view), NOW);
        assert_passes_strict_validation(&text)?;
    }

    #[test]
    fn labels_are_read_back_as_they_were(rule in hostile()) {
        let metric = Metric::new(&names::LINES_BLOCKED, 3).with("rule", &rule);
        let text = prometheus(vec![metric]);
        let head = "baton_lines_blocked_total{rule=\"";
        let lines: Vec<_> = text.split('\n').collect();
        prop_assert_eq!(lines.len(), 5, "{}", text);
        let escaped = lines[2].strip_prefix(head).and_then(|line| line.strip_suffix("\"} 3"));
        let mut read = String::new();
        let mut chars = escaped.unwrap().chars();
        while let Some(c) = chars.next() {
            prop_assert_ne!(c, '"');
            read.push(match c {
                '\\' => match chars.next() { Some('n') => '\n', c => c.unwrap() },
                c => c,
            });
        }
        prop_assert_eq!(read, rule);
    }
}
