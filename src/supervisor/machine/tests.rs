use proptest::prelude::*;

use super::*;

const TIMES: Times = Times {
    ready: Duration::from_secs(60),
    probation: Duration::from_secs(5),
    stop: Duration::from_secs(20),
};

fn kill(id: Id, why: &str) -> Action {
    Action::Kill(id, fault(why))
}

/// A machine whose first worker serves.
fn serving(now: Instant) -> Machine {
    let (mut machine, actions) = Machine::start(TIMES, now);
    assert_eq!(
        actions,
        [Action::Spawn(1, Origin::Start), Action::Extend(TIMES.ready)]
    );
    assert_eq!(machine.handle(Event::Ready(1), now), [Action::Recover(1)]);
    assert_eq!(machine.handle(Event::Confirmed(1), now), [Action::Go(1)]);
    let actions = machine.handle(Event::Running(1), now);
    assert_eq!(
        actions,
        [
            Action::Serves(1, None),
            Action::Settle(1),
            Action::Answer(vec![], Ok(1)),
            Action::Tell(State::Ready)
        ]
    );
    machine
}

#[test]
fn a_reload_freezes_the_old_worker_only_when_the_new_one_is_ready() {
    let now = Instant::now();
    let mut machine = serving(now);
    assert_eq!(
        machine.handle(Event::Reload(Some(9)), now),
        [
            Action::Tell(State::Reloading),
            Action::Spawn(2, Origin::Reload)
        ]
    );
    assert_eq!(machine.handle(Event::Ready(2), now), [Action::Freeze(1)]);
    assert_eq!(
        machine.handle(Event::Frozen(1), now),
        [Action::PassFrozen(2)]
    );
    assert_eq!(machine.handle(Event::Confirmed(2), now), [Action::Go(2)]);
    let later = now + Duration::from_millis(3);
    assert_eq!(
        machine.handle(Event::Running(2), later),
        [
            Action::Serves(2, Some(Duration::from_millis(3))),
            Action::Watch(vec![9], 2, TIMES.probation)
        ]
    );
    assert_eq!(machine.handle(Event::Passed(2), later), []);
    assert_eq!(
        machine.handle(Event::Time, later + Duration::from_secs(4)),
        []
    );
    assert_eq!(
        machine.handle(Event::Time, later + Duration::from_secs(5))[..2],
        [kill(2, "it hasn't ticked for 5 s"), Action::Retire(1)],
        "the test's worker never ticked; probation ends all the same"
    );
}

#[test]
fn a_refused_worker_changes_nothing_and_the_reason_is_told() {
    let now = Instant::now();
    let mut machine = serving(now);
    machine.handle(Event::Reload(Some(9)), now);
    let actions = machine.handle(Event::Refused(2, "line 3".into(), 78), now);
    assert!(actions.contains(&Action::Answer(vec![9], Err("line 3".into()))));
    assert!(actions.contains(&Action::Tell(State::Refused("line 3".into()))));
    assert!(
        !actions
            .iter()
            .any(|a| matches!(a, Action::Thaw(..) | Action::Freeze(_)))
    );
    assert_eq!(machine.serving(), Some(1));
}

#[test]
fn a_crash_in_probation_thaws_the_old_worker_after_the_death_of_the_new() {
    let now = Instant::now();
    let mut machine = serving(now);
    for event in [
        Event::Reload(Some(9)),
        Event::Ready(2),
        Event::Frozen(1),
        Event::Confirmed(2),
        Event::Running(2),
    ] {
        machine.handle(event, now);
    }
    let actions = machine.handle(Event::Exited(2, "killed by signal 11".into()), now);
    assert!(actions.contains(&Action::Thaw(1, true)), "{actions:?}");
    assert!(
        actions
            .iter()
            .any(|a| matches!(a, Action::Answer(_, Err(why)) if why.contains("11")))
    );
    assert_eq!(machine.serving(), Some(1));
}

