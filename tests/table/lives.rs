//! What is changed is in force at once, is written, and lives through restarts, crashes and stops.

use baton::drill::Setup;
use serde_json::{Value, json};

use crate::api::{ask, done};
use crate::relay::{Config, LIMIT, Relay, wait_for};

fn routes(relay: &Relay) -> Vec<String> {
    let table = done(relay.http, "GET", "/api/v1/routes", &Value::Null).body;
    let keys = table.as_array().unwrap().iter();
    keys.map(|rule| rule["key"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn what_is_added_is_in_force_and_survives_a_restart_a_crash_and_a_start() {
    let mut relay = Relay::start(&Config::to_file());
    let http = relay.http;
    let route = json!({"key": "new", "prefix": "new.", "destinations": ["file:new id=new"]});
    let added = done(http, "POST", "/api/v1/routes?place=first", &route);
    assert_eq!(added.status, 201);
    assert_eq!(added.header("location"), "/api/v1/routes/new");
    assert_eq!(routes(&relay), ["new", "all"]);
    let mut sent = 0;
    let mut send = |relay: &mut Relay| {
        relay.send(b"new.a 1 1790000000\nold.a 1 1790000000\n");
        sent += 1;
        let came = |s: &baton::drill::Status| s.of_destination("new", "acknowledged") == Some(sent);
        relay
            .instance
            .wait_status("the lines", LIMIT, came)
            .unwrap();
    };
    send(&mut relay);
    relay.instance.reload().unwrap();
    assert_eq!(routes(&relay), ["new", "all"]);
    send(&mut relay);
    relay.instance.kill_worker(LIMIT).unwrap();
    relay.instance.wait_serving(LIMIT).unwrap();
    assert_eq!(routes(&relay), ["new", "all"]);
    send(&mut relay);
    // The history knows who it was.
    let history = done(http, "GET", "/api/v1/history", &Value::Null).body;
    assert_eq!(history[0]["via"], "http");
    assert!(
        history[0]["peer"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:"),
        "{history}"
    );
    assert!(
        history[0]["command"]
            .as_str()
            .unwrap()
            .starts_with("add route "),
        "{history}"
    );
    // A person sees it with sqlite3.
    let table = std::process::Command::new("sqlite3")
        .arg(relay.instance.path("baton.db"))
        .arg("SELECT key, origin FROM table_entry")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&table.stdout), "new|added\n");
    relay.instance.status().unwrap().check_books().unwrap();
    let folder = relay.instance.folder().to_owned();
    let kept = tempfile::tempdir().unwrap();
    relay.instance.stop(LIMIT).unwrap();
    std::fs::copy(folder.join("baton.db"), kept.path().join("baton.db")).unwrap();
    for beside in ["baton.db-wal", "baton.db-shm"] {
        let _absent = std::fs::copy(folder.join(beside), kept.path().join(beside));
    }
    let again = Relay::set_up(&Config::to_file(), |setup: Setup| {
        std::fs::copy(kept.path().join("baton.db"), setup.path("baton.db")).unwrap();
        let _absent = std::fs::copy(kept.path().join("baton.db-wal"), setup.path("baton.db-wal"));
        setup
    });
    assert_eq!(routes(&again), ["new", "all"]);
}

#[test]
fn every_kind_is_changed_and_undone() {
    let mut relay = Relay::start(&Config::to_file());
    let http = relay.http;
    let at_first = done(http, "GET", "/api/v1/table", &Value::Null).body["rules"].clone();
    for (collection, rule) in [
        ("blocklist", json!({"rule": "prefix junk."})),
        (
            "rewriters",
            json!({"old": "/^a\\.(.*)/", "new": "b.${1}", "max": -1}),
        ),
        (
            "aggregations",
            json!({"function": "sum", "regex": "^x\\.(.*)", "format": "s.$1", "interval": 1, "wait": 2}),
        ),
    ] {
        done(http, "POST", &format!("/api/v1/{collection}"), &rule);
    }
    relay.send(b"junk.a 1 1790000000\na.b 1 1790000000\n");
    wait_for("the file", || relay.file("out") == ["b.b 1 1790000000"]);
    let history = done(http, "GET", "/api/v1/history", &Value::Null).body;
    for change in history.as_array().unwrap() {
        assert_eq!(change["can_be_undone"], true);
        done(
            http,
            "POST",
            &format!("/api/v1/history/{}/undo", change["id"]),
            &Value::Null,
        );
    }
    let table = done(http, "GET", "/api/v1/table", &Value::Null).body;
    assert_eq!(table["rules"], at_first);
    relay.instance.status().unwrap().check_books().unwrap();
}

#[test]
fn two_operators_dont_overwrite_each_other() {
    let relay = Relay::start(&Config::to_file());
    let http = relay.http;
    let seen = done(http, "GET", "/api/v1/routes/all", &Value::Null);
    let tag = seen.header("etag").to_owned();
    let condition = format!("If-Match: {tag}\r\n");
    let patch = json!({"prefix": "a."});
    let first = ask(http, "PATCH", "/api/v1/routes/all", &condition, &patch);
    assert_eq!(first.status, 200, "{}", first.body);
    let second = ask(
        http,
        "PATCH",
        "/api/v1/routes/all",
        &condition,
        &json!({"prefix": "b."}),
    );
    assert_eq!(second.status, 412);
    assert_eq!(second.header("content-type"), "application/problem+json");
    assert_eq!(
        format!("\"{}\"", second.body["version"].as_str().unwrap()),
        first.header("etag")
    );
}

#[test]
fn what_is_volatile_ends_with_the_worker_and_a_preview_changes_nothing() {
    let mut relay = Relay::start(&Config::to_file());
    let http = relay.http;
    let rule = json!({"rule": "prefix junk."});
    let dry = done(http, "POST", "/api/v1/blocklist?dry_run=true", &rule);
    assert_eq!(
        dry.body["differences"][0]["after"],
        "blocklist = [\"prefix junk.\"]\n"
    );
    let of = |relay: &Relay| done(relay.http, "GET", "/api/v1/blocklist", &Value::Null).body;
    assert_eq!(of(&relay), json!([]));
    let first = done(http, "POST", "/api/v1/blocklist?volatile=true", &rule);
    assert_eq!(of(&relay)[0]["volatile"], true);
    // What is written doesn't build on it.
    let place = "/api/v1/blocklist/prefix%20junk./move?place=first";
    let refused = ask(http, "POST", place, "", &Value::Null);
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(
        refused.body["detail"]
            .as_str()
            .unwrap()
            .contains("volatile")
    );
    relay.instance.reload().unwrap();
    assert_eq!(of(&relay), json!([]));
    // The first of this worker's is another version than the first of the last one's.
    let again = done(http, "POST", "/api/v1/blocklist?volatile=true", &rule);
    assert_ne!(first.header("etag"), again.header("etag"));
    assert_ne!(first.body["version"], again.body["version"]);
}

#[test]
fn wrong_changes_are_refused_and_nothing_happens() {
    let relay = Relay::start(&Config::to_file());
    let http = relay.http;
    for (method, path, body, status, said) in [
        (
            "POST",
            "routes",
            json!({"key": "all", "destinations": ["h:1"]}),
            409,
            "already",
        ),
        (
            "POST",
            "routes",
            json!({"key": "a", "destinatoins": ["h:1"]}),
            422,
            "did you mean destinations",
        ),
        (
            "POST",
            "routes",
            json!({"key": "a", "regex": "(", "destinations": ["h:1"]}),
            422,
            "route.regex",
        ),
        ("POST", "routes", json!([1]), 400, "expected a JSON object"),
        (
            "PATCH",
            "routes/al",
            json!({"prefix": "a"}),
            404,
            "did you mean all",
        ),
        (
            "PATCH",
            "routes/all/destinations/7",
            json!({"queue": "1MiB"}),
            404,
            "no destination",
        ),
        (
            "DELETE",
            "routes/all/destinations/out",
            Value::Null,
            422,
            "expected one at least",
        ),
        (
            "POST",
            "blocklist?place=middle",
            json!({"rule": "prefix a"}),
            400,
            "place: expected",
        ),
        (
            "POST",
            "blocklist?plaec=last",
            json!({"rule": "prefix a"}),
            400,
            "no parameter",
        ),
        ("POST", "history/99/undo", Value::Null, 404, "no change 99"),
    ] {
        let answer = ask(http, method, &format!("/api/v1/{path}"), "", &body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert!(
            answer.body.to_string().contains(said),
            "{method} {path}: {}",
            answer.body
        );
    }
    assert_eq!(routes(&relay), ["all"]);
    assert_eq!(
        done(http, "GET", "/api/v1/history", &Value::Null).body,
        json!([])
    );
}

#[test]
fn a_database_that_cant_be_written_refuses_what_isnt_volatile() {
    let mut relay = Relay::start(&Config::to_file());
    let http = relay.http;
    let database = relay.instance.path("baton.db");
    let lock = rusqlite::Connection::open(database).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let rule = json!({"rule": "prefix junk."});
    let refused = ask(http, "POST", "/api/v1/blocklist", "", &rule);
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(
        refused.body["detail"]
            .as_str()
            .unwrap()
            .contains("nothing was changed")
    );
    assert_eq!(
        done(http, "GET", "/api/v1/blocklist", &Value::Null).body,
        json!([])
    );
    done(http, "POST", "/api/v1/blocklist?volatile=true", &rule);
    lock.execute_batch("ROLLBACK").unwrap();
    // It isn't written later either: what comes next is all that there is.
    let other = json!({"rule": "prefix other."});
    wait_for("the next one is written", || {
        ask(http, "POST", "/api/v1/blocklist", "", &other).status == 201
    });
    relay.instance.reload().unwrap();
    let rules = done(http, "GET", "/api/v1/blocklist", &Value::Null).body;
    assert_eq!(rules.as_array().unwrap().len(), 1, "{rules}");
    assert_eq!(rules[0]["key"], "prefix other.");
    let history = done(http, "GET", "/api/v1/history", &Value::Null).body;
    assert_eq!(history.as_array().unwrap().len(), 1, "{history}");
}

/// A predecessor's commit that is under way, and ends long after the successor has begun to serve.
#[test]
fn what_was_being_written_at_a_crash_is_in_force_once_it_is_there() {
    let mut relay = Relay::start(&Config::to_file());
    let http = relay.http;
    done(
        http,
        "POST",
        "/api/v1/blocklist",
        &json!({"rule": "prefix first."}),
    );
    let predecessor = rusqlite::Connection::open(relay.instance.path("baton.db")).unwrap();
    let commit = r#"BEGIN IMMEDIATE;
        INSERT INTO table_entry VALUES ('blocklist', 'prefix second.', 1125899907891200, 'added',
            'blocklist = ["prefix second."]', '2026-01-01T00:00:00.000Z');
        INSERT INTO route_change (at, via, peer, command, outcome)
            VALUES ('2026-01-01T00:00:00.000Z', 'http', '', 'add', 'in force');"#;
    predecessor.execute_batch(commit).unwrap();
    relay.instance.kill_worker(LIMIT).unwrap();
    relay.instance.wait_serving(LIMIT).unwrap();
    relay.wait_logged("can't be taken over yet");
    let keys = || -> Vec<String> {
        let rules = done(http, "GET", "/api/v1/blocklist", &Value::Null).body;
        let keys = rules.as_array().unwrap().iter();
        keys.map(|rule| rule["key"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(keys(), ["prefix first."]);
    predecessor.execute_batch("COMMIT").unwrap();
    wait_for("it is in force", || {
        keys() == ["prefix first.", "prefix second."]
    });
    let third = json!({"rule": "prefix third."});
    wait_for("a third", || {
        ask(http, "POST", "/api/v1/blocklist", "", &third).status == 201
    });
    relay.instance.reload().unwrap();
    assert_eq!(keys(), ["prefix first.", "prefix second.", "prefix third."]);
}
