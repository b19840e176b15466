//! What is seen: destinations, inputs, traces, the tail, a restart. Pictures of all of it go to `target/tmp/page`.

use serde_json::json;

use crate::api::done;
use crate::browser::Browser;
use crate::changes::open;
use crate::relay::{Config, Relay, free_address, wait_for};

/// Rules of every kind and origin, and lines of every fate.
pub fn furnish(relay: &Relay) {
    let http = relay.http;
    let nobody = free_address();
    let stores = ["a", "b", "c"].map(|one| format!("{nobody}:{one} id=store-{one}"));
    for (collection, rule) in [
        ("blocklist", json!({"rule": "prefix collectd.localhost"})),
        ("blocklist", json!({"rule": "regex ^foo\\..*\\.cpu[0-9]+$"})),
        (
            "rewriters",
            json!({"old": "/^server\\.([^.]+)/", "new": "servers.${1}.collectd", "max": -1}),
        ),
        (
            "aggregations",
            json!({"function": "sum", "regex": "^servers\\.[^.]+\\.(cpu|mem)", "format": "all.${1}.sum", "interval": 10, "wait": 20}),
        ),
        (
            "routes",
            json!({"key": "archive", "type": "consistentHashing", "prefix": "servers.",
            "destinations": stores}),
        ),
    ] {
        done(http, "POST", &format!("/api/v1/{collection}"), &rule);
    }
    done(
        http,
        "PATCH",
        "/api/v1/routes/all",
        &json!({"notSub": "secret"}),
    );
    done(
        http,
        "POST",
        "/api/v1/blocklist?volatile=true",
        &json!({"rule": "sub debug"}),
    );
    let mut lines = String::new();
    for n in 0..300 {
        lines += &format!("servers.web{n}.cpu {n} 1790000000\n");
    }
    relay.send(lines + "collectd.localhost.a 1 1790000000\nbad line\nservers.a nan? 1790000000\nsecret 1 1790000000\n");
}

fn shoot(browser: &mut Browser, name: &str) {
    for (scheme, width, height) in [
        ("light", 1280, 900),
        ("dark", 1280, 900),
        ("light", 320, 700),
        ("dark", 320, 700),
    ] {
        browser.scheme(scheme);
        browser.size(width, height);
        browser.eval("scrollTo(0, 0)");
        browser.picture(&format!("{name}-{scheme}-{width}"));
    }
    browser.size(1280, 900);
}

#[test]
fn destinations_and_inputs_are_live() {
    let relay = Relay::start(&Config::to_file());
    furnish(&relay);
    let mut browser = open(&relay, "#/destinations");
    browser.wait_text("#destinations-sum", "4 destinations");
    browser.wait_text(
        "[data-state=down], [data-state=connecting]",
        "onnection refused",
    );
    browser.wait_text(".destinations", "not while it is down");
    // Rates are of the lines that flow now.
    wait_for("lines a second", || {
        relay.send("live.a 1 1790000000\n".repeat(20));
        browser.eval("parseFloat(document.querySelector('#rate-in').textContent) > 0 && document.querySelectorAll('.spark path[d*=L]').length > 3") == true
    });
    shoot(&mut browser, "destinations");
    // Filters, and the address that keeps them.
    browser.fill("#destinations-q", "store-");
    browser.wait_text("#destinations-sum", "3 shown");
    browser.wait("location.hash === '#/destinations?q=store-'");
    browser.choose("#destinations-sort", "backlog");
    browser.wait("location.hash.endsWith('sort=backlog')");
    // It comes up, and drains.
    browser.eval("location.hash = '#/inputs'");
    browser.wait_text("#rejected", "servers.a nan? 1790000000");
    browser.wait_text("#dropped", "blocklist: prefix collectd.localhost");
    browser.wait_text("#listeners", &format!("tcp://127.0.0.1:{}", relay.port));
    shoot(&mut browser, "inputs");
    let options =
        browser.eval("[...document.querySelector('#rejected-reason').options].map(o => o.value)");
    let first = options[1].as_str().unwrap().to_owned();
    browser.choose("#rejected-reason", &first);
    browser.wait(&format!("[...document.querySelectorAll('#rejected [data-label=Reason]')].every(e => e.textContent === '{first}')"));
    browser.check();
}

