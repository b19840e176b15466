//! `spool_max` and `max_size` reached, with each of the policies.

use crate::trial::{Plan, Trial, each, state, wait_stalled};

const MIB: u64 = 1 << 20;
/// Some 17 MB of text.
const MANY: u64 = 500_000;

/// An outage that brings more than the limits allow. Returns how many lines were dropped.
fn outage(plan: &Plan<'_>, blocks: bool, most: u64) -> u64 {
    let mut trial = Trial::start(plan);
    trial.down();
    let senders = trial.senders(MANY, 0);
    if blocks {
        wait_stalled(&senders);
        assert!(trial.relay.status().total("in") < Some(MANY));
    } else {
        assert!(senders.wait(MANY, crate::relay::LIMIT));
    }
    let status = trial.relay.wait("the limit", |status| {
        each(status).all(|one| one["spool"]["bytes"].as_u64() > Some(most / 2))
    });
    // The alert of a spool that is nearly full goes off before lines are dropped for long.
    let is_near = |used: u64, limit: &serde_json::Value| used * 20 > limit.as_u64().unwrap() * 17;
    trial.relay.wait("85 % of a limit", |status| {
        let state = state(status);
        let [file, free] = ["file_bytes", "free_bytes"].map(|name| state[name].as_u64().unwrap());
        let own = |one: &serde_json::Value| {
            is_near(
                one["spool"]["bytes"].as_u64().unwrap(),
                &one["spool_limit_bytes"],
            )
        };
        is_near(file - free, &state["limit_bytes"]) || each(status).all(own)
    });
    for one in each(&status) {
        // The send ring is there a second time.
        let most = most + MIB;
        assert!(one["spool"]["bytes"].as_u64() <= Some(most), "{one}");
    }
    let file = state(&status)["file_bytes"].as_u64().unwrap();
    assert!(file <= 40 * MIB, "{}", status.document());
    trial.up();
    let sent = senders.finish(crate::relay::LIMIT);
    trial.end(&sent, &["spool-full"])
}

fn spool_max(policy: &str) -> u64 {
    let options = format!("queue=1MiB spool_max=4MiB spool_full={policy}");
    let plan = Plan {
        options: &options,
        ..Plan::default()
    };
    outage(&plan, policy == "block", 4 * MIB)
}

fn max_size(policy: &str) -> u64 {
    let options = format!("queue=1MiB spool_full={policy}");
    let plan = Plan {
        sinks: 2,
        options: &options,
        state: "state.max_size = \"16MiB\"",
    };
    outage(&plan, policy == "block", 8 * MIB)
}

#[test]
fn a_full_spool_drops_its_oldest_lines_and_counts_them() {
    let dropped = spool_max("drop-oldest");
    assert!(dropped > MANY / 2, "{dropped}");
}

#[test]
fn a_full_spool_that_drops_the_newest_counts_them() {
    let dropped = spool_max("drop-newest");
    assert!(dropped > MANY / 2, "{dropped}");
}

#[test]
fn a_full_spool_that_blocks_holds_senders_back_and_drops_nothing() {
    assert_eq!(spool_max("block"), 0);
}

#[test]
fn two_spools_that_are_too_large_together_drop_their_oldest_lines() {
    let dropped = max_size("drop-oldest");
    assert!(dropped > MANY / 2, "{dropped}");
}

#[test]
fn two_spools_that_are_too_large_together_drop_the_newest_lines() {
    let dropped = max_size("drop-newest");
    assert!(dropped > MANY / 2, "{dropped}");
}

#[test]
fn two_spools_that_are_too_large_together_hold_senders_back() {
    assert_eq!(max_size("block"), 0);
}
