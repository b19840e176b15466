//! Reading a stream, of lines or (see `frames`) of pickles.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::net::{RecvFlags, Shutdown, recv};
use tokio::time::{sleep, timeout};

use super::connection::State;
use super::framing::{Framing, Protocol};
use super::notes::{note_rejection, note_sample};
use super::{Connection, Inputs, Kind, frames};
use crate::decode::line::looks_like;
use crate::gate::{Lane, READ};
use crate::intake::{Origin, Patience, Snapshot};
use crate::ledger::Count;
use crate::pipeline::Batch;
use crate::queue::Ring;
use crate::validate::Reason;

/// What is read of a connection whose destinations aren't known yet.
const SMALL_READ: usize = 4096;
/// What came to wait is placed in pieces of this size: even if all of its lines grow, one has room in the smallest queue.
pub(super) const PIECE: usize = 64 * 1024;
/// When so many bytes wait for room over all connections, reads are small: that bounds what can
/// come to wait.
const MANY_WAITING: usize = 16 << 20;
/// When to look again where so much waits that nothing may be added.
const LATER: Duration = Duration::from_millis(100);
/// Reads in a row before other tasks have their turn.
const TURN: usize = 8;

/// What one attempt to read came to.
pub(super) enum Step {
    /// Something was read; there may be more.
    Read,
    /// There is nothing just now.
    Empty,
    /// A hand-over is under way.
    Closed,
    /// A ring is full, or too full to read more for it.
    Wait(Arc<Ring>),
    /// Too much waits over all connections.
    Later,
    /// The stream has ended.
    End,
}

/// Reads a connection to its end.
pub async fn read_stream(inputs: Arc<Inputs>, connection: Arc<Connection>) {
    loop {
        let mut ready = match inputs.limits.idle_timeout {
            None => connection.socket.readable().await,
            Some(limit) => match timeout(limit, connection.socket.readable()).await {
                Ok(ready) => ready,
                Err(_) => {
                    if close_idle(&inputs, &connection) {
                        return;
                    }
                    continue;
                }
            },
        };
        let Ok(ready) = ready.as_mut() else { return };
        let mut turn = 0;
        loop {
            match step(&inputs, &connection) {
                Step::Read => {
                    turn += 1;
                    if turn == TURN {
                        break;
                    }
                }
                Step::Empty => {
                    ready.clear_ready();
                    break;
                }
                Step::Closed => inputs.gate.opened().await,
                Step::Wait(ring) => wait_for_room(&inputs, &ring, &connection).await,
                Step::Later => sleep(LATER).await,
                Step::End => return,
            }
        }
        if turn == TURN {
            tokio::task::yield_now().await;
        }
    }
}

/// Places what a predecessor left waiting: no further byte may come that would tell of it. To be called behind the gate.
pub fn place_inherited(inputs: &Arc<Inputs>) {
    for connection in inputs.connections.inherit_waiting() {
        let inputs = inputs.clone();
        tokio::spawn(async move {
            loop {
                match step(&inputs, &connection) {
                    // An end is seen by the connection's own task as well.
                    Step::Read | Step::Empty | Step::End => return,
                    Step::Closed => inputs.gate.opened().await,
                    Step::Wait(ring) => wait_for_room(&inputs, &ring, &connection).await,
                    Step::Later => sleep(LATER).await,
                }
            }
        });
    }
}

/// Waits until the ring can take more.
async fn wait_for_room(inputs: &Inputs, ring: &Ring, connection: &Connection) {
    let drained = ring.drained.notified();
    tokio::pin!(drained);
    drained.as_mut().enable();
    let needs = inputs
        .connections
        .state(connection)
        .waiting
        .len()
        .min(PIECE) as u64;
    let limit = match ring.is_above_mark() || ring.room() < needs {
        // Nothing tells of a ring that is below its mark and has a little more room.
        true => Duration::from_millis(100),
        // There is room by now, or just too little for lines that grow: try again, but let others run.
        false => Duration::from_millis(1),
    };
    let _either_way = timeout(limit, drained).await;
}

