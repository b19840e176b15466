use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::admin;
use super::listen::{self, Placed, socket_path};
use super::read::{Report, Section};
use super::state::{self, Taken};
use super::{
    Config, Input, Instrumentation, ListenAddress, Log, LogFormat, LogLevel, Problems, Supervisor,
};
use super::{keys, memory, relay_ng, routes, rules};
use crate::route::BlockRule;
use crate::spec::one_line;
use crate::sys::Directories;
use crate::validate::{Level, LevelM20, Rules};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Shorter than 64 bytes no real line is; longer than a read buffer none can be found whole.
const MAX_LINE: RangeInclusive<u64> = 64..=256 << 10;
/// A frame is in memory as a whole, and is decoded in one go; it has 100,000 points at most.
const MAX_FRAME: RangeInclusive<u64> = 1 << 10..=16 << 20;
/// Each connection is a descriptor in the worker and one in the supervisor.
const MAX_CONNECTIONS: RangeInclusive<usize> = 1..=262_144;
const IDLE_TIMEOUT: RangeInclusive<Duration> = SECOND..=Duration::from_secs(30 * 86_400);
const READY_TIMEOUT: RangeInclusive<Duration> = SECOND..=HOUR;
const PROBATION: RangeInclusive<Duration> = Duration::ZERO..=HOUR;
const STOP_TIMEOUT: RangeInclusive<Duration> = Duration::ZERO..=HOUR;
const INTERVAL: RangeInclusive<Duration> = SECOND..=HOUR;

/// What a config's meaning depends on besides its text.
pub(super) struct Surroundings {
    /// Where the control socket and the state go by default.
    pub(super) directories: Directories,
    /// The machine's memory, in bytes.
    pub(super) memory: Option<u64>,
}

impl Surroundings {
    /// Of the config at this path.
    pub(super) fn of(path: &Path) -> Surroundings {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        Surroundings {
            directories: Directories::of(path.parent().unwrap_or(Path::new("/"))),
            memory: memory::total(),
        }
    }
}

/// A path of a config: beside it, if relative; without `.` and doubled slashes.
pub(super) fn beside(folder: &Path, path: &Path) -> Result<PathBuf, String> {
    let joined = folder.join(path);
    let path = std::path::absolute(&joined)
        .map_err(|e| format!("cannot find {}: {e}", joined.display()))?;
    // Addresses travel as text.
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(format!(
            "expected a path in UTF-8, found {}",
            path.display()
        )),
    }
}

pub(super) fn compile(
    path: &Path,
    source: &[u8],
    surroundings: &Surroundings,
) -> Result<Config, Problems> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = path.parent().unwrap_or(Path::new("/"));
    let text = String::from_utf8_lossy(source);
    let mut report = Report::new(&text);
    if let Err(e) = std::str::from_utf8(source) {
        let at = e.valid_up_to();
        report.problem(
            at,
            "",
            format!("expected UTF-8, found the byte {:#04x}", source[at]),
        );
    }
    // Declared first, since the document will borrow from them.
    let commands;
    let (mut document, errors) = DeTable::parse_recoverable(&text);
    for error in &errors {
        report.syntax(error);
    }
    if relay_ng::is_its(document.get_ref()) {
        let machine = relay_ng::Machine::this();
        commands = relay_ng::commands(document.get_ref(), &machine);
        relay_ng::translate(&mut report, document.get_mut(), &commands, &machine);
    }
    let root = Section::root(&mut report, document.get_ref(), keys::ROOT);

    let mut listen = listen::compile(&mut report, &root, folder);
    let supervisor = supervisor(&mut report, &root, folder, surroundings, &listen);
    let control = supervisor.as_ref().map(|own| &*own.control);
    let admin = admin::compile(&mut report, &root, folder, control, &mut listen);
    let (input, rules) = input(&mut report, &root);
    let order = rules::order(&mut report, &root);
    let log = log(&mut report, &root);
    let instrumentation = instrumentation(&mut report, &root);
    let blocklist = blocklist(&mut report, &root);
    let first_only = root
        .value("first_only")
        .and_then(|value| value.flag(&mut report));
    let rewriters = rules::rewriters(&mut report, &root);
    let aggregations = rules::aggregations(&mut report, &root);
    let max_windows = rules::max_windows(&mut report, &root);
    let routes = routes::compile(&mut report, &root, folder);
    let taken = Taken::by(&report, &path, supervisor.as_ref(), &listen, &routes);
    let state = state::compile(&mut report, &root, folder, surroundings, &taken);
    routes::warn_of_loops(&mut report, &routes, &listen);
    routes::warn_of_memory(&mut report, &routes, surroundings.memory);
    routes::warn_of_slow_rules(&mut report, &routes, &blocklist);

    match (supervisor, state) {
        (Some(supervisor), Some(state)) if report.problems.is_empty() => Ok(Config {
            listen: listen.into_iter().map(|placed| placed.listener).collect(),
            admin,
            input,
            rules,
            order,
            log,
            instrumentation,
            blocklist,
            rewriters,
            aggregations,
            max_windows,
            first_only: first_only.unwrap_or(false),
            routes: routes.into_iter().map(|(route, _)| route).collect(),
            supervisor,
            state,
            warnings: report.warnings,
            source: source.to_vec(),
            path,
        }),
        _ => Err(Problems::of(&path, report.problems)),
    }
}

