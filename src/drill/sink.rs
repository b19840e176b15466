//! The destination: reads numbered lines from any number of connections, and fails on demand.
//!
//! One thread does all of it, so that a fault is in force, everywhere, when the call that orders it returns.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::Backlog;
use nix::{setsockopt_impl, sockopt_impl};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv, sockopt};

use super::{Account, Clock};

/// The most that is read from a connection at a time.
const READ: usize = 256 * 1024;
/// A line longer than this is none of ours.
const LONGEST: usize = 64 * 1024;
/// How finely a slow sink's bytes are dealt out.
const SLICE: Duration = Duration::from_millis(10);

/// A TCP listener on loopback that ticks off every numbered line.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    books: Arc<Books>,
    orders: mpsc::Sender<(Order, Done)>,
    wake: io::PipeWriter,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Books {
    account: Mutex<Account>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Refuse,
    Reset,
    Hang,
    Slow(u64),
    Resume,
    End,
}

type Done = SyncSender<io::Result<()>>;

impl Sink {
    /// Starts a sink on a port of the system's choice.
    pub fn start(clock: Clock) -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), clock)
    }

    /// Starts a sink on this address.
    pub fn start_at(address: SocketAddr, clock: Clock) -> io::Result<Self> {
        let listener = listen(address)?;
        let address = listener.local_addr()?;
        let books = Arc::new(Books {
            account: Mutex::new(Account::new(clock)),
            changed: Condvar::new(),
        });
        let (orders, taken) = mpsc::channel();
        let (woken, wake) = io::pipe()?;
        let reader = Reader {
            address,
            clock,
            books: books.clone(),
            orders: taken,
            woken,
            listener: Some(listener),
            connections: Vec::new(),
            pace: Pace::Free,
            buffer: vec![0; READ],
        };
        let thread = std::thread::Builder::new()
            .name("drill-sink".into())
            .spawn(move || reader.run())?;
        Ok(Self {
            address,
            books,
            orders,
            wake,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Refuses new connections, keeps those there are.
    pub fn refuse(&self) -> io::Result<()> {
        self.order(Order::Refuse)
    }

    /// Aborts every connection with a reset. Whatever the kernel had acknowledged was read and entered before,
    /// so what the sender counts as acknowledged did arrive.
    pub fn reset(&self) -> io::Result<()> {
        self.order(Order::Reset)
    }

    /// Stops reading; connections stay open and new ones are accepted.
    pub fn hang(&self) -> io::Result<()> {
        self.order(Order::Hang)
    }

    /// Reads at most this many bytes a second over all connections.
    pub fn slow(&self, bytes_a_second: u64) -> io::Result<()> {
        self.order(Order::Slow(bytes_a_second))
    }

    /// Ends every fault: listens again on the same port, reads as fast as it can.
    pub fn resume(&self) -> io::Result<()> {
        self.order(Order::Resume)
    }

    /// What has arrived up to now. The sink stands still while the guard is held.
    pub fn account(&self) -> MutexGuard<'_, Account> {
        let guard = self.books.account.lock();
        guard.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `enough` holds of what has arrived; false if it does not within `limit`.
    pub fn wait(&self, limit: Duration, mut enough: impl FnMut(&Account) -> bool) -> bool {
        let (_guard, waited) = self
            .books
            .changed
            .wait_timeout_while(self.account(), limit, |account| !enough(account))
            .unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    /// Waits until this many different lines have arrived; false if nothing at all came for `quiet` before.
    pub fn settle(&self, distinct: u64, quiet: Duration) -> bool {
        loop {
            let bytes = self.account().bytes();
            let moved =
                |account: &Account| account.distinct() >= distinct || account.bytes() > bytes;
            if !self.wait(quiet, moved) {
                return false;
            }
            if self.account().distinct() >= distinct {
                return true;
            }
        }
    }

    /// Waits until every connection was closed by its other end and read to the last byte; false if one is
    /// still open after `limit`.
    pub fn wait_closed(&self, limit: Duration) -> bool {
        self.wait(limit, |account| account.open() == 0)
    }

    fn order(&self, order: Order) -> io::Result<()> {
        let (done, wait) = mpsc::sync_channel(1);
        let gone = |_| io::Error::other("the sink's thread has ended");
        self.orders.send((order, done)).map_err(|_| gone(()))?;
        (&self.wake).write_all(b"!")?;
        wait.recv().map_err(|_| gone(()))?
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // The thread can only be gone already by a panic, which it has reported itself.
        let _ = self.order(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The sink's thread.
struct Reader {
    address: SocketAddr,
    clock: Clock,
    books: Arc<Books>,
    orders: Receiver<(Order, Done)>,
    woken: io::PipeReader,
    listener: Option<TcpListener>,
    connections: Vec<Connection>,
    pace: Pace,
    buffer: Vec<u8>,
}

struct Connection {
    socket: TcpStream,
    /// The bytes read that are not yet a whole line.
    rest: Vec<u8>,
}

enum Pace {
    Free,
    Stopped,
    Slow {
        slice: usize,
        left: usize,
        until: Instant,
    },
}

enum State {
    Open,
    Drained,
    Closed,
}

impl Reader {
    fn run(mut self) {
        loop {
            match self.pass() {
                Ok(true) => {}
                Ok(false) => return,
                // Nothing here fails but for want of descriptors or memory: no verdict could be trusted.
                Err(error) => panic!("the sink cannot go on: {error}"),
            }
        }
    }

    /// Waits for something to do and does it; false at the end.
    fn pass(&mut self) -> io::Result<bool> {
        let allowed = self.allowed();
        let watched = if allowed > 0 {
            self.connections.len()
        } else {
            0
        };
        let timeout = match self.pace {
            Pace::Slow { until, left: 0, .. } => Some(until - Instant::now().min(until)),
            _ => None,
        };
        let ready = {
            let connections = self.connections[..watched].iter();
            let mut fds: Vec<PollFd<'_>> = [self.woken.as_fd()]
                .into_iter()
                .chain(connections.map(|c| c.socket.as_fd()))
                .chain(self.listener.iter().map(|l| l.as_fd()))
                .map(|fd: BorrowedFd<'_>| PollFd::from_borrowed_fd(fd, PollFlags::IN))
                .collect();
            let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
            fds.iter()
                .map(|fd| !fd.revents().is_empty())
                .collect::<Vec<bool>>()
        };
        // From the end, as a connection that closes makes room for the last one.
        for index in (0..watched).rev().filter(|&index| ready[1 + index]) {
            self.read(index)?;
        }
        if ready.get(1 + watched) == Some(&true) {
            self.accept()?;
        }
        if ready[0] {
            return self.obey();
        }
        Ok(true)
    }

    /// How many bytes may be read now.
    fn allowed(&mut self) -> usize {
        match &mut self.pace {
            Pace::Free => READ,
            Pace::Stopped => 0,
            Pace::Slow { slice, left, until } => {
                let now = Instant::now();
                if now >= *until {
                    (*left, *until) = (*slice, now + SLICE);
                }
                *left
            }
        }
    }

    fn read(&mut self, index: usize) -> io::Result<()> {
        let allowed = self.allowed().min(READ);
        if allowed == 0 {
            return Ok(());
        }
        let connection = &mut self.connections[index];
        let (state, bytes) = connection.read(&mut self.buffer[..allowed], &self.clock, &self.books);
        if let Pace::Slow { left, .. } = &mut self.pace {
            *left -= bytes;
        }
        if let State::Closed = state {
            self.close(index, true);
        }
        Ok(())
    }

    /// Drops a connection; the unfinished line at its end is torn, unless we cut it ourselves.
    fn close(&mut self, index: usize, by_peer: bool) {
        let connection = self.connections.swap_remove(index);
        let mut account = self.books.lock();
        if by_peer && !connection.rest.is_empty() {
            account.tear(&connection.rest);
        }
        account.closed();
        drop(account);
        self.books.changed.notify_all();
    }

    /// Accepts all that wait: thousands may come at once, and a pass costs more the more there are.
    fn accept(&mut self) -> io::Result<()> {
        let Some(listener) = &self.listener else {
            return Ok(());
        };
        loop {
            match listener.accept() {
                Ok((socket, _)) => {
                    socket.set_nonblocking(true)?;
                    self.connections.push(Connection {
                        socket,
                        rest: Vec::new(),
                    });
                    self.books.lock().opened();
                    self.books.changed.notify_all();
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(()),
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Carries out the orders given; false when one of them was to end.
    fn obey(&mut self) -> io::Result<bool> {
        let _ = self.woken.read(&mut [0; 64])?;
        while let Ok((order, done)) = self.orders.try_recv() {
            let result = match order {
                Order::Refuse => {
                    self.listener = None;
                    Ok(())
                }
                Order::Reset => self.reset(),
                Order::Hang => {
                    self.pace = Pace::Stopped;
                    Ok(())
                }
                Order::Slow(rate) => {
                    let slice = (rate as usize / 100).max(1);
                    self.pace = Pace::Slow {
                        slice,
                        left: slice,
                        until: Instant::now() + SLICE,
                    };
                    Ok(())
                }
                Order::Resume => self.resume(),
                Order::End => {
                    let _ = done.send(Ok(()));
                    return Ok(false);
                }
            };
            // The caller waits, or has gone: nothing depends on it here.
            let _ = done.send(result);
        }
        Ok(true)
    }

    fn resume(&mut self) -> io::Result<()> {
        self.pace = Pace::Free;
        if self.listener.is_none() {
            self.listener = Some(listen(self.address)?);
        }
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        // Those that wait to be accepted are connected as far as their senders know.
        self.accept()?;
        for index in (0..self.connections.len()).rev() {
            let connection = &mut self.connections[index];
            deafen(&connection.socket)?;
            // Segments that came while a read held the socket are only queued when that read returns, so
            // the queue is empty only once it was found empty twice.
            let mut empty = 0;
            while empty < 2 {
                match connection
                    .read(&mut self.buffer, &self.clock, &self.books)
                    .0
                {
                    State::Open => empty = 0,
                    State::Drained => empty += 1,
                    State::Closed => break,
                }
            }
            sockopt::set_socket_linger(&connection.socket, Some(Duration::ZERO))?;
            self.close(index, false);
        }
        Ok(())
    }
}

impl Connection {
    /// Reads once and enters what came; also tells how many bytes that were.
    fn read(&mut self, buffer: &mut [u8], clock: &Clock, books: &Books) -> (State, usize) {
        let bytes = match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => return (State::Closed, 0),
            Ok((bytes, _)) => bytes,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return (State::Drained, 0),
            Err(_) => return (State::Closed, 0),
        };
        let mut account = books.lock();
        account.read(bytes);
        self.enter(&buffer[..bytes], clock.micros(), &mut account);
        drop(account);
        books.changed.notify_all();
        (State::Open, bytes)
    }

    fn enter(&mut self, mut bytes: &[u8], now: u64, account: &mut Account) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if self.rest.is_empty() {
                account.line(&bytes[..end], now);
            } else {
                self.rest.extend_from_slice(&bytes[..end]);
                account.line(&self.rest, now);
                self.rest.clear();
            }
            bytes = &bytes[end + 1..];
        }
        self.rest.extend_from_slice(bytes);
        if self.rest.len() > LONGEST {
            account.tear(&self.rest);
            self.rest.clear();
        }
    }
}

impl Books {
    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // Listening anew changes the length of the queue, which std has at 128: a connection that finds it full
    // is delayed by a second.
    nix::sys::socket::listen(&listener, Backlog::new(4096)?)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Makes the kernel drop every further segment unseen.
///
/// Without it a reset would race with the sender: what arrives between the last read and the close is
/// acknowledged and then thrown away, and a relay that believes acknowledgements could not but lose it. And
/// against a fast sender, reading on until there is nothing left can take for ever.
fn deafen(socket: &TcpStream) -> io::Result<()> {
    const DROP: libc::sock_filter = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let mut program = [DROP];
    let program = libc::sock_fprog {
        len: 1,
        filter: program.as_mut_ptr(),
    };
    nix::sys::socket::setsockopt(socket, AttachFilter, &program)?;
    Ok(())
}

// The call that the compiler cannot check is nix's; a `sock_fprog` is the type the kernel wants here.
sockopt_impl!(
    /// A classic BPF program that decides which segments a socket sees (socket(7), `SO_ATTACH_FILTER`).
    AttachFilter,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_ATTACH_FILTER,
    libc::sock_fprog
);