fn step(inputs: &Inputs, connection: &Connection) -> Step {
    let Some(mut lane) = inputs.gate.enter() else {
        return Step::Closed;
    };
    let mut state = inputs.connections.state(connection);
    let step = step_inside(inputs, connection, &mut lane, &mut state);
    inputs.connections.mark(connection, &mut state);
    frames::account(inputs, connection, &mut state);
    step
}

fn step_inside(
    inputs: &Inputs,
    connection: &Connection,
    lane: &mut Lane,
    state: &mut State,
) -> Step {
    if state.ended {
        return Step::End;
    }
    let snapshot = inputs.intake.snapshot.load();
    if !state.waiting.is_empty() {
        let fed = match connection.protocol {
            Protocol::Line => feed_waiting(inputs, connection, &snapshot, lane, state),
            Protocol::Pickle => frames::feed_waiting(inputs, connection, &snapshot, lane, state),
        };
        match fed {
            Ok(()) => {}
            Err(ring) => return Step::Wait(ring),
        }
    }
    if connection.protocol == Protocol::Pickle && state.framing.is_discarding() {
        return frames::close(inputs, connection, lane, state);
    }
    if let Some(ring) = full_ring(&snapshot, state) {
        return Step::Wait(ring);
    }
    if frames::must_wait(inputs, &snapshot, state) {
        return Step::Later;
    }
    let waiting = inputs.waiting.load(Ordering::Relaxed);
    let size = match state.warm && waiting < MANY_WAITING {
        true => READ,
        false => SMALL_READ,
    };
    match read(inputs, connection, &snapshot, lane, state, size) {
        Ok(Some(step)) => step,
        Ok(None) => end(inputs, connection, lane, state),
        Err(error) => {
            tracing::debug!(peer = connection.peer, %error, "a connection ended badly");
            end(inputs, connection, lane, state)
        }
    }
}

/// Reads once. `None`: the stream has ended.
fn read(
    inputs: &Inputs,
    connection: &Connection,
    snapshot: &Snapshot,
    lane: &mut Lane,
    state: &mut State,
    size: usize,
) -> io::Result<Option<Step>> {
    let fd = connection.socket.get_ref().as_fd();
    let kept = match &mut state.framing {
        Framing::Lines(splitter) => splitter.fill(&mut lane.buffer),
        Framing::Frames(_) => 0,
    };
    if connection.kind == Kind::Unix {
        // The kernel won't tell how much was read: so the ledger says that something is.
        connection.add_received(state, &inputs.ledger, 0);
        lane.writer.set_offset(
            connection.slot,
            crate::ledger::Offset {
                receiving: true,
                ..connection.offset(state)
            },
        );
        lane.writer.commit();
    }
    let received = recv(fd, &mut lane.buffer[kept..kept + size], RecvFlags::DONTWAIT);
    let n = match received {
        Ok((_, 0)) => return Ok(None),
        Ok((_, n)) => n,
        Err(error) => {
            if connection.kind == Kind::Unix {
                lane.writer
                    .set_offset(connection.slot, connection.offset(state));
                lane.writer.commit();
            }
            return match error {
                rustix::io::Errno::WOULDBLOCK => Ok(Some(Step::Empty)),
                rustix::io::Errno::INTR => Ok(Some(Step::Read)),
                error => Err(error.into()),
            };
        }
    };
    connection.add_received(state, &inputs.ledger, n);
    state.warm = true;
    let step = match connection.protocol {
        Protocol::Line => take_lines(inputs, connection, snapshot, lane, state, kept, n),
        Protocol::Pickle => frames::take(inputs, connection, snapshot, lane, state, n),
    };
    Ok(Some(match step {
        // Less came than there was room for: that was all, and the kernel will tell of more.
        Step::Read if n < size => Step::Empty,
        step => step,
    }))
}