fn supervisor(
    report: &mut Report,
    root: &Section,
    folder: &Path,
    surroundings: &Surroundings,
    listen: &[Placed],
) -> Option<Supervisor> {
    let section = root.section(report, "supervisor", keys::SUPERVISOR);
    let control = control(report, &section, folder, surroundings, listen);
    let mut duration = |key, range, default| match section.value(key) {
        Some(value) => value.duration(report, range).unwrap_or(default),
        None => default,
    };
    Some(Supervisor {
        ready_timeout: duration("ready_timeout", &READY_TIMEOUT, 60 * SECOND),
        probation: duration("probation", &PROBATION, 5 * SECOND),
        stop_timeout: duration("stop_timeout", &STOP_TIMEOUT, 20 * SECOND),
        control: control?,
    })
}

fn control(
    report: &mut Report,
    section: &Section,
    folder: &Path,
    surroundings: &Surroundings,
    listen: &[Placed],
) -> Option<PathBuf> {
    let value = section.value("control");
    let at = value.as_ref().map_or(section.at, |value| value.at);
    let path = match &value {
        Some(value) => {
            let text = value.text(report)?;
            let Ok(ListenAddress::Unix(path)) = text.parse() else {
                value.refuse(report, format!("expected unix:PATH, found {text:?}"));
                return None;
            };
            path
        }
        None => {
            let runtime_directory = surroundings.directories.runtime.as_deref();
            runtime_directory.map_or("baton.sock".into(), |directory| {
                directory.join("control.sock")
            })
        }
    };
    let path = match socket_path(folder, &path) {
        Ok(path) => path,
        Err(message) => {
            report.problem(at, "supervisor.control", message);
            return None;
        }
    };
    let taken = ListenAddress::Unix(path.clone());
    if let Some(placed) = listen
        .iter()
        .find(|placed| placed.listener.address == taken)
    {
        let message = format!(
            "expected a path of its own, found {taken}: {} has it",
            placed.who(report)
        );
        report.problem(at, "supervisor.control", message);
        return None;
    }
    Some(path)
}

