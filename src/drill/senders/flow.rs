//! One connection of the senders: the lines it makes, and the pieces it writes them in.

use std::io;
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use super::{Flow, Target};
use crate::drill::{Clock, LINES_A_DATAGRAM, Line};

/// The longest piece written at a time.
const PIECE: u64 = 4096;
/// What an unpaced connection keeps ready.
const AHEAD: usize = 64 * 1024;
/// How far a paced connection that is not read from falls behind before it stops to make lines. Until then
/// its lines carry the time at which they were due, so a pause shows in the latencies.
const BEHIND: usize = 1024 * 1024;
/// One in so many writes leaves the end of a line for the next.
const HELD_BACK: u64 = 16;

#[derive(Debug)]
pub(super) struct Client {
    number: u32,
    socket: OwnedFd,
    shape: Shape,
    state: State,
    /// Lines made; the next one has this number.
    made: u64,
    /// Lines written to their last byte.
    written: u64,
    /// Lines made that are not written, from `at` on.
    out: Vec<u8>,
    at: usize,
    /// How many bytes at the end of `out` wait for the next line.
    hold: usize,
    writable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Stream,
    Datagrams,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    HalfClosed,
    Closed,
}

impl Client {
    pub(super) fn connect(target: &Target, number: u32) -> io::Result<Self> {
        let (socket, shape): (OwnedFd, Shape) = match target {
            Target::Tcp(address) => {
                let socket = TcpStream::connect_timeout(address, Duration::from_secs(10))?;
                socket.set_nonblocking(true)?;
                // A piece shall be a segment: the cuts are what the relay is to see.
                socket.set_nodelay(true)?;
                (socket.into(), Shape::Stream)
            }
            Target::Unix(path) => {
                let socket = UnixStream::connect(path)?;
                socket.set_nonblocking(true)?;
                (socket.into(), Shape::Stream)
            }
            Target::Udp(address) => {
                let socket = UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
                socket.connect(address)?;
                socket.set_nonblocking(true)?;
                (socket.into(), Shape::Datagrams)
            }
        };
        Ok(Self {
            number,
            socket,
            shape,
            state: State::Open,
            made: 0,
            written: 0,
            out: Vec::new(),
            at: 0,
            hold: 0,
            writable: true,
        })
    }

    pub(super) fn flow(&self) -> Flow {
        Flow {
            number: self.number,
            lines: self.written,
            datagrams: self.shape == Shape::Datagrams,
        }
    }

    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// Makes lines until `due` of the `target` are made, as far as there is room. Unless they are the last
    /// ones, the end of a line may be held back, and datagrams are made whole.
    pub(super) fn make(
        &mut self,
        due: u64,
        target: u64,
        unpaced: bool,
        timed: bool,
        clock: &Clock,
        random: &mut Random,
    ) {
        self.hold = 0;
        let more = due < target;
        let due = match self.shape {
            Shape::Datagrams if more => due - due % LINES_A_DATAGRAM,
            _ => due,
        };
        if self.state != State::Open || self.made >= due {
            return;
        }
        let room = if unpaced { AHEAD } else { BEHIND };
        let now = if timed { clock.micros() } else { 0 };
        let mut last = None;
        while self.made < due && (self.out.len() - self.at < room || self.in_datagram()) {
            last = Some(self.out.len());
            self.line(now, clock);
        }
        if let Some(last) = last
            && more
            && self.shape == Shape::Stream
            && random.below(HELD_BACK) == 0
        {
            // The line that waits is written anew without its time: it is we who delay it.
            self.out.truncate(last);
            self.made -= 1;
            self.hold_back(clock, random);
        }
    }

    fn in_datagram(&self) -> bool {
        self.shape == Shape::Datagrams && !self.made.is_multiple_of(LINES_A_DATAGRAM)
    }

    /// Makes one line (or datagram) that is not timed, and holds back a part of the line if told to.
    pub(super) fn make_one(&mut self, clock: &Clock, random: &mut Random, hold: bool) {
        self.hold = 0;
        if self.state != State::Open || self.out.len() - self.at > AHEAD {
            return;
        }
        match self.shape {
            Shape::Stream if hold => self.hold_back(clock, random),
            Shape::Stream => self.line(0, clock),
            Shape::Datagrams => (0..LINES_A_DATAGRAM).for_each(|_| self.line(0, clock)),
        }
    }