/// Takes the `n` bytes that were read behind the `kept` ones of a line.
fn take_lines(
    inputs: &Inputs,
    connection: &Connection,
    snapshot: &Snapshot,
    lane: &mut Lane,
    state: &mut State,
    kept: usize,
    n: usize,
) -> Step {
    let Framing::Lines(splitter) = &mut state.framing else {
        return Step::End;
    };
    let split = splitter.split(&lane.buffer[..kept + n], inputs.limits.max_line);
    if state.cut {
        // The rest of the line that a killed worker had begun to read.
        lane.writer.add(
            connection.object,
            Count::LostByCrash,
            split.whole.start as u64,
        );
        lane.writer.commit();
        state.cut = splitter.is_discarding();
    }
    if split.too_long > 0 {
        // Apart from the lines, which may come to wait.
        let writer = &mut lane.writer;
        writer.add(connection.object, Count::Lines, split.too_long);
        writer.add(connection.object, Reason::TooLong, split.too_long);
        writer.commit();
        let line = &lane.buffer[split.whole.end..kept + n];
        note_sample(inputs, connection, Reason::TooLong, line);
    }
    place(inputs, connection, snapshot, lane, state, split.whole, n)
}

/// Places what a read has ended, or keeps it until there is room.
fn place(
    inputs: &Inputs,
    connection: &Connection,
    snapshot: &Snapshot,
    lane: &mut Lane,
    state: &mut State,
    whole: std::ops::Range<usize>,
    n: usize,
) -> Step {
    let offset = connection.offset(state);
    let Lane {
        buffer,
        batch,
        writer,
        ..
    } = lane;
    let lines = &buffer[whole];
    let fed = inputs.intake.feed(
        snapshot,
        batch,
        writer,
        origin(connection),
        lines,
        |writer| {
            writer.set_offset(connection.slot, offset);
            writer.add(connection.object, Count::Bytes, n as u64);
        },
    );
    match fed {
        Ok(()) => {
            remember(snapshot, batch, state);
            if !batch.rejections().is_empty() && !std::mem::replace(&mut state.noted, true) {
                let rejection = &batch.rejections()[0];
                let line = &lines[rejection.range.clone()];
                note_rejection(connection, rejection.reason, line);
            }
            Step::Read
        }
        Err(ring) => {
            state.waiting.extend_from_slice(lines);
            inputs
                .waiting
                .fetch_add(state.waiting.len(), Ordering::Relaxed);
            writer.set_offset(connection.slot, connection.offset(state));
            writer.add(connection.object, Count::Bytes, n as u64);
            writer.commit();
            remember(snapshot, batch, state);
            Step::Wait(ring)
        }
    }
}

/// Places what came to wait, as much as there is room for.
///
/// In pieces: `-1` becomes ten digits, so a batch may be larger than it was, and larger than the room that a queue ever
/// has.
fn feed_waiting(
    inputs: &Inputs,
    connection: &Connection,
    snapshot: &Snapshot,
    lane: &mut Lane,
    state: &mut State,
) -> Result<(), Arc<Ring>> {
    connection.add_received(state, &inputs.ledger, 0);
    let waiting = std::mem::take(&mut state.waiting);
    let (mut rest, mut full, mut most) = (&waiting[..], None, PIECE);
    while !rest.is_empty() && full.is_none() {
        let (piece, after) = rest.split_at(end_of_piece(rest, most));
        let placed = connection.offset_before(state, after.len());
        let Lane { batch, writer, .. } = &mut *lane;
        let origin = origin(connection);
        let fed = inputs
            .intake
            .feed(snapshot, batch, writer, origin, piece, |writer| {
                writer.set_offset(connection.slot, placed);
            });
        match fed {
            Ok(()) => rest = after,
            // Rewriters can make lines so much longer that a piece of them has never room.
            Err(ring)
                if ring.room() > ring.capacity() / 4 && end_of_piece(rest, 1) < piece.len() =>
            {
                most = piece.len() / 2;
            }
            Err(ring) => full = Some(ring),
        }
    }
    let placed = waiting.len() - rest.len();
    // What a predecessor left waiting was not counted here.
    let less = |waiting: usize| Some(waiting.saturating_sub(placed));
    let _before = inputs
        .waiting
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    state.waiting = match placed {
        0 => waiting,
        _ => rest.to_vec(),
    };
    full.map_or(Ok(()), Err)
}

/// Where the first piece of these lines ends: after a line, and within `most` bytes unless the first one is longer.
fn end_of_piece(lines: &[u8], most: usize) -> usize {
    let near = &lines[..lines.len().min(most)];
    let newline = memchr::memrchr(b'\n', near).or_else(|| memchr::memchr(b'\n', lines));
    newline.map_or(lines.len(), |at| at + 1)
}

