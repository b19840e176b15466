//! What was changed about the table of rules at run time, and the history of that.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::{EntryRow, PastChange, StoreError, time};
use super::convert::{fault, signed};
use super::schema::UNDO;
use super::{Change, Store};

impl Change<'_> {
    /// Sets an entry of the table, or changes it.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn set_entry(&mut self, entry: &EntryRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO table_entry VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            ON CONFLICT (kind, key) DO UPDATE SET position = excluded.position, origin = excluded.origin,
                spec = excluded.spec, changed_at = excluded.changed_at";
        let values = params![
            entry.kind,
            entry.key,
            entry.position,
            entry.origin,
            entry.spec,
            time::iso(entry.changed_at_ms)
        ];
        let set = self.conn()?.prepare_cached(sql);
        set.and_then(|mut sql| sql.execute(values))
            .map(drop)
            .map_err(fault)
    }

    /// Drops an entry of the table, if it is there.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn drop_entry(&mut self, kind: &str, key: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM table_entry WHERE kind = ?1 AND key = ?2";
        let dropped = self.conn()?.prepare_cached(sql);
        dropped
            .and_then(|mut sql| sql.execute([kind, key]))
            .map(drop)
            .map_err(fault)
    }

    /// Notes how a change that was recorded can be undone; what is older than all that is recorded is forgotten.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn record_undo(&mut self, id: u64, rows: &str) -> Result<(), StoreError> {
        let record = |conn: &Connection| {
            conn.execute_batch(UNDO)?;
            let mut insert = conn.prepare_cached("INSERT INTO route_undo VALUES (?1, ?2)")?;
            insert.execute(params![signed(id), rows])?;
            let trim = "DELETE FROM route_undo WHERE id < (SELECT min(id) FROM route_change)";
            conn.prepare_cached(trim)?.execute(())
        };
        record(self.conn()?).map(drop).map_err(fault)
    }
}