/// A machine in the probation of its second worker, whose predecessor's windows haven't come.
fn passing(now: Instant) -> Machine {
    let mut machine = serving(now);
    for event in [
        Event::Reload(Some(9)),
        Event::Ready(2),
        Event::Frozen(1),
        Event::Confirmed(2),
        Event::Running(2),
        Event::Tick(2),
    ] {
        machine.handle(event, now);
    }
    machine
}

#[test]
fn probation_and_a_stop_wait_for_the_windows_of_the_old_worker() {
    let now = Instant::now();
    let mut machine = passing(now);
    machine.handle(Event::Reload(None), now);
    let later = now + TIMES.probation;
    machine.handle(Event::Tick(2), later);
    assert_eq!(machine.handle(Event::Time, later), []);
    assert!(machine.deadline() > Some(later));
    let actions = machine.handle(Event::Passed(2), later);
    assert_eq!(actions[0], Action::Retire(1));
    assert!(actions.contains(&Action::Spawn(3, Origin::Reload)));
    // A worker that hangs holds nobody up for ever.
    let mut machine = passing(now);
    machine.handle(Event::Tick(2), now + PASS_TIMEOUT);
    let actions = machine.handle(Event::Time, now + PASS_TIMEOUT);
    assert_eq!(actions[0], Action::Retire(1));

    for event in [Event::Passed(2), Event::Time, Event::Terminate] {
        let mut machine = passing(now);
        let actions = machine.handle(Event::Terminate, now);
        assert_eq!(actions[0], Action::Tell(State::Stopping));
        assert!(!actions.contains(&Action::Retire(1)));
        assert_eq!(machine.handle(Event::Time, now), []);
        let later = now
            + if event == Event::Time {
                STOP_GRACE
            } else {
                Duration::ZERO
            };
        let actions = machine.handle(event, later);
        assert_eq!(actions[0], Action::Retire(1));
        assert!(
            actions.contains(&Action::Stop(2, TIMES.stop)),
            "{actions:?}"
        );
    }
}

#[test]
fn an_old_worker_that_hangs_in_freeze_is_killed_and_its_death_awaited() {
    let now = Instant::now();
    let mut machine = serving(now);
    machine.handle(Event::Reload(None), now);
    machine.handle(Event::Ready(2), now);
    let later = now + STEP_TIMEOUT;
    assert_eq!(
        machine.handle(Event::Time, later),
        [kill(1, "it did not freeze within 2 s")]
    );
    let actions = machine.handle(Event::Exited(1, "killed".into()), later);
    assert!(actions.contains(&Action::Recover(2)));
    assert_eq!(machine.handle(Event::Confirmed(2), later), [Action::Go(2)]);
}

#[test]
fn requests_during_a_reload_fold_into_one_follow_up() {
    let now = Instant::now();
    let mut machine = serving(now);
    for asker in 1..=5 {
        machine.handle(Event::Reload(Some(asker)), now);
    }
    let actions = machine.handle(Event::Refused(2, "no".into(), 78), now);
    assert!(actions.contains(&Action::Answer(vec![1], Err("no".into()))));
    assert!(actions.contains(&Action::Spawn(3, Origin::Reload)));
    let actions = machine.handle(Event::Refused(3, "no".into(), 78), now);
    assert!(actions.contains(&Action::Answer(vec![2, 3, 4, 5], Err("no".into()))));
    assert!(!actions.iter().any(|a| matches!(a, Action::Spawn(..))));
}

#[test]
fn crashes_back_off() {
    let mut now = Instant::now();
    let mut machine = serving(now);
    for (id, pause) in [(1, 0), (2, 100), (3, 1000), (4, 5000), (5, 5000)] {
        let actions = machine.handle(Event::Exited(id, "killed".into()), now);
        if pause == 0 {
            assert!(actions.contains(&Action::Spawn(id + 1, Origin::Crash)));
        } else {
            assert_eq!(machine.deadline(), Some(now + Duration::from_millis(pause)));
            now += Duration::from_millis(pause);
            assert_eq!(
                machine.handle(Event::Time, now),
                [Action::Spawn(id + 1, Origin::Crash)]
            );
        }
        for event in [
            Event::Ready(id + 1),
            Event::Confirmed(id + 1),
            Event::Running(id + 1),
        ] {
            machine.handle(event, now);
        }
        assert_eq!(machine.serving(), Some(id + 1));
    }
}

