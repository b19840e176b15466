//! Addresses that a restart adds and removes.

use std::net::TcpListener;

use baton::drill::{Target, free_ports};

use crate::trial::{LIMIT, Loss, Trial, wait_for};

#[test]
fn an_address_is_added_and_removed_and_its_connections_live_on() {
    let mut trial = Trial::start();
    trial.load_tcp();
    let [port] = free_ports().unwrap();
    let added = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    trial.rewrite(|config| {
        config.line.push(format!("tcp://{added}"));
        config.line.push("unix:second.sock".into());
    });
    trial.reload();
    let second = Target::Unix(trial.instance.path("second.sock"));
    let mut over_tcp = trial.scribe_to(&Target::Tcp(added));
    let mut over_unix = trial.scribe_to(&second);
    let (line, other) = (over_tcp.line(), over_unix.line());
    over_tcp.write(&line[..9]);
    over_unix.write(&other);
    trial.load(Target::Tcp(added), 2, 4_000);

    trial.rewrite(|config| config.line.truncate(3));
    trial.reload();
    wait_for("the address to go", || {
        std::net::TcpStream::connect(added).is_err()
    });
    wait_for("the socket file to go", || {
        !trial.instance.path("second.sock").exists()
    });
    over_tcp.write(&line[9..]);
    let line = over_unix.line();
    over_unix.write(&line);
    trial.reload();
    trial.more(1_000);
    trial.enter(over_tcp);
    trial.enter(over_unix);
    trial.end(Loss::None);
}

#[test]
fn who_waits_at_an_address_that_is_removed_is_served() {
    let mut trial = Trial::start();
    let [port] = free_ports().unwrap();
    let added = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    trial.rewrite(|config| config.line.push(format!("tcp://{added}")));
    trial.reload();
    trial.rewrite(|config| config.line.truncate(3));
    // Connected in the pause, which is long, and later: some are still in the accept queue.
    trial.faults("on-frozen slow\non-go slow\n");
    trial
        .instance
        .signal(nix::sys::signal::Signal::SIGHUP)
        .unwrap();
    trial.reached("on-frozen");
    let mut waiting: Vec<_> = (0..20)
        .map(|_| trial.scribe_to(&Target::Tcp(added)))
        .collect();
    for scribe in &mut waiting {
        let line = scribe.line();
        scribe.write(&line);
    }
    let settled = |s: &baton::drill::Status| s.generation() == Some(3) && s.is_serving();
    trial
        .instance
        .wait_status("the restart", LIMIT, settled)
        .unwrap();
    trial.faults("");
    for scribe in waiting {
        trial.enter(scribe);
    }
    assert_eq!(trial.end(Loss::None).received, 20);
}

#[test]
fn an_address_that_is_taken_is_refused_by_name_and_nothing_changes() {
    let mut trial = Trial::start();
    trial.load_tcp();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|at| (taken, at)).unwrap();
    let [free] = free_ports().unwrap();
    trial.rewrite(|config| {
        config.line.push(format!("tcp://127.0.0.1:{free}"));
        config.line.push(format!("tcp://{}", taken.1));
    });
    let reason = trial.refused();
    assert!(reason.contains(&taken.1.to_string()), "{reason}");
    // What was bound beside it is free again.
    TcpListener::bind(("127.0.0.1", free)).unwrap();
    trial.rewrite(|config| config.line.truncate(3));
    trial.reload();
    trial.end(Loss::None);
}

#[test]
fn an_address_that_overlaps_needs_a_full_restart() {
    let mut trial = Trial::start();
    trial.load_tcp();
    let port = trial.tcp.port();
    trial.rewrite(|config| config.line[0] = format!("tcp://0.0.0.0:{port}"));
    let reason = trial.refused();
    assert!(
        reason.contains("full restart") && reason.contains("0.0.0.0"),
        "{reason}"
    );
    trial.rewrite(|config| config.line[0] = format!("tcp://127.0.0.1:{port}"));
    trial.reload();
    trial.end(Loss::None);
}

#[test]
fn what_a_failed_restart_had_bound_is_free_again() {
    let mut trial = Trial::start();
    trial.load_tcp();
    let [port] = free_ports().unwrap();
    trial.rewrite(|config| {
        config.line.push(format!("tcp://127.0.0.1:{port}"));
        config.line.push("unix:second.sock".into());
    });
    for point in ["after-taken", "on-frozen"] {
        trial.faults(&format!("{point} exit\n"));
        trial.refused();
        TcpListener::bind(("127.0.0.1", port)).unwrap();
        assert!(!trial.instance.path("second.sock").exists());
    }
    trial.faults("");
    trial.reload();
    trial.load(Target::Unix(trial.instance.path("second.sock")), 1, 2_000);
    trial.end(Loss::None);
}

#[test]
fn a_listener_of_a_worker_that_failed_after_go_is_taken_up_by_the_next() {
    let mut trial = Trial::start();
    trial.load_tcp();
    let [port] = free_ports().unwrap();
    trial.rewrite(|config| config.line.push(format!("tcp://127.0.0.1:{port}")));
    trial.faults("before-running exit\n");
    trial.refused();
    trial.faults("");
    trial.reload();
    trial.load(Target::Tcp(([127, 0, 0, 1], port).into()), 1, 2_000);
    trial.end(Loss::Crash);
}
