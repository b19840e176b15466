//! Carbon itself, from PyPI, takes what Baton sends. Python and pip make an environment for it under `target/`, once.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::relay::{Config, LIMIT, Relay};

/// Changed when another environment is wanted.
const PACKAGES: &[&str] = &["carbon==1.1.10"];

/// The interpreter of an environment that has carbon.
fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let environment = root.join("carbon-1.1.10");
    let done = environment.join("done");
    // Test processes are many; one of them makes it.
    let lock = fs::File::create(root.join("carbon.lock")).unwrap();
    lock.lock().unwrap();
    if !done.exists() {
        let _none_yet = fs::remove_dir_all(&environment);
        let run = |program: &Path, arguments: &[&str]| {
            let done = Command::new(program).args(arguments).output().unwrap();
            assert!(done.status.success(), "{program:?} {arguments:?}: {done:?}");
        };
        run(
            Path::new("python3"),
            &["-m", "venv", environment.to_str().unwrap()],
        );
        let install = [
            &[
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ],
            PACKAGES,
        ]
        .concat();
        run(&environment.join("bin/python"), &install);
        fs::write(done, "").unwrap();
    }
    environment.join("bin/python")
}

/// Carbon's receiver, in a process of its own.
struct Carbon {
    child: Child,
    /// It ends when this is closed.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    port: u16,
}

impl Carbon {
    fn start() -> Carbon {
        let mut child = Command::new(python())
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pickle_out/carbon_receiver.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        output.read_line(&mut port).unwrap();
        let port = port.trim().parse().unwrap_or_else(|_| {
            let mut said = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut said)
                .unwrap();
            panic!("carbon did not start: {said}")
        });
        Carbon {
            child,
            input,
            output,
            port,
        }
    }

    /// The next points that it has taken: name, value and timestamp as Python shows them.
    fn points(&mut self, count: usize) -> Vec<String> {
        let points = self.output.by_ref().lines().take(count);
        let points: Vec<String> = points.map(Result::unwrap).collect();
        assert_eq!(points.len(), count, "it ended");
        points
    }

    /// Ends it; returns what it has logged.
    fn end(mut self) -> String {
        drop(self.input.take());
        let mut said = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }
}

impl Drop for Carbon {
    fn drop(&mut self) {
        // A test that fails leaves nothing behind.
        let _has_ended = self.child.kill();
        let _is_gone = self.child.wait();
    }
}

#[test]
fn case_30_carbon_takes_the_frames() {
    let mut carbon = Carbon::start();
    let to = format!("127.0.0.1:{} id=carbon pickle=true", carbon.port);
    let mut relay = Relay::start(&Config::to(&[&to]));
    let rest: String = (0..2_000)
        .map(|n| format!("many.{n} {n}.25 1700000000\n"))
        .collect();
    let text = format!(
        "foo.bar 1.5 1700000000\nwhole 42 1700000000\nsmall 1e-11 0\nbig 12345678901234567890 4294967295\n\
         neg -0.0 2147483648\nt\u{e4}g;host=\u{20ac} .5 1700000000.9\n{rest}"
    );
    relay.send(&text);
    let points = carbon.points(2_006);
    assert_eq!(
        points[..6],
        [
            "foo.bar 1.5 1700000000.0",
            "whole 42.0 1700000000.0",
            "small 1e-11 0.0",
            "big 1.2345678901234567e+19 4294967295.0",
            "neg -0.0 2147483648.0",
            "t\u{e4}g;host=\u{20ac} 0.5 1700000000.0",
        ]
    );
    for (n, point) in points[6..].iter().enumerate() {
        assert_eq!(*point, format!("many.{n} {n}.25 1700000000.0"));
    }
    relay.wait_done(2_006);
    relay.check_books();
    let said = carbon.end();
    assert!(
        !said.contains("invalid pickle") && !said.contains("Traceback"),
        "{said}"
    );
}

#[test]
fn case_30_of_names_that_carbon_cannot_read_it_ignores_those_alone() {
    let mut carbon = Carbon::start();
    let to = format!("127.0.0.1:{} id=carbon pickle=true", carbon.port);
    let mut relay = Relay::start(&Config::to(&[&to]));
    relay.send(b"a 1 1700000000\nb\xff 2 1700000000\nc\xfe\xff 3 1700000000\nd 4 1700000000\n");
    assert_eq!(
        carbon.points(2),
        ["a 1.0 1700000000.0", "d 4.0 1700000000.0"]
    );
    let status = relay.wait_done(4);
    assert_eq!(status.of_destination("carbon", "connects"), Some(1));
    relay.check_books();
    let said = carbon.end();
    assert_eq!(said.matches("invalid pickle").count(), 1, "{said}");
}

#[test]
fn carbon_takes_what_a_restart_goes_on_with() {
    let mut carbon = Carbon::start();
    let to = format!("127.0.0.1:{} id=carbon pickle=true", carbon.port);
    let config = Config::to(&[&to]);
    let mut relay = Relay::start(&config);
    let line = |n: usize| format!("many.{n} {n} 1700000000\n");
    let mut points = Vec::new();
    for part in 0..5 {
        relay.send(
            (part * 20_000..(part + 1) * 20_000)
                .map(line)
                .collect::<String>(),
        );
        match part {
            4 => {
                relay.instance.kill_worker(LIMIT).unwrap();
                relay.instance.wait_serving(LIMIT).unwrap();
            }
            _ => relay.reconfigure(&config),
        }
        points.extend(carbon.points(20_000));
    }
    for (n, point) in points.iter().enumerate() {
        assert_eq!(*point, format!("many.{n} {n}.0 1700000000.0"));
    }
    let status = relay.wait_done(100_000);
    assert_eq!(status.of_destination("carbon", "connects"), Some(1));
    relay.check_books();
    carbon.end();
}
