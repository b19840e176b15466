//! What configs are taken, and what is said of those that aren't.
//!
//! The files in `configs/bad` carry what is expected at the end of the lines: `#! key: words`, or
//! `#? key: words` in `configs/warned`. Exactly these lines must be told, with these keys and words.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use baton::config::{
    Admin, Config, Input, Instrumentation, ListenAddress, Listener, ListenerKind, Log, LogFormat,
    LogLevel, Problem, Problems, State, Supervisor, Synchronous, Weight, keys,
};
use baton::route::{Patterns, RouteKind};
use baton::spec::{Address, Choice, Full, Replay, ReplayFrom, Spool, SpoolFull};
use baton::validate::{Level, LevelM20};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn configs(folder: &str) -> PathBuf {
    repository().join("tests/configs").join(folder)
}

fn compile(text: &str) -> Result<Config, Problems> {
    Config::compile(Path::new("/etc/baton/baton.toml"), text.as_bytes())
}

/// What the marked lines of a file expect: line, key, words.
fn expected(text: &str, mark: &str) -> Vec<(usize, String, String)> {
    let mut expected = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for note in line.split(mark).skip(1) {
            let (key, words) = note.trim().split_once(':').expect("key: words");
            expected.push((index + 1, key.to_owned(), words.trim().to_owned()));
        }
    }
    expected
}

/// Compares what was said with what the file expects, both in the order of lines.
fn assert_said(path: &Path, said: &[Problem], mark: &str) {
    let text = fs::read_to_string(path).unwrap();
    let expected = expected(&text, mark);
    let mut unexpected: Vec<&Problem> = said.iter().collect();
    for (line, key, words) in &expected {
        let fits =
            |p: &&Problem| p.line == Some(*line) && p.key == *key && p.message.contains(words);
        let found = unexpected.iter().position(fits);
        let found =
            found.unwrap_or_else(|| panic!("line {line}: {key}: {words:?} not said in {said:#?}"));
        unexpected.remove(found);
    }
    assert!(unexpected.is_empty(), "not expected: {unexpected:#?}");
    assert!(!expected.is_empty());
}

fn assert_bad(name: &str) {
    let path = configs("bad").join(format!("{name}.toml"));
    let said = Config::load(&path).expect_err("a bad config");
    assert_eq!(said.path, path);
    for (problem, line) in said.problems.iter().zip(said.to_string().lines()) {
        let place = format!(
            "{}:{}: {}",
            path.display(),
            problem.line.unwrap(),
            problem.key
        );
        assert!(line.starts_with(&place), "{line}");
        assert!(problem.column.unwrap() >= 1);
    }
    assert_eq!(said.problems.len(), said.to_string().lines().count());
    assert!(said.problems.is_sorted_by_key(|problem| problem.line));
    assert_said(&path, &said.problems, "#!");
}

macro_rules! bad {
    ($($name:ident)*) => {
        mod bad {
            $(#[test] fn $name() { super::assert_bad(stringify!($name)); })*
        }
        const BAD: &[&str] = &[$(stringify!($name)),*];
    };
}

bad! {
    bad_addresses bad_admin bad_blocklist bad_choices bad_regex bad_routes bad_rules claimed_twice duplicate_keys long_socket_path not_toml
    one_bracket_route out_of_range token_and_anyone unknown_keys wrong_types
}

fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect()
}

#[test]
fn every_bad_config_is_a_test() {
    let files = toml_files(&configs("bad"));
    assert_eq!(files.len(), BAD.len(), "{files:?}");
}

#[test]
fn warnings_do_not_refuse_a_config() {
    for name in ["alike", "circle", "no_line_listener", "rules"] {
        let path = configs("warned").join(format!("{name}.toml"));
        let config = Config::load(&path).unwrap();
        assert_said(&path, &config.warnings, "#?");
    }
}

