//! Commands that are typed, and what comes of them.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::client::Told;
use crate::relay::{Config, free_address, wait_for};

/// The columns of the row of `route list` that begins with this key.
fn row(list: &[String], key: &str) -> Vec<String> {
    let row = list.iter().find(|line| line.split(' ').next() == Some(key));
    let row = row.unwrap_or_else(|| panic!("{key}: {list:?}"));
    row.split("  ")
        .map(str::trim)
        .filter(|cell| !cell.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn routes_come_and_go_by_the_first_versions_words() {
    let mut told = Told::start(Config::to_file());
    let mut session = told.session();
    session.done("route add x ^x\\. file:x");
    // In force and written when the answer comes.
    told.relay.send("x.a 1 1790000000\ny.a 1 1790000000\n");
    wait_for("the lines", || told.relay.file("x") == ["x.a 1 1790000000"]);
    session.done("route patt x ^y\\.");
    told.relay.send("x.a 2 1790000001\ny.a 2 1790000001\n");
    wait_for("the lines", || told.relay.file("x").len() == 2);
    assert_eq!(told.relay.file("x")[1], "y.a 2 1790000001");
    let list = session.done("route list");
    let cells = row(&list, "x");
    assert_eq!(
        cells[1..4],
        ["sendAllMatch", "regex=^y\\.", "x/file:x"].map(String::from),
        "{list:?}"
    );
    assert_eq!(cells[5..], ["up", "0", "0"].map(String::from), "{list:?}");
    for words in ["route add w prefix=w. file:w", "route patt x sub=w"] {
        assert!(
            session
                .refused(words)
                .contains("expected a regular expression")
        );
    }
    session.done("route patt x");
    told.relay.send("z.a 3 1790000002\n");
    wait_for("the lines", || told.relay.file("x").len() == 3);
    session.done("route del x");
    assert!(session.refused("route del x").contains("there is no route"));
    // Who it was, and how it is undone.
    let history = session.done("history");
    assert!(
        history[1].contains("telnet") && history[1].contains("route del x"),
        "{history:?}"
    );
    let id = history[1].split(' ').next().unwrap();
    session.done(&format!("undo {id}"));
    assert!(
        session
            .done("view")
            .iter()
            .any(|line| line.contains("sendAllMatch x  file:"))
    );
    told.relay.status().check_books().unwrap();
}

#[test]
fn a_route_with_a_backlog_goes_only_with_a_word() {
    let nobody = free_address();
    let mut told = Told::start(Config::to_file());
    let mut session = told.unix_session();
    session.done(&format!(
        "addRoute sendAllMatch away prefix=a.  {nobody} spool=true id=away"
    ));
    told.relay.send("a.b 1 1790000000\na.c 1 1790000000\n");
    told.relay.wait("the backlog", |s| {
        let of = |key| s.of_destination("away", key).unwrap_or(0);
        of("queued") + of("spooled") == 2
    });
    let told_why = session.refused("delRoute away");
    assert!(
        told_why.contains("say drain, discard or keep"),
        "{told_why}"
    );
    assert!(told_why.contains('2'), "{told_why}");
    assert!(
        session.done("spool list")[1..]
            .iter()
            .any(|line| line.starts_with("away"))
    );
    let would = session.done("dry-run delRoute away");
    assert!(
        would.contains(&"destination away goes".to_owned()),
        "{would:?}"
    );
    session.done("delRoute away discard");
    told.relay.wait("it to be gone", |s| {
        s.of_destination("away", "given").is_none()
    });
}

#[test]
fn everything_is_told_and_changed_by_its_own_command() {
    let told = Told::start(Config::to_file());
    let mut session = told.session();
    let help = session.done("help");
    assert!(
        help.len() > 50 && help.iter().any(|line| line.starts_with("addRoute ")),
        "{help:?}"
    );
    session.done("addBlock prefix junk.");
    session.done("addRewriter /^a\\.(.*)/ b.${1} -1");
    session.done("addAgg sum regex=^s\\.(.*) sum.$1 1 2");
    let trace = session.done("trace a.x");
    assert!(trace.iter().any(|line| line.contains("b.x")), "{trace:?}");
    let status = session.done("status");
    assert!(status[0].starts_with("worker "), "{status:?}");
    assert!(
        status.iter().any(|line| line.contains(" telnet ")),
        "{status:?}"
    );
    for rule in ["delBlock 0", "delRewriter 0", "delAgg 0"] {
        session.done(rule);
    }
    assert!(session.refused("delAgg 0").contains("there are none"));
    session.done("modDest all 0 flush=20ms");
    assert!(
        session
            .refused("dlRoute all")
            .contains("did you mean delRoute?")
    );
    session.write("\n  \nquit\n");
    assert_eq!(session.rest(), "OK\n");
}

#[test]
fn a_script_that_ends_its_side_gets_all_answers_and_nothing_else() {
    let told = Told::start(Config::to_file());
    let mut session = told.session();
    session.write("route add k file:k\r\nroute add k file:k\r\nroute del k\nhistory 1");
    session.hang_up();
    let rest = session.rest();
    let lines: Vec<&str> = rest.lines().collect();
    assert!(
        lines[0].starts_with("change ") && lines[1] == "OK",
        "{rest}"
    );
    assert!(lines[2].starts_with("ERR there is a route"), "{rest}");
    assert!(
        rest.ends_with("OK\n") && !rest.contains("baton>") && !rest.contains('\r'),
        "{rest}"
    );
    assert_eq!(
        lines.iter().filter(|line| **line == "OK").count(),
        3,
        "{rest}"
    );
}

/// Types into a program, and returns all that it shows; .ci/run installs it.
fn typed(program: &[&str], keys: &str) -> String {
    let mut client = Command::new(program[0])
        .args(&program[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program[0]));
    let mut input = client.stdin.take().unwrap();
    input.write_all(keys.as_bytes()).unwrap();
    // This telnet ends at the end of its input, whatever is still to come; this nc doesn't end before it.
    let _open = (program[0] == "telnet").then_some(input);
    let mut shown = String::new();
    let mut output = client.stdout.take().unwrap();
    output.read_to_string(&mut shown).unwrap();
    client.wait().unwrap();
    shown
}

#[test]
fn nc_is_a_client() {
    let told = Told::start(Config::to_file());
    let port = told.port.to_string();
    let said = typed(&["nc", "127.0.0.1", &port], "status\nquit\n");
    assert!(
        said.starts_with("worker ") && said.ends_with("OK\nOK\n"),
        "{said}"
    );
}

#[test]
fn telnet_is_a_client() {
    let told = Told::start(Config::to_file());
    let said = |port: &str| {
        let shown = typed(&["telnet", "--", "127.0.0.1", port], "status\nquit\n");
        let (_, said) = shown.split_once("Escape character is '^]'.\n").unwrap();
        said.to_owned()
    };
    let plain = said(&told.port.to_string());
    assert!(
        plain.starts_with("worker ") && plain.contains("OK\nOK\n"),
        "{plain}"
    );
    // It negotiates when the port is written so; then a person sits there.
    let negotiated = said(&format!("-{}", told.port)).replace('\r', "");
    assert!(negotiated.starts_with("Baton "), "{negotiated}");
    assert!(negotiated.contains("baton> worker "), "{negotiated}");
    assert!(negotiated.contains("OK\nbaton> OK\n"), "{negotiated}");
    assert!(!negotiated.contains("ERR "), "{negotiated}");
}

#[test]
fn a_client_that_negotiates_has_a_prompt() {
    let told = Told::start(Config::to_file());
    let mut session = told.session();
    // DO SUPPRESS-GO-AHEAD, WILL TERMINAL-TYPE: both are refused.
    session.write(b"\xff\xfd\x03\xff\xfb\x18");
    let mut refused = [0; 6];
    session.0.read_exact(&mut refused).unwrap();
    assert_eq!(&refused, b"\xff\xfc\x03\xff\xfe\x18");
    assert!(session.line().ends_with(": help lists the commands\r"));
    session.write("trace a.b\r\0\r\nquit\r\n");
    let rest = session.rest();
    assert!(rest.starts_with("baton> a.b\r\n"), "{rest:?}");
    assert!(rest.ends_with("\r\nOK\r\nbaton> baton> OK\r\n"), "{rest:?}");
}

#[test]
fn what_flows_is_told_until_a_line_comes() {
    let told = Told::start(Config::to_file());
    let mut session = told.session();
    session.write("subscribe at=in prefix=seen.\n");
    // It has begun when something comes.
    let mut sent = 0;
    session.0.get_ref().set_nonblocking(true).unwrap();
    wait_for("the subscription", || {
        sent += 1;
        told.relay
            .send(format!("seen.a {sent} 1790000000\nother.a 1 1790000000\n"));
        let mut first = [0; 1];
        session.0.get_ref().peek(&mut first).is_ok()
    });
    session.0.get_ref().set_nonblocking(false).unwrap();
    session.write("\n");
    let lines = session.answer();
    assert_eq!(lines.last().unwrap(), "OK");
    assert!(lines[0].starts_with("seen.a "), "{lines:?}");
    assert!(
        !lines.iter().any(|line| line.contains("other")),
        "{lines:?}"
    );
    assert!(session.refused("subscribe at=nowhere").contains("routed"));
    session.done("route list");
}
