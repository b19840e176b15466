//! A session, and where it is.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::Notify;

use super::carried::Carried;
use super::input::{Input, Line, MAX_LINE};
use crate::admin::command::{self, Answer, Command};
use crate::config::ListenAddress;
use crate::sys::{self, Watched};
use crate::tap::{Event, Subscription, Wanted, printable};

/// No command is begun, and nothing is read or told of what flows, while so many bytes aren't sent.
pub(super) const MAX_UNSENT: usize = 1 << 20;
/// Nor is anything read while so many lines wait.
const MAX_LINES: usize = 64;
/// Before what a person types, and only then.
const PROMPT: &str = "baton> ";

const UNSURE: &str = "restart under way: whether this was done is not known, see history or view";
const CUT: &str =
    "the worker of this session is gone: what wasn't answered may have been done or not";

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    /// SO_COOKIE.
    pub cookie: u64,
    /// The address it came in on.
    pub listener: String,
    /// Who it is.
    pub peer: String,
    /// The socket.
    pub socket: Watched,
    /// Something has changed that its task doesn't see in the socket.
    pub woken: Notify,
    /// A task serves it.
    pub started: AtomicBool,
    /// Other machines can reach it: it has to say the token, if there is one.
    pub is_for_others: bool,
    state: Mutex<State>,
}

/// Where a session is. What of it is to be seen by the client or the kernel changes behind the gate alone.
#[derive(Debug)]
pub(super) struct State {
    input: Input,
    lines: VecDeque<Line>,
    output: Vec<u8>,
    /// So many bytes of it are sent.
    sent: usize,
    running: Option<Running>,
    subscription: Option<(Wanted, Subscription)>,
    /// One that is to be begun again here.
    resumes: Option<Wanted>,
    greeted: bool,
    /// It has said the token.
    pub known: bool,
    /// The client has ended its side.
    pub ended: bool,
    /// It is closed once all is sent.
    pub closing: bool,
    /// Nothing is known of it.
    cut: bool,
    /// When something was last read, or a command ended.
    pub active: Instant,
    /// When something was last sent, or there was nothing to send.
    pub sent_at: Instant,
    /// Since when a change waits for the end of a restart.
    pub waits: Option<Instant>,
    /// How far both streams were at a freeze.
    frozen: Option<(u64, u64)>,
}

/// A command under way.
#[derive(Debug)]
enum Running {
    /// One that only looks.
    Looks(String),
    /// One that changes something.
    Changes,
    /// The end of a restart is waited for.
    Restart,
    /// A subscription is begun again.
    Resumes(Wanted),
}

/// What is asked before something is done.
pub(super) trait Terms {
    /// Whether the table may be changed now: no restart is under way.
    fn may_change(&self) -> bool;
    /// Whether this token is good; `None`: none is needed.
    ///
    /// # Errors
    /// In words, for the client.
    fn admits(&self, token: Option<&str>) -> Result<(), String>;
}

/// What is to be done for a session.
#[derive(Debug)]
pub(super) enum Job {
    /// A command.
    Do(Command),
    /// A subscription is begun again.
    Resume(Wanted),
}

impl Session {
    /// A new one.
    pub fn new(cookie: u64, listener: &str, socket: OwnedFd) -> io::Result<Session> {
        let peer = peer(&socket);
        // An address that can't be read is taken for the worst.
        let address = listener.parse::<ListenAddress>();
        let is_for_others = address.map_or(true, |address| address.is_for_others());
        Ok(Session {
            cookie,
            listener: listener.to_owned(),
            peer,
            socket: sys::watch(socket)?,
            woken: Notify::new(),
            started: AtomicBool::new(false),
            is_for_others,
            state: Mutex::new(State::new()),
        })
    }

    /// One that another worker had.
    pub fn passed(cookie: u64, listener: &str, socket: OwnedFd) -> io::Result<Session> {
        let session = Session::new(cookie, listener, socket)?;
        session.lock().cut = true;
        Ok(session)
    }

    /// Where it is.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What of it travels; the half line and the output go behind `bytes`. `None`: nothing is known of it.
    pub fn freeze(&self, bytes: &mut Vec<u8>) -> Option<Carried> {
        let mut state = self.lock();
        state.frozen = positions(&self.socket);
        if state.cut {
            return None;
        }
        state.hear();
        let unsent = &state.output[state.sent..];
        let mut carried = Carried {
            cookie: self.cookie,
            input: state.input.clone(),
            half: state.input.half.len(),
            output: unsent.len(),
            lines: state.lines.iter().cloned().collect(),
            subscription: state.resumes.clone(),
            greeted: state.greeted,
            known: state.known,
            ended: state.ended,
            closing: state.closing,
            ..Carried::default()
        };
        bytes.extend_from_slice(&state.input.half);
        bytes.extend_from_slice(unsent);
        if let Some((wanted, _)) = &state.subscription {
            carried.subscription = Some(wanted.clone());
        }
        match &state.running {
            Some(Running::Looks(line)) => carried.lines.insert(0, Line::Text(line.clone())),
            Some(Running::Changes) => carried.unsure = true,
            Some(Running::Restart) => carried.restarting = true,
            Some(Running::Resumes(wanted)) => carried.subscription = Some(wanted.clone()),
            None => {}
        }
        Some(carried)
    }