#[test]
fn every_config_that_ships_is_good() {
    let packages = repository().join("packaging/baton.toml");
    let mut files = vec![repository().join("config.example.toml")];
    for folder in [
        configs("good"),
        repository().join("packaging"),
        repository().join("systemd"),
    ] {
        files.extend(toml_files(&folder));
    }
    assert!(files.len() >= 3);
    for file in files {
        let config = Config::load(&file).unwrap_or_else(|problems| panic!("{problems}"));
        let warned = config.warnings.iter().map(|warning| warning.weight);
        // Where the packages' listens systemd's units say, and nothing else, so that the two are no conflict.
        let expected: &[Weight] = match file == packages {
            true => &[Weight::UnlessPassed],
            false => &[],
        };
        assert_eq!(warned.collect::<Vec<_>>(), expected, "{}", file.display());
        let ruleset = baton::ruleset::compile(&config).unwrap();
        assert_eq!(ruleset.aggregations.len(), config.aggregations.len());
        assert_eq!(config.source, fs::read(&file).unwrap());
    }
}

#[test]
fn the_example_mentions_every_key_in_its_table() {
    let text = fs::read_to_string(repository().join("config.example.toml")).unwrap();
    let mut table = String::new();
    let mut mentioned = Vec::new();
    for line in text.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_matches(['[', ']']).to_owned();
            mentioned.push(table.clone());
        } else if let Some((key, _)) = line.split_once(" = ") {
            mentioned.push(format!("{table}.{key}").trim_start_matches('.').to_owned());
        }
    }
    for (table, keys) in keys() {
        for key in keys {
            let path = format!("{table}.{key}").trim_start_matches('.').to_owned();
            let patterns = ["notPrefix", "sub", "notSub", "regex", "notRegex", "reconn"];
            if table == "route.destination" && patterns.contains(&key) {
                assert!(text.contains(key), "{path}");
            } else {
                assert!(
                    mentioned.contains(&path),
                    "config.example.toml lacks {path}: {mentioned:?}"
                );
            }
        }
    }
}

/// What the example shows in comments is what it says: the defaults.
#[test]
fn the_examples_comments_are_the_defaults() {
    let path = repository().join("config.example.toml");
    let text = fs::read_to_string(&path).unwrap();
    let as_shipped = Config::compile(&path, text.as_bytes()).unwrap();
    let shown = text.split("# [[route.destination]]").next().unwrap();
    let is_key = |line: &str| {
        let key = line.split(" = ").next().unwrap();
        line.contains(" = ") && key.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    let uncommented: Vec<&str> = shown
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| is_key(rest))
                .unwrap_or(line)
        })
        .filter(|line| !line.starts_with("blocklist") && !line.starts_with("token_file"))
        .collect();
    let uncommented = Config::compile(&path, uncommented.join("\n").as_bytes()).unwrap();
    let without_source = |mut config: Config| {
        config.source.clear();
        format!("{config:#?}")
    };
    assert_eq!(
        without_source(uncommented),
        without_source(as_shipped.clone())
    );

    let table = text.split("# [[route.destination]]").nth(1).unwrap();
    let (table, by_name) = table.split_once("# [[route]]").unwrap();
    let by_name = by_name.split("# [[").next().unwrap();
    let table: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|l| is_key(l))
        .collect();
    let mut table = table.join("\n");
    for without_default in [
        "bind = \"192.0.2.1\"",
        "replay_rate = 50000",
        "replay_from = \"24h\"",
    ] {
        assert!(table.contains(without_default));
        table = table.replace(without_default, "");
    }
    let head = "[[route]]\nkey = \"default\"\n[[route.destination]]\n";
    let shown = compile(&format!("{head}{table}")).unwrap();
    let bare = compile(&format!("{head}address = \"graphite.example.org:2003\"")).unwrap();
    assert_eq!(shown.routes, bare.routes);

    let by_name = by_name
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| is_key(line));
    let by_name: Vec<&str> = by_name.collect();
    let shown = compile(&format!("[[route]]\n{}", by_name.join("\n"))).unwrap();
    assert_eq!(shown.routes[0].choice, Choice::default());
}

