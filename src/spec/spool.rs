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
                humantime::format_rfc3339(time).fmt(f)
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
