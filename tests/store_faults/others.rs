//! Other processes in the database: locks, readers, and what they see.

use std::time::{Duration, Instant};

use baton::state::{Settings, Store, Synchronous};

use crate::relay::LIMIT;
use crate::trial::{Plan, Shell, Trial, each, says, sqlite, state, wait_stalled};

const BLOCKS: Plan<'_> = Plan {
    sinks: 1,
    options: "queue=1MiB spool_full=block",
    state: "",
};

#[test]
fn a_database_that_is_locked_at_the_start_costs_nothing() {
    let mut shell = None;
    let mut trial = Trial::set_up(&BLOCKS, |setup| {
        let settings = Settings {
            path: setup.path("baton.db"),
            synchronous: Synchronous::Normal,
            events_kept: 1,
        };
        drop(Store::open(&settings).unwrap());
        let mut locker = Shell::open(&settings.path);
        locker.run("begin exclusive;");
        shell = Some(locker);
        setup
    });
    let mut sent = trial.send(10_000);
    trial.relay.wait("lines to flow", |status| {
        status.of_destination("s0", "acknowledged") == Some(10_000) && says(status, "locked")
    });
    trial.down();
    let senders = trial.senders(300_000, 0);
    wait_stalled(&senders);
    shell.unwrap().run("commit;");
    trial
        .relay
        .wait("it to be well", |status| state(status)["ok"] == true);
    sent.merge(senders.finish(LIMIT));
    trial.wait_spooled("the lines", 200_000);
    trial.up();
    assert_eq!(trial.end(&sent, &[]), 0);
}

#[test]
fn a_database_that_is_locked_for_ten_seconds_costs_nothing() {
    let mut trial = Trial::start(&BLOCKS);
    trial.down();
    let senders = trial.senders(1_000_000, 60_000);
    trial.wait_spooled("the first lines", 60_000);
    let mut shell = Shell::open(&trial.relay.instance.path("baton.db"));
    shell.run("begin exclusive;");
    let since = Instant::now();
    trial.relay.wait("ten seconds", |status| {
        says(status, "locked") && since.elapsed() > Duration::from_secs(10)
    });
    let taken = trial.relay.status().total("in");
    assert!(taken < Some(400_000), "it doesn't hold senders back");
    shell.run("commit;");
    let sent = senders.finish(LIMIT);
    trial.wait_spooled("the rest", 900_000);
    trial.up();
    assert_eq!(trial.end(&sent, &[]), 0);
}

#[test]
fn a_destination_that_is_back_while_the_database_is_locked_gets_its_lines() {
    let mut trial = Trial::start(&BLOCKS);
    trial.down();
    let mut sent = trial.send(200_000);
    trial.wait_spooled("the first lines", 150_000);
    let mut shell = Shell::open(&trial.relay.instance.path("baton.db"));
    shell.run("begin exclusive;");
    trial.up();
    sent.merge(trial.send(300_000));
    trial.relay.wait("all lines", |status| {
        status.of_destination("s0", "acknowledged") == Some(500_000)
    });
    shell.run("commit;");
    assert_eq!(trial.end(&sent, &[]), 0);
}

