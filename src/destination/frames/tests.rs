//! Workers that die at any instruction, on a real connection: the successor has what a real one has, the ledger, the queue's memfd and a
//! duplicate of the socket.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use proptest::prelude::*;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde_pickle::DeOptions;

use super::*;
use crate::gate::Gate;
use crate::handover::{self, Registry};
use crate::ledger::{self, DropReason, Ledger};
use crate::queue::{Policy, Queue, WhenFull, memory_for};
use crate::spec;
use crate::sys::{self, memfd};

const SIZE: u64 = 1 << 20;

struct Bed {
    ledger: Arc<Ledger>,
    memory: OwnedFd,
    gate: Arc<Gate>,
    registry: Arc<Registry>,
    /// The supervisor's end, which nobody reads.
    _supervisor: OwnedFd,
    /// What the supervisor holds of the connection.
    held: OwnedFd,
    peer: TcpStream,
    address: SocketAddr,
    worker: Destination,
    given: u64,
    got: Vec<u8>,
}

/// A number and whether a point has it: now and then there is a line that is none.
fn line(number: u64) -> (String, bool) {
    match number % 97 {
        13 => ("no point\n".to_owned(), false),
        _ => (format!("n.{number} {number}.5 1700000000\n"), true),
    }
}

impl Bed {
    fn start() -> Bed {
        let memory = memfd("ledger", ledger::BYTES).unwrap();
        let ledger = Arc::new(Ledger::open(memory.as_fd()).unwrap());
        let memory = memfd("queue", memory_for(SIZE)).unwrap();
        let gate = Arc::new(Gate::new(&ledger, 1));
        gate.open();
        let (supervisor, ours) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let registry = Arc::new(Registry::new(Arc::new(handover::Link::new(ours))));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 16_384).unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, 32_768).unwrap();
        socket.set_nonblocking(true).unwrap();
        let (peer, _) = listener.accept().unwrap();
        peer.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let worker = worker(&ledger, &memory, &gate, &registry, address);
        let held = OwnedFd::from(socket.try_clone().unwrap());
        worker.begin(socket.into(), address).unwrap().unwrap();
        Bed {
            ledger,
            memory,
            gate,
            registry,
            _supervisor: supervisor,
            held,
            peer,
            address,
            worker,
            given: 0,
            got: Vec::new(),
        }
    }

    fn give(&mut self, lines: u64) {
        let text: String = (self.given..self.given + lines)
            .map(|n| line(n).0)
            .collect();
        let ring = &self.worker.queue.send;
        if text.len() as u64 > ring.room() {
            return;
        }
        let mut lane = self.gate.enter().unwrap();
        let mut append = ring.append();
        append.push(text.as_bytes(), lines);
        append.publish(&mut lane.writer, 1);
        lane.writer.commit();
        append.finish();
        self.given += lines;
    }

    fn read(&mut self, bytes: usize) {
        let mut chunk = vec![0; bytes];
        if let Ok(n) = self.peer.read(&mut chunk) {
            self.got.extend_from_slice(&chunk[..n]);
        }
    }

    /// What the worker does next; it must not lose its connection.
    async fn step(&mut self) {
        let (_, socket) = self.worker.socket().expect("a connection");
        tokio::task::yield_now().await;
        if let Next::Lost(why) = self.worker.step(&socket) {
            panic!("{why:?}");
        }
    }

    /// The worker dies here, and another takes over.
    fn die(&mut self) {
        self.ledger.recover();
        self.worker = worker(
            &self.ledger,
            &self.memory,
            &self.gate,
            &self.registry,
            self.address,
        );
        let socket = sys::watch(self.held.try_clone().unwrap()).unwrap();
        self.worker.take_over(Some(Arc::new(socket)));
    }

    /// Begins a frame, writes so many bytes of it, and counts nothing.
    fn write_some(&mut self, bytes: usize) {
        let mut lane = self.gate.enter().unwrap();
        let mut link = self.worker.link();
        let Some(begun) = link.written else { return };
        if link.staged().rest().is_empty() {
            let head = self.worker.ring.head();
            if begun == head || self.worker.queue.frames.is_full() {
                return;
            }
            self.worker
                .stage(&mut lane.writer, &mut link, begun, head)
                .unwrap();
        }
        let rest = link.staged().rest();
        let _as_much_as_goes = rustix::io::write(&self.held, &rest[..bytes.min(rest.len())]);
    }

    async fn finish(mut self) {
        while self.worker.ring.used() > 0 {
            self.worker.drain();
            self.worker.link().asked = None;
            self.step().await;
            self.read(1 << 20);
        }
        self.read(1 << 20);
        let names: Vec<String> = names(&self.got);
        let good = (0..self.given).filter(|n| line(*n).1);
        let expected: Vec<String> = good.map(|n| format!("n.{n}")).collect();
        assert_eq!(names.len(), expected.len());
        assert_eq!(names, expected);
        let total = |count: Count| self.ledger.total(self.worker.ring.counts(), count);
        let (good, all) = (expected.len() as u64, self.given);
        assert_eq!(total(Count::Acknowledged), good);
        assert_eq!(total(DropReason::Unencodable.into()), all - good);
        assert_eq!((total(Count::Sent), total(Count::Resent)), (good, 0));
        assert_eq!(self.worker.ring.queued_lines(), 0);
    }
}

