use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes, written `16MiB`, `64KiB`, `2MB` or as a bare number.
///
/// `KiB`, `MiB`, `GiB` and `TiB` are powers of 1024; `kB`, `MB`, `GB` and `TB` powers of 1000, as
/// IEC 80000-13 has it. Case doesn't count. It displays in the largest binary unit that it is a
/// whole number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A size or a duration that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUnit(String);

const BINARY: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

const DECIMAL: [(&str, u64); 5] = [
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<ByteSize, BadUnit> {
        let bad = || {
            BadUnit(format!(
                "expected a size such as 16MiB, 64KiB or 4096, found {text:?}"
            ))
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let unit = unit.trim_start_matches(' ');
        let factor = if unit.is_empty() {
            1
        } else {
            let known = BINARY.iter().chain(&DECIMAL);
            let mut fitting = known.filter(|(name, _)| name.eq_ignore_ascii_case(unit));
            fitting.next().ok_or_else(bad)?.1
        };
        number.checked_mul(factor).map(ByteSize).ok_or_else(bad)
    }
}

impl ByteSize {
    /// For people, who don't count the bytes of a machine: whole mebibytes.
    pub fn in_mebibytes(self) -> String {
        format!("{}MiB", self.0 >> 20)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = BINARY
            .iter()
            .find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor));
        match whole {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Reads a duration with its units: `10s`, `500ms`, `1m30s`.
pub fn parse_duration(text: &str) -> Result<Duration, BadUnit> {
    humantime::parse_duration(text).map_err(|_| {
        BadUnit(format!(
            "expected a duration such as 10s, 500ms or 1m, found {text:?}"
        ))
    })
}

/// Reads a size that must lie in a range.
pub fn size_within(text: &str, range: &RangeInclusive<u64>) -> Result<u64, BadUnit> {
    let ByteSize(size) = text.parse()?;
    if range.contains(&size) {
        return Ok(size);
    }
    let (least, most) = (ByteSize(*range.start()), ByteSize(*range.end()));
    Err(BadUnit(format!(
        "expected a size from {least} to {most}, found {text:?}"
    )))
}

/// Reads a duration that must lie in a range.
pub fn duration_within(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, BadUnit> {
    let duration = parse_duration(text)?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    let (least, most) = (show_duration(*range.start()), show_duration(*range.end()));
    Err(BadUnit(format!(
        "expected a duration from {least} to {most}, found {text:?}"
    )))
}

/// Writes a duration as one word that [`parse_duration`] reads back.
pub fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration)
        .to_string()
        .replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size(text: &str) -> Option<u64> {
        text.parse::<ByteSize>().ok().map(|size| size.0)
    }

    #[test]
    fn sizes() {
        assert_eq!(size("0"), Some(0));
        assert_eq!(size("4096"), Some(4096));
        assert_eq!(size("17B"), Some(17));
        assert_eq!(size("64KiB"), Some(65536));
        assert_eq!(size("16MiB"), Some(16 << 20));
        assert_eq!(size("16 MiB"), Some(16 << 20));
        assert_eq!(size("16mib"), Some(16 << 20));
        assert_eq!(size("1GiB"), Some(1 << 30));
        assert_eq!(size("2MB"), Some(2_000_000));
        assert_eq!(size("2kb"), Some(2000));
        assert_eq!(size("18446744073709551615"), Some(u64::MAX));
    }

    #[test]
    fn no_sizes() {
        for text in [
            "",
            " ",
            "MiB",
            "-1",
            "+1",
            "1.5MiB",
            "1e3",
            "1 0",
            "1M",
            "1Mi",
            "16MiB ",
            " 16MiB",
            "0x10",
            "1_000",
            "18446744073709551616",
            "16777216TiB",
            "１６MiB",
        ] {
            assert_eq!(size(text), None, "{text:?}");
        }
    }

    #[test]
    fn durations() {
        let ms = Duration::from_millis;
        assert_eq!(parse_duration("0s"), Ok(ms(0)));
        assert_eq!(parse_duration("500ms"), Ok(ms(500)));
        assert_eq!(parse_duration("10s"), Ok(ms(10_000)));
        assert_eq!(parse_duration("1m"), Ok(ms(60_000)));
        assert_eq!(parse_duration("1m30s"), Ok(ms(90_000)));
        assert_eq!(parse_duration("1m 30s"), Ok(ms(90_000)));
        for text in ["", "10", "s", "-1s", "10 parsecs", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_range_is_told() {
        let sizes = 1 << 20..=64 << 30;
        assert_eq!(size_within("1MiB", &sizes), Ok(1 << 20));
        let said = size_within("1KiB", &sizes).unwrap_err().to_string();
        assert_eq!(said, "expected a size from 1MiB to 64GiB, found \"1KiB\"");

        let durations = Duration::from_millis(100)..=Duration::from_secs(3600);
        assert!(duration_within("1h", &durations).is_ok());
        let said = duration_within("1h 1ms", &durations)
            .unwrap_err()
            .to_string();
        assert_eq!(
            said,
            "expected a duration from 100ms to 1h, found \"1h 1ms\""
        );
    }

    proptest! {
        #[test]
        fn a_size_reads_back(bytes: u64) {
            prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }

        #[test]
        fn a_round_size_reads_back(number in 0u64..4096, shift in 0u32..50) {
            let size = ByteSize(number << shift);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn a_duration_reads_back_as_one_word(nanos in 0u64..1_000_000_000_000_000_000) {
            let duration = Duration::from_nanos(nanos);
            let text = show_duration(duration);
            prop_assert!(!text.contains(' '));
            prop_assert_eq!(parse_duration(&text), Ok(duration));
        }

        #[test]
        fn nothing_makes_them_panic(text: String) {
            let _ = text.parse::<ByteSize>();
            let _ = parse_duration(&text);
        }
    }
}
