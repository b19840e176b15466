//! Aggregation windows that a stop keeps for the next start.

use rusqlite::{Connection, params};

use super::super::{StoreError, time};
use super::convert::fault;
use super::schema::KEPT;
use super::{Change, Store};

/// Bytes in a row.
const PIECE: usize = 1 << 20;

impl Change<'_> {
    /// Keeps windows under a name of their own. The summary is for people.
    ///
    /// # Errors
    ///
    /// When they can't be written.
    pub fn keep_windows(
        &mut self,
        id: &str,
        summary: &str,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let now = time::iso(time::now_ms());
        let keep = |conn: &Connection| {
            conn.execute_batch(KEPT)?;
            let mut insert =
                conn.prepare_cached("INSERT INTO kept_window VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for (piece, bytes) in bytes.chunks(PIECE).enumerate() {
                insert.execute(params![id, piece as i64, now, summary, bytes])?;
            }
            Ok(())
        };
        keep(self.conn()?).map_err(fault)
    }

    /// Forgets what was kept under a name.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn forget_windows(&mut self, id: &str) -> Result<(), StoreError> {
        let forget = |conn: &Connection| {
            conn.execute_batch(KEPT)?;
            conn.execute("DELETE FROM kept_window WHERE id = ?1", [id])
        };
        forget(self.conn()?).map(drop).map_err(fault)
    }
}

impl Store {
    /// What was kept: each with its name, the oldest first.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn kept_windows(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        kept(&self.conn).map_err(fault)
    }
}

fn kept(conn: &Connection) -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
    let there = "SELECT count(*) FROM sqlite_schema WHERE name = 'kept_window'";
    if conn.query_row(there, (), |row| row.get::<_, i64>(0))? == 0 {
        return Ok(Vec::new());
    }
    let sql = "SELECT id, payload FROM kept_window ORDER BY kept_at, id, piece";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(())?;
    let mut kept: Vec<(String, Vec<u8>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, mut piece): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        match kept.last_mut().filter(|(last, _)| *last == id) {
            Some((_, bytes)) => bytes.append(&mut piece),
            None => kept.push((id, piece)),
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Place;

    #[test]
    fn case_29_what_a_stop_keeps_is_there_until_it_is_forgotten() {
        let place = Place::new();
        let mut store = place.open();
        assert_eq!(store.kept_windows(), Ok(vec![]));
        let large = vec![7; 3 << 20];
        for (id, bytes) in [("a", &large), ("b", &vec![1, 2])] {
            let mut change = store.begin().unwrap();
            change.keep_windows(id, "2 windows", bytes).unwrap();
            change.commit().unwrap();
        }
        let kept = store.kept_windows().unwrap();
        assert_eq!(kept, [("a".into(), large), ("b".into(), vec![1, 2])]);
        let mut change = store.begin().unwrap();
        change.forget_windows("a").unwrap();
        change.commit().unwrap();
        assert_eq!(store.kept_windows().unwrap(), [("b".into(), vec![1, 2])]);
    }
}
