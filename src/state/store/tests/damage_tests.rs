use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use super::super::schema::PAGE_SIZE;
use super::*;

/// Five rows, each with a leaf page of its own, and all in the file.
fn place_with_rows() -> Place {
    let place = Place::new();
    let mut store = place.open();
    let mut change = store.begin().unwrap();
    (1..=5).for_each(|seq| insert(&mut change, "a", seq, 4600));
    change.commit().unwrap();
    let mut checkpointer = Checkpointer::open(&place.settings).unwrap();
    checkpointer.truncate().unwrap();
    place
}

/// The pages of the spool of this type, in the order of the rows.
fn pages(place: &Place, kind: &str) -> Vec<u64> {
    let sql = "SELECT pageno FROM dbstat WHERE name = 'spool' AND pagetype = ?1 ORDER BY path";
    let conn = place.sqlite();
    let mut statement = conn.prepare(sql).unwrap();
    let pages = statement
        .query_map([kind], |row| row.get::<_, i64>(0))
        .unwrap();
    pages.map(|page| page.unwrap() as u64).collect()
}

fn overwrite(place: &Place, page: u64, bytes: &[u8]) {
    let file = OpenOptions::new()
        .write(true)
        .open(&place.settings.path)
        .unwrap();
    file.write_all_at(bytes, (page - 1) * u64::from(PAGE_SIZE))
        .unwrap();
}

fn damaged(place: &Place) -> Vec<(i64, bool, bool)> {
    let conn = place.sqlite();
    let mut statement = conn
        .prepare("SELECT seq, stuck, payload IS NULL FROM spool_damaged ORDER BY seq")
        .unwrap();
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

/// Reads all, and sets aside what can't be read.
fn drain(store: &mut Store) -> Vec<i64> {
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        match store.next_row("a", after) {
            Ok(None) => return read,
            Ok(Some(row)) => {
                assert_eq!(row.payload.len(), 46_000);
                read.push(row.seq);
                after = Some(row.seq);
            }
            Err(RowError::Row { seq, reason }) => {
                let mut change = store.begin().unwrap();
                let gone = change.set_aside("a", seq, &reason).unwrap();
                assert_eq!(gone.rows, 1);
                change.commit().unwrap();
            }
            Err(RowError::Store(error)) => panic!("{error:?}"),
        }
    }
}

#[test]
fn a_payload_that_leads_nowhere_is_set_aside() {
    let place = place_with_rows();
    let overflow = pages(&place, "overflow");
    assert!(overflow.len() >= 10, "{overflow:?}");
    overwrite(&place, overflow[0], &[0xff; 4]);
    let mut store = place.open();
    assert_eq!(store.totals().unwrap()[0].rows, 5);
    let read = drain(&mut store);
    assert_eq!(read.len(), 4);
    let found = damaged(&place);
    assert_eq!(found.len(), 1);
    assert!(found[0].2 && !read.contains(&found[0].0), "{found:?}");
    let total = &store.totals().unwrap()[0];
    assert_eq!(
        (total.rows, total.lines, total.bytes),
        (4, 4 * 4600, 4 * 46_000)
    );
}

#[test]
fn a_row_that_cant_even_be_deleted_is_passed_over() {
    let place = place_with_rows();
    let leaves = pages(&place, "leaf");
    assert!(leaves.len() >= 3, "{leaves:?}");
    overwrite(&place, leaves[1], &[0; 200]);
    let mut store = place.open();
    store.totals().unwrap();
    let read = drain(&mut store);
    let stuck = damaged(&place);
    assert!(stuck.iter().any(|row| row.1), "{stuck:?}");
    assert_eq!(read.len() + stuck.len(), 5);
    assert_eq!(store.totals().unwrap()[0].rows, read.len() as u64);
    // Life goes on: new rows come, those that were read go.
    let mut change = store.begin().unwrap();
    insert(&mut change, "a", 6, 4600);
    change.commit().unwrap();
    let mut change = store.begin().unwrap();
    match change.delete_through("a", 5) {
        Ok(_) => change.commit().unwrap(),
        // Their neighbour is damaged.
        Err(StoreError::Damaged(_)) => {
            drop(change);
            let mut change = store.begin().unwrap();
            let gone = change.purge("a", 5).unwrap();
            assert_eq!(gone.rows, read.len() as u64);
            change.commit().unwrap();
        }
        Err(error) => panic!("{error:?}"),
    }
    assert_eq!(drain(&mut store), [6]);
    let total = &store.totals().unwrap()[0];
    assert_eq!(total.rows, 1);
    assert_eq!(
        store.bounds("a").unwrap().map(|(_, highest)| highest),
        Some(6)
    );
    let mut change = store.begin().unwrap();
    change.purge("a", i64::MAX).unwrap();
    change.commit().unwrap();
    while store.sweep(10).unwrap() {}
    assert_eq!(store.totals().unwrap(), []);
    assert_eq!(store.bounds("a").unwrap(), None);
}

#[test]
fn what_was_purged_and_is_damaged_is_no_reason_to_stop() {
    let place = place_with_rows();
    overwrite(&place, pages(&place, "leaf")[1], &[0; 200]);
    let mut store = place.open();
    let mut change = store.begin().unwrap();
    change.purge("a", i64::MAX).unwrap();
    insert(&mut change, "a", 6, 4600);
    change.commit().unwrap();
    while store.sweep(10).unwrap() {}
    assert!(damaged(&place).iter().all(|row| row.1 && row.2));
    assert_eq!(drain(&mut store), [6]);
    assert_eq!(store.totals().unwrap()[0].bytes, 46_000);
}

#[test]
fn a_row_that_isnt_what_it_says_is_set_aside() {
    let place = place_with_rows();
    let mut store = place.open();
    let sql = "UPDATE spool SET bytes = bytes - 1 WHERE seq = 2; UPDATE spool SET first_at = 'now' WHERE seq = 4";
    place.sqlite().execute_batch(sql).unwrap();
    assert_eq!(drain(&mut store), [1, 3, 5]);
    assert_eq!(damaged(&place), [(2, false, false), (4, false, false)]);
    assert_eq!(store.totals().unwrap()[0].bytes, 3 * 46_000);
}

#[test]
fn a_damaged_index_is_a_damaged_store() {
    let place = place_with_rows();
    let sql = "SELECT pageno FROM dbstat WHERE name = 'spool_order'";
    let page: i64 = place.sqlite().query_row(sql, (), |row| row.get(0)).unwrap();
    overwrite(&place, page as u64, &[0xee; 300]);
    let store = place.open();
    let found = store.next_row("a", None).unwrap_err();
    assert!(
        matches!(found, RowError::Store(StoreError::Damaged(_))),
        "{found:?}"
    );
    assert!(matches!(store.bounds("a"), Err(StoreError::Damaged(_))));
    assert!(matches!(store.quick_check(), Err(StoreError::Damaged(_))));
}
