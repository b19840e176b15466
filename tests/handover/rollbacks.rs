//! New workers that die after they had begun: the old one goes on with what they left.

use std::net::{SocketAddr, TcpListener, TcpStream};

use baton::drill::{Status, Target, free_ports};
use nix::sys::signal::Signal;

use crate::trial::{LIMIT, Loss, Trial, signal};

/// A reload whose new worker does what is due `meanwhile` and dies in its probation; the old one goes on.
fn rolled_back(trial: &mut Trial, meanwhile: impl FnOnce(&mut Trial)) {
    let old = trial.instance.worker_pid().unwrap();
    let new = trial.probation().worker_pid().unwrap();
    assert_ne!(new, old);
    meanwhile(trial);
    signal(new, Signal::SIGKILL);
    let goes_on = |s: &Status| s.is_serving() && s.worker_pid() == Some(old);
    trial
        .instance
        .wait_status("the old worker", LIMIT, goes_on)
        .unwrap();
}

#[test]
fn what_an_old_worker_kept_of_a_line_is_not_joined_to_a_line_that_a_dead_one_had_begun() {
    let mut trial = Trial::with(|config| config.probation = "1h");
    let unix = Target::Unix(trial.unix());
    let mut scribes = [trial.scribe(), trial.scribe_to(&unix)];
    let lines = scribes.each_mut().map(|s| [s.line(), s.line(), s.line()]);
    // Behind what tells one line from another. What both workers keep is equally long.
    let cut = lines[0][0].len() - 5;
    for (scribe, [first, second, _]) in scribes.iter_mut().zip(&lines) {
        assert!(first[..cut] != second[..cut] && first.len() == second.len());
        scribe.write(&first[..cut]);
    }
    trial.read_bytes(2 * cut as u64);
    rolled_back(&mut trial, |trial| {
        let mut bytes = 0;
        for (scribe, [first, second, _]) in scribes.iter_mut().zip(&lines) {
            let text = [&first[cut..], &second[..cut]].concat();
            scribe.write(&text);
            bytes += text.len();
        }
        trial.read_bytes(bytes as u64);
    });
    for (mut scribe, [_, second, third]) in scribes.into_iter().zip(&lines) {
        scribe.write(&[&second[cut..], third].concat());
        trial.enter(scribe);
    }
    let report = trial.end(Loss::Crash);
    assert_eq!((report.received, report.lost_by_crash), (4, 2), "{report}");
}

#[test]
fn an_address_that_only_a_dead_worker_had_is_free_again_and_its_clients_are_served() {
    let mut trial = Trial::with(|config| config.probation = "1h");
    let [port] = free_ports().unwrap();
    let added = SocketAddr::from(([127, 0, 0, 1], port));
    let add = |config: &mut crate::trial::Config| {
        config.line.push(format!("tcp://{added}"));
        config.line.push("unix:second.sock".into());
    };
    trial.rewrite(add);
    let mut clients = Vec::new();
    rolled_back(&mut trial, |trial| {
        let second = Target::Unix(trial.instance.path("second.sock"));
        for target in [Target::Tcp(added), second] {
            let mut scribe = trial.scribe_to(&target);
            let line = scribe.line();
            scribe.write(&line);
            clients.push(scribe);
        }
        trial.counted(2);
    });
    assert!(
        TcpStream::connect(added).is_err(),
        "it is still listened on"
    );
    TcpListener::bind(added).unwrap();
    assert!(!trial.instance.path("second.sock").exists());
    for scribe in &mut clients {
        let line = scribe.line();
        scribe.write(&line);
    }
    trial.counted(4);
    trial.rewrite(|config| config.probation = "100ms");
    trial.reload();
    for mut scribe in clients {
        let line = scribe.line();
        scribe.write(&line);
        trial.enter(scribe);
    }
    trial.load(Target::Tcp(added), 1, 2_000);
    trial.end(Loss::None);
}

const QUEUE: &str = "/worker/destinations/0/queue_bytes";

/// An instance with a queue of 4 MiB, empty and not at its beginning, that is to have 2 MiB after the next reload.
fn with_a_queue_to_resize() -> Trial {
    let mut trial = Trial::with(|config| {
        config.destinations[0].push_str(" queue=4MiB");
        config.probation = "1h";
    });
    let mut scribe = trial.scribe();
    for _ in 0..1_000 {
        let line = scribe.line();
        scribe.write(&line);
    }
    trial.enter(scribe);
    trial.settle_lines();
    let address = trial.sink.address();
    trial.rewrite(|config| config.destinations[0] = format!("{address} queue=2MiB"));
    trial
}

/// Crashes over a queue that isn't empty, and ends.
fn end_by_a_crash(mut trial: Trial, size: u64) {
    let status = trial.instance.status().unwrap();
    assert_eq!(status.number(QUEUE), Some(size));
    // What is queued from now on is in the memory that the supervisor holds, or a crash loses it.
    trial.pile_up(20_000);
    trial.instance.kill_worker(LIMIT).unwrap();
    trial.sink.resume().unwrap();
    trial.settle_lines();
    trial.rewrite(|config| config.probation = "100ms");
    trial.reload();
    let status = trial.instance.status().unwrap();
    assert_eq!(status.number(QUEUE), Some(2 << 20));
    trial.load_tcp();
    trial.end(Loss::None);
}

#[test]
fn a_queue_that_a_worker_put_into_other_memory_before_it_failed_in_the_pause_stays_where_it_was() {
    let mut trial = with_a_queue_to_resize();
    trial.faults("before-confirmed exit\n");
    trial.refused();
    trial.faults("");
    end_by_a_crash(trial, 4 << 20);
}

#[test]
fn a_queue_that_a_dead_worker_had_put_into_other_memory_is_there_with_its_lines() {
    let mut trial = with_a_queue_to_resize();
    rolled_back(&mut trial, |trial| {
        trial.pile_up(20_000);
    });
    trial.sink.resume().unwrap();
    trial.settle_lines();
    end_by_a_crash(trial, 2 << 20);
}
