//! The supervisor's own look at the config: it may be older than the worker that will compile
//! the file, so it reads its own table and `[log]`, and tolerates everything else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::DEATH;
use super::machine::{EXTENSIONS, PASS_TIMEOUT, STEP_TIMEOUT, STOP_EXTENSIONS, STOP_GRACE, Times};
use crate::sys::Directories;

/// What the supervisor needs of the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the command line reaches the daemon.
    pub control: PathBuf,
    /// Deadlines.
    pub times: Times,
    /// `[log] level`.
    pub log_level: String,
    /// `[log] format`.
    pub log_format: String,
    /// The file is TOML: what is above comes from it. Else these are defaults.
    pub is_readable: bool,
}

impl Settings {
    /// Reads the file as far as it can be read: what is wrong with it the worker says.
    pub fn read(config: &Path) -> Settings {
        let text = std::fs::read_to_string(config).unwrap_or_default();
        Settings::of(&text, config.parent().unwrap_or(Path::new("/")))
    }

    /// What a reload may take, and a start, which has fewer steps: units must allow it.
    pub fn longest_reload(&self) -> Duration {
        let Times {
            ready, probation, ..
        } = self.times;
        ready * (1 + EXTENSIONS) + STEP_TIMEOUT * 3 + probation.max(PASS_TIMEOUT)
    }

    /// What a stop may take, once the worker has heard of it.
    pub fn longest_stop(&self) -> Duration {
        self.times.stop + STOP_GRACE * (1 + STOP_EXTENSIONS) + DEATH
    }

    fn of(text: &str, base: &Path) -> Settings {
        let parsed = text.parse::<toml::Table>();
        let is_readable = parsed.is_ok() && !text.is_empty();
        let table = parsed.unwrap_or_default();
        let get = |section: &str, key: &str| {
            table
                .get(section)
                .and_then(|s| s.get(key))
                .and_then(|v| v.as_str())
        };
        let time = |key: &str, default: u64| {
            get("supervisor", key)
                .and_then(|text| humantime::parse_duration(text).ok())
                .unwrap_or(Duration::from_secs(default))
        };
        let control = match get("supervisor", "control") {
            Some(path) => base.join(path.strip_prefix("unix:").unwrap_or(path)),
            None => default_control(base),
        };
        Settings {
            control,
            times: Times {
                ready: time("ready_timeout", 60),
                probation: time("probation", 5),
                stop: time("stop_timeout", 20),
            },
            log_level: get("log", "level")
                .or_else(|| relay_ng_level(&table))
                .unwrap_or("info")
                .to_owned(),
            log_format: get("log", "format").unwrap_or("auto").to_owned(),
            is_readable,
        }
    }
}

/// The level in carbon-relay-ng's file, where it stands at the root.
fn relay_ng_level(table: &toml::Table) -> Option<&str> {
    match table.get("log_level")?.as_str()? {
        "warning" => Some("warn"),
        "fatal" | "panic" => Some("error"),
        level => Some(level),
    }
}

/// `control.sock` in the [runtime directory](Directories), else `baton.sock` beside the config.
fn default_control(base: &Path) -> PathBuf {
    match Directories::of(base).runtime {
        Some(directory) => directory.join("control.sock"),
        None => base.join("baton.sock"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_table_and_tolerates_the_rest() {
        let text = "[supervisor]\ncontrol = \"unix:run/c.sock\"\nprobation = \"100ms\"\nnew_key = 1\n[whatever]\nx = []\n";
        let settings = Settings::of(text, Path::new("/etc/baton"));
        assert_eq!(settings.control, Path::new("/etc/baton/run/c.sock"));
        assert_eq!(settings.times.probation, Duration::from_millis(100));
        assert_eq!(settings.times.ready, Duration::from_secs(60));
        let its = Settings::of("log_level = \"warning\"\n", Path::new("/etc/baton"));
        assert_eq!(its.log_level, "warn");
        let broken = Settings::of("[supervisor\n", Path::new("/etc/baton"));
        assert_eq!(broken.times.stop, Duration::from_secs(20));
    }
}
