//! The sink's thread: waits, reads, accepts, obeys.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use nix::sys::socket::Backlog;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::connection::{Connection, State, deafen};
use super::{Books, Done, Order};
use crate::drill::Clock;

/// The most that is read from a connection at a time.
const READ: usize = 256 * 1024;
/// How finely a slow sink's bytes are dealt out.
const SLICE: Duration = Duration::from_millis(10);

/// The sink's thread.
pub(super) struct Reader {
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

enum Pace {
    Free,
    Stopped,
    Slow {
        slice: usize,
        left: usize,
        until: Instant,
    },
}

impl Reader {
    pub(super) fn bind(
        address: SocketAddr,
        clock: Clock,
        books: Arc<Books>,
        orders: Receiver<(Order, Done)>,
        woken: io::PipeReader,
    ) -> io::Result<Self> {
        let listener = listen(address)?;
        Ok(Self {
            address: listener.local_addr()?,
            clock,
            books,
            orders,
            woken,
            listener: Some(listener),
            connections: Vec::new(),
            pace: Pace::Free,
            buffer: vec![0; READ],
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn run(mut self) {
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
        let watched = match allowed {
            0 => 0,
            _ => self.connections.len(),
        };
        let timeout = match self.pace {
            Pace::Slow { until, left: 0, .. } => Some(until - Instant::now().min(until)),
            _ => None,
        };
        let ready = {
            let connections = self.connections[..watched].iter();
            let mut fds: Vec<PollFd<'_>> = [self.woken.as_fd()]
                .into_iter()
                .chain(connections.map(Connection::as_fd))
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
        if by_peer && !connection.rest().is_empty() {
            account.tear(connection.rest());
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
                    self.connections.push(Connection::new(socket));
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
                Order::Refuse => self.refuse(),
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

    fn refuse(&mut self) -> io::Result<()> {
        if let Some(listener) = &self.listener {
            // Closing resets those that wait to be accepted, and what they have sent was acknowledged.
            deafen(listener)?;
            self.accept()?;
        }
        self.listener = None;
        Ok(())
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
            connection.abort(&mut self.buffer, &self.clock, &self.books)?;
            self.close(index, false);
        }
        Ok(())
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // Listening anew changes the length of the queue, which std has at 128: a connection that finds it full
    // is delayed by a second.
    nix::sys::socket::listen(&listener, Backlog::MAXALLOWABLE)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
