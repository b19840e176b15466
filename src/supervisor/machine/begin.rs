//! How the machine begins.

use std::mem;
use std::time::Instant;

use super::{Action, Id, Machine, Origin, Times};

impl Machine {
    /// Begins with the first worker.
    pub fn start(times: Times, now: Instant) -> (Machine, Vec<Action>) {
        Machine::begin_with(Origin::Start, 0, times, now)
    }

    /// Begins as after the crash of a worker: it died with the last supervisor, and what they held is there.
    pub fn go_on_from(last: Id, times: Times, now: Instant) -> (Machine, Vec<Action>) {
        Machine::begin_with(Origin::Crash, last, times, now)
    }

    fn begin_with(
        origin: Origin,
        last_id: Id,
        times: Times,
        now: Instant,
    ) -> (Machine, Vec<Action>) {
        let mut machine = Machine {
            times,
            last_id,
            serving: None,
            serving_since: now,
            last_tick: now,
            takeover: None,
            follow_up: None,
            crashes: 0,
            respawn_at: None,
            stopping: false,
            stop_deadline: None,
            stop_extensions: 0,
            is_starting: true,
            extended: None,
            out: Vec::new(),
        };
        machine.begin(origin, Vec::new(), now);
        machine.extend(now);
        let actions = mem::take(&mut machine.out);
        (machine, actions)
    }
}
