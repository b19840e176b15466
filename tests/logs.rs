//! What is logged: levels that an operator can be paged by, fields in the journal, no floods.
#![allow(missing_docs)]

#[path = "inputs/relay.rs"]
#[allow(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use baton::drill::{Instance, Setup};
use nix::sys::signal::Signal;
use relay::{Config, LIMIT, Relay};

/// Lines of these levels, but for what a machine is short of.
fn pages(log: &str) -> Vec<&str> {
    let is_page = |line: &&str| line.contains(" WARN ") || line.contains("ERROR ");
    log.lines().filter(is_page).collect()
}

fn wait(what: &str, mut until: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !until() {
        assert!(Instant::now() < deadline, "{what} took too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_good_day_pages_nobody() {
    // A store that ends a connection when we do.
    let store = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = store.local_addr().unwrap().to_string();
    let mut config = Config::to(&[&address]);
    std::thread::spawn(move || {
        for mut connection in store.incoming().flatten() {
            std::thread::spawn(move || connection.read_to_end(&mut Vec::new()));
        }
    });
    let port = baton::drill::free_ports::<1>().unwrap()[0];
    config.listen = format!("pickle = [\"tcp://127.0.0.1:{port}\"]");
    let mut relay = Relay::start(&config);
    relay.send("a 1 1\n");
    // Clients that err are no reason to wake somebody.
    relay.send("a line that is none\n");
    relay.send("cut 1");
    let mut wrong_port = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    wrong_port.write_all(b"a 1 1\n").unwrap();
    wrong_port.read_to_end(&mut Vec::new()).ok();
    relay.instance.reload().unwrap();
    // The store isn't needed any more.
    relay.reconfigure(&Config::to_file());
    relay.instance.reload().unwrap();
    relay.instance.stop(LIMIT).unwrap();
    let log = relay.instance.log();
    assert!(log.contains("a line sender is on the pickle port"), "{log}");
    assert!(!log.contains("aggregation windows"), "{log}");
    assert_eq!(pages(&log), [""; 0], "{log}");
}

#[test]
fn what_goes_wrong_pages() {
    let mut relay = Relay::start(&Config::to(&["127.0.0.1:1 id=gone full=drop queue=1MiB"]));
    let more = "x".repeat(1000);
    let lines: String = (0..3 << 10)
        .map(|_| format!("{more} 1 1000000000\n"))
        .collect();
    relay.send(lines);
    wait("word of what was dropped", || {
        relay.logged("lines were dropped destination=\"gone\" reason=\"full\" lines=") > 0
    });
    relay.instance.kill_worker(LIMIT).unwrap();
    relay.rewrite(&Config::to(&["nonsense"]));
    relay.instance.reload().unwrap();
    wait("word of the refusal", || {
        relay.logged("ERROR the reload was refused") > 0
    });
    let log = relay.instance.log();
    for word in [
        "WARN a destination is down destination=\"gone\"",
        "WARN lines were dropped",
        "WARN a worker has ended generation=1",
        "ERROR the reload was refused",
    ] {
        assert!(log.contains(word), "{word}: {log}");
    }
    // Why, once.
    assert_eq!(log.matches("\"nonsense\"").count(), 1, "{log}");
}

/// A relay whose workers do what the file `faults` says.
struct Faulty {
    relay: Relay,
}

impl Faulty {
    fn fault(&self, faults: &str) {
        let new = self.instance.path("faults.new");
        fs::write(&new, faults).unwrap();
        fs::rename(new, self.instance.path("faults")).unwrap();
    }

    fn signal_worker(&mut self, signal: Signal) {
        let pid = self.instance.worker_pid().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }
}

impl std::ops::Deref for Faulty {
    type Target = Relay;

    fn deref(&self) -> &Relay {
        &self.relay
    }
}

impl std::ops::DerefMut for Faulty {
    fn deref_mut(&mut self) -> &mut Relay {
        &mut self.relay
    }
}

fn faulty(config: &Config) -> Faulty {
    let relay = Relay::set_up(config, |setup| {
        let faults = setup.path("faults");
        let setup = setup.env("RUST_BACKTRACE", "0");
        setup.env("BATON_FAULTS", faults.to_str().unwrap())
    });
    Faulty { relay }
}

/// Nobody serves, since what replaces the dead worker dies before it does: who reads warnings knows that, and why.
#[test]
fn an_outage_pages_as_long_as_it_lasts() {
    let mut config = Config::to_file();
    config.top = "[log]\nlevel = \"warn\"\n".to_owned();
    let mut relay = faulty(&config);
    relay.fault("before-ready exit\n");
    relay.signal_worker(Signal::SIGKILL);
    relay.wait_logged("ERROR no worker serves, another is started: the new worker ended: exit status 3 in_ms=5000");
    relay.fault("");
    relay.wait("a worker that serves", |status| status.is_serving());
    let log = relay.instance.log();
    let words = [
        ("WARN a worker has ended generation=1 ", 1),
        (
            "ERROR no worker serves, another is started: killed by signal 9 in_ms=0",
            1,
        ),
        (
            "WARN a worker has ended generation=2 how=\"exit status 3\"",
            1,
        ),
        ("the new worker ended: exit status 3 in_ms=100\n", 1),
        ("the new worker ended: exit status 3 in_ms=1000\n", 1),
        ("WARN a worker has ended generation=4 ", 1),
    ];
    for (word, times) in words {
        assert_eq!(log.matches(word).count(), times, "{word}: {log}");
    }
}

#[test]
fn why_a_worker_is_killed_pages() {
    let mut relay = faulty(&Config::to_file());
    relay.signal_worker(Signal::SIGSTOP);
    relay.wait_logged("ERROR a worker is killed: it hasn't ticked for 5 s generation=1");
    relay.wait_logged("ERROR no worker serves, another is started: killed by signal 9 in_ms=0");
    relay.wait("another worker", |status| status.is_serving());
    // Its end is no second reason to look.
    assert_eq!(relay.logged("INFO a worker has ended generation=1"), 1);
    relay.fault("on-freeze hang\n");
    relay.instance.reload().unwrap();
    assert_eq!(
        relay.logged("ERROR a worker is killed: it did not freeze within 2 s"),
        1
    );
}

/// A config without `[listen]` is what the guides say of systemd's sockets.
#[test]
fn sockets_of_systemd_alone_page_nobody() {
    const ACTIVATE: &str = "/usr/bin/systemd-socket-activate";
    if !Path::new(ACTIVATE).exists() {
        println!("skipped: no {ACTIVATE}");
        return;
    }
    let config = "[supervisor]\ncontrol = \"unix:control.sock\"\nprobation = \"100ms\"\n\
                  [instrumentation]\ninterval = \"0s\"\n\
                  [[route]]\nkey = \"all\"\ndestinations = [\"file:out\"]\n";
    let [port] = baton::drill::free_ports().unwrap();
    let setup = Setup::new(env!("CARGO_BIN_EXE_baton"), config).unwrap();
    std::thread::spawn(move || {
        let deadline = Instant::now() + LIMIT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let command = format!("exec {ACTIVATE} -l 127.0.0.1:{port} --fdname=line \"$@\"");
    let mut instance = setup.shell(&command).start().unwrap();
    instance.reload().unwrap();
    instance.stop(LIMIT).unwrap();
    assert_eq!(pages(&instance.log()), [""; 0], "{}", instance.log());
    // Where nothing is passed, somebody should look.
    let instance = Instance::start(env!("CARGO_BIN_EXE_baton"), config).unwrap();
    let log = instance.log();
    assert!(
        log.contains("WARN nothing to listen on for metrics"),
        "{log}"
    );
}

/// What carbon-relay-ng's file has and Baton doesn't need is no reason to wake somebody at each start.
#[test]
fn a_file_of_carbon_relay_ng_pages_nobody() {
    let [port, store] = baton::drill::free_ports().unwrap();
    let config = format!(
        "listen_addr = \"127.0.0.1:{port}\"\nmax_procs = 2\npid_file = \"relay.pid\"\n\
         bad_metrics_max_age = \"24h\"\ninstance = \"a\"\n\
         [supervisor]\ncontrol = \"unix:control.sock\"\nprobation = \"100ms\"\n\
         [instrumentation]\ngraphite_interval = 0\n\
         [[aggregation]]\nfunction = \"sum\"\nregex = \"^a[.](.*)\"\nformat = \"b.$1\"\ncache = true\n\
         interval = 10\nwait = 20\n\
         [[route]]\nkey = \"all\"\ntype = \"sendAllMatch\"\n\
         destinations = [\"127.0.0.1:{store} spool=true connbuf=1000\"]\n"
    );
    let _store = TcpListener::bind((Ipv4Addr::LOCALHOST, store)).unwrap();
    let mut instance = Instance::start(env!("CARGO_BIN_EXE_baton"), &config).unwrap();
    instance.reload().unwrap();
    instance.stop(LIMIT).unwrap();
    let log = instance.log();
    assert_eq!(pages(&log), [""; 0], "{log}");
    // It is said all the same.
    assert!(log.matches("not needed").count() >= 8, "{log}");
}

/// A thousand clients that err, each in its own way: journald would drop whose lines are so many, errors among them.
#[test]
fn clients_that_err_are_not_a_record_each() {
    let relay = Relay::start(&Config::to_file());
    let begin = Instant::now();
    let mut came = 0;
    while came < 300 || begin.elapsed() < Duration::from_millis(1500) {
        relay.send(format!("no number {came}\n"));
        came += 1;
    }
    let what = "the first rejected line of this connection";
    wait("the count", || counted(&relay.instance.log(), what) == came);
    let told = relay.logged(what);
    let seconds = begin.elapsed().as_secs() as usize;
    // The first twenty, and how many more of whom.
    assert!(told <= 21 * (seconds + 2), "{told} in {seconds} s");
}

/// How often a line came, those included that were held back.
fn counted(log: &str, what: &str) -> u64 {
    let lines = log.lines().filter(|line| line.contains(what));
    let times = lines.map(|line| match line.split_once(" times more: ") {
        Some((before, _)) => before.rsplit(' ').next().unwrap().parse().unwrap(),
        None => 1,
    });
    times.sum()
}

/// The same line, as often as anybody makes it come.
#[test]
fn a_flood_of_one_line_is_a_line_a_second_with_a_count() {
    let relay = Relay::start(&Config::to_file());
    let begin = Instant::now();
    let mut came = 0;
    // The first that is rejected of each connection is worth a line.
    while came < 500 || begin.elapsed() < Duration::from_millis(1500) {
        let mut client = relay.connect_unix();
        client.write_all(b"no number\n").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        client.read_to_end(&mut Vec::new()).unwrap();
        came += 1;
    }
    let what = "the first rejected line of this connection";
    // The last ones are told although nobody logs any more.
    wait("the count", || counted(&relay.instance.log(), what) == came);
    let told = relay.logged(what);
    let seconds = begin.elapsed().as_secs() as usize;
    assert!((2..=seconds + 2).contains(&told), "{told} in {seconds} s");
}

/// A record as journald is sent it: `KEY=value`, or `KEY`, a length and the value (systemd.io/JOURNAL_NATIVE_PROTOCOL).
fn fields(mut datagram: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while !datagram.is_empty() {
        let end = datagram.iter().position(|byte| *byte == b'\n').unwrap();
        let line = String::from_utf8(datagram[..end].to_vec()).unwrap();
        datagram = &datagram[end + 1..];
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => {
                let (length, rest) = datagram.split_at(8);
                let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
                datagram = &rest[length + 1..];
                (line, String::from_utf8(rest[..length].to_vec()).unwrap())
            }
        };
        fields.insert(key, value);
    }
    fields
}

/// A journal of the relay's own. It is read all the time: who logs waits for that.
struct Journal(Receiver<BTreeMap<String, String>>);

impl Journal {
    /// Waits for a record whose message is so.
    fn wait_for(&self, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            assert!(Instant::now() < deadline, "no such record");
            let record = self.0.recv_timeout(LIMIT).expect("what is waited for");
            if record.get("MESSAGE").is_some_and(|message| wanted(message)) {
                return record;
            }
        }
    }
}

/// A relay that logs to a journal; nothing in the config says so: standard error leads there. `None`: it takes root.
#[expect(
    clippy::print_stdout,
    reason = "who reads the log sees what was not tried"
)]
fn journaled(config: &Config) -> Option<(Relay, Journal)> {
    let namespaces = Command::new("unshare").args(["-m", "true"]).status();
    if !namespaces.is_ok_and(|status| status.success()) {
        println!("skipped: a journal of one's own needs root");
        return None;
    }
    let mut journal = None;
    let relay = Relay::set_up(config, |setup| {
        fs::create_dir(setup.path("journal")).unwrap();
        let socket = UnixDatagram::bind(setup.path("journal/socket")).unwrap();
        journal = Some(socket);
        let faults = setup.path("faults");
        // Without a trace of calls, however this test is run.
        let setup = setup.env("RUST_BACKTRACE", "0");
        let setup = setup.env("BATON_FAULTS", faults.to_str().unwrap());
        setup.shell(
            "exec unshare -m sh -c 'mount -t tmpfs none /run && mkdir -p /run/systemd/journal \
             && mount --bind journal /run/systemd/journal \
             && export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) && exec \"$@\"' sh \"$@\"",
        )
    });
    let (socket, (reader, records)) = (journal.unwrap(), channel());
    std::thread::spawn(move || {
        let mut buffer = [0; 64 << 10];
        while let Ok(n) = socket.recv(&mut buffer) {
            // An empty one asks whether anybody is there.
            if reader.send(fields(&buffer[..n])).is_err() {
                break;
            }
        }
    });
    Some((relay, Journal(records)))
}

