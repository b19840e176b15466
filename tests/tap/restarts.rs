//! Subscribers through restarts.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::client::Events;
use crate::relay::{Config, Relay, wait_for};
use crate::websocket::Socket;

/// `baton tail`, and what it shows.
struct Tail {
    child: Child,
    shown: [Arc<Mutex<Vec<String>>>; 2],
}

impl Tail {
    fn start(args: &[&str]) -> Tail {
        let mut child = Command::new(env!("CARGO_BIN_EXE_baton"))
            .arg("tail")
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = read(child.stdout.take().unwrap());
        let err = read(child.stderr.take().unwrap());
        Tail {
            child,
            shown: [out, err],
        }
    }

    fn has(&self, stream: usize, text: &str) -> bool {
        let shown = self.shown[stream].lock().unwrap();
        shown.iter().any(|line| line.contains(text))
    }

    fn wait(&mut self) -> Option<i32> {
        wait_for("its end", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn read(stream: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let to = lines.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            to.lock().unwrap().push(line);
        }
    });
    lines
}

fn send_until(relay: &Relay, line: &str, what: &str, seen: impl Fn() -> bool) {
    wait_for(what, || {
        relay.send(format!("{line} 1 1790000000\n"));
        seen()
    });
}

#[test]
fn tails_resume_through_five_restarts() {
    let mut relay = Relay::start(&Config::to_file());
    let unix = format!("unix:{}", relay.instance.path("api.sock").display());
    let tcp = format!("http://127.0.0.1:{}", relay.http);
    let tails = [
        Tail::start(&["--api", &unix, "--prefix", "round"]),
        Tail::start(&["--api", &tcp, "--json", "--glob", "round*"]),
    ];
    for round in 0..6 {
        let mut events = Events::open(relay.http, "prefix=none");
        let mut socket = Socket::open(relay.http, "prefix=none").unwrap();
        let line = format!("round{round}");
        send_until(&relay, &line, "the line", || {
            tails[0].has(0, &line) && tails[1].has(0, &line)
        });
        if round < 5 {
            let done = relay.instance.reload().unwrap();
            assert!(
                matches!(done, baton::drill::Reload::Done { .. }),
                "{done:?}"
            );
            assert_eq!(
                events.next().map(|(event, _)| event).as_deref(),
                Some("restarting")
            );
            assert!(events.next().is_none());
            assert_eq!(socket.frame(), (8, 1012_u16.to_be_bytes().to_vec()));
        }
    }
    let out = tails[1].shown[0].lock().unwrap().clone();
    let all = out.iter().all(|line| line.starts_with("{\"line\":\"round"));
    assert!(all, "{out:?}");
    assert!(tails[0].has(1, "connecting again") && tails[0].has(1, "connected again"));
    drop(tails);
    relay.check_books();
}

#[test]
fn a_tail_ends_after_so_many_lines_and_says_what_is_wrong() {
    let relay = Relay::start(&Config::to_file());
    let tcp = format!("http://127.0.0.1:{}", relay.http);
    let mut tail = Tail::start(&["--api", &tcp, "--at", "rejected", "--json", "--count", "1"]);
    wait_for("a rejected line", || {
        relay.send("bad x 1\n");
        tail.has(0, "bad")
    });
    let text = tail.shown[0].lock().unwrap().clone();
    assert_eq!(text, ["{\"line\":\"bad x 1\",\"reason\":\"value\"}"]);
    assert_eq!(tail.wait(), Some(0));
    let mut bad = Tail::start(&["--api", &tcp, "--regex", "a("]);
    assert_eq!(bad.wait(), Some(1));
    wait_for("why", || bad.has(1, "is not a regular expression"));
    // Nobody reads it any more.
    let pipe = format!(
        "{} tail --api {tcp} | head -n 1",
        env!("CARGO_BIN_EXE_baton")
    );
    let mut piped = Command::new("sh")
        .args(["-c", &pipe])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the pipe's end", || {
        relay.send("line 1 1790000000\n");
        piped.try_wait().unwrap().is_some()
    });
    let output = piped.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "line 1 1790000000\n"
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    relay.check_books();
}
