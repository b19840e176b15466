use super::*;

const BEGIN: u64 = 1_790_000_000;

fn seen(second: u64, lines: u64, ids: &[&str]) -> Seen {
    let destinations = ids.iter().map(|id| SeenDestination {
        id: (*id).to_owned(),
        acknowledged: lines * 2,
        queued: second,
        spooled: 7,
    });
    Seen {
        at_ms: (BEGIN + second) * 1000,
        totals: [lines, 0, lines / 10],
        destinations: destinations.collect(),
    }
}

fn series(values: &[f32]) -> Series {
    Series(values.to_vec())
}

const UNKNOWN: f32 = f32::NAN;

#[test]
fn points_are_rates_and_depths_by_time() {
    let mut recorder = Recorder::default();
    assert_eq!(
        recorder.charts(),
        Charts {
            step: STEP,
            ..Charts::default()
        }
    );
    recorder.take(&seen(0, 1000, &["a"]));
    recorder.take(&seen(10, 2000, &["b", "a"]));
    // A second of the same ten.
    recorder.take(&seen(15, 9999, &["b", "a"]));
    recorder.take(&seen(30, 4000, &["b", "a"]));
    let charts = recorder.charts();
    assert_eq!((charts.start, charts.points), (BEGIN, 4));
    assert_eq!(
        charts.totals.lines,
        series(&[UNKNOWN, 100.0, UNKNOWN, 100.0])
    );
    assert_eq!(
        charts.totals.dropped,
        series(&[UNKNOWN, 10.0, UNKNOWN, 10.0])
    );
    let [b, a] = &charts.destinations[..] else {
        panic!("{charts:?}")
    };
    assert_eq!((&b.id[..], &a.id[..]), ("b", "a"));
    assert_eq!(a.acknowledged, series(&[UNKNOWN, 200.0, UNKNOWN, 200.0]));
    assert_eq!(a.queued, series(&[0.0, 10.0, UNKNOWN, 30.0]));
    assert_eq!(b.spooled, series(&[UNKNOWN, 7.0, UNKNOWN, 7.0]));
    // The clock is set back.
    recorder.take(&seen(20, 0, &[]));
    assert_eq!(recorder.charts().points, 1);
}

#[test]
fn half_an_hour_is_kept_of_ten_thousand() {
    let ids: Vec<String> = (0..MAX_DESTINATIONS + 5).map(|n| n.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(|id| &id[..]).collect();
    let mut recorder = Recorder::default();
    for point in 0..3 {
        recorder.take(&seen(point * 10, point, &ids));
    }
    let charts = recorder.charts();
    assert_eq!(
        (charts.destinations.len(), charts.left_out),
        (MAX_DESTINATIONS, 5)
    );
    for point in 3..400 {
        recorder.take(&seen(point * 10, point * 10, &ids[..1]));
    }
    let charts = recorder.charts();
    assert_eq!((charts.points, charts.start), (POINTS, BEGIN + 2200));
    assert_eq!(charts.totals.lines, series(&[1.0; POINTS]));
    assert_eq!((charts.destinations.len(), charts.left_out), (1, 0));
    // A long pause leaves nothing known.
    recorder.take(&seen(100_000, 0, &[]));
    let charts = recorder.charts();
    assert_eq!(
        (charts.points, charts.totals.lines.0[POINTS - 1]),
        (POINTS, 0.0)
    );
    assert!(
        charts.totals.lines.0[..POINTS - 1]
            .iter()
            .all(|value| value.is_nan())
    );
}

#[test]
fn the_next_worker_goes_on() {
    let mut old = Recorder::default();
    for point in 0..50 {
        old.take(&seen(point * 10, point * 10, &["a", "gone"]));
    }
    let saved = old.save().unwrap();
    // Before it has taken a point.
    let mut new = Recorder::default();
    assert!(new.restore(&saved));
    assert_eq!(new.charts(), old.charts());
    new.take(&seen(500, 500, &["a"]));
    let charts = new.charts();
    assert_eq!(charts.points, 51);
    assert_eq!(charts.totals.lines.0[50], 1.0);
    assert_eq!(charts.destinations[0].acknowledged.0[50], 2.0);
    // After that.
    let mut late = Recorder::default();
    late.take(&seen(500, 500, &["a"]));
    assert!(late.restore(&saved));
    let merged = late.charts();
    assert_eq!(merged.points, 51);
    assert_eq!(
        series(&merged.totals.lines.0[..50]),
        series(&charts.totals.lines.0[..50])
    );
    assert!(merged.totals.lines.0[50].is_nan());
    assert_eq!(merged.destinations.len(), 1);
    // Of another time, and what isn't of the form.
    let mut back = Recorder::default();
    back.take(&seen(100, 0, &[]));
    assert!(!back.restore(&saved));
    for end in 0..saved.len() {
        assert!(!Recorder::default().restore(&saved[..end]));
    }
}
