//! A private Baton: started, asked, hurt and stopped without touching anything outside its folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};

use super::folder::Folder;
use super::{Error, Status, Step};
use crate::handover::{Client, Request};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// How long a status may take.
const ANSWER: Duration = Duration::from_secs(10);
/// A reload waits for the new worker and its probation.
const RELOAD: Duration = Duration::from_secs(120);
/// How much of a log an error shows.
const LOG_END: usize = 4096;

/// An instance that is not started yet. Its folder is there, so that a test can add to it.
#[derive(Debug)]
pub struct Setup {
    folder: Folder,
    binary: PathBuf,
    wrapper: Vec<String>,
    environment: Vec<(String, String)>,
    ready_within: Duration,
}

impl Setup {
    /// Makes the folder and writes the config, whose relative paths lead into the folder and whose control
    /// socket must be `unix:control.sock`.
    pub fn new(binary: impl Into<PathBuf>, config: &str) -> Result<Self, Error> {
        let folder = Folder::create().step("make a temporary folder")?;
        let setup = Self {
            folder,
            binary: binary.into(),
            wrapper: Vec::new(),
            environment: Vec::new(),
            ready_within: Duration::from_secs(30),
        };
        fs::write(setup.path("baton.toml"), config).step("write the config")?;
        Ok(setup)
    }

    /// Sets an environment variable of the instance.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts it by a shell command in the folder, which ends in `exec "$@"`: to limit it, or to give it file
    /// systems of its own.
    pub fn shell(mut self, command: &str) -> Self {
        self.wrapper = ["sh", "-c", command, "sh"].map(String::from).into();
        self
    }

    /// Starts it by a link in the folder, `baton`, in whose place a test can put another binary.
    pub fn linked(mut self) -> Result<Self, Error> {
        let link = self.path("baton");
        std::os::unix::fs::symlink(&self.binary, &link).step("link the binary")?;
        self.binary = link;
        Ok(self)
    }

    /// How long it may take until a worker serves; 30 s unless set.
    pub fn ready_within(mut self, limit: Duration) -> Self {
        self.ready_within = limit;
        self
    }

    /// Leaves the folder, with config and log, where it is.
    pub fn keep(mut self) -> Self {
        self.folder.keep();
        self
    }

    /// Where a file of the folder is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the supervisor and waits until a worker serves.
    pub fn start(self) -> Result<Instance, Error> {
        let log = fs::File::create(self.path("log")).step("make the log file")?;
        let also = log.try_clone().step("share the log file")?;
        let wrapper = self.wrapper.iter().map(PathBuf::from);
        let words: Vec<PathBuf> = wrapper.chain([self.binary.clone()]).collect();
        let supervisor = Command::new(&words[0])
            .args(&words[1..])
            .arg("run")
            .arg("--config")
            .arg(self.path("baton.toml"))
            // An instance started from a service must not speak for it, nor take over its sockets.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_PID")
            .env_remove("WATCHDOG_USEC")
            .env_remove("RUNTIME_DIRECTORY")
            .env_remove("STATE_DIRECTORY")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(also)
            .stderr(log)
            .spawn()
            .step(format!("start {}", self.binary.display()))?;
        let mut instance = Instance {
            binary: self.binary,
            supervisor,
            workers: BTreeMap::new(),
            ended: None,
            folder: self.folder,
        };
        instance.wait_serving(self.ready_within)?;
        Ok(instance)
    }
}

/// A private Baton that runs. Dropped, it is killed with all its processes.
#[derive(Debug)]
pub struct Instance {
    binary: PathBuf,
    supervisor: Child,
    /// Every worker that `status` named. A pid may be another's by the time it is signalled; a pidfd not.
    workers: BTreeMap<i32, OwnedFd>,
    ended: Option<ExitStatus>,
    folder: Folder,
}

/// How a reload ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// A new worker serves.
    Done {
        /// Its number.
        generation: u64,
        /// How long nobody read, if the instance said so.
        pause: Option<Duration>,
    },
    /// The old worker serves on.
    Refused {
        /// Why, in the instance's words.
        reason: String,
    },
}

impl Instance {
    /// Starts a Baton with this config and waits until it serves; see [`Setup`] for more.
    pub fn start(binary: impl Into<PathBuf>, config: &str) -> Result<Self, Error> {
        Setup::new(binary, config)?.start()
    }

    /// The folder that all it writes is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a file of the folder is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Leaves the folder, with config and log, where it is.
    pub fn keep(&mut self) {
        self.folder.keep();
    }

    /// Replaces the config on disk; a reload makes it count.
    pub fn rewrite(&self, config: &str) -> Result<(), Error> {
        let new = self.path("baton.toml.new");
        fs::write(&new, config).step("write the new config")?;
        fs::rename(new, self.path("baton.toml")).step("replace the config")
    }

