//! Serving a session.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::Sessions;
use super::session::{Job, Session, State, Terms};
use crate::admin::access::Access;
use crate::admin::command::{Answer, Command, answer};
use crate::admin::desk::Desk;

/// A client that takes nothing of what it is told is cut after it.
const SLOW: Duration = Duration::from_secs(60);
/// One that asks for nothing is.
const IDLE: Duration = Duration::from_secs(3600);
/// One that was never told anything is ended sooner: it may be somebody who doesn't know the token.
const UNKNOWN: Duration = Duration::from_secs(600);
/// How often a subscription is looked at.
const FLOW: Duration = Duration::from_millis(20);
/// How often it is looked whether a restart is over.
const LOOK: Duration = Duration::from_millis(50);
/// A change waits so long for that; then it is asked for anyway, and says what is in its way.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a restart may take to be begun.
const RESTART: Duration = Duration::from_secs(180);
/// Read at once.
const READ: usize = 4096;

/// What one turn came to.
struct Turn {
    /// There is nothing to read just now.
    nothing_read: bool,
    /// The client takes no more just now.
    nothing_sent: bool,
    then: Then,
}

enum Then {
    /// It has ended.
    End,
    /// There may be more to do.
    Again,
    /// This is to be done aside.
    Do(Job),
    /// At most so long.
    Wait {
        read: bool,
        write: bool,
        limit: Duration,
    },
}

/// Serves it to its end.
pub(super) async fn run(sessions: Arc<Sessions>, session: Arc<Session>, desk: Arc<dyn Desk>) {
    let (mut readable, mut writable) = (None, None);
    loop {
        let Some(turn) = turn(&sessions, &session, &*desk) else {
            sessions.gate.opened().await;
            continue;
        };
        let unready = |ready: &mut Option<tokio::io::unix::AsyncFdReadyGuard<'_, _>>| {
            if let Some(mut ready) = ready.take() {
                ready.clear_ready();
            }
        };
        if turn.nothing_read {
            unready(&mut readable);
        }
        if turn.nothing_sent {
            unready(&mut writable);
        }
        match turn.then {
            Then::End => return,
            Then::Again => tokio::task::yield_now().await,
            Then::Do(job) => {
                let (session, desk) = (session.clone(), desk.clone());
                tokio::task::spawn_blocking(move || {
                    work(&session, &*desk, job);
                    session.woken.notify_one();
                });
            }
            Then::Wait { read, write, limit } => {
                // A socket that can't be watched any more is seen by the next turn.
                tokio::select! {
                    ready = session.socket.readable(), if read => readable = ready.ok(),
                    ready = session.socket.writable(), if write => writable = ready.ok(),
                    () = session.woken.notified() => {}
                    () = tokio::time::sleep(limit) => {}
                }
            }
        }
    }
}

/// What is asked for a session.
struct Asker<'a> {
    /// It hasn't waited too long.
    patient: bool,
    session: &'a Session,
    access: &'a Access,
    desk: &'a dyn Desk,
}

impl Terms for Asker<'_> {
    fn may_change(&self) -> bool {
        !self.patient || self.desk.may_change()
    }

    fn admits(&self, token: Option<&str>) -> Result<(), String> {
        let Some(own) = self
            .access
            .token
            .as_ref()
            .filter(|_| self.session.is_for_others)
        else {
            return Ok(());
        };
        let now = Instant::now();
        let from = self.session.peer.parse::<SocketAddr>().map(|at| at.ip());
        let from = from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        if let Some(wait) = self.access.must_wait(from, now) {
            return Err(format!(
                "too many wrong tokens: wait {} s",
                wait.as_secs() + 1
            ));
        }
        let token = token.ok_or("expected auth and the token before all else")?;
        if own.is(token.as_bytes()) {
            return Ok(());
        }
        self.access.failed(from, now);
        Err("this is not the token".to_owned())
    }
}

