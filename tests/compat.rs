//! Configs of other relays: carbon-relay-ng's runs as it is, those of carbon-c-relay and carbon are converted.
//!
//! What is expected of a conversion stands beside the file, as the command prints it: `stops.conf` → `stops.toml`.
//! `BATON_WRITE_EXPECTED=1` writes these files anew.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use baton::config::{Config, Problem};
use baton::convert::{self, Converted, Load, Source, Unreadable};
use baton::drill::free_ports;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const LIMIT: Duration = Duration::from_secs(30);

fn configs(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/configs")
        .join(folder)
}

fn baton(arguments: &[&str], folder: &Path, stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_baton"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("RUNTIME_DIRECTORY")
        .env_remove("STATE_DIRECTORY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended without reading.
    let _unread = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

// ---- conversions ----

const CONVERTED: [(&str, &str); 7] = [
    ("carbon-c-relay", "stops.conf"),
    ("carbon-c-relay", "first_only.conf"),
    ("carbon-c-relay", "aggregates.conf"),
    ("carbon-c-relay", "moved.conf"),
    ("carbon", "carbon/carbon.conf"),
    ("carbon", "carbon-hash/carbon.conf"),
    ("carbon", "carbon-aggregator/carbon.conf"),
];

/// Nothing is written that Baton doesn't take.
#[test]
fn what_is_converted_runs() {
    let converted = CONVERTED.iter().map(|(_, name)| {
        let path = Path::new("convert").join(name);
        configs("").join(path.with_extension("toml"))
    });
    let own = ["relay_ng/carbon-relay-ng.ini", "relay_ng/first-version.ini"].map(configs);
    for path in converted.chain(own) {
        let source = fs::read(&path).unwrap();
        // The state's folder is no part of the repository.
        let config = Config::compile(Path::new("/nowhere/baton.toml"), &source);
        let config = config.unwrap_or_else(|problems| panic!("{}:\n{problems}", path.display()));
        assert!(!config.routes.is_empty(), "{}", path.display());
    }
}

#[test]
fn files_of_other_relays_are_converted() {
    for (from, name) in CONVERTED {
        let output = baton(
            &["config", "convert", "--from", from, name],
            &configs("convert"),
            "",
        );
        let (found, notes) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{name}: {notes}");
        let expected = configs("convert").join(name).with_extension("toml");
        if std::env::var_os("BATON_WRITE_EXPECTED").is_some() {
            fs::write(&expected, &found).unwrap();
        }
        assert_eq!(found, fs::read_to_string(&expected).unwrap(), "{name}");
        // Every note is in both, and names a line of a file.
        let comments: Vec<&str> = found
            .lines()
            .map_while(|line| line.strip_prefix("# "))
            .collect();
        assert_eq!(comments, notes.lines().collect::<Vec<_>>(), "{name}");
        for note in comments {
            let mut parts = note.splitn(3, ':');
            let file = configs("convert").join(parts.next().unwrap());
            let line: usize = parts.next().unwrap().parse().unwrap();
            let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{note}: {e}"));
            assert!((1..=text.lines().count()).contains(&line), "{note}");
        }
        found
            .parse::<toml::Table>()
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let told = told_as_json(&["--from", from, name], 0);
        assert_eq!(told["config"], found);
        let told = told["notes"].as_array().unwrap();
        assert!(told.iter().eq(notes.lines()), "{name}: {told:?}");
    }
}

/// What `config convert --json` prints, when it ends with this status.
fn told_as_json(args: &[&str], status: i32) -> serde_json::Value {
    let args = [&["config", "convert", "--json"], args].concat();
    let output = baton(&args, &configs("convert"), "");
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert_eq!(text(&output.stderr), "");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn what_is_no_config_is_told_as_json_too() {
    // Another relay's, read as Baton's.
    let (_, name) = CONVERTED[0];
    let told = told_as_json(&[name], 78);
    assert_eq!(told["config"], serde_json::Value::Null);
    let problems = told["problems"].as_array().unwrap();
    assert!(
        problems
            .last()
            .unwrap()
            .as_str()
            .unwrap()
            .contains("--from")
    );
    let own = told_as_json(&["../relay_ng/carbon-relay-ng.ini"], 0);
    assert!(own["config"].as_str().unwrap().contains("[[route]]"));
    assert_eq!(own["problems"], serde_json::json!([]));
}

fn converted(from: &str, name: &str) -> Converted {
    let path = configs("convert").join(name);
    let folder = path.parent().unwrap().to_owned();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).map_err(|e| e.to_string())?;
        Ok(Source {
            name: path.display().to_string(),
            text,
        })
    };
    let load = |wanted: &str| match wanted {
        "more/*.conf" => read(folder.join("more/rewrites.conf")).map(|source| vec![source]),
        wanted => read(folder.join(wanted)).map(|source| vec![source]),
    };
    convert(from, &read(path).unwrap(), &load).unwrap()
}

fn convert(from: &str, source: &Source, load: &Load) -> Result<Converted, Unreadable> {
    match from {
        "carbon" => convert::carbon(source, load),
        _ => convert::carbon_c_relay(source, load),
    }
}

#[test]
fn nothing_is_left_out_in_silence() {
    for (from, name) in CONVERTED {
        let Converted {
            statements, notes, ..
        } = converted(from, name);
        assert_eq!(
            statements.read,
            statements.converted + statements.noted,
            "{name}"
        );
        assert!(statements.noted <= notes.len(), "{name}");
        assert!(statements.converted > 0, "{name}");
    }
    // Counted by hand: 7 clusters, an include, 3 rewrites, 8 matches; a rewrite changes case, an expression looks
    // behind, `^after` is never reached, of `packed` no member is left.
    let stops = converted("carbon-c-relay", "stops.conf").statements;
    assert_eq!((stops.read, stops.noted), (19, 4));
}

#[test]
fn what_cannot_be_read_is_named_by_line() {
    for (from, file, expected) in [
        (
            "carbon-c-relay",
            "cluster a forward h:1;\nmatch * send to b;",
            "standard input:2",
        ),
        (
            "carbon-c-relay",
            "cluster a\n forward h:1",
            "-:1: expected ';'",
        ),
        (
            "carbon-c-relay",
            "cluster a forwards h:1;",
            "-:1: expected one of forward",
        ),
        (
            "carbon-c-relay",
            "\nmatch \"a",
            "-:2: expected a closing quote",
        ),
        ("carbon-c-relay", "include nowhere.conf;", "nowhere.conf"),
        (
            "carbon-c-relay",
            "frobnicate;",
            "-:1: expected cluster, match",
        ),
        ("carbon", "[relay\nA = 1", "-:1: expected [section]"),
        ("carbon", "[relay]\nwords", "-:2: expected key = value"),
        (
            "carbon",
            "[cache]\nA = 1",
            "-:1: expected carbon.conf, with a section [relay]",
        ),
        (
            "carbon",
            "[collectd]\npattern = ^collectd\\.",
            "its rules are read beside it",
        ),
        (
            "carbon-relay-ng",
            "cluster a forward h:1;",
            "if it is another relay's file, say whose: --from",
        ),
    ] {
        let output = baton(
            &["config", "convert", "--from", from, "-"],
            Path::new("/"),
            file,
        );
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{file}: {said}");
        assert!(
            said.contains(&expected.replace("standard input", "-")),
            "{file}: {said}"
        );
        assert_eq!(text(&output.stdout), "");
    }
    let output = baton(&["config", "convert", "nowhere.conf"], Path::new("/"), "");
    assert_eq!(output.status.code(), Some(1));
}

/// It is printed all the same: there is no better place to begin mending.
#[test]
fn what_was_converted_and_does_not_compile_is_told() {
    let file = "cluster c forward h:1;\n\
                aggregate ^a every 10 seconds expire after 20 seconds compute sum write to \"a b\" send to c;\n\
                match * send to c;\n";
    let arguments = ["config", "convert", "--from", "carbon-c-relay", "-"];
    let output = baton(&arguments, Path::new("/"), file);
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(78), "{said}");
    let line = printed
        .lines()
        .position(|line| line.starts_with("format = \"a b"));
    let line = line.expect("the output's name") + 1;
    let expected = format!("standard output:{line}: aggregation.format: expected a name");
    assert!(said.contains(&expected), "{said}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_a_conversion_panic(
        words in proptest::collection::vec(
            "cluster|match|rewrite|into|aggregate|every|10|seconds|expire|after|compute|sum|write|to|send|stop|a|forward|\
             \\*|;|\"|\\\\1|\\[relay\\]|\n|DESTINATIONS = |listen|type|linemode|2003|proto|tcp|statistics|[^a]{0,3}",
            0..40,
        ),
    ) {
        let source = Source { name: "-".to_owned(), text: words.join(" ") };
        for from in ["carbon", "carbon-c-relay"] {
            let load = |_: &str| Ok(vec![source.clone()]);
            if let Ok(converted) = convert(from, &source, &load) {
                proptest::prop_assert!(converted.toml.parse::<toml::Table>().is_ok(), "{}", converted.toml);
                let counted = converted.statements;
                proptest::prop_assert_eq!(counted.read, counted.converted + counted.noted);
            }
        }
    }
}

