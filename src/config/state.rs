use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::compile::{self, Surroundings};
use super::listen::Placed;
use super::read::{Report, Section};
use super::{ListenAddress, State, Supervisor, Synchronous, keys};
use crate::spec::{Address, Route};

/// At least what a few spools need to be of use; at most what SQLite can hold in a file.
const MAX_SIZE: RangeInclusive<u64> = 16 << 20..=256 << 40;
const EVENTS_KEPT: RangeInclusive<usize> = 1..=10_000_000;

/// What SQLite adds to a database's name for the files beside it.
pub(super) const BESIDE_IT: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// The paths that others have, and who.
pub(super) struct Taken(Vec<(PathBuf, String)>);

impl Taken {
    pub(super) fn by(
        report: &Report,
        config: &Path,
        supervisor: Option<&Supervisor>,
        listen: &[Placed],
        routes: &[(Route, Vec<usize>)],
    ) -> Taken {
        let mut taken = vec![(config.to_owned(), "the config has it".to_owned())];
        if let Some(supervisor) = supervisor {
            let control = supervisor.control.clone();
            taken.push((control, "the control socket has it".to_owned()));
        }
        for placed in listen {
            if let ListenAddress::Unix(path) = &placed.listener.address {
                taken.push((path.clone(), format!("{} has it", placed.who(report))));
            }
        }
        for (route, places) in routes {
            for (destination, at) in route.destinations.iter().zip(places) {
                if let Address::File(path) = &destination.address {
                    let line = report.line(*at);
                    let who = format!("the destination in line {line} writes to it");
                    taken.push((path.clone(), who));
                }
            }
        }
        Taken(taken)
    }

    /// Whether SQLite can have all that it writes at this path.
    fn check(&self, path: &Path) -> Result<(), String> {
        for ending in BESIDE_IT {
            let mut own = path.as_os_str().to_owned();
            own.push(ending);
            if let Some((_, who)) = self.0.iter().find(|(taken, _)| *taken == Path::new(&own)) {
                let own = own.display();
                return Err(format!("expected a path of its own, found {own}: {who}"));
            }
        }
        Ok(())
    }
}