    /// Goes on where a predecessor was.
    pub fn take_over(&self, carried: Carried, half: &[u8], output: &[u8], generation: u64) {
        let mut state = self.lock();
        *state = State::new();
        state.input = carried.input;
        state.input.half = half.to_vec();
        state.lines = carried.lines.into();
        state.output = output.to_vec();
        state.resumes = carried.subscription;
        state.known = carried.known;
        (state.greeted, state.ended, state.closing) =
            (carried.greeted, carried.ended, carried.closing);
        if carried.unsure {
            state.answer(&Answer::error(UNSURE));
        }
        if carried.restarting {
            state.answer(&Answer::said(format!("generation {generation} serves")));
        }
    }

    /// Goes on after a successor that had begun and failed, if that neither read nor wrote here.
    pub fn recover(&self) {
        let mut state = self.lock();
        let now = positions(&self.socket);
        if now.is_none() || now != state.frozen {
            state.cut = true;
        }
    }
}

impl State {
    fn new() -> State {
        let now = Instant::now();
        State {
            input: Input::default(),
            lines: VecDeque::new(),
            output: Vec::new(),
            sent: 0,
            running: None,
            subscription: None,
            resumes: None,
            greeted: false,
            known: false,
            ended: false,
            closing: false,
            cut: false,
            active: now,
            sent_at: now,
            waits: None,
            frozen: None,
        }
    }

    /// What isn't sent yet.
    pub fn unsent(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    /// So many more bytes of it are.
    pub fn is_sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent == self.output.len() {
            (self.output, self.sent) = (Vec::new(), 0);
        }
    }

    /// Whether more may be read.
    pub fn may_read(&self) -> bool {
        !self.ended
            && !self.closing
            && self.lines.len() < MAX_LINES
            && self.unsent().len() <= MAX_UNSENT
    }

    /// Whether what flows is to be told.
    pub fn is_subscribed(&self) -> bool {
        self.subscription.is_some()
    }

    /// Whether nothing is left to be done for it.
    pub fn is_idle(&self) -> bool {
        self.lines.is_empty() && self.running.is_none() && self.resumes.is_none()
    }

    /// Takes what was read.
    pub fn take(&mut self, bytes: &[u8]) {
        self.active = Instant::now();
        let mut replies = Vec::new();
        self.input.take(bytes, &mut self.lines, &mut replies);
        self.output.extend(replies);
        if self.input.terminal && !self.greeted {
            self.greeted = true;
            self.say(concat!(
                "Baton ",
                env!("CARGO_PKG_VERSION"),
                ": help lists the commands\n"
            ));
            self.prompt();
        }
    }

    /// The client has ended its side.
    pub fn end_of_input(&mut self) {
        self.ended = true;
        self.lines.extend(self.input.finish());
        if self.subscription.take().is_some() {
            self.say("OK\n");
        }
    }

    /// Says it; a terminal wants its lines to end as RFC 854 has them.
    pub fn say(&mut self, text: &str) {
        match self.input.terminal {
            true => self.output.extend(text.replace('\n', "\r\n").into_bytes()),
            false => self.output.extend_from_slice(text.as_bytes()),
        }
    }

    fn prompt(&mut self) {
        if self.input.terminal && self.running.is_none() && !self.closing {
            self.say(PROMPT);
        }
    }

    fn answer(&mut self, answer: &Answer) {
        self.say(&answer.to_text());
        self.prompt();
    }

    /// The command that was under way has ended.
    pub fn done(&mut self, answer: &Answer) {
        self.running = None;
        self.active = Instant::now();
        self.answer(answer);
    }

    /// The subscription that was asked for has begun, or can't.
    pub fn subscribed(&mut self, wanted: Wanted, began: Result<Subscription, String>) {
        self.running = None;
        match began {
            // The client has ended its side meanwhile: that ends it.
            Ok(_) if self.ended => self.answer(&Answer::ok()),
            Ok(subscription) => self.subscription = Some((wanted, subscription)),
            Err(error) => self.answer(&Answer::error(error)),
        }
    }

