//! Restarts that fail: the old worker serves on, and the caller is told why.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use baton::drill::Reload;

use crate::trial::{Loss, Trial};

/// Where a new worker is before anybody waits for it alone.
const BEFORE_READY: [&str; 6] = [
    "before-hello",
    "after-hello",
    "after-config",
    "after-listeners",
    "after-taken",
    "before-ready",
];
/// Where the old worker is frozen, or about to be, and the new one has not begun.
const IN_THE_PAUSE: [&str; 3] = ["after-ready", "on-frozen", "before-confirmed"];
/// Where the new worker owns the sockets, or may.
const AFTER_GO: [&str; 3] = ["after-confirmed", "on-go", "before-running"];
/// Where it serves.
const IN_PROBATION: [&str; 1] = ["after-running"];
/// Where the old worker is in the pause.
const OF_THE_OLD_ONE: [&str; 2] = ["on-freeze", "after-frozen"];

/// All there are.
pub fn fault_points() -> impl Iterator<Item = &'static str> {
    [
        &BEFORE_READY[..],
        &IN_THE_PAUSE,
        &OF_THE_OLD_ONE,
        &AFTER_GO,
        &IN_PROBATION,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// A new worker fails at each of these points in turn, under load; then a restart works.
fn each_fails(points: &[&str], action: &str, loss: Loss, reason: &str) {
    let mut trial = Trial::with(|config| {
        config.ready_timeout = if action == "hang" { "1s" } else { "10s" };
        config.probation = "300ms";
    });
    trial.load_tcp();
    for point in points {
        trial.faults(&format!("{point} {action}\n"));
        let refused = trial.refused();
        assert!(refused.contains(reason), "{point}: {refused}");
        trial.faults("");
        trial.more(500);
    }
    trial.rewrite(|config| config.ready_timeout = "10s");
    trial.reload();
    trial.more(500);
    trial.end(loss);
}

#[test]
fn a_new_worker_that_exits_before_ready() {
    each_fails(&BEFORE_READY, "exit", Loss::None, "exit status 3");
}

#[test]
fn a_new_worker_that_aborts_before_ready() {
    each_fails(&BEFORE_READY, "abort", Loss::None, "signal 6");
}

#[test]
fn a_new_worker_that_hangs_before_ready() {
    each_fails(
        &BEFORE_READY,
        "hang",
        Loss::None,
        "not ready within ready_timeout",
    );
}

#[test]
fn a_new_worker_that_exits_in_the_pause() {
    each_fails(&IN_THE_PAUSE, "exit", Loss::None, "exit status 3");
}

#[test]
fn a_new_worker_that_aborts_in_the_pause() {
    each_fails(&IN_THE_PAUSE, "abort", Loss::None, "signal 6");
}

#[test]
fn a_new_worker_that_hangs_in_the_pause() {
    each_fails(&IN_THE_PAUSE, "hang", Loss::None, "did not confirm");
}

#[test]
fn a_new_worker_that_exits_after_go() {
    each_fails(&AFTER_GO, "exit", Loss::Crash, "exit status 3");
    each_fails(&IN_PROBATION, "exit", Loss::Crash, "exit status 3");
}

#[test]
fn a_new_worker_that_aborts_after_go() {
    each_fails(&AFTER_GO, "abort", Loss::Crash, "signal 6");
    each_fails(&IN_PROBATION, "abort", Loss::Crash, "signal 6");
}

#[test]
fn a_new_worker_that_hangs_after_go() {
    each_fails(&AFTER_GO, "hang", Loss::Crash, "did not begin to serve");
}

/// The old worker fails while it is being replaced: the new one goes on in its place.
fn old_one_fails(fault: &str, loss: Loss) {
    let mut trial = Trial::start();
    trial.load_tcp();
    let before = trial.instance.worker_pid().unwrap();
    trial.faults(fault);
    let answer = trial.instance.reload().unwrap();
    assert!(matches!(answer, Reload::Done { .. }), "{answer:?}");
    trial.faults("");
    let now = trial.instance.worker_pid().unwrap();
    assert_ne!(now, before);
    trial.more(500);
    trial.reload();
    trial.end(loss);
}

#[test]
fn an_old_worker_that_exits_when_it_is_to_freeze() {
    old_one_fails("on-freeze exit\n", Loss::Crash);
}

#[test]
fn an_old_worker_that_aborts_when_it_is_to_freeze() {
    old_one_fails("on-freeze abort\n", Loss::Crash);
}

#[test]
fn an_old_worker_that_hangs_when_it_is_to_freeze() {
    old_one_fails("on-freeze hang\n", Loss::Crash);
}

#[test]
fn an_old_worker_that_exits_when_it_has_frozen() {
    old_one_fails("after-frozen exit\n", Loss::None);
}

#[test]
fn an_old_worker_that_aborts_when_it_has_frozen() {
    old_one_fails("after-frozen abort\n", Loss::None);
}

#[test]
fn an_old_worker_that_hangs_when_it_has_frozen() {
    old_one_fails("after-frozen hang\n", Loss::None);
}

#[test]
fn both_workers_fail_and_what_last_worked_comes_back() {
    let mut trial = Trial::start();
    trial.load_tcp();
    // The new one ends in the pause, the old one when it has frozen: there is nobody to go back to.
    trial.faults("after-frozen exit\non-frozen exit\n");
    let answer = trial.instance.reload().unwrap();
    assert!(matches!(answer, Reload::Refused { .. }), "{answer:?}");
    trial.faults("");
    trial.instance.wait_serving(crate::trial::LIMIT).unwrap();
    trial.more(500);
    trial.reload();
    trial.end(Loss::Crash);
}

#[test]
fn a_config_that_does_not_compile() {
    let mut trial = Trial::start();
    trial.load_tcp();
    let good = trial.config.text();
    for (bad, words) in [
        (good.replace("destinations", "destinatons"), "destinations"),
        (good.replace("sendAllMatch", "sendNoMatch"), "sendNoMatch"),
        ("[supervisor\n".to_owned(), "baton.toml"),
        (good.replace("tcp://127.0.0.1", "tcp://nowhere"), "nowhere"),
    ] {
        trial.instance.rewrite(&bad).unwrap();
        let reason = trial.refused();
        assert!(reason.contains(words), "{reason}");
        trial.more(200);
    }
    fs::remove_file(trial.instance.path("baton.toml")).unwrap();
    let reason = trial.refused();
    assert!(reason.contains("baton.toml"), "{reason}");
    trial.instance.rewrite(&good).unwrap();
    trial.reload();
    trial.end(Loss::None);
}

#[test]
fn a_binary_that_cannot_be_started() {
    let mut trial = Trial::start();
    trial.load_tcp();
    let binary = trial.instance.path("baton");
    let good = trial.instance.path("baton.good");
    fs::rename(&binary, &good).unwrap();
    let reason = trial.refused();
    assert!(
        reason.contains("cannot open") && reason.contains("/baton"),
        "{reason}"
    );

    let replace = |text: &[u8], mode: u32| {
        let new = binary.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(new, &binary).unwrap();
    };
    replace(&fs::read(&good).unwrap(), 0o644);
    let reason = trial.refused();
    assert!(
        reason.contains("cannot start") && reason.contains("ermission"),
        "{reason}"
    );

    // Half of a package that is being unpacked, or something else altogether.
    let ran = trial.instance.path("ran");
    replace(format!("touch {}\n", ran.display()).as_bytes(), 0o755);
    let reason = trial.refused();
    assert!(reason.contains("cannot start"), "{reason}");
    assert!(!ran.exists(), "what is no program was run as a script");
    replace(&fs::read(&good).unwrap()[..4096], 0o755);
    let reason = trial.refused();
    assert!(!reason.is_empty());
    replace(b"", 0o755);
    let reason = trial.refused();
    assert!(!reason.is_empty());

    // A program, but none of ours.
    fs::remove_file(&binary).unwrap();
    std::os::unix::fs::symlink("/bin/true", &binary).unwrap();
    let reason = trial.refused();
    assert!(reason.contains("exit status 0"), "{reason}");
    trial.more(500);

    fs::rename(good, binary).unwrap();
    trial.reload();
    trial.end(Loss::None);
}
