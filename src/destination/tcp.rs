//! Sending a ring over TCP.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::Interest;
use tokio::time::{sleep, sleep_until};

use super::backoff::Backoff;
use super::connect::{self, connect};
use super::frames::Staged;
use super::{Destination, Link};
use crate::gate::Lane;
use crate::handover::Item;
use crate::ledger::{Cell, Count};
use crate::sys::{self, Watched};

/// So many bytes are company enough.
const COMPANY: u64 = 128 * 1024;
/// The most that is given to the kernel at once.
const WRITE: usize = 512 * 1024;
/// Acknowledgements are read after a write when the last reading was so long ago.
const ASK_AFTER: Duration = Duration::from_millis(10);
/// And while something is unacknowledged and nothing happens.
const ASK_IDLE: Duration = Duration::from_secs(1);
/// And when senders wait for room.
pub(super) const ASK_FULL: Duration = Duration::from_millis(2);
/// How long a peer that closes its side may take to acknowledge what it got.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How often a name is looked up again while connected.
const LOOK_UP: Duration = Duration::from_secs(60);

/// What the task does next.
pub(super) enum Next {
    /// Something was sent, there is more.
    Again,
    /// The socket is full; acknowledgements are read then at the latest.
    Full(Instant),
    /// Nothing is to be sent before something happens, or it is that time.
    Idle(Option<Instant>),
    /// A hand-over is under way.
    Closed,
    /// The connection is lost, or was replaced.
    Lost(Why),
}

/// Why a connection is given up.
#[derive(Debug)]
pub(super) enum Why {
    /// The peer ended it.
    PeerClosed,
    /// An error.
    Error(io::Error),
    /// The host has another address now, or is to be sent another form; all that was sent is acknowledged.
    Moved,
    /// It isn't this task's any more.
    Replaced,
}

impl Destination {
    pub(super) async fn run_tcp(&self, host: &str, port: u16) {
        let mut backoff = Backoff::new(self.spec.reconnect);
        while !self.is_gone() {
            // Before this worker serves, the connection of its predecessor is still to be taken over.
            self.gate.opened().await;
            let adopted = self.socket().map(|(_, socket)| socket);
            let socket = match adopted {
                Some(socket) => socket,
                None => match self.connect(host, port, &mut backoff).await {
                    Some(socket) => socket,
                    None => continue,
                },
            };
            let acked = self.ring.acked();
            self.is_up(connect::peer(socket.get_ref()));
            let why = self.send_lines(&socket, host, port).await;
            self.disconnect(&socket, why).await;
            if self.ring.acked() > acked {
                backoff.reset();
            }
        }
    }

