//! HTTP through restarts and crashes.

use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::trial::{LIMIT, Loss, Trial, signal, wait_for};

#[test]
fn health_is_200_through_restarts_and_503_while_no_worker_serves() {
    let mut trial = Trial::start();
    trial.load_tcp();
    assert!(trial.get("/healthz").unwrap().starts_with("HTTP/1.1 200"));
    for _ in 0..3 {
        trial.reload();
        let health = trial.get("/healthz").unwrap();
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    }
    // The successors hang: nobody serves.
    trial.faults("before-ready hang\n");
    let worker = trial.instance.worker_pid().unwrap();
    signal(worker, Signal::SIGKILL);
    wait_for("a 503", || {
        trial
            .get("/healthz")
            .is_ok_and(|health| health.starts_with("HTTP/1.1 503"))
    });
    trial.faults("");
    let hanging = trial.instance.status().unwrap();
    let generations = hanging.document()["generations"].as_array().unwrap();
    let pid = generations.last().unwrap()["pid"].as_i64().unwrap();
    signal(pid as i32, Signal::SIGKILL);
    trial.instance.wait_serving(LIMIT).unwrap();
    wait_for("a 200", || {
        trial
            .get("/healthz")
            .is_ok_and(|health| health.starts_with("HTTP/1.1 200"))
    });
    trial.more(500);
    trial.end(Loss::Crash);
}

#[test]
fn a_request_under_way_is_answered_by_the_old_worker() {
    let mut trial = Trial::start();
    let mut socket = TcpStream::connect(trial.http).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
        .write_all(b"GET /api/status HTTP/1.1\r\nhost: localhost\r\n")
        .unwrap();
    // Begun once it shows as a connection that the relay has accepted.
    let waits = |trial: &Trial| trial.get("/healthz").is_ok_and(|h| h.contains("200"));
    wait_for("the server", || waits(&trial));
    trial.faults("on-go slow\n");
    trial.instance.signal(Signal::SIGHUP).unwrap();
    trial.reached("on-go");
    socket.write_all(b"connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"generation\":1"), "{answer}");
    trial.faults("");
    trial.instance.wait_serving(LIMIT).unwrap();
    trial.end(Loss::None);
}

#[test]
fn the_page_of_metrics_shows_both_sides_of_the_books() {
    let mut trial = Trial::start();
    trial.load_tcp();
    trial.reload();
    let metrics = trial.get("/metrics").unwrap();
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(metrics.contains("# EOF"), "{metrics}");
    trial.end(Loss::None);
}
