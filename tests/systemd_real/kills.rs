//! What nobody asked for.

use baton::drill::{Excuse, Target};

use super::guest::wait_for;
use super::site::{LINE, Site};

#[test]
fn kill_of_the_worker() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    site.start();
    site.load(Target::Tcp(LINE));
    let main = site.guest.show("baton", "MainPID");
    for _ in 0..3 {
        site.more(2_000);
        let before = site.serving();
        let worker = before.worker_pid().unwrap().to_string();
        site.guest.ok(&["kill", "-KILL", &worker]);
        wait_for("another worker", || {
            let generation = site.serving().generation();
            generation > before.generation()
        });
    }
    site.more(2_000);
    assert_eq!(site.guest.show("baton", "MainPID"), main);
    assert_eq!(site.guest.show("baton", "NRestarts"), "0");
    site.end(|status| Excuse {
        kernel_dropped: 0,
        crash_bytes: status.total("lost_by_crash_bytes").unwrap(),
    });
}
