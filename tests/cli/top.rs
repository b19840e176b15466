//! `baton top`, once and on a terminal.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::bed::Bed;
use crate::relay::wait_for;

#[test]
fn once_is_a_page_of_text() {
    let mut bed = Bed::start();
    bed.with_backlog(50);
    bed.relay.send(b"no\na 1 1790000000\n");
    let page = bed.done(&["top", "--once", "--interval", "100ms", "--sort", "name"]);
    for part in [
        "baton 0",
        "generation 1: serving",
        "lines/s: ",
        "LISTENER",
        "DESTINATION",
        "rejected: ",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let at = |what: &str| {
        page.lines()
            .position(|line| line.starts_with(what))
            .unwrap()
    };
    assert!(at("out ") < at("slow "), "{page}");
    let slow = page.lines().nth(at("slow ")).unwrap();
    assert!(slow.contains(" slow ") && slow.contains("never"), "{slow}");
    assert!(!page.contains('\x1b'));
    let page = bed.done(&[
        "top",
        "--once",
        "--interval",
        "100ms",
        "--filter",
        "slow",
        "--sort",
        "queue",
    ]);
    assert!(!page.contains("\nout "), "{page}");
    let document = bed.json(&["top", "--interval", "100ms", "--sort", "spool"]);
    assert_eq!(document["destinations"].as_array().unwrap().len(), 2);
    assert_eq!(document["serving"], true);
}

#[test]
fn without_a_terminal_it_is_refused() {
    let bed = Bed::start();
    let said = bed.failed(1, &["top"]);
    assert!(said.contains("top needs a terminal; --once"), "{said}");
    bed.failed(2, &["top", "--interval", "1ms"]);
}

/// A `top` on a terminal of its own, and what that has been sent.
struct Top {
    child: Child,
    keys: Option<std::process::ChildStdin>,
    shown: Arc<Mutex<String>>,
}

impl Top {
    fn start(bed: &Bed) -> Top {
        let binary = env!("CARGO_BIN_EXE_baton");
        // Behind it: whether it ended well, and that the terminal is as it was.
        let command = format!(
            "stty cols 120 rows 30; stty -a > before; {binary} top --interval 100ms --config baton.toml; \
             echo ended $?; stty -a | diff before - && echo same"
        );
        let mut child = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .current_dir(&bed.folder)
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .env_remove("RUNTIME_DIRECTORY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let mut out = child.stdout.take().unwrap();
        let all = shown.clone();
        std::thread::spawn(move || {
            let mut some = [0; 65536];
            while let Ok(length @ 1..) = out.read(&mut some) {
                all.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&some[..length]));
            }
        });
        let keys = child.stdin.take();
        Top { child, keys, shown }
    }

    #[track_caller]
    fn wait(&self, what: &str) {
        wait_for(what, || self.shown.lock().unwrap().contains(what));
    }

    fn press(&mut self, keys: &str) {
        self.keys
            .as_mut()
            .unwrap()
            .write_all(keys.as_bytes())
            .unwrap();
    }

    #[track_caller]
    fn ends(mut self, status: &str) {
        self.wait(status);
        self.wait("same");
        drop(self.keys.take());
        self.child.wait().unwrap();
        // The screen was given back.
        assert!(self.shown.lock().unwrap().contains("\x1b[?1049l"));
    }
}

#[test]
fn on_a_terminal_it_sorts_filters_pauses_and_lives_through_a_restart() {
    let mut bed = Bed::start();
    let mut top = Top::start(&bed);
    top.wait("\x1b[?1049h");
    top.wait("DESTINATION");
    // Blanks are skipped by moving the cursor: words are looked for one by one.
    top.wait("(rate)");
    top.press("s");
    top.wait("queue");
    bed.relay.instance.reload().unwrap();
    wait_for("the new generation", || {
        top.press("\x0c");
        std::thread::sleep(std::time::Duration::from_millis(50));
        top.shown.lock().unwrap().contains("2:")
    });
    top.press("p");
    top.wait("paused");
    top.press("p");
    top.press("/zz\x0c");
    top.wait("zz_");
    top.press("\r\x0c");
    top.wait("\"zz\"");
    top.press("q");
    top.ends("ended 0");
}

#[test]
fn ctrl_c_and_a_signal_give_the_terminal_back() {
    let bed = Bed::start();
    let mut top = Top::start(&bed);
    top.wait("DESTINATION");
    top.press("\x03");
    top.ends("ended 0");
    let top = Top::start(&bed);
    top.wait("DESTINATION");
    let parent = top.child.id().to_string();
    let all = Command::new("ps")
        .args(["-eo", "pid,args"])
        .output()
        .unwrap();
    let all = String::from_utf8_lossy(&all.stdout).into_owned();
    assert!(!parent.is_empty());
    let folder = bed.folder.display().to_string();
    let own = all.lines().filter_map(|line| {
        let (pid, args) = line.trim().split_once(' ')?;
        let here = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        let is_top = args.contains("baton top") && !args.contains("stty");
        (is_top && here == std::path::Path::new(&folder)).then(|| pid.to_owned())
    });
    let own: Vec<String> = own.collect();
    assert_eq!(own.len(), 1, "{all}");
    let pid = nix::unistd::Pid::from_raw(own[0].parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    top.ends("ended 0");
}

#[test]
fn a_daemon_that_goes_is_told_and_what_was_seen_stays() {
    let mut bed = Bed::start();
    let mut top = Top::start(&bed);
    top.wait("DESTINATION");
    bed.relay.instance.stop(crate::relay::LIMIT).unwrap();
    top.wait("no answer");
    top.press("q");
    top.ends("ended 0");
}
