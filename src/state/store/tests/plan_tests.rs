//! That nothing walks through a spool which has no reason to.

use std::time::{Duration, Instant};

use super::super::sql;
use super::*;

fn plan(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let count = statement.parameter_count();
    let values = rusqlite::params_from_iter(std::iter::repeat_n(1, count));
    let steps = statement.query_map(values, |row| row.get(3)).unwrap();
    steps.map(Result::unwrap).collect()
}

#[test]
fn statements_use_the_index() {
    let place = Place::new();
    let store = place.open();
    for sql in [
        sql::LOWEST,
        sql::HIGHEST,
        sql::HIGHEST_OF_ALL,
        sql::NEXT,
        sql::ROW,
        sql::FIRST_AT,
        sql::LAST_AT,
        sql::SIZES,
        sql::COUNT_LEFT,
        sql::DELETE,
        sql::PURGED,
        sql::COUNTS,
        sql::PAYLOAD,
        sql::TO_SWEEP,
        "SELECT * FROM spool_summary",
    ] {
        let plan = plan(&store.conn, sql);
        let text = plan.join("\n");
        for step in &plan {
            let walks = step.starts_with("SCAN") && step != "SCAN p" && step != "SCAN t";
            assert!(!walks && !step.contains("TEMP B-TREE"), "{sql}\n{text}");
        }
        assert!(
            text.contains("INDEX spool_order (destination=?"),
            "{sql}\n{text}"
        );
    }
    for sql in [
        sql::LOWEST,
        sql::HIGHEST,
        sql::NEXT,
        sql::IS_THERE,
        sql::PURGED,
    ] {
        let text = plan(&store.conn, sql).join("\n");
        assert!(text.contains("COVERING INDEX spool_order"), "{sql}\n{text}");
    }
}

#[test]
fn ten_thousand_rows_cost_no_more_than_ten() {
    let place = Place::new();
    let mut store = place.open();
    let mut change = store.begin().unwrap();
    (0..20_000).for_each(|seq| insert(&mut change, "many", seq, 1));
    (0..10).for_each(|seq| insert(&mut change, "few", seq, 1));
    change.commit().unwrap();
    let steps = |store: &Store, sql: &str, values: &[&dyn rusqlite::ToSql]| {
        let mut statement = store.conn.prepare(sql).unwrap();
        let mut rows = statement.query(values).unwrap();
        while rows.next().unwrap().is_some() {}
        drop(rows);
        statement.get_status(rusqlite::StatementStatus::VmStep)
    };
    for sql in [sql::LOWEST, sql::HIGHEST, sql::FIRST_AT, sql::LAST_AT] {
        let many = steps(&store, sql, &[&"many"]);
        assert_eq!(many, steps(&store, sql, &[&"few"]), "{sql}");
    }
    for sql in [sql::NEXT, sql::ROW, sql::COUNTS] {
        let many = steps(&store, sql, &[&"many", &19_000]);
        assert!(many < 60, "{sql}: {many}");
    }
    let listed = steps(&store, "SELECT * FROM spool_summary", &[]);
    assert!(listed < 200, "{listed}");

    let began = Instant::now();
    let mut change = store.begin().unwrap();
    assert_eq!(change.purge("many", 19_999).unwrap().rows, 20_000);
    assert_eq!(steps_of_purge(&change), 0);
    change.commit().unwrap();
    assert!(began.elapsed() < Duration::from_millis(200));
    // What was purged and not swept is passed over, too.
    for sql in [sql::LOWEST, sql::HIGHEST, sql::FIRST_AT, sql::LAST_AT] {
        let many = steps(&store, sql, &[&"many"]);
        assert!(many <= steps(&store, sql, &[&"few"]), "{sql}");
    }
}

/// Rows of the spool that were touched: the purge has only written its mark and the total.
fn steps_of_purge(change: &Change<'_>) -> i64 {
    let sql = "SELECT count(*) - 20010 FROM spool";
    change
        .connection()
        .query_row(sql, (), |row| row.get(0))
        .unwrap()
}
