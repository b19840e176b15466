use std::cell::Cell;
use std::sync::Arc;

use super::*;
use crate::tap::{At, Seen, Tap};

#[derive(Default)]
struct Asked {
    may_change: Cell<bool>,
    intruders: Cell<usize>,
}

impl Terms for Asked {
    fn may_change(&self) -> bool {
        self.may_change.get()
    }

    fn admits(&self, _: Option<&str>) -> Result<(), String> {
        Ok(())
    }

    fn is_intruder(&self) {
        self.intruders.set(self.intruders.get() + 1);
    }
}

fn output(state: &State) -> &str {
    str::from_utf8(state.unsent()).unwrap()
}

#[test]
fn what_a_browser_posts_is_not_done() {
    let post = b"POST / HTTP/1.1\r\nHost: 127.0.0.1:2004\r\nContent-Type: text/plain\r\n\r\n\
                 delRoute prod discard\nview\n";
    let long = [
        b"POST /",
        &b"x".repeat(MAX_LINE)[..],
        &post[b"POST /".len()..],
    ]
    .concat();
    for request in [
        post.to_vec(),
        long,
        b"HOST:x\nview\n".to_vec(),
        b"get http://a/ HTTP/1.0\nview\n".to_vec(),
        b"OPTIONS * HTTP/1.1\nview\n".to_vec(),
    ] {
        for pieces in [1, 7, request.len()] {
            let (mut state, terms) = (State::new(), Asked::default());
            for piece in request.chunks(request.len().div_ceil(pieces)) {
                if state.may_read() {
                    state.take(piece);
                }
                assert!(state.next(&terms).is_none(), "{:?}", output(&state));
            }
            assert_eq!(terms.intruders.get(), 1);
            assert!(state.closing && !state.may_read());
            let told = output(&state).lines().last().unwrap();
            assert_eq!(told, format!("ERR {NOT_HERE}"));
        }
    }
    for line in [
        "view",
        "route list",
        "trace a/b HTTP/1.1",
        "addBlock sub HTTP/1.1",
        "trace host:",
        "addRewriter /a/ HTTP/1.1 -1",
    ] {
        assert!(!is_http(line), "{line}");
    }
}

#[test]
fn a_handshake_of_tls_is_not_read_for_lines() {
    let (mut state, terms) = (State::new(), Asked::default());
    state.take(b"\x16\x03\x01\x02\x00\ndelRoute prod discard\n");
    assert!(state.next(&terms).is_none() && state.closing);
    // Later it is an odd byte like others.
    let mut state = State::new();
    state.take(b"v");
    state.take(b"\x16\n");
    assert!(matches!(state.next(&terms), Some(Job::Read(_))));
}

#[test]
fn one_line_is_read_at_a_time_and_a_change_that_waits_only_once() {
    let (mut state, terms) = (State::new(), Asked::default());
    let line = "addRewriter /\\w{200}{200}/ x -1";
    state.take(format!("{line}\n").repeat(3).as_bytes());
    let Some(Job::Read(first)) = state.next(&terms) else {
        panic!("nothing is to be read");
    };
    assert_eq!(first, line);
    // Nothing else is begun meanwhile.
    assert!(state.next(&terms).is_none());
    state.done(&Answer::error("no"));
    assert!(matches!(state.next(&terms), Some(Job::Read(_))));
    state.is_read(line.to_owned(), Command::Restart);
    assert!(matches!(state.next(&terms), Some(Job::Do(_))));
    state.done(&Answer::ok());
    assert!(matches!(state.next(&terms), Some(Job::Read(_))));
    let change = crate::admin::command::read("addBlock prefix a.").unwrap();
    let change = change.unwrap();
    state.is_read("addBlock prefix a.".to_owned(), change.clone());
    for _ in 0..3 {
        assert!(state.next(&terms).is_none() && state.waits.is_some());
        assert!(!state.is_idle());
    }
    // A successor reads the line again.
    let carried = state.carry(1, &mut Vec::new());
    assert_eq!(carried.lines, [Line::Text("addBlock prefix a.".to_owned())]);
    terms.may_change.set(true);
    let Some(Job::Do(begun)) = state.next(&terms) else {
        panic!("it isn't begun");
    };
    assert_eq!(*begun, change);
    assert!(state.waits.is_none());
    assert!(state.carry(1, &mut Vec::new()).unsure);
}

#[test]
fn what_a_slow_subscriber_loses_at_a_hand_over_is_told() {
    let tap = Arc::new(Tap::new());
    let mut state = State::new();
    state.subscribed(Wanted::default(), tap.subscribe(&Wanted::default()));
    let show = |lines: usize| {
        let text = "a.b 1 1790000000\n".repeat(lines);
        let seen = std::iter::once(Seen::lines(text.as_bytes()));
        tap.show(At::Routed, seen, &mut tap.time(64 << 20));
    };
    show(3);
    state.hear(false);
    // It takes nothing.
    state.say(&"x".repeat(MAX_UNSENT));
    show(5);
    state.hear(false);
    let mut bytes = Vec::new();
    let carried = state.carry(1, &mut bytes);
    assert!(carried.subscription.is_some());
    let told = String::from_utf8(bytes).unwrap();
    assert!(told.starts_with("a.b 1 1790000000\n"));
    assert!(
        told.ends_with("# 5 lines lost\n"),
        "{:?}",
        told.lines().last()
    );
    // Once.
    let mut bytes = Vec::new();
    state.carry(1, &mut bytes);
    assert_eq!(told.as_bytes(), bytes);
}
