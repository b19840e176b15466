use super::*;

#[test]
fn generations_of_many_starts_live_side_by_side() {
    let place = Place::new();
    let mut store = place.open();
    let mut generation = GenerationRow {
        id: 1,
        pid: 10,
        version: "0.1.0".to_owned(),
        config_hash: "abc".to_owned(),
        reason: "start".to_owned(),
        started_at_ms: 1_795_384_200_000,
        ..GenerationRow::default()
    };
    let mut record = |generation: &GenerationRow| {
        let mut change = store.begin().unwrap();
        change.record_generation(generation).unwrap();
        change.commit().unwrap();
    };
    record(&generation);
    generation.pause_us = Some(1500);
    generation.outcome = Some("retired".to_owned());
    record(&generation);
    for later in 1..=4 {
        generation.pid += 1;
        generation.started_at_ms += later * 1000;
        record(&generation);
    }
    let conn = place.sqlite();
    let mut restarts = conn
        .prepare("SELECT started_at, generation, pid, pause_ms, outcome FROM restarts")
        .unwrap();
    let restarts: Vec<(String, i64, i64, f64, String)> = restarts
        .query_map((), |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
            ))
        })
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let pids: Vec<i64> = restarts.iter().map(|restart| restart.2).collect();
    assert_eq!(pids, [14, 13, 12], "the newest first, three are kept");
    let newest = (
        "2026-11-22T21:50:10.000Z".to_owned(),
        1,
        14,
        1.5,
        "retired".to_owned(),
    );
    assert_eq!(restarts[0], newest);
}

#[test]
fn changes_are_kept_for_a_while() {
    let place = Place::new();
    let mut store = place.open();
    for n in 0..10 {
        let mut change = store.begin().unwrap();
        let row = ChangeRow {
            number: None,
            at_ms: n,
            via: "tcp",
            peer: "10.0.0.1:5000",
            command: "addRoute …",
            outcome: "ok",
        };
        change.record_change(&row).unwrap();
        change.commit().unwrap();
    }
    let conn = place.sqlite();
    let kept: (i64, String) = conn
        .query_row("SELECT count(*), min(at) FROM route_change", (), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(kept, (3, "1970-01-01T00:00:00.007Z".to_owned()));
}

#[test]
fn a_person_reads_it_with_sqlite3() {
    let place = Place::new();
    let mut store = place.open();
    let mut change = store.begin().unwrap();
    change.insert(&row("a", 1, b"purged 1 1\n")).unwrap();
    change.purge("a", 1).unwrap();
    change
        .insert(&row("a", 2, b"one 1 1\ntwo \xff 2\n"))
        .unwrap();
    change.insert(&row("b", 1, b"three 3 3\n")).unwrap();
    change.commit().unwrap();
    let conn = place.sqlite();
    let read = |sql: &str| -> Vec<String> {
        let mut statement = conn.prepare(sql).unwrap();
        let rows = statement.query_map((), |row| {
            let text = row.get_ref(0).unwrap().as_bytes().unwrap();
            Ok(String::from_utf8_lossy(text).into_owned())
        });
        rows.unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(
        read("SELECT payload FROM spool_lines"),
        ["one 1 1\ntwo \u{fffd} 2\n", "three 3 3\n"]
    );
    assert_eq!(
        read(
            "SELECT destination || ' ' || rows || ' ' || lines || ' ' || oldest FROM spool_summary"
        ),
        [
            "a 1 2 2026-11-22T21:50:00.002Z",
            "b 1 1 2026-11-22T21:50:00.001Z"
        ]
    );
    conn.execute_batch(
        "INSERT INTO table_entry VALUES
            ('route', 'b', 2, 'runtime', NULL, '2026-11-22T21:50:00.000Z'),
            ('route', 'a', 1, 'file', 'addRoute sendAllMatch a', '2026-11-22T21:50:00.000Z'),
            ('blocklist', 'c', 0, 'file', 'prefix c', '2026-11-22T21:50:00.000Z')",
    )
    .unwrap();
    assert_eq!(
        read("SELECT key || ': ' || spec FROM routes"),
        ["a: addRoute sendAllMatch a", "b: (removed)"]
    );
}
