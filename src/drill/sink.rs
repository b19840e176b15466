//! The destination: reads numbered lines from any number of connections, and fails on demand.
//!
//! One thread does all of it, so that a fault is in force, everywhere, when the call that orders it returns.

mod connection;
mod frames;
mod reader;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Account, Clock, free_ports};
use reader::Reader;

/// A TCP listener on loopback that ticks off every numbered line, be it sent as text or in frames of pickled points: each connection
/// shows by its first byte which of the two it is.
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
    /// Starts a sink on a port that nobody else chooses while it refuses connections.
    pub fn start(clock: Clock) -> io::Result<Self> {
        let [port] = free_ports()?;
        Self::start_at((Ipv4Addr::LOCALHOST, port).into(), clock)
    }

    /// Starts a sink on this address.
    pub fn start_at(address: SocketAddr, clock: Clock) -> io::Result<Self> {
        let books = Arc::new(Books {
            account: Mutex::new(Account::new(clock)),
            changed: Condvar::new(),
        });
        let (orders, taken) = mpsc::channel();
        let (woken, wake) = io::pipe()?;
        let reader = Reader::bind(address, clock, books.clone(), taken, woken)?;
        let address = reader.address();
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

impl Books {
    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
