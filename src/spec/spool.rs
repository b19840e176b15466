use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{ByteSize, chosen, duration_within, parse_duration, show_duration, size_within};

/// The options of a spool; they make no sense without one.
pub(super) const OPTIONS: &[&str] = &[
    "spool_max",
    "spool_full",
    "replay",
    "replay_rate",
    "replay_from",
];

/// At least a ring's worth; at most what SQLite can hold in a file.
const MAX: RangeInclusive<u64> = 1 << 20..=256 << 40;
/// Less than a second would drop what is only on its way through; nobody keeps metrics of longer ago
/// than ten years.
const AGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(10 * 31_557_600);
/// The end of the year 9999, the last that RFC 3339 can write.
const LAST_MS: u64 = 253_402_300_799_999;

/// How a destination's spool behaves: what goes to disk when its queue is full, and how it comes
/// back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spool {
    /// How much it may hold, in bytes.
    pub max: u64,
    /// What happens to lines when it holds that much, or the disk is full.
    pub when_full: SpoolFull,
    /// Whether what is spooled or what comes in goes out first.
    pub replay: Replay,
    /// How many lines a second are sent from it, at most; `None`: as fast as the destination takes
    /// them. Never 0.
    pub rate: Option<u64>,
    /// What came in earlier isn't sent any more, but dropped and counted; `None`: everything is
    /// sent.
    pub from: Option<ReplayFrom>,
}

/// What happens to lines when the spool is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpoolFull {
    /// The oldest in the spool are dropped for them, and counted.
    DropOldest,
    /// They are dropped, and counted.
    DropNewest,
    /// Senders of such lines aren't read until there is room.
    Block,
}

/// What goes out first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replay {
    /// What came in first.
    InOrder,
    /// What comes in now; what is spooled goes between.
    LiveFirst,
}

/// Since when lines must have come in to be worth sending.
///
/// It displays as its canonical text, which reads back as the same and is what JSON has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ReplayFrom {
    /// They are at most so old when they are sent: `24h`. From 1 s to 10 years.
    Age(Duration),
    /// They came in at this time or later, in milliseconds since 1970: `2026-11-22T06:00:00Z`.
    At(u64),
}

/// A text that is neither an age nor a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadReplayFrom(String);

impl Default for Spool {
    fn default() -> Spool {
        Spool {
            max: 10 << 30,
            when_full: SpoolFull::DropOldest,
            replay: Replay::InOrder,
            rate: None,
            from: None,
        }
    }
}

impl Spool {
    /// Takes one of [`OPTIONS`].
    pub(super) fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        match option {
            "spool_max" => self.max = size_within(value, &MAX).map_err(|e| e.to_string())?,
            "spool_full" => self.when_full = value.parse()?,
            "replay" => self.replay = value.parse()?,
            "replay_rate" => self.rate = Some(rate(value)?),
            "replay_from" => {
                self.from = Some(value.parse().map_err(|e: BadReplayFrom| e.to_string())?);
            }
            _ => unreachable!("{option} is no option of a spool"),
        }
        Ok(())
    }

    /// What isn't as by default, as it is written.
    pub(super) fn options(&self) -> Vec<(&'static str, String)> {
        let usual = Spool::default();
        let mut options = Vec::new();
        if self.max != usual.max {
            options.push(("spool_max", ByteSize(self.max).to_string()));
        }
        if self.when_full != usual.when_full {
            options.push(("spool_full", self.when_full.to_string()));
        }
        if self.replay != usual.replay {
            options.push(("replay", self.replay.to_string()));
        }
        options.extend(self.rate.map(|rate| ("replay_rate", rate.to_string())));
        options.extend(self.from.map(|from| ("replay_from", from.to_string())));
        options
    }
}

fn rate(text: &str) -> Result<u64, String> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(0) => Err(
            "expected lines a second, 1 at least, found 0: leave it out for no limit".to_owned(),
        ),
        Ok(rate) if is_number => Ok(rate),
        _ => Err(format!(
            "expected lines a second such as 50000, found {text:?}"
        )),
    }
}

impl SpoolFull {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            SpoolFull::DropOldest => "drop-oldest",
            SpoolFull::DropNewest => "drop-newest",
            SpoolFull::Block => "block",
        }
    }
}

impl FromStr for SpoolFull {
    type Err = String;

    fn from_str(text: &str) -> Result<SpoolFull, String> {
        use SpoolFull::{Block, DropNewest, DropOldest};
        chosen(text, &[DropOldest, DropNewest, Block], SpoolFull::as_str)
    }
}

impl fmt::Display for SpoolFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Replay {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Replay::InOrder => "in-order",
            Replay::LiveFirst => "live-first",
        }
    }
}

impl FromStr for Replay {
    type Err = String;

