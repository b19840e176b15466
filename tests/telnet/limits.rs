//! What a session may have, and who may have one.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use baton::drill::{Setup, free_ports};

use crate::client::{Client, Told};
use crate::relay::{Config, LIMIT, Relay, wait_for};

#[test]
fn a_line_too_long_is_an_error_and_the_next_is_a_command() {
    let told = Told::start(Config::to_file());
    let mut session = told.session();
    session.write(vec![b'x'; 100_000]);
    session.write("\n");
    assert!(session.answer()[0].contains("at most 16384 bytes"));
    session.write(b"trace \xc3(\n");
    assert!(session.answer()[0].contains("UTF-8"));
    session.done("view");
}

#[test]
fn there_are_64_sessions_and_no_more() {
    let told = Told::start(Config::to_file());
    let mut all: Vec<_> = (0..64).map(|_| told.session()).collect();
    all.iter_mut()
        .for_each(|session| drop(session.done("history")));
    let mut one_more = told.session();
    assert!(one_more.rest().starts_with("ERR 64 sessions"));
    drop(all.pop());
    wait_for("room", || {
        let mut session = told.session();
        session.0.get_mut().write_all(b"view\n").is_ok() && !session.line().starts_with("ERR")
    });
    all[0].done("view");
}

#[test]
fn what_a_page_has_a_browser_post_is_not_done() {
    let told = Told::start(Config::to_file());
    let port = told.port;
    let body = "addBlock prefix posted.\nroute del all discard\n";
    let post = format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://evil.example\r\n\
         Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut browser = told.session();
    browser.write(&post);
    let answer = browser.rest();
    assert!(
        answer.starts_with("ERR ") && answer.lines().count() == 1,
        "{answer}"
    );
    told.relay.wait_logged("a browser was sent here");
    let mut session = told.session();
    let history = session.done("history");
    assert_eq!(history.len(), 2, "{history:?}");
    let view = session.done("view").join("\n");
    assert!(!view.contains("posted") && view.contains(" all "), "{view}");
}

#[test]
fn a_client_that_takes_nothing_holds_up_nobody_and_is_bounded() {
    let mut config = Config::to_file();
    for number in 0..300 {
        config.routes += &format!(
            "[[route]]\nkey = \"r{number}\"\nprefix = \"r{number}.{}\"\ndestinations = [\"file:r{number} id=r{number}\"]\n",
            "x".repeat(200)
        );
    }
    let told = Told::start(config);
    let mut deaf = told.session();
    // Each answer has more than 60 KB: what is asked for is 250 MB.
    deaf.write("view\n".repeat(4000));
    let mut other = told.session();
    other.done("view");
    let pid = other.done("status")[0]
        .split("pid ")
        .nth(1)
        .unwrap()
        .to_owned();
    let pid = pid.split(',').next().unwrap().to_owned();
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap()
            .to_owned();
        let kb: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kb / 1024
    };
    for _ in 0..200 {
        other.done("history 1");
    }
    assert!(resident() < 300, "{} MiB", resident());
    // It gets all of it once it reads.
    for _ in 0..4000 {
        deaf.answer();
    }
}

#[test]
fn other_machines_need_the_token_and_leave_room_for_who_sits_here() {
    let [port] = free_ports().unwrap();
    let mut config = Config::to_file();
    config.listen = format!(
        "telnet = [\"tcp://0.0.0.0:{port}\", \"unix:telnet.sock\"]\n[admin]\ntoken_file = \"token\""
    );
    let mut relay = Relay::set_up(&config, |setup: Setup| {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(setup.path("token"));
        file.unwrap()
            .write_all(b"a token of some length\n")
            .unwrap();
        setup
    });
    let session = || {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Client(std::io::BufReader::new(stream))
    };
    let mut stranger = session();
    stranger.write("view\n");
    assert_eq!(
        stranger.rest(),
        "ERR expected auth and the token before all else\n"
    );
    let mut guess = session();
    guess.write("auth another token of a length\nview\n");
    assert_eq!(guess.rest(), "ERR this is not the token\n");
    let mut known = session();
    known.done("auth a token of some length");
    known.done("view");
    // It is one of them.
    let mut strangers: Vec<_> = (1..48).map(|_| session()).collect();
    relay.wait("all of them", |s| {
        let open = |l: &serde_json::Value| l["connections"].as_u64().unwrap_or(0);
        let listeners = s.document()["worker"]["listeners"].as_array().unwrap();
        listeners
            .iter()
            .filter(|l| l["kind"] == "telnet")
            .map(open)
            .sum::<u64>()
            == 48
    });
    assert!(session().rest().starts_with("ERR 48 sessions"));
    let socket = std::os::unix::net::UnixStream::connect(relay.instance.path("telnet.sock"));
    let mut here = Client(std::io::BufReader::new(socket.unwrap()));
    here.done("view");
    here.write("quit\n");
    assert_eq!(here.rest(), "OK\n");
    strangers[0].write("auth a token of some length\n");
    assert_eq!(strangers[0].answer(), ["OK"]);
    drop((strangers, known));
    // All that came are counted when they have gone, and the wrong token is.
    let address = format!("tcp://0.0.0.0:{port}");
    wait_for("the counters", || {
        let page = relay.page("/metrics");
        let has = |text: &str| page.lines().any(|line| line == text);
        has(&format!(
            "baton_connections_accepted_total{{listener=\"{address}\"}} 51"
        )) && has(&format!(
            "baton_connections_closed_total{{listener=\"{address}\"}} 51"
        )) && has("baton_wrong_tokens_total 1")
    });
    relay.check_books();
}

#[test]
fn the_socket_file_is_its_owners() {
    let told = Told::start(Config::to_file());
    let path = told.relay.instance.path("telnet.sock");
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut session = told.unix_session();
    session.done("volatile addBlock prefix a.");
    session.done("addBlock prefix b.");
    let history = session.done("history");
    assert!(history[1].contains("uid "), "{history:?}");
    assert_eq!(history.len(), 3, "{history:?}");
}