/// A rewriter and an aggregation have few defaults; what the example shows of them makes sense.
#[test]
fn the_examples_rules_compile() {
    let text = fs::read_to_string(repository().join("config.example.toml")).unwrap();
    let uncommented = |without: &[&str]| {
        let rules = &text[text.find("# [[rewriter]]").unwrap()..];
        let lines = rules.lines().filter_map(|line| line.strip_prefix("# "));
        let is_toml = |line: &&str| line.starts_with("[[") || line.contains(" = ");
        let lines =
            lines.filter(|line| is_toml(line) && !without.iter().any(|w| line.starts_with(w)));
        compile(&lines.collect::<Vec<_>>().join("\n")).unwrap()
    };
    let (shown, bare) = (
        uncommented(&[]),
        uncommented(&["not", "max", "prefix", "sub", "drop", "cache"]),
    );
    let rules = |config: &Config| (config.rewriters.clone(), config.aggregations.clone());
    assert_eq!(rules(&shown), rules(&bare));
    assert_eq!((shown.rewriters.len(), shown.aggregations.len()), (1, 1));
    let warned = |config: &Config| {
        config
            .warnings
            .iter()
            .map(|w| w.key.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(warned(&bare), ["listen", "route"].map(str::to_owned));
    assert!(warned(&shown).contains(&"aggregation.cache".to_owned()));
}

#[test]
fn defaults() {
    let config = compile("").unwrap();
    assert_eq!(config.path, Path::new("/etc/baton/baton.toml"));
    let socket = Listener {
        kind: ListenerKind::Http,
        address: ListenAddress::Unix("/etc/baton/api.sock".into()),
    };
    assert_eq!(config.listen, [socket]);
    assert_eq!(
        config.input,
        Input {
            max_line: 16384,
            max_frame: 1 << 20,
            max_connections: 65536,
            idle_timeout: None
        }
    );
    assert_eq!(
        (config.rules.level, config.rules.level_m20),
        (Level::Medium, LevelM20::Medium)
    );
    assert!(!config.rules.clean_dots && !config.rules.sort_tags);
    assert_eq!(config.rules.max_line, 16384);
    assert_eq!(
        config.log,
        Log {
            level: LogLevel::Info,
            format: LogFormat::Auto
        }
    );
    let instrumentation = Instrumentation {
        prefix: "carbon.relays.{host}.baton".to_owned(),
        interval: Duration::from_secs(60),
    };
    assert_eq!(config.instrumentation, Some(instrumentation));
    assert!(config.blocklist.is_empty() && !config.first_only && config.routes.is_empty());
    assert!(config.rewriters.is_empty() && config.aggregations.is_empty());
    assert_eq!((config.max_windows, config.order), (1_000_000, None));
    assert_eq!(
        compile("validation.order = true").unwrap().order,
        Some(1_000_000)
    );
    assert_eq!(config.supervisor.ready_timeout, Duration::from_secs(60));
    assert_eq!(config.supervisor.probation, Duration::from_secs(5));
    assert_eq!(config.supervisor.stop_timeout, Duration::from_secs(20));
    let state = State {
        path: "/etc/baton/baton.db".into(),
        synchronous: Synchronous::Normal,
        max_size: 20 << 30,
        events_kept: 10_000,
    };
    assert_eq!(config.state, state);
    let warned: Vec<&str> = config
        .warnings
        .iter()
        .map(|warning| &warning.key[..])
        .collect();
    assert_eq!(warned, ["listen", "route"]);
}

#[test]
fn everything_that_can_be_said_arrives() {
    let folder = configs("good");
    let config = Config::load(&folder.join("everything.toml")).unwrap();
    let listener = |kind, text: &str| Listener {
        kind,
        address: text.parse().unwrap(),
    };
    let expected = [
        listener(ListenerKind::Line, "tcp://0.0.0.0:2003"),
        listener(ListenerKind::Line, "tcp://[::]:2003"),
        listener(ListenerKind::Line, "udp://127.0.0.1:2003"),
        Listener {
            kind: ListenerKind::Line,
            address: ListenAddress::Unix(folder.join("line.sock")),
        },
        listener(ListenerKind::Pickle, "tcp://0.0.0.0:2004"),
        Listener {
            kind: ListenerKind::Pickle,
            address: ListenAddress::Unix(folder.join("pickle.sock")),
        },
        listener(ListenerKind::Http, "tcp://[::1]:8081"),
        listener(ListenerKind::Telnet, "tcp://127.0.0.1:2023"),
        Listener {
            kind: ListenerKind::Telnet,
            address: ListenAddress::Unix(folder.join("telnet.sock")),
        },
    ];
    assert_eq!(config.listen, expected);
    let admin = Admin {
        token_file: Some(folder.join("token")),
        allow_anyone: false,
        hosts: vec!["relay1".to_owned(), "relay1.example.org".to_owned()],
        protect_metrics: true,
        pprof: true,
    };
    assert_eq!(config.admin, admin);
    let supervisor = Supervisor {
        control: folder.join("run/baton.sock"),
        ready_timeout: Duration::from_secs(90),
        probation: Duration::ZERO,
        stop_timeout: Duration::from_secs(3600),
    };
    assert_eq!(config.supervisor, supervisor);
    let state = State {
        path: folder.join("state/relay.db"),
        synchronous: Synchronous::Full,
        max_size: 50 << 30,
        events_kept: 500,
    };
    assert_eq!(config.state, state);
    let input = Input {
        max_line: 4096,
        max_frame: 4 << 20,
        max_connections: 1000,
        idle_timeout: Some(Duration::from_secs(3600)),
    };
    assert_eq!(config.input, input);
    assert_eq!(
        (config.rules.level, config.rules.level_m20),
        (Level::Strict, LevelM20::None)
    );
    assert!(config.rules.clean_dots && config.rules.sort_tags);
    assert_eq!(config.rules.max_line, 4096);
    assert_eq!(
        config.log,
        Log {
            level: LogLevel::Debug,
            format: LogFormat::Journald
        }
    );
    assert_eq!(config.instrumentation.unwrap().prefix, "relays.{host}");
    assert_eq!(
        config.blocklist,
        [
            "prefix collectd.localhost",
            r"regex ^foo\..*\.cpu",
            "notSub ."
        ]
    );
    assert!(config.first_only);
    assert_eq!((config.max_windows, config.order), (5000, Some(20_000)));
    let shown: Vec<String> = config.rewriters.iter().map(|r| r.to_string()).collect();
    let expected = [
        r"/^server\.([^.]+)/ servers.${1}.collectd -1 not=/^coll/",
        "\"a b\" \"\" 2",
    ];
    assert_eq!(shown, expected);
    let shown: Vec<String> = config.aggregations.iter().map(|a| a.to_string()).collect();
    let expected = [
        "percentiles prefix=a notPrefix=b sub=c notSub=d regex=^(e) notRegex=f$ all.${1} 60 120 dropRaw=true",
        "sum sub=. all 10 20",
    ];
    assert_eq!(shown, expected);

    let route = &config.routes[0];
    assert_eq!(
        (&route.key[..], route.kind),
        ("mixed", RouteKind::SendFirstMatch)
    );
    let patterns =
        |prefix: &str, not_prefix: &str, sub: &str, not_sub: &str, regex: &str, not_regex: &str| {
            Patterns {
                prefix: prefix.to_owned(),
                not_prefix: not_prefix.to_owned(),
                sub: sub.to_owned(),
                not_sub: not_sub.to_owned(),
                regex: regex.to_owned(),
                not_regex: not_regex.to_owned(),
            }
        };
    assert_eq!(route.patterns, patterns("a", "b", "c", "d", "^e", "f$"));
    let ids: Vec<&str> = route.destinations.iter().map(|d| &d.id[..]).collect();
    let expected = [
        "mixed/10.0.0.1:2013",
        "mixed/[::1]:2014",
        "lines",
        "store-a",
        "mixed/store.example.org:2003:b",
        "mixed/store.example.org:2003:c",
    ];
    assert_eq!(ids, expected);
    assert_eq!(route.destinations[0].queue, 16 << 20);
    assert_eq!(route.destinations[1].full, Full::Drop);
    assert_eq!(route.destinations[1].flush, Duration::from_secs(1));
    assert_eq!(
        route.destinations[2].address,
        Address::File(folder.join("my lines.out"))
    );
    let table = &route.destinations[3];
    assert_eq!(table.patterns, patterns("p", "np", "s", "ns", "^r", "nr$"));
    assert_eq!(
        (table.queue, table.resend, table.full),
        (64 << 20, 1 << 20, Full::Drop)
    );
    assert_eq!(
        (table.flush, table.reconnect),
        (Duration::ZERO, Duration::from_secs(60))
    );
    assert_eq!(
        (table.timeout, table.bind),
        (Duration::from_millis(500), "127.0.0.1".parse().ok())
    );
    assert_eq!(route.destinations[4].reconnect, Duration::from_secs(2));
    let spooled = &route.destinations[4];
    assert_eq!(
        (spooled.full, spooled.spool),
        (Full::Spool, Spool::default())
    );
    let spool = Spool {
        max: 2 << 30,
        when_full: SpoolFull::DropNewest,
        replay: Replay::LiveFirst,
        rate: Some(50_000),
        from: Some(ReplayFrom::At(1_795_327_200_000)),
    };
    assert_eq!(route.destinations[5].spool, spool);
    assert_eq!(config.routes[1].kind, RouteKind::SendAllMatch);
    assert_eq!(config.routes[1].choice, Choice::default());
    let hashed = &config.routes[2];
    let choice = Choice {
        replication: 2,
        hash_tags: false,
        dynamic: true,
        failback: Duration::from_secs(30),
    };
    assert_eq!((hashed.kind, hashed.choice), (RouteKind::CarbonCh, choice));
    let members = hashed.members(4);
    assert_eq!(
        (members[2].destination, &members[2].host[..]),
        (6, "2001:db8::1")
    );
    assert!(
        hashed.to_string().starts_with(
            "carbon_ch hashed replication=2 hash_tags=false dynamic=true failback=30s  10.0.0.1:2003:a id="
        ),
        "{hashed}"
    );
}

#[test]
fn an_interval_of_zero_turns_the_own_metrics_off() {
    let config = Config::load(&configs("good").join("dotted.toml")).unwrap();
    assert_eq!(config.instrumentation, None);
    assert_eq!(
        config.log,
        Log {
            level: LogLevel::Warn,
            format: LogFormat::Json
        }
    );
    assert_eq!(config.routes[0].key, "inline");
}

#[test]
fn a_file_destination_keeps_its_id_when_the_folder_moves() {
    let text = "[[route]]\nkey = \"a\"\ndestinations = [\"file:x.out\"]";
    let destination = &compile(text).unwrap().routes[0].destinations[0];
    assert_eq!(destination.id, "a/file:x.out");
    assert_eq!(
        destination.address,
        Address::File("/etc/baton/x.out".into())
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let said = Config::load(Path::new("/nowhere/baton.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        said.starts_with("/nowhere/baton.toml: cannot read the config: No such file"),
        "{said}"
    );
    let said = Config::load(Path::new("/dev/zero"))
        .unwrap_err()
        .to_string();
    assert!(said.contains("larger than 64MiB"), "{said}");
}

#[test]
fn a_byte_that_is_not_utf8_is_found() {
    let source = b"first_only = true\n# caf\xe9\n[log]\nlevel = \"loud\"\n";
    let said = Config::compile(Path::new("/c.toml"), source)
        .unwrap_err()
        .to_string();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "/c.toml:2: expected UTF-8, found the byte 0xe9");
    assert!(
        lines[1].starts_with("/c.toml:4: log.level: expected"),
        "{said}"
    );
}

#[test]
fn columns_are_characters() {
    let said = compile("listen.line = [\"unix:ä\", \"b\"]").unwrap_err();
    assert_eq!(
        (said.problems[0].line, said.problems[0].column),
        (Some(1), Some(26))
    );
}

#[test]
fn a_relative_path_to_the_config_is_made_absolute() {
    let config = Config::compile(Path::new("x/baton.toml"), b"").unwrap();
    assert_eq!(
        config.path,
        std::env::current_dir().unwrap().join("x/baton.toml")
    );
}

#[test]
fn a_string_and_a_table_say_the_same_of_a_spool() {
    let route = |rest: &str| {
        let text = format!("[[route]]\nkey = \"a\"\n{rest}");
        compile(&text).unwrap().routes.remove(0).destinations
    };
    let string = route(
        "destinations = [\"h:1 full=spool spool_max=1GiB spool_full=block replay=live-first replay_rate=50000 replay_from=24h\"]",
    );
    let table = route(
        "[[route.destination]]\naddress = \"h:1\"\nfull = \"spool\"\nspool_max = \"1GiB\"\nspool_full = \"block\"\n\
         replay = \"live-first\"\nreplay_rate = 50_000\nreplay_from = \"24h\"",
    );
    assert_eq!(string, table);
    assert_eq!(
        string[0].spool.from,
        Some(ReplayFrom::Age(Duration::from_secs(86_400)))
    );
    let time = |value| {
        route(&format!(
            "[[route.destination]]\naddress = \"h:1\"\n{value}"
        ))
    };
    assert_eq!(
        time("replay_from = 2026-11-22T06:00:00Z"),
        time("replay_from = \"2026-11-22T06:00:00Z\"")
    );
}

#[test]
fn both_limits_of_a_spool_may_hold() {
    let text = "state.max_size = \"1GiB\"\n[[route]]\nkey = \"a\"\ndestinations = [\"h:1 spool_max=2GiB\"]";
    let config = compile(text).unwrap();
    assert_eq!(config.state.max_size, 1 << 30);
    assert_eq!(config.routes[0].destinations[0].spool.max, 2 << 30);
}

/// `baton check` of a config, in the surroundings that systemd makes.
fn check(text: &str, state_directory: Option<&str>) -> (PathBuf, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("baton.toml");
    fs::write(&config, text).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_baton"));
    check.arg("check").arg("--config").arg(&config);
    check.env_remove("STATE_DIRECTORY");
    check.envs(state_directory.map(|directory| ("STATE_DIRECTORY", directory)));
    let ran = check.output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let said = |bytes| String::from_utf8(bytes).unwrap();
    (config, said(ran.stdout), said(ran.stderr))
}

#[test]
fn a_check_says_how_much_memory_and_disk_may_be_taken() {
    let text = "listen.line = [\"unix:a\"]\n[[route]]\nkey = \"a\"\ndestinations = [\"h:1\", \"h:2 full=block\"]";
    let (config, said, warned) = check(text, None);
    assert_eq!(warned, "");
    let expected = format!(
        "{}: fine. 2 listeners, 1 route, 2 destinations; their queues take up to 24 MiB; state in {}, up to 20GiB\n",
        config.display(),
        config.with_file_name("baton.db").display()
    );
    assert_eq!(said, expected);

    let (_, said, _) = check(text, Some("/var/lib/baton:/var/lib/other"));
    assert!(
        said.ends_with("state in /var/lib/baton/baton.db, up to 20GiB\n"),
        "{said}"
    );
    // systemd's paths are absolute; others are none of it.
    let (config, said, _) = check(text, Some("baton"));
    let state = config.with_file_name("baton.db");
    assert!(
        said.contains(&format!("state in {},", state.display())),
        "{said}"
    );
}

#[test]
fn a_check_tells_of_a_folder_that_is_not_there() {
    let text = "listen.line = [\"unix:a\"]\nstate.path = \"nowhere/b.db\"\n[[route]]\nkey = \"a\"\ndestinations = [\"h:1\"]";
    let (config, said, warned) = check(text, None);
    assert!(said.contains("fine"), "{said}");
    let expected = format!(
        "warning: {}: state.path: there is no folder {}: without it nothing is spooled\n",
        config.display(),
        config.with_file_name("nowhere").display()
    );
    assert_eq!(warned, expected);
}

#[test]
fn a_check_reads_the_token_as_a_worker_does() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("baton.toml");
    let text = "admin.token_file = \"token\"\nlisten.line = [\"unix:a\"]\nlisten.http = [\"tcp://0.0.0.0:1\"]\n\
                [[route]]\nkey = \"a\"\ndestinations = [\"h:1\"]";
    fs::write(&config, text).unwrap();
    let token = folder.path().join("token");
    let checked = |mode: Option<u32>, text: &str| {
        if let Some(mode) = mode {
            fs::write(&token, text).unwrap();
            fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(mode))
                .unwrap();
        }
        let mut check = Command::new(env!("CARGO_BIN_EXE_baton"));
        let ran = check
            .arg("check")
            .arg("--config")
            .arg(&config)
            .output()
            .unwrap();
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
    };
    for (mode, text, expected) in [
        (None, "", "No such file"),
        (Some(0o600), "short", "expected a token of 16 to 4096 bytes"),
        (Some(0o644), "0123456789abcdef", "chmod 600"),
    ] {
        let (status, said) = checked(mode, text);
        assert_eq!(status, Some(78), "{said}");
        assert!(
            said.contains("admin.token_file: ") && said.contains(expected),
            "{said}"
        );
    }
    let (status, said) = checked(Some(0o600), "0123456789abcdef");
    assert_eq!(status, Some(0), "{said}");
    // A name that the machine has isn't known yet.
    assert!(
        said.contains("warning: ") && said.contains("admin.hosts"),
        "{said}"
    );
}
