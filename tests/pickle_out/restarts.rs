//! Restarts, crashes, and reloads that change the form, with frames on their way.

use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use baton::drill::Target;

use crate::relay::{Config, LIMIT, Relay, free_address};
use crate::trial::{Loss, Trial};

fn trial(options: &str) -> Trial {
    Trial::with(|config| config.destinations[0].push_str(&format!(" pickle=true {options}")))
}

/// For connections that followed one another in good order: every line once, none torn. What a peer has not read when it accepts the next
/// connection, it may read behind that one's lines.
fn each_once(mut trial: Trial) {
    let account = trial.sink.account();
    assert_eq!(
        (account.lines(), account.torn()),
        (account.distinct(), 0),
        "{:?}",
        account.samples()
    );
    drop(account);
    assert_eq!(trial.instance.stop(LIMIT).unwrap().code(), Some(0));
}

/// All over one connection: no frame was lost or sent twice by beginning another.
fn of_one_connection(trial: &mut Trial) {
    let status = trial.instance.status().unwrap();
    let number = |name: &str| status.number(&format!("/worker/destinations/0/{name}"));
    assert_eq!(
        (number("connects"), number("resent")),
        (Some(1), Some(0)),
        "{}",
        status.document()
    );
}

#[test]
fn twenty_reloads_under_load_lose_double_and_tear_nothing() {
    let mut trial = trial("");
    trial.load_tcp();
    for _ in 0..20 {
        trial.reload();
        trial.more(200);
    }
    let status = trial.settle(Loss::None);
    of_one_connection(&mut trial);
    trial.end_settled(&status, Loss::None);
}

#[test]
fn reloads_while_the_peer_crawls_fall_into_the_middle_of_frames() {
    let mut trial = trial("queue=1MiB full=block");
    trial.load(Target::Tcp(trial.tcp), 2, 0);
    trial.sink.slow(3_000_000).unwrap();
    for _ in 0..8 {
        trial.reload();
        trial.more(500);
    }
    trial.sink.resume().unwrap();
    let status = trial.settle(Loss::None);
    of_one_connection(&mut trial);
    trial.end_settled(&status, Loss::None);
}

#[test]
fn twenty_killed_workers_lose_double_and_tear_nothing() {
    // Crashes in a row are answered later and later: so a few of each of some instances.
    for (round, options) in ["", "flush=0s", "queue=1MiB full=block", "resend=64KiB", ""]
        .into_iter()
        .enumerate()
    {
        let mut trial = trial(options);
        trial.load(Target::Tcp(trial.tcp), 3, 40_000);
        if round >= 2 {
            trial.sink.slow(3_000_000).unwrap();
        }
        for _ in 0..4 {
            trial.instance.kill_worker(LIMIT).unwrap();
            trial.more(200);
        }
        trial.sink.resume().unwrap();
        let status = trial.settle(Loss::Crash);
        of_one_connection(&mut trial);
        trial.end_settled(&status, Loss::Crash);
    }
}

#[test]
fn kills_and_restarts_mixed_while_the_peer_hangs() {
    let mut trial = trial("queue=4MiB full=block");
    trial.load(Target::Tcp(trial.tcp), 2, 30_000);
    for _ in 0..3 {
        trial.sink.hang().unwrap();
        trial.held_back();
        trial.instance.kill_worker(LIMIT).unwrap();
        trial.instance.wait_serving(LIMIT).unwrap();
        trial.reload();
        trial.sink.resume().unwrap();
        trial.more(2_000);
    }
    let status = trial.settle(Loss::Crash);
    of_one_connection(&mut trial);
    trial.end_settled(&status, Loss::Crash);
}

#[test]
fn a_reload_that_changes_the_form_loses_nothing() {
    let mut trial = trial("");
    let sink = trial.sink.address();
    trial.load_tcp();
    for pickle in [false, true, true, false, true] {
        trial.rewrite(|config| {
            config.destinations[0] = format!("{sink} id=all/{sink} pickle={pickle}")
        });
        trial.reload();
        trial.more(2_000);
    }
    let status = trial.settle(Loss::None);
    // Each change ended one connection in good order, and began another.
    let number = |name: &str| status.number(&format!("/worker/destinations/0/{name}"));
    assert_eq!(
        (number("connects"), number("resent")),
        (Some(5), Some(0)),
        "{}",
        status.document()
    );
    each_once(trial);
}

