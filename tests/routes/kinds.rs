//! Each kind of route through the real binary.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::relay::{Config, LIMIT, Relay, wait_for};
use crate::store::Store;

const IDS: [&str; 4] = ["a", "b", "c", "d"];

/// A route over these stores, with what else is written in it. Each is known by a letter, which is its instance, too.
fn config(kind: &str, stores: &[Store], more: &str, options: &str) -> Config {
    let strings = stores.iter().zip(IDS).map(|(store, id)| {
        format!(
            "{}:{id} id={id} flush=1ms reconnect=100ms {options}",
            store.address
        )
    });
    let strings: Vec<String> = strings.collect();
    Config {
        routes: format!(
            "[[route]]\nkey = \"all\"\ntype = {kind:?}\n{more}\ndestinations = {strings:?}\n"
        ),
        ..Config::default()
    }
}

/// Numbered lines with as many names.
fn lines(numbers: std::ops::Range<usize>) -> String {
    let mut text = String::new();
    for n in numbers {
        writeln!(text, "servers.web{n:06}.cpu {n} 1790000000").unwrap();
    }
    text
}

fn wait_state(relay: &mut Relay, id: &str, state: &str) {
    relay.wait("the state of a destination", |status| {
        status
            .destination(id)
            .is_some_and(|one| one["state"] == state)
    });
}

fn judged(relay: &Relay, id: &str, words: &str) -> usize {
    let log = relay.instance.log();
    let of = |line: &&str| line.contains(words) && line.contains(&format!("destination=\"{id}\""));
    log.lines().filter(of).count()
}

fn wait_judged(relay: &Relay, id: &str, words: &str, times: usize) {
    wait_for(words, || judged(relay, id, words) >= times);
}

/// Every line of these numbers is at these stores together, once.
fn assert_all_once(stores: &[&Store], numbers: std::ops::Range<usize>) {
    let expected: BTreeSet<String> = lines(numbers).lines().map(str::to_owned).collect();
    let mut found = Vec::new();
    for store in stores {
        found.extend(store.lines());
    }
    let distinct: BTreeSet<String> = found.iter().cloned().collect();
    assert_eq!(distinct, expected);
    assert_eq!(found.len(), expected.len(), "some came twice");
}

#[test]
fn case_23_failover_moves_on_and_comes_back_after_failback() {
    let stores = [Store::start(), Store::start(), Store::start()];
    let mut relay = Relay::start(&config("failover", &stores, "failback = \"2s\"", ""));
    relay.send(lines(0..1000));
    stores[0].wait_lines(1000);
    relay.wait_done(1000);
    stores[0].go_down();
    // What is queued for the dead one, and what comes later, goes to the next.
    relay.send(lines(1000..2000));
    stores[1].wait_lines(1000);
    wait_judged(&relay, "a", "taken for down", 1);
    relay.send(lines(2000..3000));
    stores[1].wait_lines(2000);
    let given = relay.wait_done(3000).of_destination("a", "given").unwrap();

    // Up is not yet chosen, whoever serves; and who takes over takes nobody for up who is dead.
    let reload = config("failover", &stores, "failback = \"2s\" # reloaded", "");
    relay.reconfigure(&reload);
    relay.send(lines(3000..3500));
    stores[1].wait_lines(2500);
    let began = Instant::now();
    stores[0].go_up();
    wait_state(&mut relay, "a", "up");
    relay.send(lines(3500..4000));
    stores[1].wait_lines(3000);
    let early = began.elapsed() < Duration::from_secs(2);
    let status = relay.status();
    assert!(!early || status.of_destination("a", "given") == Some(given));
    wait_judged(&relay, "a", "taken for up again", 1);
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    relay.send(lines(4000..4500));
    stores[0].wait_lines(1500);
    relay.wait_done(4500);
    assert_eq!(stores[2].count(), 0);
    assert_all_once(&[&stores[0], &stores[1]], 0..4500);
    relay.check_books();
}