/// Sends, begins and reads what can be. `None`: the gate is closed.
fn turn(sessions: &Sessions, session: &Session, desk: &dyn Desk) -> Option<Turn> {
    let mut lane = sessions.gate.enter()?;
    let mut state = session.lock();
    let mut turn = Turn {
        nothing_read: false,
        nothing_sent: false,
        then: Then::End,
    };
    let now = Instant::now();
    state.hear();
    let patient = state.waits.is_none_or(|since| now - since < PATIENCE);
    let job = state.next(&Asker {
        patient,
        session,
        access: &sessions.access,
        desk,
    });
    let gone = match write(session, &mut state, now) {
        Ok(all) => {
            turn.nothing_sent = !all;
            state.closing && all || now - state.sent_at > SLOW
        }
        Err(_) => true,
    };
    let limit = if state.known { IDLE } else { UNKNOWN };
    let idle = state.is_idle() && !state.is_subscribed() && now - state.active > limit;
    if gone || idle {
        drop(state);
        sessions.end(session);
        return Some(turn);
    }
    if let Some(job) = job {
        turn.then = Then::Do(job);
        return Some(turn);
    }
    if state.may_read() {
        match recv(
            session.socket.get_ref(),
            &mut lane.buffer[..READ],
            RecvFlags::empty(),
        ) {
            Ok((0, _)) => {
                state.end_of_input();
                turn.then = Then::Again;
                return Some(turn);
            }
            Ok((read, _)) => {
                state.take(&lane.buffer[..read]);
                turn.then = Then::Again;
                return Some(turn);
            }
            Err(Errno::WOULDBLOCK | Errno::INTR) => turn.nothing_read = true,
            Err(_) => {
                drop(state);
                sessions.end(session);
                return Some(turn);
            }
        }
    }
    turn.then = rest(&mut state);
    Some(turn)
}

/// Nothing can be done just now: for what is waited.
fn rest(state: &mut State) -> Then {
    if state.ended && state.is_idle() && !state.closing {
        state.closing = true;
        return Then::Again;
    }
    Then::Wait {
        read: state.may_read(),
        write: !state.unsent().is_empty(),
        limit: match () {
            () if state.is_subscribed() => FLOW,
            () if state.waits.is_some() => LOOK,
            () => SLOW,
        },
    }
}

/// Sends what there is; tells whether that was all.
fn write(session: &Session, state: &mut State, now: Instant) -> Result<bool, Errno> {
    while !state.unsent().is_empty() {
        match send(
            session.socket.get_ref(),
            state.unsent(),
            SendFlags::NOSIGNAL,
        ) {
            Ok(sent) => {
                state.is_sent(sent);
                state.sent_at = now;
            }
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    state.sent_at = now;
    Ok(true)
}

/// Does what may wait for the disk.
fn work(session: &Session, desk: &dyn Desk, job: Job) {
    match job {
        Job::Do(Command::Subscribe(wanted)) | Job::Resume(wanted) => {
            let began = desk.subscribe(&wanted);
            session.lock().subscribed(wanted, began);
        }
        Job::Do(Command::Restart) => {
            let answer = restart(desk, &session.peer);
            session.lock().done(&answer);
        }
        Job::Do(command) => {
            let answer = answer(desk, &command, &session.peer);
            session.lock().done(&answer);
        }
    }
}

/// Asks for a restart, and waits for what comes of it. When it comes off, this worker is frozen by then, and its successor
/// answers.
fn restart(desk: &dyn Desk, peer: &str) -> Answer {
    let last = desk.view().generations.iter().map(|one| one.id).max();
    if let Err(error) = desk.restart("telnet", peer) {
        return Answer::error(error);
    }
    let began = Instant::now();
    while began.elapsed() < RESTART {
        std::thread::sleep(LOOK);
        let view = desk.view();
        let failed = view.generations.iter().find(|one| {
            let over = ["refused", "crashed"]
                .iter()
                .any(|word| one.outcome.starts_with(word));
            Some(one.id) > last && over
        });
        if let Some(failed) = failed {
            return Answer::error(format!("generation {}: {}", failed.id, failed.outcome));
        }
    }
    Answer::error("no new worker has come so far: the log says why")
}
