//! Blocklist and routes, from socket to file.

use crate::relay::{Config, Relay};

/// One line of each name.
fn lines(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("{name} 1 1700000000\n"))
        .collect()
}

fn names(relay: &Relay, file: &str) -> Vec<String> {
    let suffix = " 1 1700000000";
    let name = |line: String| line.strip_suffix(suffix).unwrap().to_owned();
    relay.file(file).into_iter().map(name).collect()
}

#[test]
fn case_20_the_blocklist_counts_by_rule() {
    let mut relay = Relay::start(&Config {
        top: r#"blocklist = ["prefix collectd.localhost", "regex ^foo\\..*\\.cpu", "sub secret"]"#
            .into(),
        ..Config::to_file()
    });
    relay.send(lines(&[
        "collectd.localhost.a",
        "foo.host.cpu",
        "foo.host.mem",
        "collectd.localhost.b",
        "my.secret.thing",
        "collectd.remote",
        // The first rule that fits counts.
        "collectd.localhost.secret",
    ]));
    let status = relay.wait_done(7);
    assert_eq!(names(&relay, "out"), ["foo.host.mem", "collectd.remote"]);
    assert_eq!(status.total("blocked"), Some(5));
    let blocked = [0, 1, 2].map(|rule| status.number(&format!("/worker/blocklist/{rule}/blocked")));
    assert_eq!(blocked, [Some(3), Some(1), Some(1)]);
    relay.check_books();
}

#[test]
fn case_22_every_route_that_matches_takes_the_line() {
    let routes = r#"
[[route]]
key = "prod"
prefix = "prod."
destinations = ["file:prod"]
[[route]]
key = "cpu"
sub = "cpu"
notSub = "guest"
destinations = ["file:cpu"]
"#;
    let sent = lines(&[
        "prod.cpu",
        "prod.mem",
        "test.cpu",
        "test.mem",
        "test.cpu.guest",
    ]);
    let mut relay = Relay::start(&Config {
        routes: routes.into(),
        ..Config::default()
    });
    relay.send(&sent);
    let status = relay.wait_done(5);
    assert_eq!(names(&relay, "prod"), ["prod.cpu", "prod.mem"]);
    assert_eq!(names(&relay, "cpu"), ["prod.cpu", "test.cpu"]);
    let totals = ["unrouted", "routed", "copies"].map(|name| status.total(name).unwrap());
    assert_eq!(totals, [2, 3, 4]);
    assert_eq!(status.number("/worker/routes/0/lines"), Some(2));
    assert_eq!(status.number("/worker/routes/1/lines"), Some(2));
    // With first_only, the first in order.
    relay.reconfigure(&Config {
        top: "first_only = true".into(),
        routes: routes.into(),
        ..Config::default()
    });
    relay.send(&sent);
    let status = relay.wait_done(10);
    assert_eq!(names(&relay, "prod")[2..], ["prod.cpu", "prod.mem"]);
    assert_eq!(names(&relay, "cpu")[2..], ["test.cpu"]);
    let totals = ["unrouted", "routed", "copies"].map(|name| status.total(name).unwrap());
    assert_eq!(totals, [4, 6, 7]);
    relay.check_books();
}

fn with_type(kind: &str) -> Config {
    Config {
        routes: format!(
            r#"
[[route]]
key = "one"
type = "{kind}"
destinations = ["file:prod prefix=prod.", "file:cpu sub=cpu", "file:rest notPrefix=prod."]
"#
        ),
        ..Config::default()
    }
}

#[test]
fn case_23_send_all_match_gives_to_each_destination_that_accepts() {
    let mut relay = Relay::start(&with_type("sendAllMatch"));
    relay.send(lines(&["prod.cpu", "prod.mem", "test.cpu", "test.mem"]));
    let status = relay.wait_done(4);
    assert_eq!(names(&relay, "prod"), ["prod.cpu", "prod.mem"]);
    assert_eq!(names(&relay, "cpu"), ["prod.cpu", "test.cpu"]);
    assert_eq!(names(&relay, "rest"), ["test.cpu", "test.mem"]);
    assert_eq!(
        (status.total("routed"), status.total("copies")),
        (Some(4), Some(6))
    );
    relay.check_books();
}

#[test]
fn case_23_send_first_match_gives_to_the_first_that_accepts() {
    let mut relay = Relay::start(&with_type("sendFirstMatch"));
    relay.send(lines(&["prod.cpu", "prod.mem", "test.cpu", "test.mem"]));
    let status = relay.wait_done(4);
    assert_eq!(names(&relay, "prod"), ["prod.cpu", "prod.mem"]);
    assert_eq!(names(&relay, "cpu"), ["test.cpu"]);
    assert_eq!(names(&relay, "rest"), ["test.mem"]);
    assert_eq!(
        (status.total("routed"), status.total("copies")),
        (Some(4), Some(4))
    );
    relay.check_books();
}

#[test]
fn case_23_a_line_that_no_destination_of_its_route_accepts_is_unrouted() {
    let mut relay = Relay::start(&Config::to(&["file:out prefix=prod."]));
    relay.send(lines(&[
        "prod.a",
        "test.a",
        "production",
        "prod.b",
        "x;prod.=1",
    ]));
    let status = relay.wait_done(5);
    assert_eq!(names(&relay, "out"), ["prod.a", "prod.b"]);
    assert_eq!(
        (status.total("unrouted"), status.total("routed")),
        (Some(3), Some(2))
    );
    relay.check_books();
}
