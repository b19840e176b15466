//! Rewriters, aggregations and the order of points, through whole processes and real sockets; the books are checked at the
//! end of every test.
#![allow(missing_docs)]

#[path = "rules/lives.rs"]
mod lives;
#[path = "rules/merges.rs"]
mod merges;
#[path = "inputs/relay.rs"]
#[expect(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;
#[path = "routes/store.rs"]
#[expect(dead_code, reason = "each of the test programs uses a part of it")]
mod store;
#[path = "rules/walk.rs"]
mod walk;

use std::time::{SystemTime, UNIX_EPOCH};

use baton::drill::Status;
use relay::{Config, Relay};
use serde_json::Value;

fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u32::try_from(since.as_secs()).unwrap()
}

/// Everything into the file `out`, after these rules.
fn config(rules: &str) -> Config {
    Config {
        routes: format!(
            "{rules}\n[[route]]\nkey = \"all\"\ndestinations = [\"file:out id=out flush=1ms\"]\n"
        ),
        ..Config::default()
    }
}

/// The lines of the file, sorted, once there are so many.
fn out(relay: &Relay, count: usize) -> Vec<String> {
    relay::wait_for("the lines", || relay.file("out").len() >= count);
    let mut lines = relay.file("out");
    lines.sort_unstable();
    lines
}

fn sums(status: &Status, name: &str) -> u64 {
    let all = status.document()["worker"]["aggregations"].as_array();
    let of = |one: &Value| match &one[name] {
        Value::Object(parts) => parts.values().filter_map(Value::as_u64).sum(),
        other => other.as_u64().unwrap(),
    };
    all.unwrap().iter().map(of).sum()
}

/// Waits until windows are no longer held for those of a predecessor.
fn wait_released(relay: &mut Relay) -> Status {
    relay.wait("the windows of the predecessor", |status| {
        status.document()["worker"]["windows"]["held"] == false
    })
}
