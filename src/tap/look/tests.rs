use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::tap::{Event, MAX_SUBSCRIBERS, QUEUE, Subscription, Wanted};

fn subscribe(tap: &Arc<Tap>, words: &str) -> Subscription {
    let wanted = Wanted::from_words(words.split_whitespace()).unwrap();
    tap.subscribe(&wanted).unwrap()
}

fn show(tap: &Tap, at: At, texts: &[&str]) {
    let seen = texts.iter().map(|text| match at {
        At::Rejected => Seen::rejected(Reason::Value, text.as_bytes()),
        At::In | At::Routed => Seen::lines(text.as_bytes()),
    });
    // Who is slow to be tested isn't what is tested.
    let mut time = Time::with(Duration::MAX, tap.subscribers(), Instant::now);
    tap.show(at, seen, &mut time);
}

fn lines(text: &str) -> Option<Event> {
    Some(Event::Lines(text.as_bytes().to_vec()))
}

#[test]
fn each_sees_its_point_and_what_it_wants() {
    let tap = Arc::new(Tap::new());
    assert!(!tap.watched().is_any());
    let mut all = subscribe(&tap, "");
    let mut some = subscribe(&tap, "prefix=a sub=b regex=c+$ glob=a.*");
    assert!(tap.watched().has(At::Routed) && !tap.watched().has(At::In));
    let mut came = subscribe(&tap, "at=in notPrefix=x");
    let mut bad = subscribe(&tap, "at=rejected");
    show(&tap, At::Routed, &["a.bcc 1 2\na.b 1 2\n", "a.b.c 1 2\n"]);
    show(&tap, At::In, &["\n  \r\n a\tb \r\nx 1 2\n\n;z 1 2"]);
    show(&tap, At::Rejected, &["a x 1", "b"]);
    assert_eq!(all.try_next(), lines("a.bcc 1 2\na.b 1 2\na.b.c 1 2\n"));
    assert_eq!(some.try_next(), lines("a.bcc 1 2\n"));
    assert_eq!(came.try_next(), lines(" a\tb \r\n;z 1 2\n"));
    assert_eq!(bad.try_next(), lines("value: a x 1\nvalue: b\n"));
    for one in [&mut all, &mut some, &mut came, &mut bad] {
        assert_eq!(one.try_next(), None);
    }
    drop((all, some));
    assert!(!tap.watched().has(At::Routed) && tap.watched().has(At::In));
    drop((came, bad));
    assert!(!tap.watched().is_any());
}

#[test]
fn what_has_no_room_is_lost_and_told_at_its_place() {
    let tap = Arc::new(Tap::new());
    let mut slow = subscribe(&tap, "");
    let line = format!("{} 1 2\n", "x".repeat(1000));
    let (fit, batch) = (QUEUE / line.len(), line.repeat(100));
    for _ in 0..20 {
        show(&tap, At::Routed, &[&batch]);
    }
    // Short ones would fit, and came later.
    show(&tap, At::Routed, &["a 1 2\n"]);
    let Some(Event::Lines(first)) = slow.try_next() else {
        panic!("nothing")
    };
    assert_eq!(first.len(), fit * line.len());
    show(&tap, At::Routed, &["b 1 2\n"]);
    assert_eq!(slow.try_next(), Some(Event::Lost(2001 - fit as u64)));
    assert_eq!(slow.try_next(), lines("b 1 2\n"));
    tap.miss(At::Routed, 3);
    assert_eq!(slow.try_next(), Some(Event::Lost(3)));
    assert_eq!(slow.try_next(), None);
}

#[test]
fn samples_are_of_all_lines_and_patterns_of_the_sample() {
    let tap = Arc::new(Tap::new());
    let mut tenth = subscribe(&tap, "sample=10 prefix=b");
    for _ in 0..1000 {
        show(&tap, At::Routed, &["a 1 2\nb 1 2\n".repeat(50).as_str()]);
    }
    let Some(Event::Lines(seen)) = tenth.try_next() else {
        panic!("nothing")
    };
    assert!(seen.chunks(6).all(|line| line == b"b 1 2\n"));
    let count = seen.len() / 6;
    assert!(count.abs_diff(5000) < 300, "{count}");
}

#[tokio::test]
async fn a_subscription_waits_and_ends_with_its_worker() {
    let tap = Arc::new(Tap::new());
    let mut one = subscribe(&tap, "");
    tokio::select! {
        biased;
        told = one.next() => panic!("{told:?}"),
        () = std::future::ready(()) => {}
    }
    let other = tap.clone();
    let shows = tokio::spawn(async move {
        show(&other, At::Routed, &["a 1 2\n"]);
        show(&other, At::Routed, &["b 1 2\n"]);
    });
    assert_eq!(one.next().await, lines("a 1 2\nb 1 2\n"));
    shows.await.unwrap();
    show(&tap, At::Routed, &["c 1 2\n"]);
    tap.close();
    assert!(tap.subscribe(&Wanted::default()).is_err());
    assert!(one.is_over());
    assert_eq!(one.next().await, lines("c 1 2\n"));
    assert_eq!(one.next().await, None);
    assert_eq!(one.next().await, None);
    tap.open();
    assert!(tap.subscribe(&Wanted::default()).is_ok());
}