#[test]
fn the_journal_has_fields_and_levels() {
    let Some((mut relay, journal)) = journaled(&Config::to(&["127.0.0.1:1 id=gone"])) else {
        return;
    };
    let down = journal.wait_for(|message| message.starts_with("a destination is down"));
    assert_eq!(down["PRIORITY"], "4");
    assert_eq!(down["BATON_DESTINATION"], "gone");
    assert!(down["BATON_ERROR"].contains("refused"), "{down:?}");
    assert_eq!(down["SYSLOG_IDENTIFIER"], "baton");
    // Who sees the message alone knows it, too.
    let error = &down["BATON_ERROR"];
    let whole = format!("a destination is down destination=\"gone\" error={error:?}");
    assert_eq!(down["MESSAGE"], whole);
    // Who asks for a listener finds what was held back of it, too.
    for _ in 0..10 {
        let mut client = relay.connect_unix();
        client.write_all(b"no number\n").unwrap();
    }
    let more = journal.wait_for(|message| message.contains(" times more: the first rejected line"));
    let listener = format!("unix:{}", relay.instance.path("line.sock").display());
    assert_eq!(more["BATON_LISTENER"], listener);
    relay.instance.signal(Signal::SIGTERM).unwrap();
    let end = journal.wait_for(|message| message == "the supervisor ends status=0");
    assert_eq!(end["PRIORITY"], "6");
    relay.instance.wait_ended(LIMIT).unwrap();
    assert_eq!(relay.instance.log(), "");
}

