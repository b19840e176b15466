//! Lines of windows, each second: what is due is printed outside of the gate, and placed inside of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{DEADLINE, passed_word};
use crate::aggregating::Piece;
use crate::intake::{Origin, Patience, now_ms};
use crate::ledger::{Cell, Count, Writer};
use crate::worker::relay::{Relay, lock};

/// How long to wait where there was no room for lines.
const NO_ROOM: Duration = Duration::from_millis(50);
/// So many bytes of lines are placed at once; or the lines of a window, if those are more.
const PIECE: usize = 16 << 10;

/// What came of one look at what is due.
enum Step {
    /// Lines were placed; there may be more.
    Again,
    /// There is no room.
    Full,
    /// There is nothing to do.
    Nothing,
}

/// Each second, gives the routes the lines of the windows that are due.
pub(in crate::worker) async fn flush_for_ever(relay: Arc<Relay>) {
    loop {
        sleep(Duration::from_millis(1000 - now_ms() % 1000)).await;
        relay.inputs.gate.opened().await;
        let since = *lock(&relay.gathering.held_since);
        let expired = since.is_some_and(|since| since.elapsed() > DEADLINE);
        if expired && relay.gathering.claim() {
            relay
                .gathering
                .give_up_inherited(&relay, "they didn't come in time");
            relay.gathering.release(&relay);
        }
        loop {
            print(&relay).await;
            match step(&relay) {
                Step::Again => tokio::task::yield_now().await,
                Step::Full => sleep(NO_ROOM).await,
                Step::Nothing => break,
            }
        }
    }
}

/// Makes the lines of what is due, on a thread where that may take as long as it takes.
async fn print(relay: &Arc<Relay>) {
    let now = (now_ms() / 1000) as u32;
    if relay.inputs.intake.windows.is_due(now) {
        let relay = relay.clone();
        let printing = move || relay.inputs.intake.windows.print_due(now);
        // The worker ends when one of its threads panics.
        let _printed = tokio::task::spawn_blocking(printing).await;
    }
}

/// Passes the gate once. What is taken is placed or put back before it is left, so that a freeze finds all of it.
fn step(relay: &Relay) -> Step {
    let Some(mut lane) = relay.inputs.gate.enter() else {
        return Step::Nothing;
    };
    relay.gathering.count(&mut lane.writer);
    let intake = &relay.inputs.intake;
    let ended = lock(&relay.gathering.ended);
    if *ended {
        return Step::Nothing;
    }
    let Some(mut due) = intake.windows.take_due() else {
        return Step::Nothing;
    };
    let snapshot = intake.snapshot.load();
    let origin = Origin {
        listener: relay.aggregated,
        address: "aggregation",
        peer: "baton",
        patience: Patience::Waits,
    };
    while !due.is_empty() {
        let piece = due.piece(PIECE);
        let lines = &due.lines()[..piece.bytes];
        let placed = intake.feed_outputs(&snapshot, &mut lane, origin, lines, |writer| {
            book(relay, writer, &piece);
        });
        if placed.is_err() {
            intake.windows.put_before(due);
            return Step::Full;
        }
        due.placed(&piece);
    }
    Step::Again
}

fn book(relay: &Relay, writer: &mut Writer, piece: &Piece) {
    for tally in &piece.tallies {
        if let Some(object) = relay.gathering.object(relay, tally.rule) {
            writer.add(object, Count::Windows, tally.windows);
            writer.add(object, Count::Flushed, tally.points);
            writer.add(object, Count::Out, tally.lines);
        }
    }
    if piece.passed > 0 {
        let word = passed_word(relay.generation, piece.passed);
        writer.set(relay.aggregated, Cell::Passed, word);
    }
    if let Some(through) = piece.through {
        writer.set(relay.aggregated, Cell::ClosedTo, through.into());
    }
}
