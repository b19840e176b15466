//! A worker that takes longer than `ready_timeout` to load.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::trial::{LIMIT, Loss, Trial, wait_for};

/// One that hangs is in `refusals`.
#[test]
fn a_worker_that_gets_on_has_longer() {
    let mut trial = Trial::with(|config| config.ready_timeout = "4s");
    trial.load_tcp();
    trial.faults("after-config hold\n");
    let began = Instant::now();
    let passes = |time| wait_for("the time", || began.elapsed() > time);
    trial.instance.signal(Signal::SIGHUP).unwrap();
    trial.reached("after-config");
    // From half of its time on it has something to say.
    passes(Duration::from_millis(2500));
    trial.faults("before-ready hold\n");
    let step = "the worker takes longer generation=2 step=\"read what was changed at run time\"";
    wait_for("word of it", || trial.instance.log().contains(step));
    // What it had at first is over.
    passes(Duration::from_millis(4500));
    trial.faults("");
    let serves = |status: &baton::drill::Status| {
        status.document()["supervisor"]["generation"] == 2 && status.is_serving()
    };
    let status = trial.instance.wait_status("the new worker", LIMIT, serves);
    status.unwrap();
    trial.more(500);
    trial.end(Loss::None);
}