/// By `journalctl -p err` it is found why a process ended.
#[test]
fn panics_are_errors_in_the_journal() {
    let Some((mut relay, journal)) = journaled(&Config::to_file()) else {
        return;
    };
    let faults = relay.instance.path("faults");
    let says = |place: &'static str| {
        move |message: &str| {
            message.starts_with("panicked at src/worker/fault.rs:") && message.ends_with(place)
        }
    };
    fs::write(&faults, "on-freeze panic\n").unwrap();
    relay.instance.reload().unwrap();
    let worker = journal.wait_for(says(": as on-freeze was told"));
    assert_eq!(worker["PRIORITY"], "3");
    assert_eq!(worker["SYSLOG_IDENTIFIER"], "baton");
    fs::write(&faults, "supervisor-turn panic\n").unwrap();
    // It turns when it is asked.
    let _ends = relay.instance.status();
    let supervisor = journal.wait_for(says(", in thread main: as supervisor-turn was told"));
    assert_eq!(supervisor["PRIORITY"], "3");
    assert_ne!(relay.instance.wait_ended(LIMIT).unwrap().code(), Some(0));
    assert_eq!(relay.instance.log(), "");
}

/// On standard error it is a line like the others, and comes once.
#[test]
fn a_panic_is_one_line_of_text() {
    let mut relay = faulty(&Config::to_file());
    relay.fault("on-freeze panic\n");
    relay.instance.reload().unwrap();
    relay.instance.stop(LIMIT).unwrap();
    let log = relay.instance.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("panic")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("ERROR panicked at src/worker/fault.rs:"));
}

#[test]
fn why_run_can_t_begin_is_an_error() {
    let relay = Relay::start(&Config::to_file());
    let run = |config: &str, environment: &str| {
        let script = format!("{environment} exec \"$0\" run --config {config} 2>said");
        let status = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_baton")])
            .current_dir(relay.instance.folder())
            .status()
            .unwrap();
        let said = fs::read_to_string(relay.instance.path("said")).unwrap();
        (status.code(), said)
    };
    let (status, said) = run("baton.toml", "");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("ERROR control socket "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    // Before a config says where the log is there is only standard error; systemd is told the level.
    let (status, said) = run("none.toml", "");
    assert_eq!(status, Some(78));
    assert!(said.starts_with("baton: cannot read none.toml: "), "{said}");
    let journal = "export JOURNAL_STREAM=$(touch said; stat -Lc %d:%i said);";
    let (_, said) = run("none.toml", journal);
    assert!(
        said.starts_with("<3>baton: cannot read none.toml: "),
        "{said}"
    );
}
