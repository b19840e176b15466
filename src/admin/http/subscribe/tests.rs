use std::pin::Pin;

use axum::body::Body;
use hyper::body::Body as _;
use tokio::sync::{Semaphore, watch};

use super::*;
use crate::tap::{At, Seen, Tap};

#[test]
fn pieces_are_whole_lines() {
    let long = "x".repeat(PIECE * 2);
    let text = format!(
        "{}{long}\n{}",
        "a 1 2\n".repeat(10_000),
        "b 1 2\n".repeat(3)
    );
    let all: Vec<&[u8]> = pieces(text.as_bytes()).collect();
    assert_eq!(all.concat(), text.as_bytes());
    assert!(all.iter().all(|piece| piece.ends_with(b"\n")));
    assert!(
        all.iter()
            .all(|piece| piece.len() <= PIECE || piece.len() == long.len() + 1)
    );
    assert_eq!(pieces(b"").count(), 0);
}

#[test]
fn queries_are_read_strictly() {
    let read = wanted(Some("at=in&glob=a.*%7Bb%2Cc%7D&sample=3")).unwrap();
    assert_eq!((&read.glob[..], read.sample), ("a.*{b,c}", Some(3)));
    for query in [
        "at=out",
        "globs=a",
        "glob=a&glob=b",
        "prefix=%ff",
        "sample=x",
    ] {
        assert!(wanted(Some(query)).is_err(), "{query}");
    }
}

/// What comes next of a body.
async fn next(body: &mut Body) -> Option<String> {
    let frame = std::future::poll_fn(|c| Pin::new(&mut *body).poll_frame(c)).await?;
    let bytes = frame.unwrap().into_data().unwrap();
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn what_a_slow_reader_loses_at_the_end_is_told() {
    let stop = watch::Sender::new(());
    let streaming = Streaming::new(
        Arc::new(Semaphore::new(1)),
        stop.subscribe(),
        Duration::from_secs(60),
    );
    let tap = Arc::new(Tap::new());
    let subscription = tap.subscribe(&Wanted::default()).unwrap();
    let (events, response) = streaming.begin().unwrap();
    let sending = tokio::spawn(send(events, subscription));
    // More than is under way at one time.
    let line = "a.name.of.usual.length 1 1790000000\n";
    let lines = 20 * PIECE / line.len();
    let show = |lines: usize| {
        let text = line.repeat(lines);
        let seen = std::iter::once(Seen::lines(text.as_bytes()));
        tap.show(At::Routed, seen, &mut tap.time(64 << 20));
    };
    show(lines);
    let mut body = response.into_body();
    let mut told = String::new();
    while !told.contains("event: line") {
        told.push_str(&next(&mut body).await.unwrap());
    }
    // Some of it is in hand, and some is still queued.
    show(7);
    tap.close();
    drop(stop);
    // It reads nothing until it is too late for the rest.
    let given_up = async {
        while tap.take_lost() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(20), given_up).await.unwrap();
    while let Some(more) = next(&mut body).await {
        told.push_str(&more);
    }
    sending.await.unwrap();
    let received = told
        .lines()
        .filter(|l| *l == format!("data: {}", line.trim()))
        .count();
    let lost = told
        .split("event: lost\ndata: ")
        .nth(1)
        .expect("it is told");
    let (lost, rest) = lost.split_once("\n\n").unwrap();
    assert_eq!(received + lost.parse::<usize>().unwrap(), lines + 7);
    assert_eq!(rest, "retry: 500\nevent: restarting\ndata: {}\n\n");
}
