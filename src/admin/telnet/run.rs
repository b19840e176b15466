//! Serving a session.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::Sessions;
use super::session::Session;
use super::state::{Job, State, Terms};
use crate::admin::access::{Access, Token};
use crate::admin::command::{self, Answer, Command, answer};
use crate::admin::desk::Desk;
use crate::tap;

/// A client that takes nothing of what it is told is cut after it.
const SLOW: Duration = Duration::from_secs(60);
/// One that asks for nothing is.
const IDLE: Duration = Duration::from_secs(3600);
/// One that never asked for anything is ended sooner.
const SILENT: Duration = Duration::from_secs(600);
/// Who has to say the token has so long for it, whatever else is said: strangers mustn't hold the places of others.
const ADMISSION: Duration = Duration::from_secs(30);
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
    sessions: &'a Sessions,
    desk: &'a dyn Desk,
}

impl Terms for Asker<'_> {
    fn may_change(&self) -> bool {
        !self.patient || self.desk.may_change()
    }

    fn admits(&self, token: Option<&str>) -> Result<(), String> {
        let access = &self.sessions.access;
        let Some(own) = asked_of(self.session, access) else {
            return Ok(());
        };
        let now = Instant::now();
        let from = self.session.peer.parse::<SocketAddr>().map(|at| at.ip());
        let from = from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        if let Some(wait) = access.must_wait(from, now) {
            return Err(format!(
                "too many wrong tokens: wait {} s",
                wait.as_secs() + 1
            ));
        }
        let token = token.ok_or("expected auth and the token before all else")?;
        if own.is(token.as_bytes()) {
            return Ok(());
        }
        access.failed(from, now);
        Err("this is not the token".to_owned())
    }

    fn is_intruder(&self) {
        if self.sessions.may_tell_of_intruders() {
            let (listener, peer) = (&self.session.listener, &self.session.peer);
            tracing::warn!(
                listener,
                peer,
                "a browser was sent here by some page: the session is ended, and nothing was done"
            );
        }
    }
}

/// The token that has to be said in a session.
fn asked_of<'a>(session: &Session, access: &'a Access) -> Option<&'a Token> {
    access.token.as_ref().filter(|_| session.is_for_others)
}

/// How long it has to say it, if it must and hasn't.
fn admission(session: &Session, access: &Access, state: &State, now: Instant) -> Option<Duration> {
    let token = asked_of(session, access).filter(|_| !state.known);
    token.map(|_| (state.began + ADMISSION).saturating_duration_since(now))
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
    state.hear(false);
    let admission = admission(session, &sessions.access, &state, now);
    let is_late = !state.closing && admission.is_some_and(|left| left.is_zero());
    if is_late {
        state.refuse("expected auth and the token by now");
    }
    let patient = state.waits.is_none_or(|since| now - since < PATIENCE);
    let job = state.next(&Asker {
        patient,
        session,
        sessions,
        desk,
    });
    let gone = match write(session, &mut state, now) {
        Ok(all) => {
            turn.nothing_sent = !all;
            state.closing && all || is_late || now - state.sent_at > SLOW
        }
        Err(_) => true,
    };
    let limit = if state.known { IDLE } else { SILENT };
    let idle = state.is_idle() && !state.is_subscribed() && now - state.active > limit;
    if gone || idle {
        drop(state);
        sessions.end(session, &mut lane.writer);
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
                sessions.end(session, &mut lane.writer);
                return Some(turn);
            }
        }
    }
    turn.then = rest(&mut state, admission);
    Some(turn)
}

/// Nothing can be done just now: for what is waited.
fn rest(state: &mut State, admission: Option<Duration>) -> Then {
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
            () => admission.map_or(SLOW, |left| left.min(SLOW)),
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

/// Does what takes long, or may wait for the disk.
fn work(session: &Session, desk: &dyn Desk, job: Job) {
    match job {
        Job::Read(line) => read(session, desk, line),
        Job::Resume(wanted) => subscribe(session, desk, wanted),
        Job::Do(command) => {
            let answer = match *command {
                Command::Restart => restart(desk, &session.peer),
                command => answer(desk, &command, &session.peer),
            };
            session.lock().done(&answer);
        }
    }
}

/// Reads a line. What only looks is done at once: a successor does it again. What changes something is begun by a turn.
fn read(session: &Session, desk: &dyn Desk, line: String) {
    match command::read(&line) {
        Err(error) => session.lock().done(&Answer::error(error)),
        Ok(None) => session.lock().nothing(),
        Ok(Some(Command::Quit)) => session.lock().quit(),
        Ok(Some(Command::Subscribe(wanted))) => subscribe(session, desk, wanted),
        Ok(Some(command)) if command.changes() => session.lock().is_read(line, command),
        Ok(Some(command)) => {
            let answer = answer(desk, &command, &session.peer);
            session.lock().done(&answer);
        }
    }
}

fn subscribe(session: &Session, desk: &dyn Desk, wanted: tap::Wanted) {
    let began = desk.subscribe(&wanted);
    session.lock().subscribed(wanted, began);
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::config::Admin;
    use crate::ledger::{BYTES, Kind, Ledger};

    #[tokio::test]
    async fn strangers_have_so_long_to_say_the_token_whatever_else_they_say() {
        let memory = crate::sys::memfd("ledger", BYTES).unwrap();
        let ledger = Ledger::open(memory.as_fd()).unwrap();
        let session = |listener: &str| {
            let object = ledger.object(Kind::Listener, listener).unwrap();
            let (ours, _theirs) = UnixStream::pair().unwrap();
            Session::new(1, (listener, object), ours.into()).unwrap()
        };
        let access = Access::for_nobody(&Admin::default());
        let others = session("tcp://0.0.0.0:2004");
        let mut state = State::new();
        let later = state.began + ADMISSION - Duration::from_secs(1);
        let left = |session: &Session, state: &State, now| admission(session, &access, state, now);
        assert_eq!(left(&others, &state, later), Some(Duration::from_secs(1)));
        // A byte now and then changes nothing.
        state.take(b"x");
        assert_eq!(left(&others, &state, later), Some(Duration::from_secs(1)));
        let late = later + Duration::from_secs(2);
        assert_eq!(left(&others, &state, late), Some(Duration::ZERO));
        // Whoever is waited for no more is looked at when that is so.
        let waits = left(&others, &state, later);
        let waits = rest(&mut state, waits);
        assert!(matches!(waits, Then::Wait { limit, .. } if limit == Duration::from_secs(1)));
        assert_eq!(left(&session("unix:telnet.sock"), &state, late), None);
        state.known = true;
        assert_eq!(left(&others, &state, late), None);
    }
}