#[test]
fn a_backlog_says_when_it_will_be_gone() {
    let there = free_address();
    let relay = Relay::start(&Config::to(&[&format!("{there} id=late reconnect=100ms")]));
    relay.send("a 1 1790000000\n".repeat(5000));
    let mut browser = open(&relay, "#/destinations");
    browser.wait_text("[role=cell]", "5,000");
    browser.wait_text("[role=cell]", "not while it is down");
    let clock = baton::drill::Clock::start();
    let _sink = baton::drill::Sink::start_at(there, clock).unwrap();
    browser.wait_text("[data-state=up]", "nothing to drain");
    browser.check();
}

#[test]
fn a_trace_is_a_tree() {
    let relay = Relay::start(&Config::to_file());
    furnish(&relay);
    let mut browser = open(&relay, "#/trace");
    browser.fill("#trace-metric", "server.web1.cpu");
    browser.key("Enter", 0);
    browser.wait_text(".tree", "rewritten to servers.web1.collectd.cpu");
    browser.wait_text(".tree", "route archive consistentHashing");
    assert_eq!(
        browser.eval("location.hash"),
        "#/trace?metric=server.web1.cpu"
    );
    shoot(&mut browser, "trace");
    browser.fill("#trace-metric", "collectd.localhost.x");
    browser.click("#trace-form button");
    browser.wait_text(".tree", "The blocklist drops it: prefix collectd.localhost");
    browser.check();
}

#[test]
fn the_table_and_the_history_are_shown() {
    let relay = Relay::start(&Config::to_file());
    furnish(&relay);
    let mut browser = open(&relay, "#/table");
    browser.wait_text("#rules-route", "Routes 2");
    for mark in ["changed", "added", "added, volatile"] {
        browser.wait_text("#rules .badge", mark);
    }
    shoot(&mut browser, "table");
    browser.click("[aria-label='Edit the route archive']");
    shoot(&mut browser, "form");
    browser.fill("#form input[name=prefix]", "hosts.");
    browser.click("#form .first");
    browser.wait_text("#preview ins", "hosts.");
    shoot(&mut browser, "preview");
    crate::changes::apply(&mut browser);
    browser.eval("location.hash = '#/history'");
    browser.wait_text("#changes", "by page");
    browser.wait_text("#generations", "Generation 1");
    shoot(&mut browser, "history");
    browser.check();
}

#[test]
fn a_restart_is_asked_for_and_seen_while_a_tail_runs() {
    let relay = Relay::start(&Config::to_file());
    let mut browser = open(&relay, "#/tail?at=in&by=prefix&pattern=seen.");
    assert_eq!(
        browser.eval("document.querySelector('#tail-pattern').value"),
        "seen."
    );
    browser.click("#tail-start");
    browser.wait_text("#tail-state", "running");
    relay.send("seen.before 1 1790000000\nother 1 1790000000\n");
    browser.wait_text("#tail-lines", "seen.before 1 1790000000");
    browser.click("a[href='#/history']");
    browser.click("#restart");
    browser.key("Enter", 0);
    browser.wait_text(
        "#takeover .steps",
        "Generation 1 → 2: it serves, after a pause of",
    );
    shoot(&mut browser, "takeover");
    browser.key("Escape", 0);
    browser.wait_text("#generations", "Generation 2");
    browser.click("a[href='#/tail']");
    // The stream goes on by itself.
    browser.wait_text("#tail-state", "running");
    let mut number = 0;
    wait_for("a line in the tail", || {
        number += 1;
        relay.send(format!("seen.after{number} 1 1790000000\n"));
        browser.text("#tail-lines").contains("seen.after")
    });
    let text = browser.text("#tail-lines");
    assert!(
        text.contains("seen.before") && !text.contains("other"),
        "{text}"
    );
    shoot(&mut browser, "tail");
    // A restart that is refused says why, and nothing else happens.
    std::fs::write(relay.instance.path("baton.toml"), "nonsense = 1\n").unwrap();
    browser.click("a[href='#/history']");
    browser.click("#restart");
    browser.key("Enter", 0);
    browser.wait_text("#takeover .steps .bad", "refused");
    browser.wait_text("#takeover .steps .bad", "Generation 2 goes on.");
    browser.picture("refused");
    browser.check();
}
