//! A machine that `tests/systemd_real/machine` boots, seen from outside.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Above what anything in here takes, on a machine that is busy with other things too.
pub const LIMIT: Duration = Duration::from_secs(40);
/// Before a command of one who isn't root.
pub const AS_DAEMON: [&str; 4] = ["setpriv", "--reuid=1", "--regid=1", "--clear-groups"];
/// What the script ends with where it can't be done.
const NOT_POSSIBLE: i32 = 77;

/// systemd as process 1 of its own namespaces. Dropped, it is gone with all that ran in it.
#[derive(Debug)]
pub struct Guest {
    script: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Its process 1, as this machine numbers it.
    init: String,
}

impl Guest {
    /// Boots one, and moves this thread and those that it starts into its network. `None` where that can't be done: then the
    /// reason is told.
    pub fn boot() -> Option<Guest> {
        let mut script = Command::new(source("tests/systemd_real/machine"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = script.stdin.take();
        let answers = BufReader::new(script.stdout.take().unwrap());
        let mut guest = Guest {
            script,
            orders,
            answers,
            init: String::new(),
        };
        if !guest.comes_up() {
            let end = guest.script.wait().unwrap();
            assert_eq!(end.code(), Some(NOT_POSSIBLE), "the machine failed");
            eprintln!("SKIPPED: nothing was tried under a real systemd");
            return None;
        }
        let network = format!("/proc/{}/ns/net", guest.script.id());
        let network = fs::File::open(network).unwrap();
        let network = std::os::fd::AsFd::as_fd(&network);
        move_into_link_name_space(network, Some(LinkNameSpaceType::Network)).unwrap();
        Some(guest)
    }

    fn comes_up(&mut self) -> bool {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        match line.trim_end().strip_prefix("up ") {
            Some(init) => self.init = init.to_owned(),
            None => return false,
        }
        true
    }

    fn order(&mut self, order: &str) {
        let orders = self.orders.as_mut().unwrap();
        writeln!(orders, "{order}").unwrap();
    }

    /// Powers it off.
    pub fn power_off(&mut self) {
        self.order("down");
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert_eq!(line, "down\n");
    }

    /// Boots it again, after `power_off`.
    pub fn power_on(&mut self) {
        self.order("up");
        assert!(self.comes_up(), "it doesn't boot again");
    }

    /// Where a file of it is found from here.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// Puts a file in its place at once, as package managers do.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = path.with_added_extension("new");
        fs::write(&new, content).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Runs a command in it.
    pub fn run(&self, command: &[&str]) -> Output {
        Command::new("nsenter")
            .args(["--target", &self.init, "--all", "--wdns=/", "--"])
            .args(command)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a command writes that is to succeed.
    pub fn ok(&self, command: &[&str]) -> String {
        let run = self.run(command);
        let told = text(&run);
        assert!(run.status.success(), "{command:?}: {told}");
        told
    }

    /// A property of a unit.
    pub fn show(&self, unit: &str, property: &str) -> String {
        let property = format!("--property={property}");
        let shown = self.ok(&["systemctl", "show", "--value", &property, unit]);
        shown.trim().to_owned()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.init.is_empty() {
            let journal = self.run(&["journalctl", "--no-pager", "--lines=200"]);
            eprintln!("the journal:\n{}", text(&journal));
        }
        // The end of its orders is the end of it.
        self.orders = None;
        let _status = self.script.wait();
    }
}

/// A file of the project.
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// All that a command wrote.
pub fn text(run: &Output) -> String {
    let both = [run.stdout.as_slice(), &run.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
