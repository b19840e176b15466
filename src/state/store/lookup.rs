//! What the spool asks of rows without reading them.

use rusqlite::params;

use super::super::StoreError;
use super::convert::{fault, unsigned};
use super::{Store, spool};

impl Store {
    /// The first place behind this one that is taken, or the first of all.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn next_seq(
        &self,
        destination: &str,
        after: Option<i64>,
    ) -> Result<Option<i64>, StoreError> {
        spool::next_seq(&self.conn, destination, after).map_err(fault)
    }

    /// The lines of a destination's rows up to this place.
    ///
    /// # Errors
    ///
    /// When they can't be read.
    pub fn lines_through(&self, destination: &str, seq: i64) -> Result<u64, StoreError> {
        const SUM: &str = "SELECT coalesce(sum(lines), 0) FROM spool
            WHERE destination = ?1 AND seq <= ?2 AND seq > coalesce(
                (SELECT through FROM spool_purged WHERE destination = ?1), -9223372036854775808)";
        let sum = self
            .conn
            .prepare_cached(SUM)
            .and_then(|mut sum| sum.query_row(params![destination, seq], |row| row.get(0)));
        sum.map(unsigned).map_err(fault)
    }
}
