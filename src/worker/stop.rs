//! The end: what was accepted is delivered, as far as time allows, and the rest counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::amend::Leaving;
use super::relay::{Relay, lock};
use crate::amend::Backlog;
use crate::destination::{Destination, State};
use crate::ledger::DropReason;
use crate::listen::{drain, empty_accept_queue, read_to_end};
use crate::spool::{Errand, within};

/// How long a client may take to end its side.
const LAST_LINES: Duration = Duration::from_millis(500);
/// How long the spool may take to keep what wasn't delivered: the disk may be slow, another process may hold a lock.
const STOW: Duration = Duration::from_secs(12);
/// How often the supervisor is told that it takes longer: it allows less than twice that for each time.
const TELL: Duration = Duration::from_secs(2);
/// How often it is looked whether the queues are empty.
const LOOK: Duration = Duration::from_millis(5);
/// How often it is tried to keep what a destination that was removed didn't take.
const TRIES: u32 = 5;

/// A stop under way.
pub(super) struct Stopping {
    deadline: watch::Sender<Instant>,
}

impl Stopping {
    /// Begins to stop; `done` is told what was not delivered, `takes_longer` what is still done after `limit`.
    pub fn begin(
        relay: &Arc<Relay>,
        limit: Duration,
        takes_longer: impl Fn(&str) + Send + Sync + 'static,
        done: impl FnOnce(String) + Send + 'static,
    ) -> Stopping {
        let (deadline, watched) = watch::channel(Instant::now() + limit);
        let relay = relay.clone();
        relay.runtime.clone().spawn(async move {
            let summary = stop(&relay, watched, &takes_longer).await;
            done(summary);
        });
        Stopping { deadline }
    }

    /// Changes the deadline.
    pub fn hurry(&self, limit: Duration) {
        self.deadline.send_replace(Instant::now() + limit);
    }
}

