//! The page and its relay: without events, with a clock of its own, hidden, left and come back to, in many tabs.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::api::done;
use crate::browser::Browser;
use crate::changes::open;
use crate::relay::{Config, LIMIT, Relay, wait_for};

/// An answer that goes on.
fn stream(relay: &Relay) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", relay.http)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(
        stream,
        "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    .unwrap();
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    stream.read_line(&mut head).unwrap();
    assert!(head.contains(" 200 "), "{head}");
    stream
}

#[test]
fn without_events_it_asks_each_second() {
    let relay = Relay::start(&Config::to_file());
    // As many as may listen do so.
    let streams: Vec<_> = (0..32).map(|_| stream(&relay)).collect();
    let mut browser = open(&relay, "#/table");
    browser.wait_text("#link", "live, by asking each second");
    wait_for("lines a second", || {
        relay.send("live.a 1 1790000000\n".repeat(20));
        browser.eval("parseFloat(document.querySelector('#rate-in').textContent) > 0") == true
    });
    done(
        relay.http,
        "POST",
        "/api/v1/blocklist",
        &json!({"rule": "prefix x"}),
    );
    browser.wait_text("#rules-blocklist", "Blocklist 1");
    // Once there is room, there are events again.
    drop(streams);
    browser.wait("document.querySelector('#link').textContent === 'live'");
    browser.check();
}

/// The reader's clock is three hours ahead; what the relay remembers of half an hour is made up, since a test has none.
#[test]
fn charts_have_half_an_hour_in_them_whatever_the_readers_clock_says() {
    let relay = Relay::start(&Config::to_file());
    let now = relay.get("/api/v1/status")["now_ms"].as_u64().unwrap() / 1000;
    let start = now / 10 * 10 - 1790;
    let points: Vec<u32> = (1..=180).collect();
    let charts = json!({"step": 10, "start": start, "points": 180, "left_out": 0,
        "totals": {"in": points, "rejected": points, "dropped": points},
        "destinations": [{"id": "out", "acknowledged": points, "queued": points, "spooled": points}]});
    let script = format!(
        "const clock = Date.now; Date.now = () => clock() + 3 * 3600 * 1000;
         const ask = window.fetch;
         window.fetch = (url, how) => String(url).endsWith('/charts') ? Promise.resolve(Response.json({charts})) : ask(url, how);"
    );
    let url = format!("http://127.0.0.1:{}/#/destinations", relay.http);
    let mut browser = Browser::open_with(&url, &script);
    // Of both charts, but for what has grown old meanwhile.
    let drawn = |selector: &str| {
        format!(
            "[...document.querySelectorAll('{selector} .spark path')].filter(p => (p.getAttribute('d') || '').split('L').length > 170).length"
        )
    };
    browser.wait(&format!("{} === 2", drawn("#destinations")));
    browser.wait("document.querySelector('#destinations .spark').ariaLabel.includes('at most 1')");
    browser.picture("half-an-hour");
    browser.eval("location.hash = '#/inputs'");
    browser.wait(&format!("{} === 3", drawn("#inputs")));
    browser.check();
}

/// A browser has six connections to a server, and each of these has two streams.
#[test]
fn many_tabs_do_not_stop_each_other() {
    let relay = Relay::start(&Config::to_file());
    let url = format!("http://127.0.0.1:{}/#/tail?at=in", relay.http);
    let mut browser = Browser::open(&url);
    for tab in 0..7 {
        if tab > 0 {
            browser.tab(&url);
        }
        browser.click("#tail-start");
        browser.wait_text("#tail-state", "running");
        browser.wait("document.querySelector('#link').textContent === 'live'");
    }
    relay.send("seen.once 1 1790000000\n");
    browser.wait_text("#tail-lines", "seen.once");
    // The first goes on when it is looked at.
    browser.turn_to(0);
    browser.wait("document.visibilityState === 'visible'");
    browser.wait_text("#tail-state", "running");
    browser.wait("document.querySelector('#link').textContent === 'live'");
    browser.wait_text(
        "#tail-lines",
        "what came while the page wasn’t seen isn’t here",
    );
    let mut number = 0;
    wait_for("a line in the tail", || {
        number += 1;
        relay.send(format!("seen.again{number} 1 1790000000\n"));
        browser.text("#tail-lines").contains("seen.again")
    });
    assert!(!browser.text("#tail-lines").contains("seen.once"));
    browser.check();
}

#[test]
fn a_page_that_is_come_back_to_lives() {
    let relay = Relay::start(&Config::to_file());
    let mut browser = open(&relay, "#/tail?at=in");
    browser.wait("document.querySelector('#link').textContent === 'live'");
    browser.click("#tail-start");
    browser.wait_text("#tail-state", "running");
    browser.eval("window.kept = true");
    browser.go(
        &format!("http://127.0.0.1:{}/help", relay.http),
        "location.pathname === '/help'",
    );
    browser.eval("history.back()");
    browser.wait("location.pathname === '/' && document.readyState === 'complete'");
    // Else the browser has made it anew, and there is nothing to see.
    assert_eq!(browser.eval("window.kept"), true);
    browser.wait("document.querySelector('#link').textContent === 'live'");
    browser.wait_text("#tail-state", "running");
    let mut number = 0;
    wait_for("a line in the tail", || {
        number += 1;
        relay.send(format!("seen.again{number} 1 1790000000\n"));
        browser.text("#tail-lines").contains("seen.again")
    });
    wait_for("lines a second", || {
        relay.send("live.a 1 1790000000\n".repeat(20));
        browser.eval("parseFloat(document.querySelector('#rate-in').textContent) > 0") == true
    });
    browser.check();
}

#[test]
fn a_relay_that_is_stopped_is_said_to_be_gone() {
    let mut relay = Relay::start(&Config::to_file());
    let mut browser = open(&relay, "#/table");
    browser.wait("document.querySelector('#link').textContent === 'live'");
    relay.instance.stop(LIMIT).unwrap();
    browser.wait_text("#link", "restarting…");
    browser.wait_text("#link", "not reachable since");
}
