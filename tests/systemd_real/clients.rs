//! Clients with a will of their own, beside the drill's senders.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use baton::drill::{Clock, Flow, Line};

use super::frame;
use super::guest::{LIMIT, wait_for};
use super::site::PICKLE;

/// A client that comes and goes.
#[derive(Debug)]
pub struct Visits {
    end: Arc<AtomicBool>,
    visits: Arc<AtomicU64>,
    thread: JoinHandle<Flow>,
}

impl Visits {
    pub fn begin(number: u32, address: SocketAddr, clock: Clock) -> Visits {
        let (end, visits) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (ended, counter) = (end.clone(), Arc::clone(&visits));
        let thread = std::thread::spawn(move || {
            let mut lines = 0;
            while !ended.load(Ordering::Relaxed) {
                visit(address, number, lines..lines + 5, &clock).unwrap();
                lines += 5;
                counter.fetch_add(1, Ordering::Relaxed);
            }
            Flow {
                number,
                lines,
                // Connections that follow each other have no order, as datagrams have none.
                datagrams: true,
            }
        });
        Visits {
            end,
            visits,
            thread,
        }
    }

    /// Waits until one that began from now on has ended.
    pub fn another(&self) {
        let before = self.visits.load(Ordering::Relaxed);
        wait_for("a visit", || {
            assert!(!self.thread.is_finished(), "a visit failed");
            self.visits.load(Ordering::Relaxed) >= before + 2
        });
    }

    pub fn end(self) -> Flow {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Connects, writes lines, and waits until the relay has read them all: it ends the connection, without a word.
pub fn visit(address: SocketAddr, flow: u32, lines: Range<u64>, clock: &Clock) -> io::Result<()> {
    let mut socket = TcpStream::connect(address)?;
    let mut text = text(flow, lines, clock);
    if address == PICKLE {
        text = framed(&text);
    }
    socket.write_all(&text)?;
    leave(socket)
}

/// A connection that sends frames, cut anywhere, and lives to the end.
#[derive(Debug)]
pub struct Pickles {
    end: Arc<AtomicBool>,
    thread: JoinHandle<(Flow, io::Result<()>)>,
}

impl Pickles {
    pub fn begin(number: u32, clock: Clock) -> Pickles {
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let socket = TcpStream::connect(PICKLE).unwrap();
        let thread = std::thread::spawn(move || {
            let mut flow = Flow {
                number,
                lines: 0,
                datagrams: false,
            };
            let sent = send_frames(socket, &mut flow, &clock, &ended);
            (flow, sent)
        });
        Pickles { end, thread }
    }

    /// What was sent, and whether the relay kept the connection as long.
    pub fn end(self) -> (Flow, io::Result<()>) {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Some 3,000 points a second.
fn send_frames(
    mut socket: TcpStream,
    flow: &mut Flow,
    clock: &Clock,
    ended: &AtomicBool,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut stream = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        // Of different lengths, now more and now less than a piece.
        let points = 1 + flow.lines % 61;
        let lines = flow.lines..flow.lines + points;
        flow.lines = lines.end;
        stream.extend(framed(&text(flow.number, lines, clock)));
        while stream.len() > 1_000 {
            let piece: Vec<u8> = stream.drain(..997).collect();
            socket.write_all(&piece)?;
            std::thread::sleep(Duration::from_millis(7));
        }
    }
    socket.write_all(&stream)?;
    leave(socket)
}

fn text(flow: u32, lines: Range<u64>, clock: &Clock) -> Vec<u8> {
    let mut text = Vec::new();
    for seq in lines {
        let micros = 0;
        Line { flow, seq, micros }.write(clock, &mut text);
    }
    text
}

fn framed(text: &[u8]) -> Vec<u8> {
    frame::of_lines(text.split_inclusive(|byte| *byte == b'\n'))
}

/// Ends a connection, and waits until the relay does.
fn leave(mut socket: TcpStream) -> io::Result<()> {
    socket.shutdown(Shutdown::Write)?;
    socket.set_read_timeout(Some(LIMIT))?;
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest)?;
    assert!(rest.is_empty(), "the relay said {rest:?}");
    Ok(())
}
