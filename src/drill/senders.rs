//! The clients: long-lived connections that write numbered lines, cut at random bytes.
//!
//! One thread drives them all, with non-blocking sockets and one epoll: it has to hold ten thousand of them.
//! Nothing is ever reconnected. A write that fails, a connection that the relay closes or answers on, a
//! datagram that is refused: each is a client error, and a relay that keeps its promise causes none.

mod flow;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::Clock;
use flow::{Client, Random};

/// How often a paced sender writes.
const TICK: Duration = Duration::from_millis(1);
/// In this time each idle connection has its turn once.
const IDLE_ROUND: Duration = Duration::from_secs(5);
/// How many of the client errors are kept to be shown.
const SAMPLES: usize = 8;

/// Where lines are sent.
#[derive(Clone, Debug)]
pub enum Target {
    /// A TCP listener.
    Tcp(SocketAddr),
    /// A unix stream listener.
    Unix(PathBuf),
    /// A UDP socket; each connection is a connected socket of its own, so that it hears of refusals.
    Udp(SocketAddr),
}

/// When the lines end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// After this many, over all connections but the idle ones.
    Exactly(u64),
    /// When [`Senders::finish`] is called, but not before this many.
    AtLeast(u64),
}

/// What senders shall do.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where to.
    pub target: Target,
    /// Connections that share the lines.
    pub connections: u32,
    /// Connections beside those that send a line every few seconds, and mostly hold half a line.
    pub idle: u32,
    /// How many lines.
    pub extent: Extent,
    /// Lines a second over all connections but the idle ones; 0: as fast as they are taken.
    pub rate: u64,
    /// Where the cuts are.
    pub seed: u64,
    /// The number of the first connection; several loads of one run must not overlap.
    pub first_flow: u32,
    /// Lines say when they were made, so that the sink knows how long they took.
    pub timed: bool,
}

impl Load {
    /// A million lines over four connections, unpaced.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            connections: 4,
            idle: 0,
            extent: Extent::Exactly(1_000_000),
            rate: 0,
            seed: 1,
            first_flow: 0,
            timed: true,
        }
    }
}

/// Connections at work.
#[derive(Debug)]
pub struct Senders {
    shared: Arc<Shared>,
    ended: mpsc::Receiver<Sent>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    sent: AtomicU64,
    errors: AtomicU64,
    finish: AtomicBool,
    /// Ends the thread whatever is still to be written.
    abandon: AtomicBool,
}

/// What was sent, connection by connection.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Every connection.
    pub flows: Vec<Flow>,
    /// How often a connection failed its sender.
    pub client_errors: u64,
    /// The first few client errors, as text.
    pub samples: Vec<String>,
    /// When sending began, since the start of the run.
    pub began: Duration,
}

/// One connection's share of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its number.
    pub number: u32,
    /// How many lines were written to the last byte.
    pub lines: u64,
    /// Whether they went as datagrams of [`LINES_A_DATAGRAM`](super::LINES_A_DATAGRAM) lines.
    pub datagrams: bool,
}

impl Sent {
    /// Lines over all connections.
    pub fn lines(&self) -> u64 {
        self.flows.iter().map(|flow| flow.lines).sum()
    }

    /// Adds what others sent in the same run.
    pub fn merge(&mut self, other: Sent) {
        self.flows.extend(other.flows);
        self.client_errors += other.client_errors;
        self.samples.extend(other.samples);
        self.began = self.began.min(other.began);
    }

    fn error(&mut self, flow: u32, what: impl std::fmt::Display) {
        self.client_errors += 1;
        if self.samples.len() < SAMPLES {
            self.samples.push(format!("connection {flow}: {what}"));
        }
    }
}

impl Senders {
    /// Opens all connections, then starts to send.
    pub fn start(load: &Load, clock: Clock) -> io::Result<Self> {
        raise_descriptor_limit()?;
        let crew = Crew::connect(load, clock)?;
        let shared = crew.shared.clone();
        let (report, ended) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("drill-senders".into())
            .spawn(move || {
                // Nobody listens any more when the senders were dropped.
                let _ = report.send(crew.run());
            })?;
        Ok(Self {
            shared,
            ended,
            thread: Some(thread),
        })
    }

    /// Lines written up to now, to their last byte.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Client errors up to now.
    pub fn client_errors(&self) -> u64 {
        self.shared.errors.load(Ordering::Relaxed)
    }

    /// Waits until this many lines were written; false if they are not within `limit`.
    pub fn wait(&self, lines: u64, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.sent() < lines {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(TICK);
        }
        true
    }

