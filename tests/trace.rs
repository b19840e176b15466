//! `baton trace` and what is seen of rejected lines, with whole processes: by a config, by a running daemon, over HTTP.
#![allow(missing_docs)]

#[path = "inputs/relay.rs"]
#[expect(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use baton::drill::free_ports;
use baton::pipeline::trace::{Outcome, Trace};
use serde_json::{Value, json};

use relay::{Config, LIMIT, Relay, wait_for};

fn trace(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
    command
        .arg("trace")
        .args(args)
        .current_dir(folder)
        .env_remove("RUNTIME_DIRECTORY")
        .env_remove("STATE_DIRECTORY")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[track_caller]
fn done(mut command: Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn fed(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // Who was told that something is wrong doesn't read on.
    let _broken = feeder.join().unwrap();
    output
}

fn traces(text: &[u8]) -> Vec<Trace> {
    let lines = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

const RULES: &str = r#"
blocklist = ["prefix drop."]
[listen]
line = ["tcp://127.0.0.1:0"]
[[rewriter]]
old = '/^servers\.([^.]+)/'
new = 'hosts.${1}'
max = -1
[[aggregation]]
function = "sum"
regex = '^hosts\.[^.]+\.(.*)'
format = 'sum.hosts.$1'
interval = 10
wait = 20
[[route]]
key = "carbon-default"
destinations = ["127.0.0.1:2013 id=store"]
"#;

/// A folder with this config in it.
fn with_config(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let [port] = free_ports().unwrap();
    let text = text.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    fs::write(folder.path().join("baton.toml"), text).unwrap();
    folder
}

#[test]
fn a_config_is_asked_without_a_daemon() {
    let folder = with_config(RULES);
    let args = [
        "--config",
        "baton.toml",
        "servers.web1.cpu",
        "drop.a 1 2",
        "a x 2",
    ];
    let expected = r"servers.web1.cpu
  rewritten to  hosts.web1.cpu  by /^servers\.([^.]+)/ hosts.${1} -1
  aggregated in sum.hosts.cpu  by sum regex=^hosts\.[^.]+\.(.*) sum.hosts.$1 10 20
                → route carbon-default (sendAllMatch) → 127.0.0.1:2013 (store)
  route         carbon-default (sendAllMatch) → 127.0.0.1:2013 (store)
drop.a 1 2
  blocked by    prefix drop.
a x 2
  rejected      value: the value is not a decimal number
";
    let said = done(trace(folder.path(), &args));
    // Whether a text is quoted is the rules' own matter.
    assert_eq!(said.replace('"', ""), expected);
}

#[test]
fn a_stream_is_traced_line_by_line() {
    let folder = with_config(RULES);
    let command = || trace(folder.path(), &["--config", "baton.toml", "--json"]);
    // An answer comes while the stream goes on.
    let mut child = command().stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    for name in ["servers.a.b", "drop.b"] {
        writeln!(stdin, "{name} 1 2").unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        assert_eq!(traces(answer.as_bytes())[0].input, format!("{name} 1 2"));
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());

    // Many, the last without a newline; one is longer than any line may be, one is no text.
    let mut input: Vec<u8> = (0..5000)
        .flat_map(|n| format!("servers.w{n}.a\n").into_bytes())
        .collect();
    input.extend(vec![b'x'; 2 << 20]);
    input.extend(b"\n\xff\xfe 1 2\n\ndrop.last");
    let output = fed(command(), &input);
    assert!(output.status.success());
    let all = traces(&output.stdout);
    assert_eq!(all.len(), 5004);
    assert_eq!(all[4999].rewritten[0].name, "hosts.w4999.a");
    assert_eq!(all[5000].rejected.as_ref().unwrap().reason, "too-long");
    assert_eq!(all[5001].input, "\\xff\\xfe 1 2");
    assert_eq!(all[5002].outcome, Outcome::Empty);
    assert_eq!(all[5003].blocked_by.as_deref(), Some("prefix drop."));
}

#[test]
fn what_is_wrong_is_told() {
    let folder = with_config("[[route]]\nkey = \"a\"\n");
    let output = trace(folder.path(), &["--config", "baton.toml", "a"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("baton.toml:1: ") && said.contains("destinations"),
        "{said}"
    );
    let output = trace(folder.path(), &["--control", "none.sock", "a"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.starts_with("baton: no baton answers on none.sock: "),
        "{said}"
    );
}

/// A failover route whose first member is down, and a route of one's own for `b.`.
fn failover() -> (Config, [u16; 2]) {
    let ports = free_ports().unwrap();
    let [dead, live] = ports;
    let config = Config {
        routes: format!(
            "[[route]]\nkey = \"all\"\ntype = \"failover\"\ndestinations = [\"127.0.0.1:{dead} id=first reconnect=100ms\", \
             \"127.0.0.1:{live} id=second reconnect=100ms\"]\n\
             [[route]]\nkey = \"b\"\nprefix = \"b.\"\ndestinations = [\"file:out id=out flush=1ms\"]\n"
        ),
        top: "blocklist = [\"sub .no.\"]\n".to_owned(),
        ..Config::default()
    };
    (config, ports)
}

#[test]
fn a_running_daemon_says_what_it_would_do_now() {
    let (config, [dead, live]) = failover();
    let _store = std::net::TcpListener::bind(("127.0.0.1", live)).unwrap();
    let mut relay = Relay::start(&config);
    let folder = relay.instance.folder().to_owned();
    relay.wait_logged("taken for down");
    let control = ["--control", "control.sock", "--json", "b.c", "a.no.c 1 2"];
    let all = traces(done(trace(&folder, &control)).as_bytes());
    let route = &all[0].routes[0];
    assert_eq!(
        (&route.destinations[0].id[..], &route.down[..]),
        ("second", &["first".to_owned()][..])
    );
    assert_eq!(route.destinations[0].address, format!("127.0.0.1:{live}"));
    assert_eq!(
        route.why.as_deref(),
        Some("the first of those that are up: 1 of 2")
    );
    assert_eq!(all[0].routes[1].destinations[0].id, "out");
    assert_eq!(all[1].blocked_by.as_deref(), Some("sub .no."));

    // The config alone doesn't know who is down; over HTTP it is the daemon that is asked.
    let alone = ["--config", "baton.toml", "b.c"];
    let said = done(trace(&folder, &alone));
    assert!(
        said.contains(&format!(
            "→ 127.0.0.1:{dead} (first)  [the first, if all of 2 are up]"
        )),
        "{said}"
    );
    let web = relay.get("/api/trace?metric=b.c&metric=a.no.c%201+2");
    assert_eq!(web, json!(all));

    // More than one question's worth, in order, while a restart is under way.
    let input: String = (0..3500).map(|n| format!("b.{n} 1 2\n")).collect();
    let asked = trace(
        &folder,
        &[
            "--control",
            "control.sock",
            "--json",
            "--config",
            "baton.toml",
        ],
    );
    let asking = std::thread::spawn(move || fed(asked, input.as_bytes()));
    relay.reconfigure(&Config {
        top: "blocklist = [\"sub .maybe.\"]\n".to_owned(),
        ..config
    });
    let output = asking.join().unwrap();
    assert!(output.status.success(), "{output:?}");
    let many = traces(&output.stdout);
    assert_eq!(many.len(), 3500);
    assert!(
        many.iter()
            .enumerate()
            .all(|(n, one)| one.input == format!("b.{n} 1 2"))
    );
    let all = traces(done(trace(&folder, &control)).as_bytes());
    assert_eq!(all[1].outcome, Outcome::Routed, "by the new config");
    // Nobody was sent anything.
    assert_eq!(relay.status().total("in"), Some(0));
    relay.check_books();
}

#[test]
fn a_running_daemon_tells_rewriters_and_aggregators() {
    let rules = RULES.split_once("[[rewriter]]").unwrap().1;
    let rules = rules.split_once("[[route]]").unwrap().0;
    let config = Config {
        routes: format!("[[rewriter]]{rules}{}", Config::to_file().routes),
        ..Config::default()
    };
    let relay = Relay::start(&config);
    let metric = ["--control", "control.sock", "--json", "servers.web1.cpu"];
    let all = traces(done(trace(relay.instance.folder(), &metric)).as_bytes());
    let metric = ["--config", "baton.toml", "--json", "servers.web1.cpu"];
    let alone = traces(done(trace(relay.instance.folder(), &metric)).as_bytes());
    assert_eq!(all[0].rewritten[0].name, "hosts.web1.cpu");
    assert_eq!(all[0].aggregated[0].name, "sum.hosts.cpu");
    assert_eq!(all[0].aggregated[0].routes[0].destinations[0].id, "out");
    assert_eq!(all, alone);
    relay.check_books();
}

#[test]
fn a_question_that_is_no_question_harms_nobody() {
    use baton::handover::{Answer, Client, Request, Traced};
    use std::os::fd::AsFd;
    let mut relay = Relay::start(&Config::to_file());
    let control = relay.instance.path("control.sock");
    let ask = |file: Option<&fs::File>| {
        let client = Client::connect(&control).unwrap();
        client.wait_at_most(Some(LIMIT)).unwrap();
        client.say(&Request::Trace, file.map(AsFd::as_fd)).unwrap();
        match client.hear().unwrap() {
            Answer::Traced {
                outcome: Traced::Failed { reason },
                ..
            } => reason,
            other => panic!("{other:?}"),
        }
    };
    assert!(ask(None).contains("no metrics came"));
    let path = relay.instance.path("question");
    fs::write(&path, "a\n".repeat(1001)).unwrap();
    let said = ask(Some(&fs::File::open(&path).unwrap()));
    assert_eq!(said, "expected at most 1000 metrics at once, found 1001");
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    assert!(ask(Some(&fs::File::open(&path).unwrap())).contains("over the limit"));
    // A client that goes without its answer.
    let gone = Client::connect(&control).unwrap();
    gone.say(
        &Request::Trace,
        Some(fs::File::open(&path).unwrap().as_fd()),
    )
    .unwrap();
    drop(gone);
    relay.send("a 1 2\n");
    relay.wait_done(1);
    relay.check_books();
}

#[test]
fn a_flood_of_one_reason_hides_no_other() {
    let relay = Relay::start(&Config::to_file());
    let mut client = relay.connect();
    let peer = client.local_addr().unwrap().to_string();
    // In one batch with the flood, and before it.
    let mut text = "before;it 1 2\n".to_owned();
    text += &"flood x 2\n".repeat(20_000);
    text += "amid nan 2\n";
    text += &"flood x 3\n".repeat(20_000);
    client.write_all(text.as_bytes()).unwrap();
    relay::hang_up(client);
    wait_for("all of it", || {
        relay.get("/api/status")["totals"]["in"] == 40_002
    });
    let of = |reason: &str| match relay.get(&format!("/api/rejected?reason={reason}")) {
        Value::Array(all) => all,
        other => panic!("{other}"),
    };
    let listener = format!("tcp://127.0.0.1:{}", relay.port);
    for (reason, line) in [("tags", "before;it 1 2"), ("nan", "amid nan 2")] {
        let [one] = &of(reason)[..] else {
            panic!("{reason}: {:?}", of(reason))
        };
        let at = one["at_ms"].as_u64().unwrap();
        assert!(at > 1_700_000_000_000, "{at}");
        let expected = json!({"at_ms": at, "reason": reason, "listener": listener, "peer": peer, "line": line});
        assert_eq!(*one, expected);
    }
    let flood = of("value");
    assert!((1..=100).contains(&flood.len()), "{}", flood.len());
    let all = relay.get("/api/rejected");
    assert_eq!(all.as_array().unwrap().len(), flood.len() + 2);
    relay.check_books();
}

#[test]
fn a_datagrams_sender_is_told() {
    let relay = Relay::start(&Config::to_file());
    let [one, other] = [relay.udp(), relay.udp()];
    let rejected = || relay.get("/api/rejected").as_array().unwrap().clone();
    for (count, socket) in [(1, &one), (2, &other), (3, &one)] {
        socket.send(b"a x 1").unwrap();
        wait_for("a rejected line", || rejected().len() == count);
        let peer = socket.local_addr().unwrap().to_string();
        assert_eq!(rejected()[count - 1]["peer"], peer);
    }
    relay.check_books();
}