    /// Takes what flows, as far as there is room.
    pub fn hear(&mut self) {
        let mut heard = String::new();
        let room = MAX_UNSENT.saturating_sub(self.unsent().len());
        let Some((wanted, subscription)) = &mut self.subscription else {
            return;
        };
        // This worker was frozen meanwhile, and serves again.
        if subscription.is_over() && !self.closing {
            self.resumes = Some(wanted.clone());
        }
        while heard.len() < room
            && let Some(event) = subscription.try_next()
        {
            match event {
                Event::Lines(lines) => {
                    for line in printable(&lines).lines() {
                        // What looks like the end of an answer moves aside.
                        if line.starts_with("OK") || line.starts_with("ERR") {
                            heard.push(' ');
                        }
                        heard.push_str(line);
                        heard.push('\n');
                    }
                }
                Event::Lost(lines) => heard.push_str(&format!("# {lines} lines lost\n")),
            }
        }
        if self.resumes.is_some() {
            self.subscription = None;
        }
        self.say(&heard);
    }

    /// What is to be done next, if anything is and can be; what needs no doing is answered.
    pub fn next(&mut self, terms: &impl Terms) -> Option<Job> {
        if std::mem::take(&mut self.cut) {
            *self = State {
                closing: true,
                ..State::new()
            };
            // The client may be inside of a line.
            self.say(&format!("\nERR {CUT}\n"));
        }
        while self.running.is_none() && !self.closing && self.unsent().len() <= MAX_UNSENT {
            if let Some(wanted) = self.resumes.take() {
                self.running = Some(Running::Resumes(wanted.clone()));
                return Some(Job::Resume(wanted));
            }
            let line = self.lines.pop_front()?;
            if self.subscription.take().is_some() {
                self.answer(&Answer::ok());
                continue;
            }
            let text = match line {
                Line::Text(text) => text,
                Line::TooLong => {
                    let told = format!("expected a line of at most {MAX_LINE} bytes");
                    self.answer(&Answer::error(told));
                    continue;
                }
                Line::NotText => {
                    self.answer(&Answer::error("expected UTF-8"));
                    continue;
                }
            };
            if !self.known || text.starts_with("auth ") {
                let token = text.trim().strip_prefix("auth ").map(str::trim);
                let admitted = terms.admits(token);
                self.known = admitted.is_ok();
                match admitted {
                    Ok(()) if token.is_none() => {}
                    Ok(()) => {
                        self.answer(&Answer::ok());
                        continue;
                    }
                    Err(error) => {
                        self.closing = true;
                        self.answer(&Answer::error(error));
                        continue;
                    }
                }
            }
            match command::read(&text) {
                Err(error) => self.answer(&Answer::error(error)),
                Ok(None) => self.prompt(),
                Ok(Some(Command::Quit)) => {
                    self.closing = true;
                    self.say("OK\n");
                }
                Ok(Some(command)) => {
                    if matches!(command, Command::Change(_))
                        && command.changes()
                        && !terms.may_change()
                    {
                        self.waits.get_or_insert_with(Instant::now);
                        self.lines.push_front(Line::Text(text));
                        return None;
                    }
                    self.waits = None;
                    self.running = Some(match &command {
                        Command::Restart => Running::Restart,
                        command if command.changes() => Running::Changes,
                        _ => Running::Looks(text),
                    });
                    return Some(Job::Do(command));
                }
            }
        }
        None
    }
}

/// How far both streams of a connection are: bytes that anybody has read, and has written. `None`: the kernel doesn't tell.
fn positions(socket: &Watched) -> Option<(u64, u64)> {
    /// Of TCP_INFO's states: the peer has ended its side, which counts as a byte.
    const CLOSE_WAIT: u8 = 8;
    let fd = socket.get_ref().as_fd();
    for _ in 0..8 {
        let info = sys::tcp_info(fd).ok()?;
        let (unread, queued) = (sys::unread(fd).ok()?, sys::queued_out(fd).ok()?);
        if sys::tcp_info(fd).ok()? == info {
            let end = u64::from(info.state == CLOSE_WAIT);
            let read = info.bytes_received.checked_sub(unread + end)?;
            return Some((read, info.bytes_acked + queued));
        }
    }
    None
}

fn peer(socket: &OwnedFd) -> String {
    let address = rustix::net::getpeername(socket).ok().flatten();
    let address = address.and_then(|address| std::net::SocketAddr::try_from(address).ok());
    match address {
        Some(address) => address.to_string(),
        None => match rustix::net::sockopt::socket_peercred(socket) {
            Ok(user) => format!("uid {}", user.uid.as_raw()),
            Err(_) => "a unix socket".to_owned(),
        },
    }
}