/// `None`: the path can't be one.
pub(super) fn compile(
    report: &mut Report,
    root: &Section,
    folder: &Path,
    surroundings: &Surroundings,
    taken: &Taken,
) -> Option<State> {
    use Synchronous::{Full, Normal};
    let section = root.section(report, "state", keys::STATE);
    let path = path(report, &section, folder, surroundings, taken);
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
    taken: &Taken,
) -> Option<PathBuf> {
    let value = section.value("path");
    let at = value.as_ref().map_or(section.at, |value| value.at);
    let path = match &value {
        Some(value) => {
            let text = value.text(report)?;
            if text.is_empty() || text.ends_with('/') || text.contains('\0') {
                let message = format!("expected the path of a file, found {text:?}");
                value.refuse(report, message);
                return None;
            }
            compile::beside(folder, Path::new(text))
        }
        None => {
            let directory = surroundings.directories.state.as_deref();
            compile::beside(directory.unwrap_or(folder), Path::new("baton.db"))
        }
    };
    let checked = path.and_then(|path| taken.check(&path).map(|()| path));
    checked
        .map_err(|message| report.problem(at, "state.path", message))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Problems};
    use super::*;
    use crate::sys::Directories;

    fn compiled(text: &str, state_directory: Option<&str>) -> Result<Config, Problems> {
        let surroundings = Surroundings {
            directories: Directories {
                runtime: None,
                state: state_directory.map(PathBuf::from),
            },
            memory: None,
        };
        let path = Path::new("/etc/baton/baton.toml");
        compile::compile(path, text.as_bytes(), &surroundings)
    }

    fn state(text: &str) -> State {
        compiled(text, None).unwrap().state
    }

    fn said(text: &str) -> String {
        compiled(text, None).expect_err(text).to_string()
    }

    #[test]
    fn defaults() {
        let expected = State {
            path: "/etc/baton/baton.db".into(),
            synchronous: Synchronous::Normal,
            max_size: 20 << 30,
            events_kept: 10_000,
        };
        assert_eq!(state(""), expected);
        assert_eq!(state("[state]"), expected);
        let shown = "[state]\npath = \"baton.db\"\nsynchronous = \"normal\"\nmax_size = \"20GiB\"\nevents_kept = 10000";
        assert_eq!(state(shown), expected);
    }

    #[test]
    fn the_state_is_where_systemd_says() {
        let path = |text, directory| compiled(text, directory).unwrap().state.path;
        let directory = Some("/var/lib/baton");
        assert_eq!(path("", directory), Path::new("/var/lib/baton/baton.db"));
        let relative = "state.path = \"s/./a.db\"";
        assert_eq!(path(relative, directory), Path::new("/etc/baton/s/a.db"));
        let absolute = "state.path = \"/srv/a.db\"";
        assert_eq!(path(absolute, directory), Path::new("/srv/a.db"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_no_problem_of_the_config() {
        let config = compiled("state.path = \"/nowhere/at/all.db\"", None).unwrap();
        assert!(config.warnings.iter().all(|w| !w.key.starts_with("state")));
        assert_eq!(config.state.path, Path::new("/nowhere/at/all.db"));
    }

    #[test]
    fn values_at_their_limits() {
        let text = "[state]\nsynchronous = \"full\"\nmax_size = 16777216\nevents_kept = 1";
        let least = state(text);
        assert_eq!(least.synchronous, Synchronous::Full);
        assert_eq!((least.max_size, least.events_kept), (16 << 20, 1));
        let most = state("[state]\nmax_size = \"256TiB\"\nevents_kept = 10_000_000");
        assert_eq!((most.max_size, most.events_kept), (256 << 40, 10_000_000));
    }

    #[test]
    fn what_is_refused() {
        for (value, message) in [
            (
                "path = \"\"",
                "path: expected the path of a file, found \"\"",
            ),
            (
                "path = \"a/\"",
                "path: expected the path of a file, found \"a/\"",
            ),
            ("path = 1", "path: expected a string, found an integer"),
            (
                "path = \"baton.toml\"",
                "path: expected a path of its own, found /etc/baton/baton.toml: the config has it",
            ),
            (
                "synchronous = \"off\"",
                "synchronous: expected normal or full, found \"off\"",
            ),
            (
                "synchronous = \"ful\"",
                "synchronous: expected normal or full, found \"ful\": did you mean full?",
            ),
            (
                "max_size = \"15MiB\"",
                "max_size: expected a size from 16MiB to 256TiB, found \"15MiB\"",
            ),
            (
                "max_size = \"much\"",
                "max_size: expected a size such as 16MiB, 64KiB or 4096, found \"much\"",
            ),
            (
                "events_kept = 0",
                "events_kept: expected a number from 1 to 10000000, found 0",
            ),
            (
                "events_kept = 10000001",
                "events_kept: expected a number from 1 to 10000000, found 10000001",
            ),
            (
                "events_kept = \"1\"",
                "events_kept: expected an integer, found a string",
            ),
        ] {
            let expected = format!("/etc/baton/baton.toml:2: state.{message}");
            assert_eq!(said(&format!("[state]\n{value}")), expected);
        }
    }

    #[test]
    fn misspelt_keys_name_the_nearest() {
        for (text, expected) in [
            ("[sate]", "1: sate: unknown key: did you mean state?"),
            (
                "state.max = 1",
                "1: state.max: unknown key: did you mean max_size?",
            ),
            (
                "state.event_kept = 1",
                "1: state.event_kept: unknown key: did you mean events_kept?",
            ),
            (
                "state.sync = 1",
                "1: state.sync: unknown key: did you mean synchronous?",
            ),
            (
                "state.spool_max = 1",
                "1: state.spool_max: unknown key here: it belongs in route.destination",
            ),
            (
                "events_kept = 1",
                "1: events_kept: unknown key here: it belongs in state",
            ),
        ] {
            assert_eq!(said(text), format!("/etc/baton/baton.toml:{expected}"));
        }
    }

    /// A line written into the database would be its end.
    #[test]
    fn nobody_else_has_the_databases_path() {
        let file = |path: &str| {
            let text = format!("[[route]]\nkey = \"a\"\ndestinations = [\"file:{path}\"]");
            compiled(&text, None).map(drop)
        };
        for ending in BESIDE_IT {
            let said = file(&format!("./baton.db{ending}")).unwrap_err();
            let expected = format!(
                "/etc/baton/baton.toml:1: state.path: expected a path of its own, found \
                 /etc/baton/baton.db{ending}: the destination in line 3 writes to it"
            );
            assert_eq!(said.to_string(), expected);
        }
        assert_eq!(file("baton.db.out"), Ok(()));

        let sockets = "listen.line = [\"unix:a\"]\nsupervisor.control = \"unix:b\"\nstate.path = ";
        assert_eq!(
            said(&format!("{sockets}\"a\"")),
            "/etc/baton/baton.toml:3: state.path: expected a path of its own, found /etc/baton/a: \
             the listener in line 1 has it"
        );
        assert_eq!(
            said(&format!("{sockets}\"b\"")),
            "/etc/baton/baton.toml:3: state.path: expected a path of its own, found /etc/baton/b: \
             the control socket has it"
        );
    }
}