pub(super) fn origin(connection: &Connection) -> Origin<'_> {
    Origin {
        listener: connection.object,
        address: &connection.listener,
        peer: &connection.peer,
        patience: Patience::Waits,
    }
}

/// Notes to which queues the batch went: it isn't read more for them than they take.
pub(super) fn remember(snapshot: &Snapshot, batch: &Batch, state: &mut State) {
    let (table, rings) = &mut state.goes_to;
    *table = snapshot.table.id();
    rings.clear();
    rings.extend(batch.placed().iter().map(|placed| placed.destination));
}

/// A ring that this connection fills and that is above its mark.
pub(super) fn full_ring(snapshot: &Snapshot, state: &State) -> Option<Arc<Ring>> {
    let (table, rings) = &state.goes_to;
    if *table != snapshot.table.id() {
        return None;
    }
    rings
        .iter()
        .find_map(|at| snapshot.queues[*at].holds_senders())
        .cloned()
}

/// The end of a stream: what isn't a whole line is not a line.
pub(super) fn end(
    inputs: &Inputs,
    connection: &Connection,
    lane: &mut Lane,
    state: &mut State,
) -> Step {
    state.ended = true;
    if inputs.connections.remove(connection.cookie).is_none() {
        return Step::End;
    }
    let rest = state.framing.carry();
    let unterminated = u64::from(!rest.is_empty());
    if unterminated > 0 {
        // What speaks another protocol mostly waits for an answer, and never ends a line.
        let is_line = connection.protocol == Protocol::Line;
        if is_line && looks_like(rest).is_some() && !std::mem::replace(&mut state.noted, true) {
            note_rejection(connection, Reason::Unterminated, rest);
        }
        note_sample(inputs, connection, Reason::Unterminated, rest);
    }
    lane.writer
        .add(connection.object, Count::Lines, unterminated);
    lane.writer
        .add(connection.object, Reason::Unterminated, unterminated);
    lane.writer.add(connection.object, Count::Closed, 1);
    lane.writer.commit();
    state.framing = Framing::new(connection.protocol);
    frames::account(inputs, connection, state);
    let _already_gone = rustix::net::shutdown(connection.socket.get_ref(), Shutdown::Both);
    inputs.registry.release(connection.cookie);
    Step::End
}

/// Closes a connection that was silent for too long. False when it wasn't after all, or a
/// hand-over is under way.
fn close_idle(inputs: &Inputs, connection: &Connection) -> bool {
    let Some(mut lane) = inputs.gate.enter() else {
        return false;
    };
    let mut state = inputs.connections.state(connection);
    if !state.waiting.is_empty() || !matches!(connection.unread(), Ok(0)) {
        return false;
    }
    tracing::info!(
        peer = connection.peer,
        listener = connection.listener,
        "a connection was silent for idle_timeout: closed"
    );
    end(inputs, connection, &mut lane, &mut state);
    true
}

/// What a stop does with a connection: reads what has come, ends its own side, and reads on until the other side has ended or
/// time is over. Returns the bytes left unread.
pub async fn read_to_end(inputs: &Inputs, connection: &Connection, limit: Duration) -> u64 {
    let _half_closed = rustix::net::shutdown(connection.socket.get_ref(), Shutdown::Write);
    let reading = async {
        loop {
            match step(inputs, connection) {
                Step::Read => tokio::task::yield_now().await,
                Step::Empty => match connection.socket.readable().await {
                    Ok(mut ready) => ready.clear_ready(),
                    Err(_) => return,
                },
                Step::Wait(ring) => wait_for_room(inputs, &ring, connection).await,
                Step::Later => sleep(LATER).await,
                Step::Closed | Step::End => return,
            }
        }
    };
    if timeout(limit, reading).await.is_ok() {
        return 0;
    }
    let left = connection.unread().unwrap_or(0);
    if let Some(mut lane) = inputs.gate.enter() {
        let mut state = inputs.connections.state(connection);
        let waiting = state.waiting.len() as u64;
        state.waiting.clear();
        lane.writer
            .add(connection.object, Count::UnreadAtStop, left + waiting);
        end(inputs, connection, &mut lane, &mut state);
        return left + waiting;
    }
    left
}