#[test]
fn a_reader_with_a_long_transaction_blocks_nobody_and_is_complained_of() {
    let mut trial = Trial::start(&Plan {
        state: "state.max_size = \"160MiB\"",
        ..BLOCKS
    });
    trial.down();
    let mut sent = trial.send(50_000);
    trial.wait_spooled("the first lines", 20_000);
    let mut reader = Shell::open(&trial.relay.instance.path("baton.db"));
    let rows = reader.run("begin; select count(*) from spool;");
    sent.merge(trial.send(1_200_000));
    trial.wait_spooled("all lines", 1_200_000);
    let status = trial.relay.wait("the log to be long", |status| {
        let state = state(status);
        state["wal_held"] == true && state["wal_bytes"].as_u64() > Some(40 << 20)
    });
    assert_eq!(state(&status)["ok"], true, "{}", status.document());
    trial.relay.wait_logged("holds a transaction open");
    let metrics = trial.relay.page("/metrics");
    let log = metrics
        .lines()
        .find_map(|line| line.strip_prefix("baton_state_wal_bytes "));
    let log: f64 = log.unwrap().parse().unwrap();
    assert!(log > 40e6, "{log}");
    trial.up();
    trial.relay.wait("everything to be replayed", |status| {
        status.of_destination("s0", "acknowledged") == Some(sent.lines())
    });
    // It still sees what it saw.
    assert_eq!(reader.run("select count(*) from spool;"), rows);
    drop(reader);
    trial.relay.wait("the log to be short", |status| {
        state(status)["wal_held"] == false && state(status)["wal_bytes"].as_u64() < Some(40 << 20)
    });
    assert_eq!(trial.end(&sent, &[]), 0);
}

#[test]
fn a_log_that_a_reader_holds_counts_towards_max_size() {
    let mut trial = Trial::start(&Plan {
        state: "state.max_size = \"16MiB\"",
        ..BLOCKS
    });
    trial.down();
    let mut sent = trial.send(50_000);
    trial.wait_spooled("the first lines", 20_000);
    let mut reader = Shell::open(&trial.relay.instance.path("baton.db"));
    reader.run("begin; select count(*) from spool;");
    let senders = trial.senders(500_000, 0);
    wait_stalled(&senders);
    let status = trial.relay.status();
    assert!(status.total("in") < Some(550_000), "{}", status.document());
    let state = state(&status);
    let taken = ["file_bytes", "wal_bytes"].map(|name| state[name].as_u64().unwrap());
    // What a second brings before it is seen that there is a reader.
    assert!(taken.iter().sum::<u64>() < 40 << 20, "{state}");
    drop(reader);
    trial.up();
    sent.merge(senders.finish(LIMIT));
    assert_eq!(trial.end(&sent, &[]), 0);
}

#[test]
fn the_views_answer_while_the_relay_spools_at_full_rate() {
    let mut trial = Trial::start(&BLOCKS);
    trial.down();
    let senders = trial.senders(3_000_000, 0);
    trial.wait_spooled("the first lines", 50_000);
    let database = trial.relay.instance.path("baton.db");
    let mut rounds = 0;
    while senders.sent() < 3_000_000 || rounds < 2 {
        for sql in [
            "select * from spool_summary",
            "select destination, seq, lines from spool_lines limit 3",
            "select payload from spool_lines limit 1",
            "select * from routes",
            "select * from restarts",
        ] {
            let since = Instant::now();
            let said = sqlite(&database, sql);
            assert!(
                since.elapsed() < Duration::from_secs(5),
                "{sql}: {:?}",
                since.elapsed()
            );
            assert!(
                !sql.contains("spool") || said.contains("s0") || said.contains("d."),
                "{said}"
            );
        }
        rounds += 1;
    }
    let sent = senders.finish(LIMIT);
    trial.up();
    assert_eq!(trial.end(&sent, &[]), 0);
}

#[test]
fn the_file_is_short_again_after_an_outage() {
    let mut trial = Trial::start(&BLOCKS);
    trial.down();
    let sent = trial.send(1_000_000);
    let large = |name: &'static str, least: u64| {
        move |status: &baton::drill::Status| state(status)[name].as_u64() >= Some(least)
    };
    trial
        .relay
        .wait("a large file", large("file_bytes", 25_000_000));
    let status = trial.relay.status();
    let spool = &each(&status).next().unwrap()["spool"];
    assert!(spool["oldest"].is_string() && spool["newest"].is_string());
    assert!(spool["rows"].as_u64() > Some(100), "{spool}");
    trial.up();
    trial.relay.wait("a small file and no log", |status| {
        let state = state(status);
        state["file_bytes"].as_u64() < Some(4_000_000) && state["wal_bytes"] == 0
    });
    assert_eq!(trial.end(&sent, &[]), 0);
}