fn worker(
    ledger: &Arc<Ledger>,
    memory: &OwnedFd,
    gate: &Arc<Gate>,
    registry: &Arc<Registry>,
    address: SocketAddr,
) -> Destination {
    let policy = Policy {
        when_full: WhenFull::Block,
        resend: 0,
        live_first: false,
    };
    let queue = Queue::open(ledger, "d", memory.try_clone().unwrap(), SIZE, policy).unwrap();
    let spec = format!("{address} id=d flush=0s pickle=true");
    let spec = spec::Destination::parse(&spec, "r").unwrap();
    Destination::new(spec, "r", Arc::new(queue), gate.clone(), registry.clone())
}

/// The names in whole frames, one after the other.
fn names(mut wire: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    while let Some((length, rest)) = wire.split_first_chunk::<4>() {
        let (pickle, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        let points: Vec<(String, (i64, f64))> =
            serde_pickle::from_slice(pickle, DeOptions::new()).unwrap();
        names.extend(points.into_iter().map(|(name, _)| name));
        wire = rest;
    }
    names
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn whenever_a_worker_dies_its_successor_goes_on_at_the_exact_byte(
        steps in prop::collection::vec((0u8..9, 1usize..60_000), 1..80),
    ) {
        runtime().block_on(async {
            let mut bed = Bed::start();
            for (what, amount) in steps {
                match what {
                    0 | 1 => bed.give(amount as u64 % 1_500 + 1),
                    2..5 => bed.step().await,
                    5 => bed.read(amount),
                    6 => bed.die(),
                    _ => {
                        // Before the first byte, behind the last, or between the two.
                        bed.write_some(match what { 7 => amount % 3 * 30_000, _ => amount });
                        bed.die();
                    }
                }
            }
            bed.finish().await;
        });
    }
}

/// What can't be in a queue, unless it was damaged, costs the connection and no more.
#[test]
fn text_that_makes_no_frame_ends_the_connection_and_not_the_worker() {
    runtime().block_on(async {
        let mut bed = Bed::start();
        bed.give(300);
        while bed.worker.link().written < Some(bed.worker.ring.head())
            || !bed.worker.link().staged().rest().is_empty()
        {
            bed.step().await;
            bed.read(1 << 20);
        }
        {
            let mut lane = bed.gate.enter().unwrap();
            let mut append = bed.worker.ring.append();
            append.push(b"a line without an end", 0);
            append.publish(&mut lane.writer, 1);
            lane.writer.commit();
            append.finish();
        }
        let (_, socket) = bed.worker.socket().unwrap();
        assert!(matches!(
            bed.worker.step(&socket),
            Next::Lost(Why::Error(_))
        ));
        assert!(bed.worker.link().staged().rest().is_empty());
    });
}