/// Nobody serves, and it goes on so: each time it is said why, and when the next one comes.
#[test]
fn replacements_that_die_before_they_serve_are_told() {
    let mut now = Instant::now();
    let mut machine = serving(now);
    machine.handle(Event::Exited(1, "killed".into()), now);
    for (id, ms) in [(2, 100), (3, 1000), (4, 5000), (5, 5000)] {
        let pause = Duration::from_millis(ms);
        let actions = machine.handle(Event::Exited(id, "exit status 1".into()), now);
        let why = "the new worker ended: exit status 1".to_owned();
        let told = Action::Tell(State::Recovering { why, pause });
        assert!(actions.contains(&told), "{actions:?}");
        now += pause;
        machine.handle(Event::Time, now);
    }
    // Nor does it help to hang.
    now += TIMES.ready;
    let actions = machine.handle(Event::Time, now);
    let late = "it was not ready within ready_timeout";
    assert!(actions.contains(&kill(6, late)), "{actions:?}");
    let told = |action: &Action| matches!(action, Action::Tell(State::Recovering { why, .. }) if why == late);
    assert!(actions.iter().any(told), "{actions:?}");
}

/// Who is given up for no fault of its own is nothing to look at.
#[test]
fn a_worker_that_a_stop_or_a_refusal_ends_has_no_fault() {
    let now = Instant::now();
    let ends = [
        (Event::Terminate, "stopping"),
        (Event::Refused(2, "line 3".into(), 78), "it refused"),
        (
            Event::Exited(1, "killed".into()),
            "the worker it was to replace died",
        ),
    ];
    for (event, why) in ends {
        let mut machine = serving(now);
        machine.handle(Event::Reload(None), now);
        let actions = machine.handle(event, now);
        let killed = Action::Kill(2, Cause::Unwanted(why));
        assert!(actions.contains(&killed), "{actions:?}");
    }
}

#[test]
fn progress_extends_the_time_to_be_ready_five_times() {
    let mut now = Instant::now();
    let (mut machine, _) = Machine::start(TIMES, now);
    let mut said = Vec::new();
    for _ in 0..6 {
        now += Duration::from_secs(59);
        assert_eq!(machine.handle(Event::Time, now), []);
        said.push(machine.handle(Event::Progress(1), now));
    }
    // The service manager hears of each, too.
    let longer = vec![Action::Extend(TIMES.ready)];
    assert_eq!(said[..5], vec![longer; 5]);
    assert_eq!(said[5], []);
    now += Duration::from_secs(59);
    let actions = machine.handle(Event::Time, now);
    assert!(actions.contains(&kill(1, "it was not ready within ready_timeout")));
}

#[test]
fn progress_extends_the_end_of_a_stop_five_times() {
    let mut now = Instant::now();
    let mut machine = serving(now);
    assert_eq!(
        machine.handle(Event::Terminate, now),
        [
            Action::Tell(State::Stopping),
            Action::Answer(vec![], Err("stopping".into())),
            Action::Stop(1, TIMES.stop),
            Action::Extend(TIMES.stop + STOP_GRACE)
        ]
    );
    let mut said = Vec::new();
    now += TIMES.stop;
    for _ in 0..6 {
        now += STOP_GRACE - Duration::from_secs(1);
        assert_eq!(machine.handle(Event::Time, now), []);
        said.push(machine.handle(Event::Progress(1), now));
    }
    let longer = vec![Action::Extend(STOP_GRACE)];
    assert_eq!(said[..5], vec![longer; 5]);
    assert_eq!(said[5], []);
    now += STOP_GRACE;
    let late = kill(1, "it has not stopped in time: what it still had is lost");
    assert_eq!(machine.handle(Event::Time, now), [late]);
}

/// A world that does what the machine says: which workers live, and which own the sockets.
#[derive(Default)]
struct World {
    alive: Vec<Id>,
    owners: Vec<Id>,
    exit: Option<i32>,
    stop_told: bool,
}