async fn stop(
    relay: &Arc<Relay>,
    mut deadline: watch::Receiver<Instant>,
    takes_longer: &(impl Fn(&str) + Sync),
) -> String {
    relay.serving.store(false, Ordering::SeqCst);
    relay.inputs.stopping.send_replace(true);
    let unread = take_last_lines(relay).await;
    if unread > 0 {
        // No scrape sees it: the counters end with this process.
        tracing::warn!(
            bytes = unread,
            "clients were cut: bytes of theirs are left unread"
        );
    }
    let windows = keep_windows(relay, takes_longer).await;
    let destinations = relay.all_destinations();
    for destination in &destinations {
        destination.drain();
    }
    // What lies in the spool may stay there, and what waits for one that is down can go there.
    relay.spool.stop_replaying();
    let drained = async {
        loop {
            let keeps = relay.spool.health().error.is_none();
            let done =
                |d: &Arc<Destination>| d.is_drained() || (keeps && d.health().state == State::Down);
            if destinations.iter().all(done) {
                return;
            }
            sleep(LOOK).await;
        }
    };
    let over = async {
        loop {
            let at = *deadline.borrow_and_update();
            if timeout_at(at, deadline.changed()).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = drained => {}
        () = over => {}
    }
    relay.inputs.intake.tap.close();
    relay.web.finish();
    let mut undelivered = Vec::new();
    let keep = stow(relay, &destinations);
    tokio::pin!(keep);
    while timeout(TELL, &mut keep).await.is_err() {
        takes_longer("keeping what was not delivered in the spool");
    }
    let kept: u64 = destinations.iter().map(|d| d.queue.spooled_lines()).sum();
    for destination in &destinations {
        let lines = destination.give_up(DropReason::Stop).unwrap_or(0);
        if lines > 0 {
            tracing::warn!(
                destination = destination.spec.id,
                lines,
                "lines were undelivered at the stop: dropped"
            );
            undelivered.push(format!("{lines} lines for {}", destination.spec.id));
        }
    }
    let mut summary = match undelivered.as_slice() {
        [] if kept > 0 => format!("{kept} lines wait in the spool, the others were delivered"),
        [] => "everything was delivered".to_owned(),
        undelivered => format!("not delivered: {}", undelivered.join(", ")),
    };
    match windows {
        Ok(0) | Err(0) => {}
        Ok(points) => summary.push_str(&format!("; {points} points wait in aggregation windows")),
        Err(points) => summary.push_str(&format!(
            "; {points} points in aggregation windows are lost"
        )),
    }
    if unread > 0 {
        summary.push_str(&format!("; {unread} bytes of clients were left unread"));
    }
    summary
}

/// Keeps aggregation windows for the next start. Tells how many points, kept or not.
async fn keep_windows(
    relay: &Arc<Relay>,
    takes_longer: &(impl Fn(&str) + Sync),
) -> Result<u64, u64> {
    let relay = relay.clone();
    let kept = tokio::task::spawn_blocking(move || super::windows::keep(&relay, STOW));
    tokio::pin!(kept);
    loop {
        match timeout(TELL, &mut kept).await {
            // The worker ends when one of its threads panics.
            Ok(kept) => return kept.unwrap_or(Err(0)),
            Err(_) => takes_longer("keeping aggregation windows"),
        }
    }
}

/// Moves what destinations didn't take to the spool, and takes from there what they did. False: it couldn't be moved, and is where it was.
async fn stow(relay: &Arc<Relay>, destinations: &[Arc<Destination>]) -> bool {
    let mut ids = Vec::new();
    // What is replayed fills its ring again at any moment; and rows that were delivered would be delivered again.
    let wanted =
        |d: &&Arc<Destination>| !d.is_drained() || d.queue.is_spooling() || d.queue.has_rows();
    for destination in destinations.iter().filter(wanted) {
        if !destination.stand_down() {
            return false;
        }
        ids.push(destination.spec.id.clone());
    }
    if ids.is_empty() {
        return true;
    }
    let answer = relay.spool.ask(Errand::Stow(ids));
    // A disk that hangs must not keep the stop.
    let answer = tokio::task::spawn_blocking(move || answer.recv_timeout(STOW)).await;
    match answer {
        Ok(Ok(Ok(lines))) => {
            if lines > 0 {
                tracing::info!(lines, "lines were undelivered: kept in the spool");
            }
            true
        }
        Ok(Ok(Err(error))) => {
            tracing::error!(error, "what is queued can't be kept in the spool");
            false
        }
        Ok(Err(_)) | Err(_) => {
            tracing::error!("what is queued can't be kept in the spool: the disk takes too long");
            false
        }
    }
}

/// Takes what clients have sent. Returns the bytes that were left unread.
async fn take_last_lines(relay: &Arc<Relay>) -> u64 {
    let listeners = lock(&relay.listeners).clone();
    for listener in listeners.iter().filter(|l| l.takes_metrics()) {
        if listener.is_udp() {
            drain(&relay.inputs, listener);
        } else if !listener.passed {
            // They become connections, and are read with the others. What waits on a socket of
            // systemd waits for the next start.
            drop(empty_accept_queue(&relay.inputs, listener));
        }
    }
    let mut reading = JoinSet::new();
    for connection in relay.inputs.connections.all() {
        let inputs = relay.inputs.clone();
        reading.spawn(async move { read_to_end(&inputs, &connection, LAST_LINES).await });
    }
    let mut unread = 0;
    while let Some(left) = reading.join_next().await {
        unread += left.unwrap_or(0);
    }
    unread
}

/// Sees to the lines of destinations that no rule names any more. Those that are to be delivered have `stop_timeout` for
/// it; the rest is kept in the spool, or, if that can't be, dropped and counted.
pub(super) async fn leave(relay: Arc<Relay>, leaving: Vec<Leaving>) {
    let deadline = Instant::now() + relay.config.supervisor.stop_timeout;
    let drains = leaving.iter().filter(|one| one.how == Backlog::Drain);
    drains.for_each(|one| one.destination.drain());
    let (mut left, mut tries) = (leaving, 0);
    while !left.is_empty() {
        sleep(LOOK.max(Duration::from_millis(20))).await;
        if !relay.serving.load(Ordering::SeqCst) {
            // A hand-over: the successor goes on with it.
            relay.inputs.gate.opened().await;
            continue;
        }
        // Those that a rule names again have their queue back.
        left.retain(|one| relay.still_leaves(&one.destination));
        let over = Instant::now() >= deadline;
        let through = |d: &Destination| d.is_drained() && d.queue.spooled_lines() == 0;
        let done: Vec<Leaving> = left
            .extract_if(.., |one| {
                let is_time = through(&one.destination) || over || one.how != Backlog::Drain;
                is_time && relay.put_away(&one.destination)
            })
            .collect();
        let kept = done.iter().filter(|one| one.how != Backlog::Discard);
        let kept: Vec<Arc<Destination>> = kept.map(|one| one.destination.clone()).collect();
        if !stow(&relay, &kept).await && tries < TRIES {
            // A hand-over began, perhaps.
            tries += 1;
            for one in &done {
                relay.is_put_away(&one.destination.spec.id);
            }
            left.extend(done);
            continue;
        }
        for one in done {
            let gone = gone(&relay, &one).await;
            relay.is_put_away(&one.destination.spec.id);
            if !gone {
                left.push(one);
            }
        }
    }
}

/// Lets go of a destination and its queue. False: a hand-over is under way.
async fn gone(relay: &Relay, leaving: &Leaving) -> bool {
    let Leaving {
        destination, how, ..
    } = leaving;
    let Some(mut lines) = destination.give_up(DropReason::Removed) else {
        return false;
    };
    let id = &destination.spec.id;
    if *how == Backlog::Discard {
        match purge(relay, id).await {
            Ok(purged) => lines += purged,
            Err(error) => {
                tracing::error!(
                    destination = id,
                    error,
                    "its spool can't be purged: see baton spool"
                );
            }
        }
    }
    tracing::info!(
        destination = id,
        dropped = lines,
        kept = destination.queue.spooled_lines(),
        "removed from the table, and gone"
    );
    relay.is_gone(destination);
    relay.spool.serve(relay.all_destinations());
    if let Err(error) = relay.registry.release_queue(id) {
        tracing::error!(destination = id, %error, "its queue can't be released");
    }
    true
}

/// Drops the rows of a destination. If that hasn't begun in time it never will: its id may have other rows by then.
async fn purge(relay: &Relay, id: &str) -> Result<u64, String> {
    let taken = Arc::new(AtomicBool::new(false));
    let answer = relay.spool.ask(Errand::Purge {
        destination: id.to_owned(),
        taken: taken.clone(),
    });
    let purged = tokio::task::spawn_blocking(move || within(&answer, &taken, STOW));
    purged.await.map_err(|error| error.to_string())?
}
