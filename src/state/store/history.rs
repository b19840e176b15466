//! What happened, for people to read.

use rusqlite::{Connection, params};

use super::super::{ChangeRow, GenerationRow, time::iso};
use super::convert::signed;

/// See [`super::Change::record_generation`].
pub fn record_generation(
    conn: &Connection,
    generation: &GenerationRow,
    kept: u64,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO generation VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT (started_at, id, pid) DO UPDATE SET
            version = excluded.version, config_hash = excluded.config_hash, reason = excluded.reason,
            ready_at = excluded.ready_at, ended_at = excluded.ended_at,
            pause_us = excluded.pause_us, outcome = excluded.outcome";
    conn.prepare_cached(sql)?.execute(params![
        signed(generation.id),
        generation.pid,
        generation.version,
        generation.config_hash,
        generation.reason,
        iso(generation.started_at_ms),
        generation.ready_at_ms.map(iso),
        generation.ended_at_ms.map(iso),
        generation.pause_us.map(signed),
        generation.outcome,
    ])?;
    let trim = "DELETE FROM generation WHERE rowid IN (
        SELECT rowid FROM generation ORDER BY started_at DESC, id DESC, pid DESC LIMIT -1 OFFSET ?1)";
    conn.prepare_cached(trim)?.execute([signed(kept)])?;
    Ok(())
}

/// See [`super::Change::record_change`].
pub fn record_change(
    conn: &Connection,
    change: &ChangeRow<'_>,
    kept: u64,
) -> rusqlite::Result<u64> {
    let sql = "INSERT INTO route_change (id, at, via, peer, command, outcome) VALUES (?6, ?1, ?2, ?3, ?4, ?5)";
    conn.prepare_cached(sql)?.execute(params![
        iso(change.at_ms),
        change.via,
        change.peer,
        change.command,
        change.outcome,
        change.number.map(signed),
    ])?;
    let id = conn.last_insert_rowid().cast_unsigned();
    let trim = "DELETE FROM route_change WHERE id <= (SELECT max(id) FROM route_change) - ?1";
    conn.prepare_cached(trim)?.execute([signed(kept)])?;
    Ok(id)
}
