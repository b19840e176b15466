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
use std::process::Command;
use std::time::{Duration, Instant};

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
        "WARN down destination=\"gone\"",
        "WARN lines were dropped",
        "WARN a worker has ended generation=1",
        "ERROR the reload was refused",
    ] {
        assert!(log.contains(word), "{word}: {log}");
    }
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
    let counted = |log: &str| -> u64 {
        let lines = log.lines().filter(|line| line.contains(what));
        let times = lines.map(|line| match line.split_once(" times more: ") {
            Some((before, _)) => before.rsplit(' ').next().unwrap().parse().unwrap(),
            None => 1,
        });
        times.sum()
    };
    // The last ones are told although nobody logs any more.
    wait("the count", || counted(&relay.instance.log()) == came);
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

#[test]
fn the_journal_has_fields_and_levels() {
    let namespaces = Command::new("unshare").args(["-m", "true"]).status();
    if !namespaces.is_ok_and(|status| status.success()) {
        println!("skipped: a journal of one's own needs root");
        return;
    }
    let mut journal = None;
    // Nothing in the config says so: standard error leads there.
    let mut relay = Relay::set_up(&Config::to(&["127.0.0.1:1 id=gone"]), |setup| {
        fs::create_dir(setup.path("journal")).unwrap();
        let socket = UnixDatagram::bind(setup.path("journal/socket")).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        journal = Some(socket);
        setup.shell(
            "exec unshare -m sh -c 'mount -t tmpfs none /run && mkdir -p /run/systemd/journal \
             && mount --bind journal /run/systemd/journal \
             && export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) && exec \"$@\"' sh \"$@\"",
        )
    });
    let journal = journal.unwrap();
    let mut buffer = [0; 64 << 10];
    let mut wait_for = |wanted: &str| loop {
        let n = journal.recv(&mut buffer).expect("what is waited for");
        // An empty one asks whether anybody is there.
        let record = fields(&buffer[..n]);
        if record
            .get("MESSAGE")
            .is_some_and(|message| message == wanted)
        {
            break record;
        }
    };
    let down = wait_for("down");
    assert_eq!(down["PRIORITY"], "4");
    assert_eq!(down["BATON_DESTINATION"], "gone");
    assert!(down["BATON_ERROR"].contains("refused"), "{down:?}");
    assert_eq!(down["SYSLOG_IDENTIFIER"], "baton");
    relay.instance.signal(Signal::SIGTERM).unwrap();
    let end = wait_for("the supervisor ends");
    assert_eq!(end["PRIORITY"], "6");
    relay.instance.wait_ended(LIMIT).unwrap();
    assert_eq!(relay.instance.log(), "");
}
