//! Where a session is: what was typed, what is under way, what isn't sent yet.

use std::collections::VecDeque;
use std::time::Instant;

use super::carried::Carried;
use super::input::{Input, Line, MAX_LINE};
use crate::admin::command::{Answer, Command};
use crate::tap::{Event, Subscription, Wanted, printable};

/// No command is begun, and nothing is read or told of what flows, while so many bytes aren't sent.
pub(super) const MAX_UNSENT: usize = 1 << 20;
/// Nor is anything read while so many lines wait.
const MAX_LINES: usize = 64;
/// Before what a person types, and only then.
const PROMPT: &str = "baton> ";
/// The first byte of a TLS handshake (RFC 8446, 5.1).
const TLS: u8 = 22;

const UNSURE: &str = "restart under way: whether this was done is not known, see history or view";
const CUT: &str =
    "the worker of this session is gone: what wasn't answered may have been done or not";
const NOT_HERE: &str =
    "this is no command but a request of a browser: the HTTP listener is another";

/// Where a session is. What of it is to be seen by the client or the kernel changes behind the gate alone.
#[derive(Debug)]
pub(super) struct State {
    input: Input,
    lines: VecDeque<Line>,
    output: Vec<u8>,
    /// So many bytes of it are sent.
    sent: usize,
    running: Option<Running>,
    /// A line that was read, and what it changes: the next thing to be begun.
    ready: Option<(String, Box<Command>)>,
    subscription: Option<(Wanted, Subscription)>,
    /// One that is to be begun again here.
    resumes: Option<Wanted>,
    greeted: bool,
    /// Something was typed.
    touched: bool,
    /// It has said the token.
    pub known: bool,
    /// The client has ended its side.
    pub ended: bool,
    /// It is closed once all is sent.
    pub closing: bool,
    /// Nothing is known of it.
    pub cut: bool,
    /// Since when this worker has it.
    pub began: Instant,
    /// When something was last read, or a command ended.
    pub active: Instant,
    /// When something was last sent, or there was nothing to send.
    pub sent_at: Instant,
    /// Since when a change waits for the end of a restart.
    pub waits: Option<Instant>,
    /// How far both streams were at a freeze.
    pub frozen: Option<(u64, u64)>,
}

/// A command under way.
#[derive(Debug)]
enum Running {
    /// One that only looks, or isn't read yet.
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
    /// This is a browser that some page has sent here.
    fn is_intruder(&self);
}

/// What is to be done for a session.
#[derive(Debug)]
pub(super) enum Job {
    /// This line is read, and done if it only looks. Expressions in it are compiled, which takes long.
    Read(String),
    /// A command.
    Do(Box<Command>),
    /// A subscription is begun again.
    Resume(Wanted),
}

impl State {
    pub fn new() -> State {
        let now = Instant::now();
        State {
            input: Input::default(),
            lines: VecDeque::new(),
            output: Vec::new(),
            sent: 0,
            running: None,
            ready: None,
            subscription: None,
            resumes: None,
            greeted: false,
            touched: false,
            known: false,
            ended: false,
            closing: false,
            cut: false,
            began: now,
            active: now,
            sent_at: now,
            waits: None,
            frozen: None,
        }
    }

    /// What of it travels; the half line and the output go behind `bytes`.
    pub fn carry(&mut self, cookie: u64, bytes: &mut Vec<u8>) -> Carried {
        self.hear(true);
        let unsent = &self.output[self.sent..];
        let mut carried = Carried {
            cookie,
            input: self.input.clone(),
            half: self.input.half.len(),
            output: unsent.len(),
            lines: self.lines.iter().cloned().collect(),
            subscription: self.resumes.clone(),
            greeted: self.greeted,
            known: self.known,
            ended: self.ended,
            closing: self.closing,
            ..Carried::default()
        };
        bytes.extend_from_slice(&self.input.half);
        bytes.extend_from_slice(unsent);
        if let Some((wanted, _)) = &self.subscription {
            carried.subscription = Some(wanted.clone());
        }
        if let Some((line, _)) = &self.ready {
            carried.lines.insert(0, Line::Text(line.clone()));
        }
        match &self.running {
            Some(Running::Looks(line)) => carried.lines.insert(0, Line::Text(line.clone())),
            Some(Running::Changes) => carried.unsure = true,
            Some(Running::Restart) => carried.restarting = true,
            Some(Running::Resumes(wanted)) => carried.subscription = Some(wanted.clone()),
            None => {}
        }
        carried
    }