    fn from_str(text: &str) -> Result<Replay, String> {
        chosen(text, &[Replay::InOrder, Replay::LiveFirst], Replay::as_str)
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ReplayFrom {
    type Err = BadReplayFrom;

    fn from_str(text: &str) -> Result<ReplayFrom, BadReplayFrom> {
        if parse_duration(text).is_ok() {
            let age = duration_within(text, &AGE);
            return age
                .map(ReplayFrom::Age)
                .map_err(|e| BadReplayFrom(e.to_string()));
        }
        let time = humantime::parse_rfc3339(text).ok();
        let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        match since.and_then(|since| u64::try_from(since.as_millis()).ok()) {
            Some(ms) => Ok(ReplayFrom::At(ms)),
            None => Err(BadReplayFrom(format!(
                "expected an age such as 24h or a time in UTC such as 2026-11-22T06:00:00Z, found {text:?}"
            ))),
        }
    }
}

impl fmt::Display for ReplayFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayFrom::Age(age) => f.write_str(&show_duration(*age)),
            ReplayFrom::At(ms) => {
                let time = UNIX_EPOCH + Duration::from_millis((*ms).min(LAST_MS));
                match ms % 1000 {
                    0 => humantime::format_rfc3339_seconds(time).fmt(f),
                    _ => humantime::format_rfc3339_millis(time).fmt(f),
                }
            }
        }
    }
}

impl TryFrom<String> for ReplayFrom {
    type Error = BadReplayFrom;

    fn try_from(text: String) -> Result<ReplayFrom, BadReplayFrom> {
        text.parse()
    }
}