    /// One attempt to connect, after the pause that is due.
    async fn connect(&self, host: &str, port: u16, backoff: &mut Backoff) -> Option<Arc<Watched>> {
        tokio::select! {
            () = sleep(backoff.pause()) => {}
            () = self.changed.notified() => return None,
        }
        let failure = match connect(&self.spec, host, port).await {
            Ok((socket, peer)) => match self.begin(socket, peer) {
                Ok(Some(socket)) => return Some(socket),
                // A hand-over began meanwhile: this connection never was.
                Ok(None) => {
                    self.gate.opened().await;
                    return None;
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        self.is_down(failure.to_string());
        if let Some(mut lane) = self.gate.enter() {
            lane.writer
                .add(self.ring.counts(), Count::ConnectFailures, 1);
            lane.writer.commit();
        }
        None
    }

    /// Makes a new connection the ring's. The supervisor holds it, and the ledger says where it begins, before
    /// its first byte. `None`: the gate is closed.
    pub(super) fn begin(
        &self,
        socket: OwnedFd,
        peer: SocketAddr,
    ) -> io::Result<Option<Arc<Watched>>> {
        let Some(mut lane) = self.gate.enter() else {
            return Ok(None);
        };
        let mut link = self.link();
        if link.socket.is_some() || self.is_gone() || self.held.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let cookie = sys::cookie(socket.as_fd())?;
        let socket = Arc::new(sys::watch(socket)?);
        let item = Item::Outbound {
            cookie,
            destination: self.spec.id.clone(),
        };
        self.registry
            .register(&[item], &[socket.get_ref().as_fd()])?;
        let base = if link.ended_well {
            self.ring.acked()
        } else {
            self.ring.tail()
        };
        let writer = &mut lane.writer;
        if self.spec.pickle {
            self.queue.frames.begin(writer, cookie, base);
        } else {
            writer.set(self.ring.cells(), Cell::Link, cookie);
            writer.set(self.ring.cells(), Cell::LinkBase, base);
            writer.set(self.ring.cells(), Cell::FramedLink, 0);
        }
        writer.add(self.ring.counts(), Count::Connects, 1);
        writer.commit();
        *link = Link {
            socket: Some(socket.clone()),
            cookie,
            peer: Some(peer),
            base,
            written: Some(base),
            frames: self.spec.pickle.then(Staged::default),
            ..Link::default()
        };
        Ok(Some(socket))
    }

    async fn send_lines(&self, socket: &Arc<Watched>, host: &str, port: u16) -> Why {
        let named = host.parse::<std::net::IpAddr>().is_err();
        let mut look_up = tokio::time::Instant::now() + LOOK_UP;
        loop {
            let next = self.step(socket);
            let timer = match next {
                Next::Again => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Next::Closed => {
                    self.gate.opened().await;
                    continue;
                }
                Next::Lost(why) => return why,
                Next::Full(at) => Some(at),
                Next::Idle(at) => at,
            };
            let full = matches!(next, Next::Full(_));
            let far = tokio::time::Instant::now() + Duration::from_secs(3600);
            tokio::select! {
                () = self.ring.filled.notified(), if !full => {}
                ready = socket.writable(), if full => if let Err(error) = ready { return Why::Error(error) },
                ready = socket.readable() => {
                    if let Err(error) = ready { return Why::Error(error) }
                    if let Some(why) = self.listen_to_peer(socket) { return why }
                }
                () = sleep_until(timer.map_or(far, tokio::time::Instant::from_std)) => {}
                () = self.changed.notified() => {}
                () = sleep_until(look_up), if named => {
                    look_up = tokio::time::Instant::now() + LOOK_UP;
                    self.look_up(host, port).await;
                }
            }
        }
    }

    /// A store says nothing: what can be read is its end, or chatter.
    fn listen_to_peer(&self, socket: &Watched) -> Option<Why> {
        let mut chatter = [0; 1024];
        for _ in 0..64 {
            let read = socket.try_io(Interest::READABLE, |fd| {
                Ok(recv(fd, &mut chatter, RecvFlags::DONTWAIT)?.1)
            });
            match read {
                Ok(0) => return Some(Why::PeerClosed),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => return Some(Why::Error(error)),
            }
        }
        None
    }

    async fn look_up(&self, host: &str, port: u16) {
        let Ok(addresses) = connect::resolve(host, port).await else {
            return;
        };
        let mut link = self.link();
        if link.peer.is_some_and(|peer| !addresses.contains(&peer)) {
            tracing::info!(destination = self.spec.id, from = ?link.peer, "the name has moved");
            link.moving = true;
        }
    }

    pub(super) fn step(&self, socket: &Arc<Watched>) -> Next {
        let Some(mut lane) = self.gate.enter() else {
            return Next::Closed;
        };
        let mut link = self.link();
        if !link
            .socket
            .as_ref()
            .is_some_and(|ours| Arc::ptr_eq(ours, socket))
        {
            return Next::Lost(Why::Replaced);
        }
        let now = Instant::now();
        let written = match link.written {
            Some(written) => written,
            None => match self.locate(&mut lane, &mut link, now) {
                Ok(written) => written,
                Err(error) => return Next::Lost(Why::Error(error)),
            },
        };
        if link.frames.is_some() {
            return self.step_frames(&mut lane, &mut link, socket, now);
        }
        let end = self.ring.head();
        let end = if link.moving {
            self.end_of_line(written, end)
        } else {
            end
        };
        if written == end {
            return self.nothing_to_send(&mut lane, &mut link, written, now);
        }
        if let Some(wait) = self.waits_for_company(&mut link, written, end, now) {
            return wait;
        }
        let bytes = self
            .ring
            .bytes(written, WRITE.min((end - written) as usize));
        match self.write(socket, bytes) {
            Ok(n) => {
                let now_written = written + n as u64;
                link.written = Some(now_written);
                self.count_sent(&mut lane.writer, written, now_written);
                self.was_written(&mut lane, &mut link, now, true);
                Next::Again
            }
            Err(error) => self.not_written(&mut lane, &mut link, error, now),
        }
    }

    /// What the lines before `end` wait for, if they do.
    pub(super) fn waits_for_company(
        &self,
        link: &mut Link,
        written: u64,
        end: u64,
        now: Instant,
    ) -> Option<Next> {
        let alone = written >= link.company_had && end - written < COMPANY;
        if alone && !self.is_draining() && !link.moving {
            let until = *link.company_until.get_or_insert(now + self.spec.flush);
            if now < until {
                return Some(match self.ring.sleep_until(written + COMPANY) {
                    true => Next::Idle(Some(until)),
                    false => Next::Again,
                });
            }
        }
        link.company_until = None;
        if link.frames.is_some() {
            // More than one frame goes out together.
            link.company_had = end;
        }
        None
    }

    /// Gives bytes to the kernel, as many as it takes.
    pub(super) fn write(&self, socket: &Watched, bytes: &[u8]) -> io::Result<usize> {
        socket.try_io(Interest::WRITABLE, |fd| {
            Ok(send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
        })
    }

    /// After a write: reads acknowledgements, if that is due. While more is written at once it can wait.
    pub(super) fn was_written(
        &self,
        lane: &mut Lane,
        link: &mut Link,
        now: Instant,
        is_last: bool,
    ) {
        let written = link.written.unwrap_or(link.base);
        let (asked_at, asked) = *link.asked.get_or_insert((now, link.base));
        let is_late = is_last && now - asked_at >= ASK_AFTER;
        if is_late || written - asked >= self.ring.size() / 16 {
            self.read_acknowledgements(lane, link, now);
        }
    }

    /// After a write that failed.
    pub(super) fn not_written(
        &self,
        lane: &mut Lane,
        link: &mut Link,
        error: io::Error,
        now: Instant,
    ) -> Next {
        if error.kind() != io::ErrorKind::WouldBlock {
            return Next::Lost(Why::Error(error));
        }
        self.read_acknowledgements(lane, link, now);
        let pause = match self.ring.is_above_mark() {
            true => ASK_AFTER,
            false => ASK_IDLE,
        };
        Next::Full(now + pause)
    }

    /// All is written: what remains is to hear that it has arrived.
    pub(super) fn nothing_to_send(
        &self,
        lane: &mut Lane,
        link: &mut Link,
        written: u64,
        now: Instant,
    ) -> Next {
        let pause = match (self.is_draining(), self.ring.is_above_mark() || link.moving) {
            (true, _) => ASK_AFTER,
            (_, true) => ASK_FULL,
            _ => ASK_IDLE,
        };
        let due = link.asked.map_or(now, |(at, _)| at + pause);
        if self.ring.acked() < written && now >= due {
            self.read_acknowledgements(lane, link, now);
        }
        if link.moving && self.ring.acked() >= written {
            return Next::Lost(Why::Moved);
        }
        if !link.moving && !self.ring.sleep_until(written + 1) {
            return Next::Again;
        }
        match self.ring.acked() < written {
            true => Next::Idle(Some(link.asked.map_or(now, |(at, _)| at) + pause)),
            false => Next::Idle(None),
        }
    }

    /// The end of the line that `written` is inside of; `written` itself at the beginning of one.
    pub(super) fn end_of_line(&self, written: u64, head: u64) -> u64 {
        if written == self.ring.tail() || self.ring.bytes(written - 1, 1) == b"\n" {
            return written;
        }
        let rest = self.ring.bytes(written, (head - written) as usize);
        memchr::memchr(b'\n', rest).map_or(head, |at| written + at as u64 + 1)
    }

    /// Asks the kernel how far a connection that was taken over has got.
    fn locate(&self, lane: &mut Lane, link: &mut Link, now: Instant) -> io::Result<u64> {
        let Some(socket) = link.socket.clone() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let fd = socket.get_ref().as_fd();
        // Acknowledgements go on arriving between the two questions: ask until none did.
        let mut info = sys::tcp_info(fd)?;
        let written = loop {
            let queued = sys::queued_out(fd)?;
            let again = sys::tcp_info(fd)?;
            if again.bytes_acked == info.bytes_acked {
                break info.bytes_acked.saturating_sub(1) + queued;
            }
            info = again;
        };
        if link.frames.is_some() {
            let written = self.locate_frame(&mut lane.writer, link, written)?;
            link.written = Some(written);
            self.read_acknowledgements(lane, link, now);
            return Ok(written);
        }
        let written = link.base + written;
        if written < self.ring.tail() || written > self.ring.head() {
            return Err(io::Error::other(format!(
                "the connection stands at {written}, outside of the queue"
            )));
        }
        link.written = Some(written);
        self.read_acknowledgements(lane, link, now);
        Ok(written)
    }

    /// Moves the ring's tail over what the peer's kernel has.
    pub(super) fn read_acknowledgements(&self, lane: &mut Lane, link: &mut Link, now: Instant) {
        let Some(socket) = &link.socket else { return };
        link.asked = Some((now, link.written.unwrap_or(link.base)));
        match sys::tcp_info(socket.get_ref().as_fd()) {
            // The SYN is among the bytes acknowledged.
            Ok(info) if link.frames.is_some() => {
                let wire = info.bytes_acked.saturating_sub(1);
                let unwritten = link
                    .frames
                    .as_ref()
                    .map_or(0, |last| last.rest().len() as u64);
                let written = self.queue.frames.end().wire - unwritten;
                // As below.
                self.queue
                    .frames
                    .acknowledge(&mut lane.writer, wire.min(written));
            }
            Ok(info) => {
                let position = link.base + info.bytes_acked.saturating_sub(1);
                let written = link.written.unwrap_or(position);
                // A FIN of ours would count too; never more than what was written.
                self.ring
                    .acknowledge(&mut lane.writer, position.min(written));
            }
            Err(error) => tracing::error!(destination = self.spec.id, %error, "no TCP_INFO"),
        }
    }

    /// Lets go of a connection, and of all that its peer had acknowledged.
    async fn disconnect(&self, socket: &Arc<Watched>, why: Why) {
        let deadline = Instant::now() + LAST_WORDS;
        loop {
            match self.try_disconnect(socket, &why, deadline) {
                Some(true) => break,
                Some(false) => sleep(Duration::from_millis(5)).await,
                None => self.gate.opened().await,
            }
        }
        match why {
            Why::PeerClosed => self.is_down("the peer closed the connection".into()),
            Why::Error(error) => self.is_down(error.to_string()),
            Why::Moved | Why::Replaced => {}
        }
    }

    /// `None`: the gate is closed. False: the peer has ended its side, and may still acknowledge
    /// what it got.
    fn try_disconnect(&self, socket: &Arc<Watched>, why: &Why, deadline: Instant) -> Option<bool> {
        let mut lane = self.gate.enter()?;
        let mut link = self.link();
        if !link
            .socket
            .as_ref()
            .is_some_and(|ours| Arc::ptr_eq(ours, socket))
        {
            return Some(true);
        }
        let now = Instant::now();
        self.read_acknowledgements(&mut lane, &mut link, now);
        let all_acked = link
            .written
            .is_some_and(|written| self.ring.acked() >= written);
        if matches!(why, Why::PeerClosed) && !all_acked && now < deadline {
            return Some(false);
        }
        self.close(&mut link);
        link.ended_well = all_acked && matches!(why, Why::PeerClosed | Why::Moved);
        lane.writer.add(self.ring.counts(), Count::Disconnects, 1);
        lane.writer.commit();
        Some(true)
    }
}