    /// The supervisor's pid.
    pub fn pid(&self) -> i32 {
        self.supervisor.id() as i32
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.path("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends any request over the control socket.
    pub fn ask(&self, request: &Value, within: Duration) -> io::Result<Value> {
        let request: Request = serde_json::from_value(request.clone())?;
        let answer = Client::connect(&self.path("control.sock"))?.ask(request, Some(within))?;
        Ok(serde_json::to_value(answer)?)
    }

    /// Asks how it is.
    pub fn status(&mut self) -> Result<Status, Error> {
        self.status_within(ANSWER)
    }

    fn status_within(&mut self, limit: Duration) -> Result<Status, Error> {
        let answer = self.ask(&json!({"type": "status"}), limit);
        let answer = answer.step("ask for the status")?;
        if answer["type"] != "status" {
            return Err(unexpected("status", &answer));
        }
        let status = Status::new(answer);
        if let Some(pid) = status.worker_pid() {
            self.learn(pid);
        }
        Ok(status)
    }

    /// The process that relays, waiting for one if there is none just now.
    pub fn worker_pid(&mut self) -> Result<i32, Error> {
        let status = self.wait_serving(ANSWER)?;
        status
            .worker_pid()
            .ok_or_else(|| unexpected("status", status.document()))
    }

    /// Restarts the worker, and waits until the new one has passed its probation or was refused.
    pub fn reload(&mut self) -> Result<Reload, Error> {
        let answer = self.ask(&json!({"type": "reload"}), RELOAD);
        let answer = answer.step("ask for a reload")?;
        match answer["type"].as_str() {
            Some("reloaded") => Ok(Reload::Done {
                generation: answer["generation"].as_u64().unwrap_or_default(),
                pause: answer["pause_us"].as_u64().map(Duration::from_micros),
            }),
            Some("refused") => Ok(Reload::Refused {
                reason: answer["reason"].as_str().unwrap_or_default().to_owned(),
            }),
            _ => Err(unexpected("reload", &answer)),
        }
    }

    /// Signals the supervisor.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        // Once it was waited for, its pid may be anybody's.
        let sent = match self.ended {
            Some(_) => Err(Errno::ESRCH),
            None => kill(Pid::from_raw(self.pid()), signal),
        };
        sent.step(format!("send {signal} to the supervisor"))
    }

    /// Kills the worker and waits until another one serves in its place.
    pub fn kill_worker(&mut self, limit: Duration) -> Result<(), Error> {
        let before = self.worker_pid()?;
        if let Some(worker) = self.workers.get(&before) {
            pidfd_send_signal(worker, rustix::process::Signal::KILL).step("kill the worker")?;
        }
        let other = |status: &Status| status.is_serving() && status.worker_pid() != Some(before);
        self.wait_status("the replacement of a killed worker", limit, other)?;
        Ok(())
    }

    /// Waits until a worker serves.
    pub fn wait_serving(&mut self, limit: Duration) -> Result<Status, Error> {
        self.wait_status("the start", limit, Status::is_serving)
    }

    /// Waits until the status is as wanted. That there is none yet is no error until `limit`.
    pub fn wait_status(
        &mut self,
        what: &'static str,
        limit: Duration,
        mut wanted: impl FnMut(&Status) -> bool,
    ) -> Result<Status, Error> {
        let deadline = Instant::now() + limit;
        loop {
            // An instance that accepts and does not answer must not outlast the limit.
            let left = deadline.saturating_duration_since(Instant::now());
            if let Ok(status) = self.status_within(left.clamp(LOOK, ANSWER))
                && wanted(&status)
            {
                return Ok(status);
            }
            if let Some(status) = self.has_ended()? {
                return Err(Error::Ended {
                    binary: self.binary.clone(),
                    status,
                    log: self.log_end(),
                });
            }
            self.in_time(what, limit, deadline)?;
        }
    }

    /// Stops it as a service manager would (SIGTERM), and waits for its end.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        if self.has_ended()?.is_none() {
            self.signal(Signal::SIGTERM)?;
        }
        self.wait_ended(limit)
    }

    /// Waits until the supervisor has ended.
    pub fn wait_ended(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.has_ended()? {
                return Ok(status);
            }
            self.in_time("the end", limit, deadline)?;
        }
    }

    fn has_ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        if self.ended.is_none() {
            self.ended = self.supervisor.try_wait().step("wait for the supervisor")?;
        }
        Ok(self.ended)
    }

    fn in_time(&self, what: &'static str, limit: Duration, until: Instant) -> Result<(), Error> {
        if Instant::now() < until {
            std::thread::sleep(LOOK);
            return Ok(());
        }
        Err(Error::Late {
            what,
            limit,
            log: self.log_end(),
        })
    }

    /// The end of the log, for a message.
    pub(super) fn log_end(&self) -> String {
        let log = self.log();
        let from = log.ceil_char_boundary(log.len().saturating_sub(LOG_END));
        log[from..].to_owned()
    }

    fn learn(&mut self, worker: i32) {
        if self.workers.contains_key(&worker) {
            return;
        }
        let pid = rustix::process::Pid::from_raw(worker);
        // One that is gone by now needs no end.
        if let Some(Ok(pidfd)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            self.workers.insert(worker, pidfd);
        }
    }

    /// Learns of the workers that no status named, from the kernel.
    fn learn_children(&mut self) {
        let pid = self.pid();
        let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        for child in list.unwrap_or_default().split_whitespace() {
            if let Ok(child) = child.parse() {
                self.learn(child);
            }
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A failed test is understood by this, and the folder is about to go.
            let _ = writeln!(io::stderr(), "the instance's log:\n{}", self.log());
        }
        if !matches!(self.has_ended(), Ok(Some(_))) {
            // Stopped first: it must not replace the workers that are killed.
            let _ = self.signal(Signal::SIGSTOP);
            self.learn_children();
            let _ = self.supervisor.kill();
            let _ = self.supervisor.wait();
        }
        for worker in self.workers.values() {
            let _ = pidfd_send_signal(worker, rustix::process::Signal::KILL);
        }
    }
}

fn unexpected(request: &'static str, answer: &Value) -> Error {
    Error::Answer {
        request,
        answer: answer.to_string(),
    }
}