impl From<ReplayFrom> for String {
    fn from(from: ReplayFrom) -> String {
        from.to_string()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{BadOption, Destination, Full};
    use super::*;
    use proptest::prelude::*;

    fn read(options: &str) -> Spool {
        let read = Destination::parse(&format!("h:1 {options}"), "r");
        let read = read.unwrap_or_else(|e| panic!("{options}: {e}"));
        assert_eq!(read.full, Full::Spool);
        read.spool
    }

    fn said(options: &str) -> Vec<String> {
        let problems = Destination::parse(&format!("h:1 {options}"), "r").expect_err(options);
        problems.0.iter().map(BadOption::to_string).collect()
    }

    fn shown(options: &str) -> String {
        let read = Destination::parse(&format!("h:1 id=a {options}"), "r").unwrap();
        let shown = read.to_string();
        shown.strip_prefix("h:1 id=a").unwrap().trim().to_owned()
    }

    #[test]
    fn every_option_is_one_of_a_destination() {
        for option in OPTIONS {
            assert!(super::super::OPTIONS.contains(option), "{option}");
        }
    }

    #[test]
    fn defaults() {
        let expected = Spool {
            max: 10 << 30,
            when_full: SpoolFull::DropOldest,
            replay: Replay::InOrder,
            rate: None,
            from: None,
        };
        assert_eq!(read(""), expected);
        assert_eq!(
            read("full=spool spool_max=10GiB spool_full=drop-oldest replay=in-order"),
            expected
        );
        assert_eq!(shown("full=spool spool_max=10GiB replay=in-order"), "");
    }

    #[test]
    fn every_option() {
        let text =
            "spool_max=1GiB spool_full=block replay=live-first replay_rate=50000 replay_from=1day";
        let expected = Spool {
            max: 1 << 30,
            when_full: SpoolFull::Block,
            replay: Replay::LiveFirst,
            rate: Some(50_000),
            from: Some(ReplayFrom::Age(Duration::from_secs(86_400))),
        };
        assert_eq!(read(text), expected);
        assert_eq!(shown(text), text);
        assert_eq!(
            read("spool_full=drop-newest").when_full,
            SpoolFull::DropNewest
        );
    }

    #[test]
    fn values_at_their_limits() {
        assert_eq!(read("spool_max=1048576").max, 1 << 20);
        assert_eq!(read("spool_max=256TiB").max, 256 << 40);
        assert_eq!(read("replay_rate=1").rate, Some(1));
        let most = "replay_rate=18446744073709551615";
        assert_eq!(read(most).rate, Some(u64::MAX));
        let age = |text| match read(text).from {
            Some(ReplayFrom::Age(age)) => age.as_secs(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(age("replay_from=1s"), 1);
        assert_eq!(age("replay_from=24h"), 86_400);
        assert_eq!(age("replay_from=\"1h 30m\""), 5400);
        assert_eq!(age("replay_from=10years"), 315_576_000);
    }

    #[test]
    fn times() {
        let ms = |text: &str| match text.parse() {
            Ok(ReplayFrom::At(ms)) => ms,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(ms("1970-01-01T00:00:00Z"), 0);
        assert_eq!(ms("2026-11-22T06:00:00Z"), 1_795_327_200_000);
        assert_eq!(ms("2026-11-22T06:00:00.25Z"), 1_795_327_200_250);
        assert_eq!(ms("2026-11-22T06:00:00.0009Z"), 1_795_327_200_000);
        assert_eq!(ms("2026-11-22T06:00:00+00:00"), 1_795_327_200_000);
        assert_eq!(ms("9999-12-31T23:59:59.999Z"), LAST_MS);
        assert_eq!(
            shown("replay_from=2026-11-22T06:00:00.25Z"),
            "replay_from=2026-11-22T06:00:00.250Z"
        );
        assert_eq!(
            ReplayFrom::At(u64::MAX).to_string(),
            "9999-12-31T23:59:59.999Z"
        );
    }

    #[test]
    fn what_is_refused() {
        for (text, expected) in [
            (
                "full=spill",
                "full: expected spool, block or drop, found \"spill\"",
            ),
            (
                "spool_max=1KiB",
                "spool_max: expected a size from 1MiB to 256TiB, found \"1KiB\"",
            ),
            (
                "spool_max=lots",
                "spool_max: expected a size such as 16MiB, 64KiB or 4096, found \"lots\"",
            ),
            (
                "spool_full=drop",
                "spool_full: expected drop-oldest, drop-newest or block, found \"drop\": did you mean drop-oldest?",
            ),
            (
                "replay=newest",
                "replay: expected in-order or live-first, found \"newest\"",
            ),
            (
                "replay=inorder",
                "replay: expected in-order or live-first, found \"inorder\": did you mean in-order?",
            ),
            (
                "replay_rate=0",
                "replay_rate: expected lines a second, 1 at least, found 0: leave it out for no limit",
            ),
            (
                "replay_rate=50k",
                "replay_rate: expected lines a second such as 50000, found \"50k\"",
            ),
            (
                "replay_rate=+5",
                "replay_rate: expected lines a second such as 50000, found \"+5\"",
            ),
            (
                "replay_from=500ms",
                "replay_from: expected a duration from 1s to 10years, found \"500ms\"",
            ),
            ("replay=in-order replay=in-order", "replay: given twice"),
            (
                "spool=true",
                "spool: unknown option, this version does not have it: did you mean full=spool?",
            ),
            (
                "spoolmax=1GiB",
                "spoolmax: unknown option, this version does not have it: did you mean spool_max?",
            ),
            (
                "replay_form=1h",
                "replay_form: unknown option, this version does not have it: did you mean replay_from?",
            ),
        ] {
            assert_eq!(said(text), [expected], "{text}");
        }
        for text in [
            "",
            "24",
            "yesterday",
            "2026-11-22",
            "2026-11-22T06:00:00",
            "2026-11-22 06:00:00Z",
            "2026-11-22T06:00:00+01:00",
            "2026-02-30T06:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            let expected = format!(
                "replay_from: expected an age such as 24h or a time in UTC such as \
                 2026-11-22T06:00:00Z, found {text:?}"
            );
            assert_eq!(said(&format!("replay_from=\"{text}\"")), [expected]);
        }
    }

    #[test]
    fn without_a_spool_its_options_are_refused() {
        for full in ["block", "drop"] {
            let all =
                "spool_max=1GiB replay_from=1h spool_full=block replay=in-order replay_rate=1";
            let expected = OPTIONS
                .iter()
                .map(|option| format!("{option}: needs full=spool, found full={full}"));
            assert_eq!(
                said(&format!("{all} full={full}")),
                expected.collect::<Vec<_>>()
            );
        }
        // What is bad is told once.
        assert_eq!(said("full=spol spool_max=1GiB").len(), 1);
    }

    #[test]
    fn json_is_kept_for_other_versions() {
        let spool = read("replay=live-first replay_rate=7 replay_from=90s spool_full=drop-newest");
        let json = r#"{"max":10737418240,"when_full":"drop-newest","replay":"live-first","rate":7,"from":"1m30s"}"#;
        assert_eq!(serde_json::to_string(&spool).unwrap(), json);
        let read = |json| serde_json::from_str::<Spool>(json).unwrap();
        assert_eq!(read(json), spool);
        assert_eq!(read("{}"), Spool::default());
        let newer = read(r#"{"max":5,"compress":{"level":3}}"#);
        assert_eq!((newer.max, newer.replay), (5, Replay::InOrder));
        assert!(serde_json::from_str::<Spool>(r#"{"from":"0s"}"#).is_err());
    }

    /// Any spool that a config can prove.
    pub(in crate::spec) fn any_spool() -> impl Strategy<Value = Spool> {
        use SpoolFull::{Block, DropNewest, DropOldest};
        let max = prop_oneof![Just(10 << 30), MAX];
        let when_full = prop::sample::select(vec![DropOldest, DropNewest, Block]);
        let replay = prop::sample::select(vec![Replay::InOrder, Replay::LiveFirst]);
        let nanos = 1_000_000_000..=AGE.end().as_nanos() as u64;
        let from = prop_oneof![
            nanos.prop_map(|nanos| ReplayFrom::Age(Duration::from_nanos(nanos))),
            (0..=LAST_MS).prop_map(ReplayFrom::At),
            (0..=LAST_MS / 1000).prop_map(|seconds| ReplayFrom::At(seconds * 1000)),
        ];
        let rate = proptest::option::of(1u64..);
        (max, when_full, replay, rate, proptest::option::of(from)).prop_map(
            |(max, when_full, replay, rate, from)| Spool {
                max,
                when_full,
                replay,
                rate,
                from,
            },
        )
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9TZ:+.-]{0,30}|[0-9]{0,21}[a-z]{0,2}|.{0,30}") {
            let _ = text.parse::<ReplayFrom>();
            let _ = rate(&text);
        }
    }
}
