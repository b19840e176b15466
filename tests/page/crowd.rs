//! Five hundred destinations: the page stays smooth, and its memory stays what it is.

use serde_json::Value;

use crate::changes::open;
use crate::relay::{Config, Relay};

/// Views come as fast as the page takes them, each with other numbers, as seconds would; the page's clock goes ten seconds
/// with each, so that the charts turn over more than once.
const HURRY: &str = r#"(async () => {
  const { live } = await import(new URL('page/live.js', document.baseURI));
  live.stream?.close();
  live.stopPolling();
  live.stopPolling = live.listen = () => {};
  live.poller = null;
  const base = live.view;
  const clock = Date.now;
  let now = clock();
  Date.now = () => now;
  const long = [];
  const observer = new PerformanceObserver((list) => long.push(...list.getEntries().map((e) => e.duration)));
  observer.observe({ entryTypes: ['longtask'] });
  const frame = () => new Promise(requestAnimationFrame);
  const takes = [];
  const heap = () => { gc(); gc(); return performance.memory.usedJSHeapSize; };
  const run = async (events) => {
    for (let n = 0; n < events; n += 1) {
      const text = JSON.stringify({ ...base, destinations: base.destinations.map((d, i) => ({ ...d,
        acknowledged: d.acknowledged + n * (1000 + i), given: d.given + n * (1000 + i), queued: (n * 7 + i * 13) % 5000 })) });
      await frame();
      now += 10_000;
      const began = performance.now();
      live.take(JSON.parse(text));
      document.body.getBoundingClientRect();
      takes.push(performance.now() - began);
    }
  };
  await run(200);
  const before = heap();
  const nodes = document.getElementsByTagName('*').length;
  takes.length = 0;
  long.length = 0;
  await run(400);
  const after = heap();
  Date.now = clock;
  takes.sort((a, b) => a - b);
  return { events: takes.length, median: takes[takes.length >> 1], p99: takes[Math.floor(takes.length * 0.99)], most: takes[takes.length - 1],
    long: long.length, before, after, nodes, later: document.getElementsByTagName('*').length, tracks: live.series.tracks.size };
})()"#;

#[test]
fn five_hundred_destinations_are_smooth_and_take_no_more_memory() {
    let names: Vec<String> = (0..500)
        .map(|n| format!("file:out{n} id=store-{n} queue=1MiB prefix=none"))
        .collect();
    let names: Vec<&str> = names.iter().map(|name| &name[..]).collect();
    let relay = Relay::start(&Config::to(&names));
    let mut browser = open(&relay, "#/destinations");
    browser.wait_text("#destinations-sum", "500 destinations");
    browser.wait_text(".pager", "1–25 of 500");
    let told: Value = browser.eval(HURRY);
    eprintln!("{told:#}");
    assert_eq!(told["events"], 400);
    assert_eq!(told["tracks"], 500);
    // One event a second may take a frame or two of a busy machine, not a tenth of a second.
    assert!(told["median"].as_f64().unwrap() < 50.0, "{told}");
    assert!(told["nodes"] == told["later"], "{told}");
    let grown = told["after"].as_f64().unwrap() - told["before"].as_f64().unwrap();
    assert!(grown < 2e6, "{grown} bytes more: {told}");
    browser.click("[aria-label='Next page of destinations']");
    browser.wait_text(".pager", "26–50 of 500");
    browser.wait("location.hash.includes('page=2')");
    browser.picture("crowd");
    browser.check();
}