    /// As a predecessor had it.
    pub fn carried(carried: Carried, half: &[u8], output: &[u8], generation: u64) -> State {
        let mut state = State {
            lines: carried.lines.into(),
            output: output.to_vec(),
            resumes: carried.subscription,
            greeted: carried.greeted,
            touched: true,
            known: carried.known,
            ended: carried.ended,
            closing: carried.closing,
            input: carried.input,
            ..State::new()
        };
        state.input.half = half.to_vec();
        if carried.unsure {
            state.answer(&Answer::error(UNSURE));
        }
        if carried.restarting {
            state.answer(&Answer::said(format!("generation {generation} serves")));
        }
        state
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
        self.lines.is_empty()
            && self.running.is_none()
            && self.ready.is_none()
            && self.resumes.is_none()
    }

    /// Takes what was read.
    pub fn take(&mut self, bytes: &[u8]) {
        self.active = Instant::now();
        // What of a handshake are lines may be what a page wants to be done.
        if !std::mem::replace(&mut self.touched, true) && bytes.first() == Some(&TLS) {
            self.refuse(NOT_HERE);
            return;
        }
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

    /// Ends it with this reason; what else was typed isn't done.
    pub fn refuse(&mut self, reason: &str) {
        self.closing = true;
        self.lines.clear();
        self.answer(&Answer::error(reason));
    }

    /// The line that was under way is empty.
    pub fn nothing(&mut self) {
        self.running = None;
        self.prompt();
    }

    /// The line that was under way changes something: it is begun behind the gate.
    pub fn is_read(&mut self, line: String, command: Command) {
        self.running = None;
        self.ready = Some((line, Box::new(command)));
    }

    /// The line that was under way ends the session.
    pub fn quit(&mut self) {
        self.running = None;
        self.closing = true;
        self.say("OK\n");
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

    /// Takes what flows, as far as there is room; when it is the last time, the rest is lost, and that is said.
    pub fn hear(&mut self, last: bool) {
        let mut heard = String::new();
        let room = MAX_UNSENT.saturating_sub(self.unsent().len());
        let Some((wanted, subscription)) = &mut self.subscription else {
            return;
        };
        // This worker was frozen meanwhile, and serves again.
        let over = subscription.is_over();
        if over && !self.closing {
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
        if last || over {
            let lost = subscription.lose();
            if lost > 0 {
                heard.push_str(&format!("# {lost} lines lost\n"));
            }
        }
        if over {
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
            if let Some((line, command)) = self.ready.take() {
                if matches!(*command, Command::Change(_)) && !terms.may_change() {
                    self.waits.get_or_insert_with(Instant::now);
                    self.ready = Some((line, command));
                    return None;
                }
                self.waits = None;
                self.running = Some(match *command {
                    Command::Restart => Running::Restart,
                    _ => Running::Changes,
                });
                return Some(Job::Do(command));
            }
            let line = self.lines.pop_front()?;
            if matches!(&line, Line::Text(text) if is_http(text)) {
                terms.is_intruder();
                self.refuse(NOT_HERE);
                continue;
            }
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
                        self.refuse(&error);
                        continue;
                    }
                }
            }
            self.running = Some(Running::Looks(text.clone()));
            return Some(Job::Read(text));
        }
        None
    }
}

/// Whether a line is of a request of HTTP. Any page can have a browser send one to a port of this machine, and what it
/// posts are lines like others (as Redis does).
fn is_http(line: &str) -> bool {
    let host = line.get(..5);
    if host.is_some_and(|name| name.eq_ignore_ascii_case("host:")) {
        return true;
    }
    let words: Vec<&str> = line.trim_end().splitn(4, ' ').collect();
    matches!(words[..], [_, target, version] if version.starts_with("HTTP/")
        && (target.starts_with('/') || target.contains("://") || target == "*"))
}

#[cfg(test)]
mod tests;
