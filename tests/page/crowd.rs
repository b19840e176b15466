//! Five hundred destinations for an hour: the page stays smooth, and its memory stays what it is.

use serde_json::{Value, json};

use crate::api::done;
use crate::browser::Browser;
use crate::changes::open;
use crate::relay::{Config, Relay, wait_for};

/// Begins an hour's events, as fast as the page takes them, each with other numbers. The relay's clock goes a second with
/// each, so that the charts turn over twice. Everything is shown at once.
const BEGIN: &str = r#"(async () => {
  const { live } = await import(new URL('page/live.js', document.baseURI));
  live.stream.close();
  for (const section of document.querySelectorAll('main > section')) section.hidden = false;
  const text = JSON.stringify(live.view);
  const base = live.view.now_ms;
  let n = 0;
  let takes = [];
  window.run = async (events) => {
    for (const end = n + events; n < end; n += 1) {
      const began = performance.now();
      const view = JSON.parse(text);
      view.now_ms = base + (n + 1) * 1000;
      view.totals.in += n * 100_000;
      view.destinations.forEach((d, i) => {
        d.acknowledged += n * (1000 + i);
        d.given += n * (1000 + i);
        d.queued = (n * 7 + i * 13) % 5000;
      });
      live.take(view);
      document.body.getBoundingClientRect();
      takes.push(performance.now() - began);
      if (n % 10 === 9) await new Promise(requestAnimationFrame);
    }
    // The history is brought up to date, as by a change.
    document.dispatchEvent(new Event('changed'));
  };
  window.tell = async () => {
    await new Promise((done) => setTimeout(done, 500));
    gc();
    gc();
    const all = takes.sort((a, b) => a - b);
    takes = [];
    const number = (selector) => document.querySelectorAll(selector).length;
    return { events: n, median: all[all.length >> 1], p99: all[Math.floor(all.length * 0.99)], most: all.at(-1),
      heap: performance.memory.usedJSHeapSize, nodes: number('*'), tracks: live.series.tracks.size,
      tail: number('#tail-lines span'), changes: number('#changes li'), samples: number('#rejected .body .cells') };
  };
})()"#;

#[test]
fn five_hundred_destinations_are_smooth_and_take_no_more_memory_in_an_hour() {
    let names: Vec<String> = (0..500)
        .map(|n| format!("file:out{n} id=store-{n} queue=1MiB prefix=none"))
        .collect();
    let names: Vec<&str> = names.iter().map(|name| &name[..]).collect();
    let relay = Relay::start(&Config::to(&names));
    for n in 0..120 {
        let rule = json!({"rule": format!("prefix n{n}.")});
        done(relay.http, "POST", "/api/v1/blocklist", &rule);
    }
    let mut browser = open(&relay, "#/destinations");
    browser.wait_text("#destinations-sum", "500 destinations");
    browser.wait_text(".pager", "1–25 of 500");
    // All that grows has grown.
    browser.eval("location.hash = '#/inputs'");
    let mut number = 0;
    wait_for("a page of rejected lines", || {
        number += 1;
        relay.send(format!("bad line{number}\n"));
        browser.eval("document.querySelectorAll('#rejected .body .cells').length") == 25
    });
    browser.eval("location.hash = '#/tail?at=in'");
    browser.click("#tail-start");
    browser.wait_text("#tail-state", "running");
    browser.eval("location.hash = '#/history'");
    for rows in [50, 100, 120] {
        browser.wait(&format!(
            "document.querySelectorAll('#changes li').length === {rows}"
        ));
        if rows < 120 {
            browser.click("#older");
        }
    }
    browser.eval(BEGIN);
    let hour = |browser: &mut Browser, minutes: std::ops::Range<u32>| -> Value {
        for minute in minutes {
            // As many lines as the tail shows come each five minutes.
            relay.send(format!("tailed.line{minute} 1 1790000000\n").repeat(100));
            browser.eval("run(60)");
        }
        browser.eval("tell()")
    };
    let before = hour(&mut browser, 0..10);
    let after = hour(&mut browser, 10..60);
    eprintln!("{before:#}\n{after:#}");
    assert_eq!(after["events"], 3600);
    assert_eq!(after["tracks"], 500);
    for told in [&before, &after] {
        assert_eq!(
            (&told["tail"], &told["changes"]),
            (&json!(500), &json!(120))
        );
        assert_eq!(told["samples"], 25);
        // One event a second may take a frame or two of a busy machine, not a tenth of a second.
        assert!(told["median"].as_f64().unwrap() < 50.0, "{told}");
    }
    assert_eq!(before["nodes"], after["nodes"]);
    let grown = after["heap"].as_f64().unwrap() - before["heap"].as_f64().unwrap();
    assert!(grown < 2e6, "{grown} bytes more");
    browser.eval("location.hash = '#/destinations'");
    browser.click("[aria-label='Next page of destinations']");
    browser.wait_text(".pager", "26–50 of 500");
    browser.wait("location.hash.includes('page=2')");
    browser.picture("crowd");
    browser.check();
}
