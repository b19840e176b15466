//! Times as people and `sqlite3` read them: `2026-11-22T21:50:00.123Z`.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_MS: u64 = 86_400_000;
/// The last millisecond of the year 9999: later times don't fit into four digits, and are never meant.
const LATEST_MS: u64 = 253_402_300_799_999;

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// ISO 8601, UTC, with milliseconds: it sorts as text.
pub fn iso(ms: u64) -> String {
    let [year, month, day, hour, minute, second] = fields(ms);
    let ms = ms.min(LATEST_MS) % 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// To the second and without colons, as a part of a file's name: `20261122T215000Z`.
pub fn compact(ms: u64) -> String {
    let [year, month, day, hour, minute, second] = fields(ms);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// What [`iso`] has written.
pub fn parse(text: &str) -> Option<u64> {
    let shape = b"0000-00-00T00:00:00.000Z";
    let fits = |(byte, like): (&u8, &u8)| match like {
        b'0' => byte.is_ascii_digit(),
        like => byte == like,
    };
    if text.len() != shape.len() || !text.as_bytes().iter().zip(shape).all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year < 1970
        || !(1..=12).contains(&month)
        || !(1..=days_of_month(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let days = (1970..year).map(days_of_year).sum::<u64>()
        + (1..month).map(|m| days_of_month(year, m)).sum::<u64>()
        + (day - 1);
    Some(days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + number(20, 23)?)
}

/// Year, month, day, hour, minute, second.
fn fields(ms: u64) -> [u64; 6] {
    let ms = ms.min(LATEST_MS);
    let (mut days, second) = (ms / DAY_MS, ms % DAY_MS / 1000);
    let (mut year, mut month) = (1970, 1);
    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    [
        year,
        month,
        days + 1,
        second / 3600,
        second / 60 % 60,
        second % 60,
    ]
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_year(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_384_200_123, "2026-11-22T21:50:00.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (LATEST_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!((iso(ms).as_str(), parse(text)), (text, Some(ms)));
        }
        assert_eq!(iso(u64::MAX), iso(LATEST_MS));
        assert_eq!(compact(1_795_384_200_123), "20261122T215000Z");
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "2026-11-22",
            "2026-13-22T21:50:00.123Z",
            "2026-02-29T21:50:00.123Z",
            "2026-11-00T21:50:00.123Z",
            "2026-11-22T24:50:00.123Z",
            "2026-11-22 21:50:00.123Z",
            "+026-11-22T21:50:00.123Z",
            "1969-11-22T21:50:00.123Z",
            "2026-11-22T21:50:00.12éZ",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn there_and_back(ms in 0..=LATEST_MS, later in 0..=LATEST_MS) {
            prop_assert_eq!(parse(&iso(ms)), Some(ms));
            prop_assert_eq!(iso(ms).cmp(&iso(later)), ms.cmp(&later));
        }
    }
}