/// All members are down, lines wait with the first; they go to whichever comes up, in their order.
fn queued_lines_go_to_the_live_one(options: &str, count: usize) {
    let stores = [Store::down(), Store::down()];
    let mut relay = Relay::start(&config("failover", &stores, "failback = \"1s\"", options));
    relay.send(lines(0..count));
    relay.wait("the lines to be taken", |status| {
        status.total("in") == Some(count as u64)
    });
    wait_judged(&relay, "a", "taken for down", 1);
    stores[1].go_up();
    // It was taken for down too; but nobody else is up, so it needn't wait.
    stores[1].wait_lines(count);
    assert_eq!(stores[1].lines().join("\n") + "\n", lines(0..count));
    let status = relay.wait("the books to be closed", |status| {
        status.of_destination("b", "acknowledged") == Some(count as u64)
    });
    assert_eq!(status.of_destination("a", "moved"), Some(count as u64));
    assert_eq!(status.of_destination("b", "imported"), Some(count as u64));
    // The first comes back to an empty queue, and works.
    stores[0].go_up();
    wait_state(&mut relay, "a", "up");
    wait_judged(&relay, "a", "taken for up again", 1);
    relay.send(lines(count..count + 100));
    stores[0].wait_lines(100);
    relay.wait_done(count as u64 + 100);
    assert_all_once(&[&stores[0], &stores[1]], 0..count + 100);
    relay.check_books();
}

#[test]
fn case_23_what_is_queued_for_a_dead_member_goes_to_the_live_one() {
    queued_lines_go_to_the_live_one("", 5000);
}

#[test]
fn case_23_what_is_spooled_for_a_dead_member_goes_to_the_live_one() {
    // Several times its queue: most of it is in the database.
    queued_lines_go_to_the_live_one("queue=1MiB", 150_000);
}

#[test]
fn case_23_members_without_a_spool_give_what_they_have_too() {
    queued_lines_go_to_the_live_one("full=block", 5000);
    queued_lines_go_to_the_live_one("full=drop", 5000);
}

/// Killed while lines move: still each of them once.
#[test]
fn case_23_a_kill_while_lines_move_loses_and_doubles_none() {
    for after in [0, 5, 20, 60, 150] {
        let stores = [Store::down(), Store::down()];
        let more = "failback = \"1h\"";
        let mut relay = Relay::start(&config("failover", &stores, more, "queue=1MiB"));
        let count = 60_000;
        relay.send(lines(0..count));
        // Both: one that comes up before it is taken for down isn't taken for up again either.
        wait_judged(&relay, "a", "taken for down", 1);
        wait_judged(&relay, "b", "taken for down", 1);
        stores[1].go_up();
        wait_judged(&relay, "b", "taken for up again", 1);
        std::thread::sleep(Duration::from_millis(after));
        relay.instance.kill_worker(LIMIT).unwrap();
        stores[1].wait_lines(count);
        assert_all_once(&[&stores[1]], 0..count);
        relay.wait("the queues to be empty", |status| {
            ["a", "b"].map(|id| status.of_destination(id, "queued")) == [Some(0); 2]
        });
        relay.check_books();
    }
}

#[test]
fn case_23_any_of_gives_only_the_names_of_the_dead_to_others() {
    let stores = [Store::start(), Store::start(), Store::start()];
    let mut relay = Relay::start(&config("any_of", &stores, "failback = \"1s\"", ""));
    relay.send(lines(0..3000));
    relay.wait_done(3000);
    let usual = stores.each_ref().map(|store| store.lines());
    assert!(usual.iter().all(|lines| lines.len() > 700));
    assert_all_once(&stores.each_ref(), 0..3000);
    stores[1].go_down();
    wait_judged(&relay, "b", "taken for down", 1);
    relay.send(lines(0..3000));
    relay.wait_done(6000);
    assert_eq!(stores[1].count(), usual[1].len());
    let mut moved = 0;
    for at in [0, 2] {
        wait_for("the lines", || stores[at].count() > usual[at].len());
        let now: BTreeSet<String> = stores[at]
            .lines()
            .split_off(usual[at].len())
            .into_iter()
            .collect();
        assert!(
            usual[at].iter().all(|line| now.contains(line)),
            "they keep theirs"
        );
        moved += now.len() - usual[at].len();
    }
    assert_eq!(moved, usual[1].len());
    stores[1].go_up();
    wait_judged(&relay, "b", "taken for up again", 1);
    relay.send(lines(0..3000));
    stores[1].wait_lines(2 * usual[1].len());
    relay.wait_done(9000);
    assert_eq!(stores[1].count(), 2 * usual[1].len());
    relay.check_books();
}

