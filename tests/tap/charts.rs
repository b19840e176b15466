//! The last half hour, and that it goes on through a restart.

use serde_json::Value;

use crate::relay::{Config, Relay, wait_for};

fn has_points(charts: &Value, points: u64) -> bool {
    charts["points"].as_u64() >= Some(points)
}

#[test]
fn charts_go_on_through_a_restart() {
    let mut relay = Relay::start(&Config::to_file());
    let charts = |relay: &Relay| relay.get("/api/v1/charts");
    assert_eq!(charts(&relay)["step"], 10);
    wait_for("a first point", || has_points(&charts(&relay), 1));
    let start = charts(&relay)["start"].clone();
    relay.send("a 1 1790000000\n".repeat(1000));
    relay.send("bad\n".repeat(500));
    let done = relay.instance.reload().unwrap();
    assert!(
        matches!(done, baton::drill::Reload::Done { .. }),
        "{done:?}"
    );
    wait_for("a second point", || has_points(&charts(&relay), 2));
    let charts = charts(&relay);
    assert_eq!(charts["start"], start);
    let sum = |series: &Value| -> f64 {
        let values = series.as_array().unwrap().iter();
        values.filter_map(Value::as_f64).sum::<f64>() * 10.0
    };
    let near = |found: f64, expected: f64| (found - expected).abs() < expected / 5.0;
    assert!(near(sum(&charts["totals"]["in"]), 1500.0), "{charts}");
    assert!(near(sum(&charts["totals"]["rejected"]), 500.0), "{charts}");
    let out = &charts["destinations"][0];
    assert_eq!(out["id"], "out");
    assert!(near(sum(&out["acknowledged"]), 1000.0), "{charts}");
    assert_eq!(
        out["queued"].as_array().map(Vec::len),
        charts["points"].as_u64().map(|n| n as usize)
    );
    assert_eq!(sum(&charts["totals"]["dropped"]), 0.0);
    relay.check_books();
}
