//! What becomes of a line on its way.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::relay::{Config, Relay, hang_up};
use crate::store::Store;
use crate::{config, now, out, sums};

#[test]
fn case_21_rewriters_come_after_the_blocklist_in_order_and_make_valid_names() {
    let rules = r#"
blocklist = ["prefix bad.", "prefix third."]
[[rewriter]]
old = "first"
new = "second"
max = 1
[[rewriter]]
old = "/^second\\.(\\w+)/"
new = "third.$1"
[[rewriter]]
old = "bad"
new = "good"
max = -1
[[rewriter]]
old = "spoiled"
new = "two words"
[[rewriter]]
old = "kept"
new = "lost"
not = "really"
"#;
    let config = Config {
        top: rules.lines().nth(1).unwrap().to_owned(),
        ..config(&rules.lines().skip(2).collect::<Vec<_>>().join("\n"))
    };
    let mut relay = Relay::start(&config);
    relay.send(
        "first.a 1 1790000000\nbad.a 2 1790000000\nx.bad.bad 3 1790000000\nspoiled.a 4 1790000000\n\
         kept 5 1790000000\nkept.really 6 1790000000\n",
    );
    let status = relay.wait_done(6);
    let expected = [
        "kept.really 6 1790000000",
        "lost 5 1790000000",
        "third.a 1 1790000000",
        "x.good.good 3 1790000000",
    ];
    assert_eq!(out(&relay, 4), expected);
    assert_eq!(
        (status.total("blocked"), status.total("rejected")),
        (Some(1), Some(1))
    );
    let rejected = &status.document()["worker"]["totals"]["rejected"];
    assert_eq!(rejected["rewrite"], 1);
    relay.check_books();
}

/// One aggregation of each function over the same four points.
#[test]
fn case_27_each_function_end_to_end() {
    let functions = [
        ("avg", vec![" 4"]),
        ("sum", vec![" 16"]),
        ("count", vec![" 4"]),
        ("min", vec![" 1"]),
        ("max", vec![" 8"]),
        ("last", vec![" 5"]),
        ("delta", vec![" 7"]),
        ("derive", vec![" 0.5"]),
        ("stdev", vec![" 2.7386127875258306"]),
        ("variance", vec![" 7.5"]),
        ("median", vec![" 3.5"]),
        (
            "percentiles",
            vec![
                ".p25 1.25",
                ".p50 3.5",
                ".p75 7.25",
                ".p90 8",
                ".p95 8",
                ".p99 8",
            ],
        ),
    ];
    // The window of this minute, and it closes in some seconds.
    let begin = now() / 60 * 60;
    let wait = now() - begin + 4;
    let mut rules = String::new();
    for (function, _) in &functions {
        rules += &format!(
            "[[aggregation]]\nfunction = \"{function}\"\nregex = '^in\\.(\\w+)$'\nformat = \"{function}.$1\"\ninterval = 60\nwait = {wait}\n"
        );
    }
    let mut relay = Relay::start(&config(&rules));
    let points = [(1, 0), (8, 2), (2, 4), (5, 8)];
    let mut text = String::new();
    for (value, at) in points {
        text += &format!("in.x {value} {}\n", begin + at);
    }
    text += &format!(
        "in.x 7 {}\nin.x 7 {}\nin.y 1e999 {}\n",
        begin - 600,
        begin + 86_400,
        begin
    );
    relay.send(&text);
    let mut expected: Vec<String> = functions
        .iter()
        .flat_map(|(function, ends)| {
            ends.iter().map(move |end| match end.strip_prefix('.') {
                Some(end) => format!("{function}.x.{end} {begin}"),
                None => format!("{function}.x{end} {begin}"),
            })
        })
        .collect();
    expected.extend(text.lines().map(str::to_owned));
    expected.sort_unstable();
    assert_eq!(out(&relay, expected.len()), expected);
    let status = relay.status();
    assert_eq!(
        (sums(&status, "points"), sums(&status, "refused")),
        (48, 36)
    );
    assert_eq!(
        (sums(&status, "flushed"), sums(&status, "lines_out")),
        (48, 17)
    );
    let metrics = relay.page("/metrics");
    assert!(metrics.contains("baton_aggregation_points_total{aggregation=\"sum regex="));
    assert!(metrics.contains("reason=\"too-new\"} 1"));
    relay.check_books();
}