    /// Sends what is still due, ends every connection and waits until the relay has ended it too. What that
    /// leaves undone after `limit` is counted as client errors.
    pub fn finish(self, limit: Duration) -> Sent {
        self.shared.finish.store(true, Ordering::Release);
        let sent = self.ended.recv_timeout(limit).or_else(|_| {
            self.shared.abandon.store(true, Ordering::Release);
            self.ended.recv()
        });
        sent.expect("the senders' thread reports before it ends")
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        self.shared.abandon.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

/// The senders' thread.
struct Crew {
    clock: Clock,
    extent: Extent,
    rate: f64,
    timed: bool,
    clients: Vec<Client>,
    /// How many of the clients, from the front, share the lines; the others are idle.
    active: usize,
    idle_turns: u64,
    epoll: OwnedFd,
    random: Random,
    shared: Arc<Shared>,
    sent: Sent,
}

impl Crew {
    fn connect(load: &Load, clock: Clock) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let total = load.connections + load.idle;
        let mut clients = Vec::with_capacity(total as usize);
        for index in 0..total {
            let client = Client::connect(&load.target, load.first_flow + index)?;
            let interest = epoll::EventFlags::IN
                | epoll::EventFlags::OUT
                | epoll::EventFlags::RDHUP
                | epoll::EventFlags::ET;
            let data = epoll::EventData::new_u64(index.into());
            epoll::add(&epoll, client.as_fd(), data, interest)?;
            clients.push(client);
        }
        Ok(Self {
            clock,
            extent: load.extent,
            rate: load.rate as f64,
            timed: load.timed,
            clients,
            active: load.connections as usize,
            idle_turns: 0,
            epoll,
            random: Random::new(load.seed),
            shared: Arc::default(),
            sent: Sent::default(),
        })
    }

    fn run(mut self) -> Sent {
        self.sent.began = self.clock.now();
        self.send();
        self.close();
        for client in &self.clients {
            self.sent.flows.push(client.flow());
        }
        self.sent
    }

    fn send(&mut self) {
        let began = Instant::now();
        while !self.abandoned() {
            let finishing = self.shared.finish.load(Ordering::Acquire);
            let mut unfinished = 0;
            let mut busy = false;
            for index in 0..self.active {
                let target = self.target_of(index, finishing);
                let due = self.due_by(began.elapsed()).min(target);
                let unpaced = self.rate == 0.0;
                let client = &mut self.clients[index];
                client.make(
                    due,
                    target,
                    unpaced,
                    self.timed,
                    &self.clock,
                    &mut self.random,
                );
                self.push(index);
                let client = &self.clients[index];
                unfinished += usize::from(!client.is_done(target));
                busy |= unpaced && client.is_willing() && !client.is_done(target);
            }
            unfinished += self.idle(began.elapsed(), finishing);
            if finishing && unfinished == 0 {
                return;
            }
            self.listen(if busy { Duration::ZERO } else { TICK });
        }
        for index in 0..self.clients.len() {
            if self.clients[index].has_unwritten() {
                self.fail(index, "could not write all in time");
            }
        }
    }

    /// How many lines an active connection shall make in all, as known now.
    fn target_of(&self, index: usize, finishing: bool) -> u64 {
        let share = |lines: u64| {
            let all = self.active as u64;
            lines / all + u64::from((index as u64) < lines % all)
        };
        match self.extent {
            Extent::Exactly(lines) => share(lines),
            Extent::AtLeast(lines) if finishing => share(lines).max(self.clients[index].made()),
            Extent::AtLeast(_) => u64::MAX,
        }
    }

    /// How many lines a connection shall have made after this time.
    fn due_by(&self, elapsed: Duration) -> u64 {
        if self.rate == 0.0 {
            return u64::MAX;
        }
        (elapsed.as_secs_f64() * self.rate / self.active as f64) as u64
    }

    /// Gives the idle connections whose turn it is a line each, of which they hold back a part; at the finish
    /// each one sends what it holds. Returns how many are not done.
    fn idle(&mut self, elapsed: Duration, finishing: bool) -> usize {
        let count = self.clients.len() - self.active;
        if count == 0 {
            return 0;
        }
        if finishing {
            for index in self.active..self.clients.len() {
                let client = &mut self.clients[index];
                client.let_go();
                if client.made() == 0 {
                    client.make_one(&self.clock, &mut self.random, false);
                }
                self.push(index);
            }
            let idle = &self.clients[self.active..];
            return idle.iter().filter(|client| !client.is_done(1)).count();
        }
        let due = elapsed.as_secs_f64() / IDLE_ROUND.as_secs_f64() * count as f64;
        while (self.idle_turns as f64) < due {
            let index = self.active + (self.idle_turns % count as u64) as usize;
            self.idle_turns += 1;
            self.clients[index].make_one(&self.clock, &mut self.random, true);
            self.push(index);
        }
        count
    }

    fn push(&mut self, index: usize) {
        let (lines, result) = self.clients[index].push(&mut self.random);
        self.shared.sent.fetch_add(lines, Ordering::Relaxed);
        if let Err(error) = result {
            self.fail(index, format_args!("writing: {error}"));
        }
    }

    /// Waits for a socket to become ready and notes what it says.
    fn listen(&mut self, limit: Duration) {
        let mut events = Vec::with_capacity(256);
        let timeout = Timespec {
            tv_sec: limit.as_secs() as i64,
            tv_nsec: limit.subsec_nanos().into(),
        };
        // It can only fail by a signal, after which the loop comes here again.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout));
        for event in events {
            let index = event.data.u64() as usize;
            let flags = event.flags;
            if flags.contains(epoll::EventFlags::OUT) {
                self.clients[index].writable();
            }
            let heard = epoll::EventFlags::IN
                | epoll::EventFlags::RDHUP
                | epoll::EventFlags::HUP
                | epoll::EventFlags::ERR;
            if flags.intersects(heard)
                && let Err(what) = self.clients[index].hear()
            {
                self.fail(index, what);
            }
        }
    }

    fn close(&mut self) {
        for index in 0..self.clients.len() {
            if let Err(error) = self.clients[index].half_close() {
                self.fail(index, format_args!("closing: {error}"));
            }
        }
        while !self.abandoned() && self.clients.iter().any(|client| !client.is_closed()) {
            self.listen(TICK);
        }
        for index in 0..self.clients.len() {
            if !self.clients[index].is_closed() {
                self.fail(index, "the relay did not end it");
            }
        }
    }

    fn abandoned(&self) -> bool {
        self.shared.abandon.load(Ordering::Acquire)
    }

    fn fail(&mut self, index: usize, what: impl std::fmt::Display) {
        self.sent.error(self.clients[index].flow().number, what);
        self.shared.errors.fetch_add(1, Ordering::Relaxed);
        self.clients[index].give_up();
    }
}

/// Ten thousand connections need as many descriptors, and the soft limit is often 1,024.
fn raise_descriptor_limit() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}