fn input(report: &mut Report, root: &Section) -> (Input, Rules) {
    let section = root.section(report, "input", keys::INPUT);
    let max_line = section
        .value("max_line")
        .and_then(|value| value.size(report, &MAX_LINE));
    let max_line = max_line.unwrap_or(16 << 10) as usize;
    let max_frame = section
        .value("max_frame")
        .and_then(|value| value.size(report, &MAX_FRAME));
    let max_connections = section.value("max_connections");
    let input = Input {
        max_line,
        max_frame: max_frame.unwrap_or(1 << 20) as usize,
        max_connections: max_connections
            .and_then(|value| value.number(report, &MAX_CONNECTIONS))
            .unwrap_or(65_536),
        idle_timeout: section
            .value("idle_timeout")
            .and_then(|value| value.duration_or_off(report, &IDLE_TIMEOUT)),
    };

    let section = root.section(report, "validation", keys::VALIDATION);
    let levels = [
        ("none", Level::None),
        ("medium", Level::Medium),
        ("strict", Level::Strict),
    ];
    let levels_m20 = [("none", LevelM20::None), ("medium", LevelM20::Medium)];
    let level = section
        .value("level")
        .and_then(|value| value.choice(report, &levels));
    let level_m20 = section
        .value("level_m20")
        .and_then(|value| value.choice(report, &levels_m20));
    let mut flag = |key| {
        section
            .value(key)
            .and_then(|value| value.flag(report))
            .unwrap_or(false)
    };
    let rules = Rules {
        level: level.unwrap_or(Level::Medium),
        level_m20: level_m20.unwrap_or(LevelM20::Medium),
        clean_dots: flag("clean_dots"),
        sort_tags: flag("sort_tags"),
        max_line,
    };
    (input, rules)
}

fn log(report: &mut Report, root: &Section) -> Log {
    use {LogFormat as F, LogLevel as L};
    let section = root.section(report, "log", keys::LOG);
    let levels =
        [L::Error, L::Warn, L::Info, L::Debug, L::Trace].map(|level| (level.as_str(), level));
    let formats = [F::Auto, F::Text, F::Json, F::Journald].map(|format| (format.as_str(), format));
    let level = section
        .value("level")
        .and_then(|value| value.choice(report, &levels));
    let format = section
        .value("format")
        .and_then(|value| value.choice(report, &formats));
    Log {
        level: level.unwrap_or(L::Info),
        format: format.unwrap_or(F::Auto),
    }
}

fn instrumentation(report: &mut Report, root: &Section) -> Option<Instrumentation> {
    let section = root.section(report, "instrumentation", keys::INSTRUMENTATION);
    let mut prefix = "carbon.relays.{host}.baton";
    if let Some(value) = section.value("prefix") {
        let text = value.text(report);
        let checked = text.and_then(|text| value.keep(report, check_prefix(text)));
        prefix = checked.and(text).unwrap_or(prefix);
    }
    let interval = match section.value("interval") {
        Some(value) => value.duration_or_off(report, &INTERVAL),
        None => Some(60 * SECOND),
    };
    interval.map(|interval| Instrumentation {
        prefix: prefix.to_owned(),
        interval,
    })
}

/// The counters' names pass the strictest validation, whatever the host is called.
fn check_prefix(prefix: &str) -> Result<(), String> {
    let plain = prefix.replace("{host}", "host");
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if plain.split('.').any(str::is_empty) || !plain.bytes().all(is_allowed) {
        return Err(format!(
            "expected words of letters, digits, '_', '-' and {{host}}, with dots between them, found {prefix:?}"
        ));
    }
    Ok(())
}

