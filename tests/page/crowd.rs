//! Five hundred destinations for an hour: the page stays smooth, and its memory stays what it is.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::api::done;
use crate::changes::open;
use crate::relay::{Config, Relay};

/// An hour's events, as fast as the page takes them, each with other numbers. The relay's clock goes a second with each, so
/// that the charts turn over twice. Everything is shown at once, the history is brought up to date each hundred events,
/// and lines flow through the tail.
const HURRY: &str = r#"(async () => {
  const { live } = await import(new URL('page/live.js', document.baseURI));
  live.stream.close();
  for (const section of document.querySelectorAll('main > section')) section.hidden = false;
  const text = JSON.stringify(live.view);
  const base = live.view.now_ms;
  const heap = () => { gc(); gc(); return performance.memory.usedJSHeapSize; };
  const frame = () => new Promise(requestAnimationFrame);
  const takes = [];
  let n = 0;
  const run = async (events) => {
    for (const end = n + events; n < end; n += 1) {
      const began = performance.now();
      const view = JSON.parse(text);
      view.now_ms = base + (n + 1) * 1000;
      view.totals.in += n * 100_000;
      view.destinations.forEach((d, i) => {
        d.acknowledged += n * (1000 + i);
        d.given += n * (1000 + i);
        d.queued = (n * 7 + i * 13) % 5000;
        if (n % 50 === 49) d.dropped = { full: n };
      });
      live.take(view);
      document.body.getBoundingClientRect();
      takes.push(performance.now() - began);
      if (n % 100 === 99) document.dispatchEvent(new Event('changed'));
      if (n % 10 === 9) await frame();
    }
  };
  const nodes = () => document.getElementsByTagName('*').length;
  const settled = async () => { await new Promise((done) => setTimeout(done, 300)); return [heap(), nodes()]; };
  await run(600);
  const [before, nodesBefore] = await settled();
  takes.length = 0;
  await run(3000);
  const [after, nodesAfter] = await settled();
  takes.sort((a, b) => a - b);
  return { events: n, median: takes[takes.length >> 1], p99: takes[Math.floor(takes.length * 0.99)], most: takes.at(-1),
    before, after, nodesBefore, nodesAfter, tracks: live.series.tracks.size,
    tail: document.querySelectorAll('#tail-lines span').length, changes: document.querySelectorAll('#changes li').length,
    samples: document.querySelectorAll('#rejected .body .cells').length };
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
    relay.send("bad line\n".repeat(200));
    let mut browser = open(&relay, "#/destinations");
    browser.wait_text("#destinations-sum", "500 destinations");
    browser.wait_text(".pager", "1–25 of 500");
    // All that grows has grown.
    browser.eval("location.hash = '#/inputs'");
    browser.wait_text("#rejected .cells", "bad line");
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
    let is_over = AtomicBool::new(false);
    let told: Value = std::thread::scope(|threads| {
        threads.spawn(|| {
            // As many as are shown, and more, again and again.
            for n in (0..).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                relay.send(format!("tailed.line{n} 1 1790000000\n").repeat(100));
            }
        });
        let told = browser.eval(HURRY);
        is_over.store(true, Ordering::Relaxed);
        told
    });
    eprintln!("{told:#}");
    assert_eq!(told["events"], 3600);
    assert_eq!(told["tracks"], 500);
    assert_eq!(
        (&told["tail"], &told["changes"]),
        (&json!(500), &json!(120))
    );
    assert!(told["samples"].as_u64().unwrap() > 20, "{told}");
    // One event a second may take a frame or two of a busy machine, not a tenth of a second.
    assert!(told["median"].as_f64().unwrap() < 50.0, "{told}");
    assert_eq!(told["nodesBefore"], told["nodesAfter"], "{told}");
    let grown = told["after"].as_f64().unwrap() - told["before"].as_f64().unwrap();
    assert!(grown < 2e6, "{grown} bytes more: {told}");
    browser.eval("location.hash = '#/destinations'");
    browser.click("[aria-label='Next page of destinations']");
    browser.wait_text(".pager", "26–50 of 500");
    browser.wait("location.hash.includes('page=2')");
    browser.picture("crowd");
    browser.check();
}