#[test]
fn case_23_round_robin_is_balanced() {
    let stores = [Store::start(), Store::start(), Store::start()];
    let mut relay = Relay::start(&config("roundRobin", &stores, "", ""));
    for n in 0..90 {
        relay.send(lines(n..n + 1));
    }
    relay.wait_done(90);
    assert_all_once(&stores.each_ref(), 0..90);
    for store in &stores {
        assert!(store.count() >= 20, "{}", store.count());
    }
    stores[2].go_down();
    wait_judged(&relay, "c", "taken for down", 1);
    let before = stores[2].count();
    for n in 90..150 {
        relay.send(lines(n..n + 1));
    }
    relay.wait_done(150);
    assert_all_once(&stores.each_ref(), 0..150);
    assert_eq!(stores[2].count(), before);
    relay.check_books();
}

/// The ring of carbon's that the vectors call `r3_samehost_inst`: its hash knows instances, not ports.
#[test]
fn case_24_carbon_ch_through_sockets_is_carbons() {
    let stores = [Store::start(), Store::start(), Store::start()];
    let mut relay = Relay::start(&config("carbon_ch", &stores, "replication = 2", ""));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/carbon_ch.csv");
    let text = std::fs::read_to_string(path).unwrap();
    let mut expected: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    let mut input = String::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        if fields[0] != "r3_samehost_inst" || !fields[2].is_ascii() {
            continue;
        }
        writeln!(input, "{} 1 1790000000", fields[2]).unwrap();
        for node in fields[4].split('|').take(2) {
            let at = IDS.iter().position(|id| node.ends_with(id)).unwrap();
            expected.entry(at).or_default().insert(fields[2]);
        }
    }
    let count = input.lines().count() as u64;
    assert!(count > 150);
    relay.send(&input);
    let status = relay.wait_done(count);
    let rejected = status.total("rejected").unwrap();
    assert!(
        rejected < count / 10,
        "names that Baton refuses: {rejected}"
    );
    let mut found = 0;
    for (at, store) in stores.iter().enumerate() {
        let lines = store.lines();
        found += lines.len();
        for line in &lines {
            let name = line.split(' ').next().unwrap();
            assert!(expected[&at].contains(name), "{name} at {at}");
        }
    }
    assert_eq!(found as u64, 2 * (count - rejected));
    relay.check_books();
}

#[test]
fn case_24_a_dead_member_of_a_hash_gets_its_own_back() {
    let stores = [Store::start(), Store::start(), Store::start()];
    let mut relay = Relay::start(&config("fnv1a_ch", &stores, "", ""));
    relay.send(lines(0..3000));
    relay.wait_done(3000);
    let usual = stores.each_ref().map(|store| store.count());
    stores[0].go_down();
    wait_state(&mut relay, "a", "down");
    relay.send(lines(0..3000));
    stores[1].wait_lines(2 * usual[1]);
    stores[2].wait_lines(2 * usual[2]);
    stores[0].go_up();
    stores[0].wait_lines(2 * usual[0]);
    relay.wait_done(6000);
    for (store, usual) in stores.iter().zip(usual) {
        assert_eq!(store.count(), 2 * usual);
        let once: BTreeSet<String> = store.lines().into_iter().collect();
        assert_eq!(once.len(), usual, "each has its own names");
    }
    relay.check_books();
}

#[test]
fn case_24_dynamic_gives_new_lines_of_a_dead_member_to_others() {
    for kind in ["consistentHashing", "jump_fnv1a_ch"] {
        let stores = [Store::start(), Store::start(), Store::start()];
        let mut relay = Relay::start(&config(kind, &stores, "dynamic = true", ""));
        relay.send(lines(0..3000));
        relay.wait_done(3000);
        let usual = stores.each_ref().map(|store| store.count());
        stores[0].go_down();
        wait_judged(&relay, "a", "taken for down", 1);
        relay.send(lines(3000..6000));
        relay.wait_done(6000);
        assert_eq!(stores[0].count(), usual[0]);
        assert_all_once(&stores.each_ref(), 0..6000);
        relay.check_books();
    }
}
