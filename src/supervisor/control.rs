//! The control socket: how the command line reaches the daemon.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};

use super::sockets::remove_stale;
use crate::handover::{Answer, Link, Request};

/// Clients at one time; more wait in the accept queue.
const MAX_CLIENTS: usize = 64;
/// How long a worker may take for its part of the status.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// The listening control socket and its clients.
#[derive(Debug)]
pub struct Control {
    /// Accepts; mode 0600.
    pub socket: OwnedFd,
    path: PathBuf,
    /// Held for life, so that no two daemons share a control socket.
    _lock: File,
    /// Who is connected.
    pub clients: Vec<Client>,
    next_id: u64,
}

/// One command line.
#[derive(Debug)]
pub struct Client {
    /// The conversation.
    pub link: Link,
    /// Its number among clients.
    pub id: u64,
    /// It waits for the end of a reload.
    pub waits_reload: bool,
    /// And wants to hear of its probation.
    pub wants_watching: bool,
    /// It waits for a worker's report, until then.
    pub waits_report: Option<Instant>,
    /// And a worker was asked for that.
    pub is_asked_for: bool,
    /// It waits for what this worker does to the spool.
    pub waits_spool: Option<u64>,
    /// It waits for what this worker says of metrics.
    pub waits_trace: Option<u64>,
}

impl Control {
    /// Binds the socket.
    ///
    /// # Errors
    /// `AddrInUse` when another daemon holds the lock file beside it.
    pub fn open(path: &Path) -> io::Result<Control> {
        let lock_path = path.with_added_extension("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", lock_path.display())))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("another baton runs here (it holds {})", lock_path.display()),
            )
        })?;
        remove_stale(path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // The mode of the file is that of the socket at bind: there is no moment at which others
        // could connect.
        rustix::fs::fchmod(&socket, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        listen(&socket, 64)?;
        Ok(Control {
            socket,
            path: path.to_owned(),
            _lock: lock,
            clients: Vec::new(),
            next_id: 0,
        })
    }

    /// Whether more clients are accepted now.
    pub fn accepts(&self) -> bool {
        self.clients.len() < MAX_CLIENTS
    }

    /// Accepts those who wait.
    pub fn accept(&mut self) {
        while self.accepts() {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match accept_with(self.socket.as_fd(), flags) {
                Ok(socket) => {
                    self.next_id += 1;
                    self.clients.push(Client {
                        link: Link::new(socket),
                        id: self.next_id,
                        waits_reload: false,
                        wants_watching: false,
                        waits_report: None,
                        is_asked_for: false,
                        waits_spool: None,
                        waits_trace: None,
                    });
                }
                Err(rustix::io::Errno::WOULDBLOCK) => return,
                Err(error) => {
                    tracing::warn!(%error, "a control connection could not be accepted");
                    return;
                }
            }
        }
    }

    /// Reads a client's request, and what came beside it. `None`: nothing complete, or it is gone (and removed).
    pub fn read(&mut self, id: u64) -> Option<(Request, Vec<OwnedFd>)> {
        let at = self.clients.iter().position(|c| c.id == id)?;
        match self.clients[at].link.receive::<Request>(false) {
            Ok(Some(request)) => Some(request),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Ok(None) => {
                self.clients.remove(at);
                None
            }
            Err(error) => {
                let reason = format!("not understood: {error}");
                self.answer(id, &Answer::Refused { reason }, None);
                None
            }
        }
    }

    /// Notes what a client waits for.
    pub fn client(&mut self, id: u64) -> Option<&mut Client> {
        self.clients.iter_mut().find(|c| c.id == id)
    }

    /// Answers a client. One that doesn't read its answers is cut off.
    pub fn answer(&mut self, id: u64, answer: &Answer, beside: Option<&OwnedFd>) {
        if let Some(client) = self.client(id) {
            client.waits_reload = false;
            client.waits_report = None;
            client.waits_spool = None;
            client.waits_trace = None;
        }
        self.say(id, answer, beside);
    }

    /// Tells a client something before its answer.
    pub fn say(&mut self, id: u64, answer: &Answer, beside: Option<&OwnedFd>) {
        let Some(at) = self.clients.iter().position(|c| c.id == id) else {
            return;
        };
        let client = &mut self.clients[at];
        let fds: Vec<_> = beside.iter().map(|fd| fd.as_fd()).collect();
        if let Err(error) = client.link.try_send(answer, &fds) {
            tracing::debug!(%error, "a control client could not be answered");
            self.clients.remove(at);
        }
    }

    /// A client begins to wait for a worker's report.
    pub fn wait_report(&mut self, id: u64, now: Instant) {
        if let Some(client) = self.client(id) {
            client.waits_report = Some(now + REPORT_TIMEOUT);
            client.is_asked_for = false;
        }
    }

    /// Takes note that a worker is asked for the reports of those clients for whom none was yet; who they are.
    pub fn ask_for_rest(&mut self) -> Vec<u64> {
        let waits = |c: &&mut Client| c.waits_report.is_some() && !c.is_asked_for;
        let clients = self.clients.iter_mut().filter(waits);
        let asked = clients.map(|client| {
            client.is_asked_for = true;
            client.id
        });
        asked.collect()
    }

    /// Clients whose worker didn't answer in time.
    pub fn overdue(&self, now: Instant) -> Vec<u64> {
        let due = |c: &&Client| c.waits_report.is_some_and(|at| now >= at);
        self.clients.iter().filter(due).map(|c| c.id).collect()
    }

    /// Clients who wait for a worker's report, which died.
    pub fn all_waiting(&self) -> Vec<u64> {
        let waits = self.clients.iter().filter(|c| c.waits_report.is_some());
        waits.map(|c| c.id).collect()
    }

    /// Clients who wait for what this worker does to the spool.
    pub fn waiting_for(&self, worker: u64) -> Vec<u64> {
        let waits = self
            .clients
            .iter()
            .filter(|c| c.waits_spool == Some(worker));
        waits.map(|c| c.id).collect()
    }

    /// Clients who wait for what this worker says of metrics.
    pub fn asking(&self, worker: u64) -> Vec<u64> {
        let asking = self.clients.iter();
        let asking = asking.filter(|c| c.waits_trace == Some(worker));
        asking.map(|c| c.id).collect()
    }

    /// When `overdue` has something to say.
    pub fn deadline(&self) -> Option<Instant> {
        self.clients.iter().filter_map(|c| c.waits_report).min()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The lock file stays: removing it would let two daemons lock two files of one name.
        let _gone_already = std::fs::remove_file(&self.path);
    }
}