pub(super) fn blocklist(report: &mut Report, root: &Section) -> Vec<String> {
    let list = root.value("blocklist").map(|value| value.list(report));
    let mut rules = Vec::new();
    for value in list.unwrap_or_default() {
        let Some(text) = value.text(report) else {
            continue;
        };
        let rule = BlockRule::parse(text).map_err(|e| one_line(&e.to_string()));
        rules.extend(value.keep(report, rule).map(|rule| rule.text));
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(
        text: &str,
        runtime_directory: Option<&str>,
        memory: Option<u64>,
    ) -> Result<Config, Problems> {
        let surroundings = Surroundings {
            directories: Directories {
                runtime: runtime_directory.map(PathBuf::from),
                state: None,
            },
            memory,
        };
        compile(
            Path::new("/etc/baton/baton.toml"),
            text.as_bytes(),
            &surroundings,
        )
    }

    #[test]
    fn the_control_socket_is_where_systemd_says() {
        let control = |text, directory| compiled(text, directory, None).unwrap().supervisor.control;
        assert_eq!(control("", None), Path::new("/etc/baton/baton.sock"));
        assert_eq!(
            control("", Some("/run/baton")),
            Path::new("/run/baton/control.sock")
        );
        let text = "supervisor.control = \"unix:c.sock\"";
        assert_eq!(
            control(text, Some("/run/baton")),
            Path::new("/etc/baton/c.sock")
        );
    }

    #[test]
    fn the_default_control_socket_is_not_a_listener() {
        let text = "[listen]\nline = [\"unix:baton.sock\"]";
        let said = compiled(text, None, None).unwrap_err().to_string();
        assert!(
            said.contains("supervisor.control: expected a path of its own"),
            "{said}"
        );
        assert!(said.contains("the listener in line 2"), "{said}");
        compiled(text, Some("/run/baton"), None).unwrap();
    }

    #[test]
    fn queues_beyond_a_quarter_of_the_memory_are_warned_about() {
        let warnings = |destinations: &str, memory| {
            let text = format!(
                "listen.line = [\"unix:a\"]\n[[route]]\nkey = \"a\"\ndestinations = {destinations}"
            );
            compiled(&text, None, Some(memory)).unwrap().warnings
        };
        let rings = "[\"h:1 queue=256MiB full=block\", \"h:2 full=drop\"]";
        assert_eq!(warnings(rings, 264 << 22), []);
        let warned = warnings(rings, (264 << 22) - 4);
        assert_eq!(warned.len(), 1);
        assert_eq!(
            (warned[0].line, &warned[0].key[..]),
            (None, "route.destinations.queue")
        );
        assert!(
            warned[0].message.contains("264MiB together") && warned[0].message.contains("1055MiB")
        );
        // A spool has a ring before it and one behind it.
        let spooled = "[\"h:1 queue=256MiB\", \"h:2\"]";
        assert_eq!(warnings(spooled, 528 << 22), []);
        let warned = warnings(spooled, (528 << 22) - 4);
        assert!(warned[0].message.contains("528MiB together"), "{warned:?}");
    }

    #[test]
    fn of_many_rules_those_asked_about_every_line_are_named() {
        let warnings = |rules: usize, slow: &str| {
            let rules: Vec<_> = (0..rules).map(|at| format!("'sub web{at}.'")).collect();
            let text = format!(
                "listen.line = [\"unix:a\"]\nblocklist = [{}{slow}]\n[[route]]\nkey = \"a\"\n\
                 regex = '[0-9]+'\ndestinations = [\"h:1 prefix=a\"]",
                rules.join(", ")
            );
            compiled(&text, None, None).unwrap().warnings
        };
        assert_eq!(warnings(27, ""), []);
        let warned = warnings(40, ", 'notSub x', 'regex ^a.b'");
        assert_eq!(warned.len(), 1);
        let message = &warned[0].message;
        assert!(
            message.ends_with("hold: blocklist rule \"notSub x\", route \"a\""),
            "{message}"
        );
        assert!(
            warnings(40, &", 'sub x'".repeat(9))[0]
                .message
                .ends_with(" and 5 more")
        );
    }

    #[test]
    fn blocklist_rules_are_known_by_their_canonical_text() {
        let text = "listen.line = [\"unix:a\"]\nblocklist = ['  prefix \t junk. ', 'regex a  b']";
        let config = compiled(text, None, None).unwrap();
        assert_eq!(config.blocklist, ["prefix junk.", "regex a  b"]);
    }

    #[test]
    fn prefixes_of_own_metrics() {
        for good in ["a", "carbon.relays.{host}.baton", "{host}", "a-b_c.d"] {
            assert_eq!(check_prefix(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "{hots}", "a;b=c", "ä"] {
            assert!(check_prefix(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(source: Vec<u8>) {
            let _ = Config::compile(Path::new("/c.toml"), &source);
        }

        /// The shipped files with a stretch of bytes gone: deeper into the compiler than random
        /// bytes come.
        #[test]
        fn no_damage_makes_it_panic(from in 0usize..3000, length in 0usize..200, with in "[\\[\\]={}\",a\n]{0,3}") {
            for text in [
                include_str!("../../tests/configs/good/everything.toml"),
                include_str!("../../tests/configs/bad/out_of_range.toml"),
            ] {
                let mut source = text.as_bytes().to_vec();
                let from = from.min(source.len());
                source.splice(from..(from + length).min(source.len()), with.bytes());
                let _ = Config::compile(Path::new("/c.toml"), &source);
            }
        }
    }
}