#[test]
fn a_reload_that_changes_the_form_while_the_peer_hangs_finishes_what_it_was_in() {
    let mut trial = trial("queue=1MiB full=block");
    let sink = trial.sink.address();
    trial.load(Target::Tcp(trial.tcp), 2, 0);
    for pickle in [false, true] {
        trial.sink.hang().unwrap();
        trial.held_back();
        trial.rewrite(|config| {
            config.destinations[0] =
                format!("{sink} id=all/{sink} queue=1MiB full=block pickle={pickle}");
        });
        trial.reload();
        trial.sink.resume().unwrap();
        trial.more(20_000);
    }
    trial.settle(Loss::None);
    each_once(trial);
}

#[test]
fn a_queue_of_frames_changes_its_size() {
    let mut trial = trial("");
    let sink = trial.sink.address();
    trial.load_tcp();
    trial.settle_lines();
    for size in ["2MiB", "16MiB", "1MiB"] {
        trial.rewrite(|config| config.destinations[0] = format!("{sink} queue={size} pickle=true"));
        trial.reload();
        trial.load_tcp();
        trial.more(1_000);
        trial.settle_lines();
    }
    of_one_connection(&mut trial);
    trial.end(Loss::None);
}

#[test]
fn a_successor_that_fails_gives_the_frame_back() {
    for fault in ["after-running exit", "before-running abort", "on-go exit"] {
        let mut trial = trial("queue=1MiB full=block");
        trial.load(Target::Tcp(trial.tcp), 2, 0);
        trial.sink.slow(3_000_000).unwrap();
        for _ in 0..2 {
            trial.faults(&format!("{fault}\n"));
            trial.refused();
            trial.faults("");
            trial.more(500);
        }
        trial.sink.resume().unwrap();
        let status = trial.settle(Loss::Crash);
        of_one_connection(&mut trial);
        trial.end_settled(&status, Loss::Crash);
    }
}

#[test]
fn a_window_of_zero_then_hand_overs_within_a_frame() {
    // Read by hand, so that where a connection stands is known to the byte.
    let peer = TcpListener::bind(free_address()).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&peer, 8192).unwrap();
    let to = format!(
        "{} id=peer pickle=true queue=16MiB",
        peer.local_addr().unwrap()
    );
    let config = Config::to(&[&to]);
    let mut relay = Relay::start(&config);
    let (mut socket, _) = peer.accept().unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    // More than both kernels take, in frames of 500.
    const LINES: usize = 200_000;
    let line = |n: usize| format!("some.name.{n:06} {n} {}\n", 1_700_000_000 + n);
    relay.send((0..LINES).map(line).collect::<String>());
    let mut got = Vec::new();
    let mut chunk = vec![0; 300_007];
    for round in 0..12 {
        // Nothing is written any more: the window is closed, mostly in the middle of a frame.
        let mut last = None;
        relay.wait("the connection to stand still", |status| {
            let now = status.of_destination("peer", "sent");
            let same = last == Some(now);
            last = Some(now);
            std::thread::sleep(Duration::from_millis(20));
            same && now > Some(0)
        });
        match round % 3 {
            2 if round < 9 => {
                relay.instance.kill_worker(LIMIT).unwrap();
                relay.instance.wait_serving(LIMIT).unwrap();
            }
            _ => relay.reconfigure(&config),
        }
        socket.read_exact(&mut chunk).unwrap();
        got.extend_from_slice(&chunk);
    }
    let (mut points, mut at) = (0, 0);
    while points < LINES {
        while got.len() < at + 4 || got.len() < at + 4 + length(&got[at..]) {
            let n = socket.read(&mut chunk).unwrap();
            assert!(n > 0, "it ended at {}", got.len());
            got.extend_from_slice(&chunk[..n]);
        }
        let frame = &got[at + 4..at + 4 + length(&got[at..])];
        let mut rest = frame.strip_prefix(b"\x80\x02](").unwrap();
        while rest != b"e." {
            let expected = format!("X\x10\0\0\0some.name.{points:06}J");
            rest = rest
                .strip_prefix(expected.as_bytes())
                .unwrap_or_else(|| panic!("point {points}"));
            let seconds = (1_700_000_000 + points as i32).to_le_bytes();
            rest = rest
                .strip_prefix(&seconds)
                .and_then(|rest| rest.strip_prefix(b"G"))
                .unwrap();
            rest = rest.strip_prefix(&(points as f64).to_be_bytes()).unwrap();
            rest = rest.strip_prefix(b"\x86\x86").unwrap();
            points += 1;
        }
        at += 4 + frame.len();
    }
    assert_eq!((points, at), (LINES, got.len()));
    let status = relay.wait_done(LINES as u64);
    let number = |name: &str| status.of_destination("peer", name);
    assert_eq!(
        (number("connects"), number("resent"), number("sent")),
        (Some(1), Some(0), Some(LINES as u64))
    );
    relay.check_books();
}

fn length(frame: &[u8]) -> usize {
    u32::from_be_bytes(*frame.first_chunk().unwrap()) as usize
}
