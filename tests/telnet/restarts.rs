//! Sessions live through restarts, byte by byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::client::Told;
use crate::relay::{Config, LIMIT, wait_for};

/// Commands while the worker is replaced.
const RESTARTS: usize = 20;

#[test]
fn a_session_that_types_byte_by_byte_survives_20_restarts() {
    let mut told = Told::start(Config::to_file());
    let mut session = told.session();
    let mut idle = told.unix_session();
    idle.write("trace ha");
    let over = Arc::new(AtomicBool::new(false));
    let own_port = session.0.get_ref().local_addr().unwrap().port();
    let typist = {
        let (over, mut keys) = (over.clone(), session.0.get_ref().try_clone().unwrap());
        std::thread::spawn(move || {
            use std::io::Write;
            let mut typed = 0;
            while !over.load(Ordering::SeqCst) {
                for byte in format!("trace n{typed}.x\n").bytes() {
                    keys.write_all(&[byte]).unwrap();
                    std::thread::sleep(Duration::from_micros(300));
                }
                typed += 1;
            }
            keys.write_all(b"quit\n").unwrap();
            typed
        })
    };
    let reader = std::thread::spawn(move || {
        // Each answer is that of its own command: none is lost, none doubled, none torn.
        let mut read = 0;
        loop {
            let answer = session.answer();
            if answer == ["OK"] {
                break;
            }
            assert_eq!(answer[0], format!("n{read}.x"), "{answer:?}");
            assert_eq!(answer.last().unwrap(), "OK", "{answer:?}");
            read += 1;
        }
        assert_eq!(session.rest(), "");
        assert_eq!(session.0.get_ref().local_addr().unwrap().port(), own_port);
        read
    });
    for _ in 0..RESTARTS {
        told.relay.reconfigure(&told.config.clone());
    }
    over.store(true, Ordering::SeqCst);
    let typed: u64 = typist.join().unwrap();
    assert_eq!(reader.join().unwrap(), typed);
    assert!(typed > RESTARTS as u64, "{typed}");
    idle.write("lf.x\n");
    assert_eq!(idle.answer()[0], "half.x");
    let generation = told.relay.status().document()["worker"]["generation"].as_u64();
    assert_eq!(generation, Some(RESTARTS as u64 + 1));
}

#[test]
fn changes_during_restarts_are_made_once_or_said_to_be_unsure() {
    let mut told = Told::start(Config::to_file());
    let mut session = told.session();
    let over = Arc::new(AtomicBool::new(false));
    let changer = {
        let over = over.clone();
        std::thread::spawn(move || {
            let (mut made, mut unsure) = (Vec::new(), 0);
            let mut number = 0;
            while !over.load(Ordering::SeqCst) {
                let answer = session.ask(&format!("addBlock prefix n{number}."));
                match answer.last().unwrap().as_str() {
                    "OK" => made.push(number),
                    error => {
                        assert!(error.contains("restart under way"), "{answer:?}");
                        unsure += 1;
                    }
                }
                number += 1;
            }
            (session, made, unsure)
        })
    };
    for _ in 0..5 {
        told.relay.reconfigure(&told.config.clone());
    }
    over.store(true, Ordering::SeqCst);
    let (mut session, made, unsure) = changer.join().unwrap();
    let view = session.done("view").join("\n");
    for number in &made {
        assert!(
            view.contains(&format!("prefix n{number}.")),
            "{number}: {view}"
        );
    }
    assert!(
        !made.is_empty() && unsure <= 5,
        "{} made, {unsure} unsure",
        made.len()
    );
}

#[test]
fn restart_is_answered_by_the_new_worker_or_with_why_not() {
    let mut told = Told::start(Config::to_file());
    let mut session = told.session();
    let mut other = told.session();
    assert_eq!(session.ask("restart"), ["OK generation 2 serves"]);
    told.relay.wait("probation to end", |s| s.is_serving());
    session.done("view");
    other.done("view");
    let text = std::fs::read_to_string(told.relay.instance.path("baton.toml")).unwrap();
    told.relay.instance.rewrite("nonsense = 1").unwrap();
    let refused = session.refused("restart");
    assert!(refused.contains("refused"), "{refused}");
    session.done("view");
    told.relay.instance.rewrite(&text).unwrap();
    let answer = session.ask("restart");
    assert!(answer[0].starts_with("OK generation "), "{answer:?}");
}

#[test]
fn after_a_crash_the_client_is_told_and_the_session_ends() {
    let mut told = Told::start(Config::to_file());
    let mut session = told.session();
    session.done("view");
    session.write("vie");
    told.relay.instance.kill_worker(LIMIT).unwrap();
    told.relay.instance.wait_serving(LIMIT).unwrap();
    assert!(
        session
            .rest()
            .starts_with("\nERR the worker of this session is gone")
    );
    told.session().done("view");
}

#[test]
fn a_session_goes_on_when_the_new_worker_fails_in_its_probation() {
    let mut config = Config::to_file();
    config.supervisor = "probation = \"1h\"".into();
    let mut told = Told::start(config.clone());
    let old = told.relay.status().worker_pid().unwrap();
    let mut session = told.session();
    // In one piece, so that the old worker has read the half line once it answers: what the new one reads dies with it.
    session.write("view\ntrace ha");
    assert_eq!(session.answer().last().unwrap(), "OK");
    let mut asker = told.session();
    let answer = asker.ask("restart");
    assert!(answer[0].starts_with("OK generation 2"), "{answer:?}");
    let new = told.relay.status().worker_pid().unwrap();
    assert_ne!(new, old);
    let pid = rustix::process::Pid::from_raw(new).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    told.relay.wait("the old worker", |s| {
        s.is_serving() && s.worker_pid() == Some(old)
    });
    // The new one had said nothing here, and something there.
    session.write("lf.x\n");
    assert_eq!(session.answer()[0], "half.x");
    assert!(
        asker
            .rest()
            .starts_with("\nERR the worker of this session is gone")
    );
}

#[test]
fn a_subscription_goes_on_through_restarts() {
    let mut told = Told::start(Config::to_file());
    let mut session = told.session();
    session.write("subscribe at=routed\n");
    session.0.get_ref().set_nonblocking(true).unwrap();
    let mut sent = 0;
    let mut flows =
        |told: &Told, session: &crate::client::Client<std::net::TcpStream>, what: &str| {
            wait_for(what, || {
                sent += 1;
                told.relay.send(format!("a.b {sent} 1790000000\n"));
                session.0.get_ref().peek(&mut [0; 1]).is_ok()
            });
        };
    flows(&told, &session, "the subscription");
    for _ in 0..3 {
        told.relay.reconfigure(&told.config.clone());
        session.0.get_ref().set_nonblocking(true).unwrap();
        // What came before is taken away.
        let mut old = [0; 65536];
        while std::io::Read::read(&mut session.0.get_ref(), &mut old).is_ok() {}
        flows(&told, &session, "the subscription after a restart");
    }
    session.0.get_ref().set_nonblocking(false).unwrap();
    session.write("\n");
    let lines = session.answer();
    assert_eq!(lines.last().unwrap(), "OK");
    session.done("view");
}
