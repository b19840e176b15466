use std::sync::Arc;

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
    tap.show(at, seen);
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
    ] {
        let wanted = Wanted::from_words([words]).unwrap();
        let error = tap.subscribe(&wanted).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}