#[test]
fn there_are_so_many_and_no_more() {
    let tap = Arc::new(Tap::new());
    let mut all: Vec<_> = (0..MAX_SUBSCRIBERS).map(|_| subscribe(&tap, "")).collect();
    let error = tap.subscribe(&Wanted::default()).unwrap_err();
    assert!(error.contains("64 subscribers"), "{error}");
    all.pop();
    assert!(tap.subscribe(&Wanted::default()).is_ok());
    for (words, said) in [
        ("regex=a(", "regex \"a(\" is not a regular expression"),
        ("glob=a[", "a [ isn't closed"),
        (
            "regex=\\w{200}x{200}",
            "Compiled regex exceeds size limit of 262144 bytes.",
        ),
    ] {
        let wanted = Wanted::from_words([words]).unwrap();
        let error = tap.subscribe(&wanted).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

thread_local!(static TICKS: Cell<u32> = const { Cell::new(0) });
/// What a look at the clock takes by this clock.
const TICK: Duration = Duration::from_micros(10);

/// It goes on when it is looked at, and only then.
fn ticking() -> Instant {
    thread_local!(static BEGAN: Instant = Instant::now());
    TICKS.set(TICKS.get() + 1);
    BEGAN.with(|began| *began + TICK * TICKS.get())
}

#[test]
fn hostile_patterns_take_a_known_time_of_all_and_nobody_is_starved() {
    const LINES: u64 = 500;
    const BATCHES: u32 = 200;
    let budget = Duration::from_millis(1);
    let tap = Arc::new(Tap::new());
    let costly = ["regex=(.*a){20}|.", "glob=**"];
    let mut all: Vec<_> = (0..MAX_SUBSCRIBERS - 3)
        .map(|at| {
            let point = At::ALL[at % 3];
            subscribe(&tap, &format!("at={point} {}", costly[at % 2]))
        })
        .collect();
    all.push(subscribe(&tap, "prefix=a"));
    all.push(subscribe(&tap, "at=in sub=a"));
    all.push(subscribe(&tap, ""));
    let mut got = vec![(0, 0); all.len()];
    let text = format!("{} 1 2\n", "a".repeat(40)).repeat(LINES as usize);
    for batch in 0..BATCHES {
        let time = Time::with(budget, tap.subscribers(), ticking);
        let mut time = time.in_turn(batch as usize);
        for at in time.points() {
            let seen = std::iter::once(Seen::lines(text.as_bytes()));
            tap.show(at, seen, &mut time);
        }
        for (one, (received, lost)) in all.iter_mut().zip(&mut got) {
            while let Some(event) = one.try_next() {
                match event {
                    Event::Lines(lines) => {
                        *received += lines.iter().filter(|byte| **byte == b'\n').count() as u64;
                    }
                    Event::Lost(lines) => *lost += lines,
                }
            }
        }
    }
    for (received, lost) in &got {
        assert_eq!(received + lost, LINES * u64::from(BATCHES), "the books");
        assert!(*received > 0, "{got:?}");
    }
    // The clock of all turns: the budget, and two looks for each turn that has nothing left.
    let most = BATCHES * (100 + 2 * MAX_SUBSCRIBERS as u32);
    assert!(TICKS.get() <= most + most / 10, "{} of {most}", TICKS.get());
    let asked: u64 = got[..MAX_SUBSCRIBERS - 3].iter().map(|got| got.0).sum();
    assert!(
        asked <= u64::from(BATCHES) * 100,
        "{asked} lines were asked about"
    );
    let lost: u64 = got.iter().map(|(_, lost)| lost).sum();
    assert_eq!(tap.take_lost(), lost);
    assert_eq!(tap.take_lost(), 0);
}

#[test]
fn expressions_are_not_asked_about_long_names() {
    let tap = Arc::new(Tap::new());
    let mut costly = subscribe(&tap, "regex=b$");
    let mut cheap = subscribe(&tap, "sub=bb");
    let (long, short) = ("b".repeat(LONG + 1), "b".repeat(LONG));
    show(&tap, At::Routed, &[&format!("{long} 1 2\n{short} 1 2\n")]);
    assert_eq!(costly.try_next(), lines(&format!("{short} 1 2\n")));
    assert_eq!(costly.try_next(), Some(Event::Lost(1)));
    assert_eq!(
        cheap.try_next(),
        lines(&format!("{long} 1 2\n{short} 1 2\n"))
    );
}

#[test]
fn usual_expressions_are_small_enough() {
    let tap = Arc::new(Tap::new());
    for words in [
        r"regex=^servers\.(web|db)-\d+\.cpu\.(\w+)\.user$",
        r"regex=(?i)^[a-z0-9_.-]+\.p(50|95|99)$ notRegex=\.(test|dev)\d{0,3}\.",
        r"regex=^(?:[^.]+\.){3,8}count;dc=\w+;",
        "glob=servers.{web,db}??.*.[!x-z]*.**",
    ] {
        subscribe(&tap, words);
    }
}