impl Store {
    /// [What was changed](Store::entries) and [the number of the last change](Store::last_change), of one moment.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn table(&self) -> Result<(Vec<EntryRow>, u64), StoreError> {
        let read = self.conn.unchecked_transaction().map_err(fault)?;
        let found = (self.entries()?, self.last_change()?);
        read.finish().map_err(fault)?;
        Ok(found)
    }

    /// What was changed about the table, in no order.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn entries(&self) -> Result<Vec<EntryRow>, StoreError> {
        entries(&self.conn).map_err(fault)
    }

    /// The number of the last change that was recorded; 0: none ever was.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn last_change(&self) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(max(id), 0) FROM route_change";
        let last = self.conn.query_row(sql, (), |row| row.get::<_, i64>(0));
        last.map(|id| id.cast_unsigned()).map_err(fault)
    }

    /// The last changes, the newest first: at most so many, those before that number.
    ///
    /// # Errors
    ///
    /// When they can't be read.
    pub fn changes(&self, before: Option<u64>, most: u32) -> Result<Vec<PastChange>, StoreError> {
        changes(&self.conn, before, most).map_err(fault)
    }

    /// How a change can be undone; `None`: there is no such change, or none that can be.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn undo_of(&self, id: u64) -> Result<Option<String>, StoreError> {
        if !has_undo(&self.conn).map_err(fault)? {
            return Ok(None);
        }
        let sql = "SELECT rows FROM route_undo WHERE id = ?1";
        let found = self.conn.query_row(sql, [signed(id)], |row| row.get(0));
        found.optional().map_err(fault)
    }

    /// How changes after that number can be undone, ascending by number.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn undo_after(&self, id: u64) -> Result<Vec<(u64, String)>, StoreError> {
        let read = || {
            let sql = "SELECT id, rows FROM route_undo WHERE id > ?1 ORDER BY id";
            let mut statement = self.conn.prepare_cached(sql)?;
            let rows = statement.query_map([signed(id)], |row| {
                Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        match has_undo(&self.conn).map_err(fault)? {
            true => read().map_err(fault),
            false => Ok(Vec::new()),
        }
    }
}

fn entries(conn: &Connection) -> rusqlite::Result<Vec<EntryRow>> {
    let sql = "SELECT kind, key, position, origin, spec, changed_at FROM table_entry";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map((), |row| {
        Ok(EntryRow {
            kind: row.get(0)?,
            key: row.get(1)?,
            position: row.get(2)?,
            origin: row.get(3)?,
            spec: row.get(4)?,
            changed_at_ms: time::parse(&row.get::<_, String>(5)?).unwrap_or(0),
        })
    })?;
    rows.collect()
}

fn has_undo(conn: &Connection) -> rusqlite::Result<bool> {
    let there = "SELECT count(*) FROM sqlite_schema WHERE name = 'route_undo'";
    conn.query_row(there, (), |row| row.get::<_, i64>(0))
        .map(|found| found > 0)
}

fn changes(conn: &Connection, before: Option<u64>, most: u32) -> rusqlite::Result<Vec<PastChange>> {
    let undone_by = match has_undo(conn)? {
        true => "EXISTS (SELECT 1 FROM route_undo AS u WHERE u.id = c.id)",
        false => "0",
    };
    let sql = format!(
        "SELECT id, at, via, peer, command, outcome, {undone_by} FROM route_change AS c
        WHERE id < ?1 ORDER BY id DESC LIMIT ?2"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let before = before.map_or(i64::MAX, signed);
    let rows = statement.query_map(params![before, most], |row| {
        Ok(PastChange {
            id: row.get::<_, i64>(0)?.cast_unsigned(),
            at: row.get(1)?,
            via: row.get(2)?,
            peer: row.get(3)?,
            command: row.get(4)?,
            outcome: row.get(5)?,
            can_be_undone: row.get(6)?,
        })
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::ChangeRow;
    use super::super::tests::Place;
    use super::*;

    fn entry(key: &str, spec: Option<&str>) -> EntryRow {
        EntryRow {
            kind: "route".to_owned(),
            key: key.to_owned(),
            position: 5,
            origin: "added".to_owned(),
            spec: spec.map(str::to_owned),
            changed_at_ms: 1_700_000_000_000,
        }
    }

    #[test]
    fn entries_are_set_changed_and_dropped() {
        let place = Place::new();
        let mut store = place.open();
        assert_eq!(store.entries(), Ok(vec![]));
        let mut change = store.begin().unwrap();
        change.set_entry(&entry("a", Some("x"))).unwrap();
        change.set_entry(&entry("b", Some("y"))).unwrap();
        change.set_entry(&entry("a", None)).unwrap();
        change.drop_entry("route", "b").unwrap();
        change.drop_entry("route", "c").unwrap();
        change.commit().unwrap();
        assert_eq!(store.entries(), Ok(vec![entry("a", None)]));
    }

    #[test]
    fn changes_are_listed_the_newest_first_and_the_oldest_forgotten() {
        let place = Place::new();
        let mut store = place.open();
        assert_eq!(store.last_change(), Ok(0));
        assert_eq!(store.undo_of(1), Ok(None));
        for number in 1..=5 {
            let mut change = store.begin().unwrap();
            let id = change
                .record_change(&ChangeRow {
                    number: None,
                    at_ms: number,
                    via: "telnet",
                    peer: "127.0.0.1:1",
                    command: "route del a",
                    outcome: "ok",
                })
                .unwrap();
            assert_eq!(id, number);
            change.record_undo(id, "[]").unwrap();
            change.commit().unwrap();
        }
        let of = |before, most| -> Vec<u64> {
            let found = store.changes(before, most).unwrap();
            assert!(found.iter().all(|change| change.can_be_undone));
            found.into_iter().map(|change| change.id).collect()
        };
        // The place keeps three events.
        assert_eq!(of(None, 9), [5, 4, 3]);
        assert_eq!(of(Some(5), 1), [4]);
        assert_eq!(store.last_change(), Ok(5));
        assert_eq!(store.undo_of(4), Ok(Some("[]".to_owned())));
        assert_eq!(store.undo_of(2), Ok(None));
    }
}
