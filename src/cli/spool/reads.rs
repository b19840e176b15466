//! `baton spool list` and `baton spool show`.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};

use super::place::Place;
use crate::state::{RowError, Store, Total};

pub fn list(place: &Place, json: bool) -> anyhow::Result<ExitCode> {
    let store = place.open()?;
    let totals = store
        .totals()
        .with_context(|| format!("the spool {}", place.path.display()))?;
    let text = match json {
        true => {
            let all: Vec<Value> = totals.iter().map(|total| document(place, total)).collect();
            let all = json!({"path": place.path, "destinations": all});
            serde_json::to_string_pretty(&all)? + "\n"
        }
        false if totals.is_empty() => format!("nothing is spooled in {}\n", place.path.display()),
        false => table(place, &totals),
    };
    put(&mut io::stdout().lock(), text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

pub fn show(place: &Place, id: &str, head: u64, json: bool) -> anyhow::Result<ExitCode> {
    let store = place.open()?;
    let total = place.total(&store, id)?;
    let lines = first_lines(&store, id, head)
        .with_context(|| format!("{id} in the spool {}", place.path.display()))?;
    let mut out = io::stdout().lock();
    if json {
        let mut document = document(place, &total);
        let lines = lines.iter().map(|line| String::from_utf8_lossy(line));
        document["head"] = lines.collect();
        put(&mut out, serde_json::to_string_pretty(&document)? + "\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    put(
        &mut out,
        format!(
            "{id}: {}, came in from {} to {}{}\n",
            sizes(&total),
            time(total.oldest_ms),
            time(total.newest_ms),
            remark(place, id)
        ),
    )?;
    for line in lines {
        put(&mut out, line)?;
        put(&mut out, b"\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Without their newlines.
fn first_lines(store: &Store, id: &str, head: u64) -> anyhow::Result<Vec<Vec<u8>>> {
    let (mut lines, mut after) = (Vec::new(), None);
    while (lines.len() as u64) < head {
        let row = match store.next_row(id, after) {
            Ok(None) => break,
            Ok(Some(row)) => row,
            Err(RowError::Row { seq, reason }) => {
                eprintln!("baton: row {seq} of {id} can't be read: {reason}");
                after = Some(seq);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        after = Some(row.seq);
        let payload = row.payload.strip_suffix(b"\n").unwrap_or(&row.payload);
        let missing = (head as usize).saturating_sub(lines.len());
        let some = payload.split(|byte| *byte == b'\n').take(missing);
        lines.extend(some.map(<[u8]>::to_vec));
    }
    Ok(lines)
}

/// Rows, lines and bytes, for people.
pub fn sizes(total: &Total) -> String {
    format!(
        "{} lines ({}) in {} rows",
        HumanCount(total.lines),
        HumanBytes(total.bytes),
        HumanCount(total.rows)
    )
}

fn document(place: &Place, total: &Total) -> Value {
    let time = |ms: Option<u64>| ms.map(|ms| time(Some(ms)));
    json!({
        "destination": total.destination,
        "configured": place.known.as_ref().map(|_| place.has(&total.destination)),
        "rows": total.rows,
        "lines": total.lines,
        "bytes": total.bytes,
        "oldest": time(total.oldest_ms),
        "newest": time(total.newest_ms),
    })
}

fn remark(place: &Place, id: &str) -> &'static str {
    match place.has(id) {
        true => "",
        false => "  no such destination",
    }
}

fn time(ms: Option<u64>) -> String {
    ms.map_or("-".to_owned(), |ms| {
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
    })
}

fn table(place: &Place, totals: &[Total]) -> String {
    let head = ["DESTINATION", "ROWS", "LINES", "BYTES", "OLDEST", "NEWEST"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(totals.iter().map(|total| {
        [
            total.destination.clone(),
            HumanCount(total.rows).to_string(),
            HumanCount(total.lines).to_string(),
            HumanBytes(total.bytes).to_string(),
            time(total.oldest_ms),
            time(total.newest_ms),
        ]
    }));
    let widths: [usize; 6] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    let mut text = String::new();
    for (row, total) in rows
        .iter()
        .zip(std::iter::once(None).chain(totals.iter().map(Some)))
    {
        let [id, count, lines, bytes, oldest, newest] = row;
        let [w0, w1, w2, w3, w4, w5] = widths;
        let line = format!(
            "{id:w0$}  {count:>w1$}  {lines:>w2$}  {bytes:>w3$}  {oldest:w4$}  {newest:w5$}"
        );
        let remark = total.map_or("", |total| remark(place, &total.destination));
        text.push_str(line.trim_end());
        text.push_str(remark);
        text.push('\n');
    }
    text
}

/// Writes to standard output. Who reads it may have read enough.
pub fn put(out: &mut impl Write, text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    match out.write_all(text.as_ref()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("standard output")
        }
        _ => Ok(()),
    }
}