    fn hold_back(&mut self, clock: &Clock, random: &mut Random) {
        let start = self.out.len();
        self.line(0, clock);
        let length = (self.out.len() - start) as u64;
        self.hold = 1 + random.below(length - 1) as usize;
    }

    fn line(&mut self, micros: u64, clock: &Clock) {
        let line = Line {
            flow: self.number,
            seq: self.made,
            micros,
        };
        line.write(clock, &mut self.out);
        self.made += 1;
    }

    /// Nothing is held back any more.
    pub(super) fn let_go(&mut self) {
        self.hold = 0;
    }

    /// Writes all it may, in pieces, until the socket is full. Returns how many lines were completed.
    pub(super) fn push(&mut self, random: &mut Random) -> (u64, io::Result<()>) {
        let before = self.written;
        let result = self.write(random);
        if self.at == self.out.len() {
            self.out.clear();
            self.at = 0;
        } else if self.at > AHEAD {
            self.out.drain(..self.at);
            self.at = 0;
        }
        (self.written - before, result)
    }

    fn write(&mut self, random: &mut Random) -> io::Result<()> {
        while self.state == State::Open && self.writable {
            let ready = &self.out[self.at..self.out.len() - self.hold];
            if ready.is_empty() {
                break;
            }
            let length = match self.shape {
                Shape::Stream => ready.len().min(1 + random.below(PIECE) as usize),
                Shape::Datagrams => datagram(ready, self.written),
            };
            match send(&self.socket, &ready[..length], SendFlags::NOSIGNAL) {
                Ok(sent) => {
                    let whole = memchr::memchr_iter(b'\n', &ready[..sent]).count();
                    self.written += whole as u64;
                    self.at += sent;
                }
                Err(Errno::AGAIN) => self.writable = false,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The socket has room again.
    pub(super) fn writable(&mut self) {
        self.writable = true;
    }

    /// Whether it would write if it had something to write.
    pub(super) fn is_willing(&self) -> bool {
        self.writable && self.state == State::Open
    }

    /// Whether it has written all of this many lines, or never will.
    pub(super) fn is_done(&self, target: u64) -> bool {
        self.state != State::Open || (self.made >= target && !self.has_unwritten())
    }

    pub(super) fn has_unwritten(&self) -> bool {
        self.state == State::Open && self.at < self.out.len()
    }

    /// Listens to what the relay has to say, which should be nothing, and its end only after ours.
    pub(super) fn hear(&mut self) -> Result<(), String> {
        if self.state == State::Closed {
            return Ok(());
        }
        match recv(&self.socket, &mut [0u8; 64][..], RecvFlags::empty()) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(format!("reading: {}", io::Error::from(error))),
            Ok((0, _)) if self.shape == Shape::Stream && self.state == State::HalfClosed => {
                self.state = State::Closed;
                Ok(())
            }
            Ok((0, _)) if self.shape == Shape::Stream => Err("closed by the relay".into()),
            Ok((bytes, _)) => Err(format!("{bytes} bytes came back")),
        }
    }

    /// Says that no more will come.
    pub(super) fn half_close(&mut self) -> io::Result<()> {
        if self.state != State::Open {
            return Ok(());
        }
        match self.shape {
            Shape::Stream => {
                shutdown(&self.socket, Shutdown::Write)?;
                self.state = State::HalfClosed;
                Ok(())
            }
            // A refusal of the last datagram would be noted on the socket by now: loopback is synchronous.
            Shape::Datagrams => {
                let heard = self.hear().map_err(io::Error::other);
                self.state = State::Closed;
                heard
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Has nothing more to do with a connection that failed; a refused datagram is no reason to stop.
    pub(super) fn give_up(&mut self) {
        if self.shape == Shape::Stream {
            self.state = State::Closed;
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The length of the datagram that begins with line `first`: it ends where a multiple of
/// [`LINES_A_DATAGRAM`] begins, or with what there is.
fn datagram(ready: &[u8], first: u64) -> usize {
    let lines = LINES_A_DATAGRAM - first % LINES_A_DATAGRAM;
    let ends = memchr::memchr_iter(b'\n', ready).take(lines as usize);
    ends.last().map_or(ready.len(), |end| end + 1)
}

/// xorshift64: cuts need to be the same for the same seed, and no better than that.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`, which must not be 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