#[test]
fn case_28_output_goes_to_the_routes_alone_and_raw_points_go_no_further() {
    let rules = r#"
[[rewriter]]
old = "raw"
new = "RAW"
[[rewriter]]
old = "blocked"
new = "rewritten"
[[aggregation]]
function = "sum"
prefix = "RAW."
format = "blocked.sum"
interval = 1
wait = 2
dropRaw = true
[[aggregation]]
function = "count"
prefix = "RAW."
format = "never"
interval = 1
wait = 2
[[aggregation]]
function = "count"
prefix = "blocked."
format = "again"
interval = 1
wait = 2
"#;
    let config = Config {
        top: "blocklist = [\"prefix blocked.\"]\n".to_owned(),
        ..config(rules)
    };
    let mut relay = Relay::start(&config);
    let mut sum = 0;
    for _ in 0..10 {
        relay.send(format!(
            "raw.a 1 {n}\nraw.b 2 {n}\nother 1 {n}\n",
            n = now()
        ));
        sum += 3;
    }
    let status = relay.wait("the windows", |status| sums(status, "open_points") == 0);
    assert_eq!(status.total("consumed"), Some(20));
    assert_eq!((sums(&status, "points"), sums(&status, "refused")), (20, 0));
    let lines = sums(&status, "lines_out") as usize;
    let all = out(&relay, 10 + lines);
    let value = |line: &String| line.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
    let made: Vec<&String> = all
        .iter()
        .filter(|line| line.starts_with("blocked.sum "))
        .collect();
    assert_eq!((all.len(), made.len()), (10 + lines, lines));
    assert_eq!(made.into_iter().map(value).sum::<u64>(), sum);
    relay.check_books();
}

#[test]
fn case_12_points_that_are_not_newer_are_refused_also_after_restarts() {
    let order = |names: &str| Config {
        supervisor: format!("[validation]\norder = true\n{names}"),
        ..config("")
    };
    let mut relay = Relay::start(&order(""));
    relay.send("a 1 10\na 2 10\nb 1 5\na 3 9\na 4 11\nb;k=v 1 5\n");
    relay.wait_done(6);
    for restart in 0..3 {
        relay.reconfigure(&order(&format!("# {restart}\n")));
        crate::wait_released(&mut relay);
        relay.send("a 5 11\nb 2 4\n");
        relay.wait_done(8 + 2 * restart);
    }
    relay.send("a 6 12\n");
    let status = relay.wait_done(13);
    assert_eq!(
        out(&relay, 5),
        ["a 1 10", "a 4 11", "a 6 12", "b 1 5", "b;k=v 1 5"]
    );
    let rejected = &status.document()["worker"]["totals"]["rejected"];
    assert_eq!(rejected["order"], 8);
    relay.check_books();
}

/// A queue that blocks has no room: the batch is turned back, and comes again.
#[test]
fn case_12_points_that_wait_for_room_are_not_refused_when_it_is_their_turn() {
    const LINES: u64 = 40_000;
    // What comes out is so much longer than what was read that a read can't fit behind another.
    let long = "x".repeat(150);
    let store = Store::down();
    let address = store.address;
    let mut relay = Relay::start(&Config {
        supervisor: "[validation]\norder = true".to_owned(),
        routes: format!(
            "[[rewriter]]\nold = \"servers.\"\nnew = \"{long}\"\n[[route]]\nkey = \"all\"\ndestinations = [\"{address} id=s full=block queue=1MiB reconnect=100ms\"]\n"
        ),
        ..Config::default()
    });
    let mut text = String::new();
    for at in 0..LINES {
        writeln!(text, "servers.web{}.cpu 1 {}", at % 1000, 1000 + at).unwrap();
    }
    let mut client = relay.connect();
    let sender = std::thread::spawn(move || {
        client.write_all(text.as_bytes()).unwrap();
        hang_up(client);
    });
    // It doesn't fit: what is read now was turned back at least once.
    let mut last = (0, std::time::Instant::now());
    relay.wait("the sender to be held back", |status| {
        let lines = status.total("in").unwrap();
        if lines != last.0 {
            last = (lines, std::time::Instant::now());
        }
        lines > 0 && last.1.elapsed().as_millis() > 500
    });
    assert!(last.0 < LINES);
    store.go_up();
    store.wait_lines(LINES as usize);
    sender.join().unwrap();
    let status = relay.wait_done(LINES);
    assert_eq!(status.total("rejected"), Some(0));
    relay.check_books();
}

/// Rewriters can make so much of what is read that there is never room for a piece of it: it goes in smaller ones.
#[test]
fn case_21_lines_that_become_much_longer_than_a_queue_go_in_smaller_pieces() {
    const LINES: usize = 10_000;
    let mut relay = Relay::start(&Config {
        routes: format!(
            "[[rewriter]]\nold = \"short.\"\nnew = \"{}.\"\n[[route]]\nkey = \"all\"\ndestinations = [\"file:out id=out flush=1ms full=block queue=1MiB\"]\n",
            "x".repeat(2000)
        ),
        ..Config::default()
    });
    let text: String = (0..LINES)
        .map(|n| format!("short.{n:05} 1 1700000000\n"))
        .collect();
    relay.send(&text);
    relay.wait_done(LINES as u64);
    let lines = relay.file("out");
    assert_eq!(lines.len(), LINES);
    let in_order = |(n, line): (usize, &String)| line.ends_with(&format!(".{n:05} 1 1700000000"));
    assert!(lines.iter().enumerate().all(in_order));
    relay.check_books();
}
