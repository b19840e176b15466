//! Frames that restarts cut.

use std::sync::mpsc::{self, TryRecvError};
use std::time::Duration;

use baton::drill::{Status, Target, free_ports};

use crate::frame::of_lines;
use crate::trial::{LIMIT, Loss, Scribe, Trial, Writing};

fn over_unix(trial: &Trial) -> Target {
    Target::Unix(trial.instance.path("pickle.sock"))
}

/// A frame of the next lines.
fn frame(scribe: &mut Scribe, points: usize) -> Vec<u8> {
    let lines: Vec<_> = (0..points).map(|_| scribe.line()).collect();
    of_lines(lines.iter().map(Vec::as_slice))
}

/// Numbers that are good enough to cut frames by.
fn random(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    (*seed >> 33) as usize
}

#[test]
fn twenty_restarts_under_load_lose_no_point_of_frames_cut_anywhere() {
    let [port] = free_ports().unwrap();
    let mut trial = Trial::with(|config| config.pickle.push(format!("tcp://127.0.0.1:{port}")));
    trial.load_tcp();
    let tcp = Target::Tcp((std::net::Ipv4Addr::LOCALHOST, port).into());
    let unix = over_unix(&trial);
    let scribes = [&tcp, &tcp, &unix, &unix].map(|target| trial.scribe_to(target));
    let mut seed = 1;
    let senders = scribes.map(|mut scribe| {
        seed += 1;
        let mut seed = seed;
        Writing::start(move |goes_on| {
            let mut stream = Vec::new();
            while goes_on() {
                let points = 1 + random(&mut seed) % 700;
                stream.extend(frame(&mut scribe, points));
                while stream.len() > 9000 {
                    let cut = 1 + random(&mut seed) % 9000;
                    let piece: Vec<u8> = stream.drain(..cut).collect();
                    scribe.write(&piece);
                    std::thread::sleep(Duration::from_micros(300));
                }
            }
            scribe.write(&stream);
            scribe
        })
    });
    for _ in 0..20 {
        trial.reload();
    }
    trial.more(1000);
    for sender in senders {
        trial.enter(sender.finish());
    }
    trial.end(Loss::None);
}

#[test]
fn a_frame_cut_within_its_length_or_behind_waits_through_restarts() {
    let mut trial = Trial::start();
    let mut scribe = trial.scribe_to(&over_unix(&trial));
    for cut in [1, 2, 3, 4, 5, 30] {
        let frame = frame(&mut scribe, 3);
        scribe.write(&frame[..cut]);
        trial.read_bytes(cut as u64);
        // Through one that reads none of it, too.
        trial.reload();
        trial.reload();
        scribe.write(&frame[cut..]);
        trial.read_bytes((frame.len() - cut) as u64);
    }
    trial.enter(scribe);
    let report = trial.end(Loss::None);
    assert_eq!(report.received, 18);
}

#[test]
fn half_a_frame_survives_successors_that_fail() {
    let mut trial = Trial::with(|config| config.ready_timeout = "1s");
    let mut scribe = trial.scribe_to(&over_unix(&trial));
    let frame = frame(&mut scribe, 3);
    scribe.write(&frame[..9]);
    trial.read_bytes(9);
    trial.successors_fail();
    scribe.write(&frame[9..]);
    trial.enter(scribe);
    let report = trial.end(Loss::None);
    assert_eq!(report.received, 3);
}

/// With a queue that holds its senders back.
fn blocking() -> Trial {
    Trial::with(|config| {
        for destination in &mut config.destinations {
            destination.push_str(" full=block queue=1MiB");
        }
    })
}

#[test]
fn frames_that_are_placed_in_part_pass_through_restarts() {
    let mut trial = blocking();
    trial.sink.hang().unwrap();
    let mut scribe = trial.scribe_to(&over_unix(&trial));
    // Far more than the queue and all sockets on the way hold.
    const FRAMES: usize = 40;
    const POINTS: usize = 20_000;
    let (told, done) = mpsc::channel();
    let sender = std::thread::spawn(move || {
        for _ in 0..FRAMES {
            let frame = frame(&mut scribe, POINTS);
            scribe.write(&frame);
        }
        let _gone = told.send(());
        scribe
    });
    let full =
        |status: &Status| status.number("/worker/destinations/0/queued_bytes") > Some(600_000);
    trial
        .instance
        .wait_status("a full queue", LIMIT, full)
        .unwrap();
    for _ in 0..3 {
        trial.reload();
    }
    assert_eq!(
        done.try_recv(),
        Err(TryRecvError::Empty),
        "it isn't held back"
    );
    trial.sink.resume().unwrap();
    done.recv_timeout(LIMIT).unwrap();
    trial.enter(sender.join().unwrap());
    let report = trial.end(Loss::None);
    assert_eq!(report.received, (FRAMES * POINTS) as u64);
}

#[test]
fn a_frame_that_waits_is_placed_behind_a_restart_though_its_sender_says_no_more() {
    let mut trial = blocking();
    trial.load(trial.target(), 2, 0);
    trial.sink.hang().unwrap();
    trial.held_back();
    let mut scribe = trial.scribe_to(&over_unix(&trial));
    let frame = frame(&mut scribe, 20_000);
    scribe.write(&frame);
    let of_pickles = |status: &Status, what: &str| {
        let all = status.document()["worker"]["listeners"].as_array().cloned();
        let all = all.unwrap_or_default();
        let one = all.iter().find(|l| l["kind"] == "pickle");
        one.and_then(|one| one[what].as_u64()).unwrap_or(0)
    };
    let read = |status: &Status| of_pickles(status, "bytes") == frame.len() as u64;
    let status = trial.instance.wait_status("the frame", LIMIT, read);
    assert!(
        of_pickles(&status.unwrap(), "in") < 20_000,
        "it doesn't wait"
    );
    for _ in 0..3 {
        trial.reload();
    }
    trial.sink.resume().unwrap();
    let placed = |status: &Status| of_pickles(status, "in") == 20_000;
    trial
        .instance
        .wait_status("its points", LIMIT, placed)
        .unwrap();
    trial.enter(scribe);
    trial.end(Loss::None);
}

#[test]
fn a_connection_speaks_what_it_began_with_whatever_the_config_says_of_its_address() {
    let [port] = free_ports().unwrap();
    let address = format!("tcp://127.0.0.1:{port}");
    let mut trial = Trial::with(|config| config.pickle.push(address.clone()));
    let target = Target::Tcp((std::net::Ipv4Addr::LOCALHOST, port).into());
    let mut pickles = trial.scribe_to(&target);
    let first = frame(&mut pickles, 2);
    pickles.write(&first[..10]);
    trial.read_bytes(10);
    trial.rewrite(|config| {
        config.pickle.pop();
        config.line.push(address.clone());
    });
    trial.reload();
    let mut lines = trial.scribe_to(&target);
    let line = lines.line();
    lines.write(&line);
    pickles.write(&first[10..]);
    trial.enter(pickles);
    trial.enter(lines);
    let report = trial.end(Loss::None);
    assert_eq!(report.received, 3);
}