// ---- carbon-relay-ng's file ----

/// Exactly the marked lines are told, with these keys and words.
#[test]
fn what_is_wrong_with_its_file_is_told() {
    let path = configs("relay_ng").join("bad.ini");
    let said = Config::load(&path).expect_err("a bad config").problems;
    let file = fs::read_to_string(&path).unwrap();
    let mut unexpected: Vec<&Problem> = said.iter().collect();
    for (index, line) in file.lines().enumerate() {
        for mark in line.split("#!").skip(1) {
            let (key, words) = mark.trim().split_once(": ").unwrap();
            let fits = |p: &&Problem| {
                p.line == Some(index + 1) && p.key == key && p.message.contains(words)
            };
            let found = unexpected.iter().position(fits);
            let found = found.unwrap_or_else(|| panic!("{key}: {words}: not said in {said:#?}"));
            unexpected.remove(found);
        }
    }
    assert!(unexpected.is_empty(), "not expected: {unexpected:#?}");
}

/// A relay that is killed when the test is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        let deadline = Instant::now() + LIMIT;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn its_file_runs_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let [line, http] = free_ports().unwrap();
    fs::create_dir(folder.path().join("spool")).unwrap();
    let file = format!(
        r#"
instance = "${{HOST}}"
max_procs = 2
log_level = "info"
bad_metrics_max_age = "24h"
listen_addr = "localhost:{line}"
plain_read_timeout = "2m"
http_addr = "127.0.0.1:{http}"
admin_addr = ""
spool_dir = "spool"
validation_level_legacy = "medium"
blacklist = ["prefix bad."]

[instrumentation]
graphite_addr = ""

[init]
cmds = [
    "addBlack sub .worse.",
    "addRoute sendAllMatch first prefix=a.  file:a.out spool=true connbuf=30000  file:also-a.out sub=x",
]

[[route]]
key = "rest"
type = "sendAllMatch"
notPrefix = "a."
notSubstr = "nowhere"
destinations = ["file:rest.out flush=1 reconn=5000 spool=false"]

[amqp]
amqp_enabled = false
"#
    );
    let path = folder.path().join("carbon-relay-ng.ini");
    fs::write(&path, file).unwrap();

    let checked = baton(
        &["check", "--config", "carbon-relay-ng.ini"],
        folder.path(),
        "",
    );
    let warned = text(&checked.stderr);
    assert!(checked.status.success(), "{warned}");
    for key in [
        "max_procs",
        "bad_metrics_max_age",
        "spool_dir",
        "init.cmds",
        "route.destinations",
    ] {
        assert!(warned.contains(&format!(": {key}: ")), "{key}: {warned}");
    }

    let log = fs::File::create(folder.path().join("log")).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_baton"))
        .args(["run", "--config", "carbon-relay-ng.ini"])
        .current_dir(folder.path())
        .env_remove("NOTIFY_SOCKET")
        .env_remove("LISTEN_FDS")
        .env_remove("RUNTIME_DIRECTORY")
        .env_remove("STATE_DIRECTORY")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let running = Running(child);
    let mut stream = None;
    wait_for("the listener", || {
        stream = TcpStream::connect(("127.0.0.1", line)).ok();
        stream.is_some()
    });
    let lines = "a.x 1 1700000000\na.y 2 1700000000\nbad.z 3 1700000000\nc.worse.d 4 1700000000\nother 5 1700000000\n";
    stream.unwrap().write_all(lines.as_bytes()).unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    wait_for("the lines", || {
        read("a.out").lines().count() == 2
            && !read("also-a.out").is_empty()
            && !read("rest.out").is_empty()
    });
    drop(running);
    assert_eq!(read("a.out"), "a.x 1 1700000000\na.y 2 1700000000\n");
    assert_eq!(read("also-a.out"), "a.x 1 1700000000\n");
    assert_eq!(read("rest.out"), "other 5 1700000000\n");
    assert!(folder.path().join("spool/baton.db").exists());

    // Its canonical form is Baton's own, and means the same.
    let printed = baton(
        &["config", "convert", "carbon-relay-ng.ini"],
        folder.path(),
        "",
    );
    assert!(printed.status.success());
    let canonical = folder.path().join("canonical.toml");
    fs::write(&canonical, &printed.stdout).unwrap();
    let (its, own) = (
        Config::load(&path).unwrap(),
        Config::load(&canonical).unwrap(),
    );
    assert_eq!(own.warnings, []);
    assert_eq!(format!("{:#?}", own.routes), format!("{:#?}", its.routes));
    assert_eq!(
        (own.listen, own.blocklist, own.state),
        (its.listen, its.blocklist, its.state)
    );
    assert_eq!(
        (own.input, own.rules, own.log),
        (its.input, its.rules, its.log)
    );
    assert_eq!(own.instrumentation, its.instrumentation);
    let again = baton(
        &["config", "convert", "-"],
        folder.path(),
        &text(&printed.stdout),
    );
    let without_comments = |bytes: &[u8]| {
        let text = text(bytes);
        let kept: Vec<String> = text
            .lines()
            .filter(|l| !l.starts_with("# "))
            .map(str::to_owned)
            .collect();
        kept.join("\n").trim().to_owned()
    };
    assert_eq!(
        without_comments(&again.stdout),
        without_comments(&printed.stdout)
    );
}