impl World {
    fn apply(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Spawn(id, _) => self.alive.push(id),
                Action::Go(id) | Action::Thaw(id, _)
                    if self.alive.contains(&id) && !self.owners.contains(&id) =>
                {
                    self.owners.push(id);
                }
                Action::Stop(..) => self.stop_told = true,
                Action::Exit(status) => self.exit = Some(status),
                _ => {}
            }
            assert!(self.owners.len() <= 1, "two owners: {:?}", self.owners);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// Whatever happens in whatever order, there is never a second owner, there is always a next step, and a stop ends.
    #[test]
    fn never_two_owners_and_never_stuck(steps in prop::collection::vec((0u8..12, 0u64..4, 0u64..7000), 1..120)) {
        let mut now = Instant::now();
        let (mut machine, actions) = Machine::start(TIMES, now);
        let mut world = World::default();
        world.apply(actions);
        let feed = |machine: &mut Machine, world: &mut World, event: Event, now: Instant| {
            let actions = machine.handle(event, now);
            world.apply(actions);
        };
        for (what, which, ms) in steps {
            if world.exit.is_some() { break }
            now += Duration::from_millis(ms);
            let newest = world.alive.last().copied().unwrap_or(0);
            let id = newest.saturating_sub(which);
            let alive = world.alive.contains(&id);
            let event = match what {
                0 => Event::Reload(Some(which)),
                1 if ms < 500 => Event::Terminate,
                2 if alive => {
                    // A death: it owns nothing any more.
                    world.alive.retain(|w| *w != id);
                    world.owners.retain(|w| *w != id);
                    Event::Exited(id, "killed".into())
                }
                3 | 4 if alive => Event::Ready(id),
                5 | 6 if alive => {
                    world.owners.retain(|w| *w != id);
                    Event::Frozen(id)
                }
                7 | 8 if alive => Event::Confirmed(id),
                9 if alive => Event::Running(id),
                10 if alive => Event::Refused(id, "no".into(), 78),
                11 if alive => Event::Tick(id),
                _ => Event::Time,
            };
            // A worker that owns doesn't say `frozen` unless it was asked.
            feed(&mut machine, &mut world, event, now);
        }
        // From wherever it got to, an orderly world comes to rest: a worker serves, or it has ended.
        for _ in 0..40 {
            if world.exit.is_some() || (machine.takeover.is_none() && machine.serving.is_some() && !world.stop_told) { break }
            if let Some(serving) = machine.serving.filter(|_| world.stop_told) {
                feed(&mut machine, &mut world, Event::Stopped(serving), now);
                continue;
            }
            now = machine.deadline().map_or(now, |at| at.max(now));
            match machine.takeover.as_ref().map(|t| (t.new, t.old, t.step)) {
                Some((new, old, step)) => {
                    let event = match step {
                        Step::Loading => Event::Ready(new),
                        Step::Freezing => { world.owners.clear(); Event::Frozen(old.unwrap()) }
                        Step::Confirming => Event::Confirmed(new),
                        Step::Going => Event::Running(new),
                        Step::Probation => Event::Time,
                        Step::RollingBack => {
                            world.alive.retain(|w| *w != new);
                            world.owners.retain(|w| *w != new);
                            Event::Exited(new, "killed".into())
                        }
                    };
                    feed(&mut machine, &mut world, event, now);
                }
                None => feed(&mut machine, &mut world, Event::Time, now),
            }
        }
        prop_assert!(world.exit.is_some() || machine.serving.is_some(), "{machine:?}");
    }
}

#[test]
fn the_death_of_a_worker_that_has_stopped_is_no_crash() {
    let now = Instant::now();
    let mut machine = serving(now);
    machine.handle(Event::Terminate, now);
    let actions = machine.handle(Event::Stopped(1), now);
    assert_eq!(actions.last(), Some(&Action::Exit(0)));
    assert_eq!(
        machine.handle(Event::Exited(1, "exit status 0".into()), now),
        []
    );
}
