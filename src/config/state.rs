use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::compile::{self, Surroundings};
use super::keys;
use super::read::{Report, Section};
use super::{State, Synchronous};

/// At least what a few spools need to be of use; at most what SQLite can hold in a file.
const MAX_SIZE: RangeInclusive<u64> = 16 << 20..=256 << 40;
const EVENTS_KEPT: RangeInclusive<usize> = 1..=10_000_000;

/// `None`: the path can't be one.
pub(super) fn compile(
    report: &mut Report,
    root: &Section,
    folder: &Path,
    surroundings: &Surroundings,
) -> Option<State> {
    use Synchronous::{Full, Normal};
    let section = root.section(report, "state", keys::STATE);
    let path = path(report, &section, folder, surroundings);
    let modes = [Normal, Full].map(|mode| (mode.as_str(), mode));
    let synchronous = section
        .value("synchronous")
        .and_then(|value| value.choice(report, &modes));
    let max_size = section
        .value("max_size")
        .and_then(|value| value.size(report, &MAX_SIZE));
    let events_kept = section
        .value("events_kept")
        .and_then(|value| value.number(report, &EVENTS_KEPT));
    Some(State {
        path: path?,
        synchronous: synchronous.unwrap_or(Normal),
        max_size: max_size.unwrap_or(20 << 30),
        events_kept: events_kept.unwrap_or(10_000) as u64,
    })
}

fn path(
    report: &mut Report,
    section: &Section,
    folder: &Path,
    surroundings: &Surroundings,
) -> Option<PathBuf> {
    let Some(value) = section.value("path") else {
        let directory = surroundings.state_directory.as_deref().unwrap_or(folder);
        return compile::beside(directory, Path::new("baton.db"))
            .map_err(|message| report.problem(section.at, "state.path", message))
            .ok();
    };
    let text = value.text(report)?;
    if text.is_empty() || text.ends_with('/') || text.contains('\0') {
        value.refuse(
            report,
            format!("expected the path of a file, found {text:?}"),
        );
        return None;
    }
    value.keep(report, compile::beside(folder, Path::new(text)))
}
