//! Who is taken for up: what `failover`, `any_of`, `roundRobin` and `dynamic` hashes choose by.
//!
//! A destination that is down for a moment is taken for down, and for up again only after it was up for its route's `failback`, or at once
//! if no other of its route is. Before its
//! first attempt to connect has ended it keeps the judgement there was: that is in the ledger, so it outlives a worker, and a successor takes
//! nobody for up who is dead. Once a member of a failover route is taken for down, what is queued for it goes to the one that is chosen now.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::amend::InForce;
use super::relay::{Relay, lock};
use crate::config::Config;
use crate::destination::{Destination, State};
use crate::intake::now_ms;
use crate::ledger::Cell;
use crate::route::{Patterns, RouteKind};
use crate::spec::Address;
use crate::spool::{Done, Errand, RESTART};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(100);
/// How often, while there is nobody to judge.
const LOOK_FOR_SOME: Duration = Duration::from_secs(1);
/// A destination that is down for so long is taken for down: a peer that is restarted may listen again by then.
const DOWN: Duration = Duration::from_millis(300);
/// How soon it is tried again to move what couldn't be moved.
const RETRY: Duration = Duration::from_secs(2);

/// A judgement, as the ledger has it: 0 taken for up; 1 taken for down; above: taken for down, but up since then (ms since 1970).
type Word = u64;
const UP: Word = 0;
const IS_DOWN: Word = 1;

/// What is to be judged.
#[derive(Debug, Default)]
pub(super) struct Standing {
    members: Mutex<Vec<Member>>,
}

/// A destination whose route asks whether it is up.
#[derive(Debug)]
struct Member {
    destination: Arc<Destination>,
    /// Its index among those of the table.
    index: usize,
    /// That of its route.
    route: usize,
    /// Whether what is queued for it goes to others while it is down.
    is_failover: bool,
    failback: Duration,
    /// Since when it is known to be down.
    down_since: Option<Instant>,
}

impl Standing {
    /// For the routes that ask.
    pub fn new(config: &Config, destinations: &[Arc<Destination>]) -> Standing {
        Standing {
            members: Mutex::new(members(config, destinations)),
        }
    }

    /// Judges those of another table, once `swap` has put it in force. What is known of those that stay is kept.
    pub fn judge_others(&self, next: &InForce, swap: impl FnOnce()) {
        let mut judged = lock(&self.members);
        let known: HashMap<String, Option<Instant>> = judged
            .drain(..)
            .map(|member| (member.destination.spec.id.clone(), member.down_since))
            .collect();
        *judged = members(&next.config, &next.destinations);
        for member in judged.iter_mut() {
            let id = &member.destination.spec.id;
            member.down_since = known.get(id).copied().flatten();
        }
        swap();
    }

    /// Goes on with what the ledger says, before anything is routed.
    pub fn recall(&self, relay: &Relay) {
        let mut members = lock(&self.members);
        let in_force = relay.in_force();
        let mut up = vec![true; in_force.destinations.len()];
        for member in members.iter_mut() {
            member.down_since = None;
            up[member.index] = word(&member.destination) == UP;
        }
        in_force.snapshot.up.store(Arc::new(up));
    }

    /// Judges all of them anew.
    fn look(&self, relay: &Relay) {
        let mut changed = false;
        let mut members = lock(&self.members);
        // With nobody else there is no reason to wait for `failback`.
        let some_up: HashSet<usize> = members
            .iter()
            .filter(|member| word(&member.destination) == UP)
            .map(|member| member.route)
            .collect();
        for member in members.iter_mut() {
            let failback = match some_up.contains(&member.route) {
                true => member.failback,
                false => Duration::ZERO,
            };
            let destination = &member.destination;
            let (state, now) = (destination.health().state, Instant::now());
            match state {
                State::Down => drop(member.down_since.get_or_insert(now)),
                State::Up | State::Connecting => member.down_since = None,
            }
            let down_for = member.down_since.map(|since| now - since);
            let was = word(destination);
            let is = judge(was, state, down_for, now_ms(), failback);
            if is == was {
                continue;
            }
            // A hand-over is under way: the successor will judge.
            let Some(mut lane) = relay.inputs.gate.enter() else {
                return;
            };
            let cells = destination.queue.send.cells();
            lane.writer.set(cells, Cell::Standing, is);
            lane.writer.commit();
            drop(lane);
            if (is == UP) != (was == UP) {
                changed = true;
                tell(destination, is == UP);
            }
        }
        if changed {
            let in_force = relay.in_force();
            let mut up: Vec<bool> = vec![true; in_force.destinations.len()];
            for member in members.iter() {
                up[member.index] = word(&member.destination) == UP;
            }
            in_force.snapshot.up.store(Arc::new(up));
        }
    }

    /// Members of failover routes that are down and have something queued, each with the one that its lines go to now.
    fn to_move(&self) -> Vec<(String, String)> {
        let members = lock(&self.members);
        let mut moves = Vec::new();
        for dead in members.iter() {
            let from = &dead.destination;
            if !dead.is_failover || word(from) == UP || !has_to_move(from) {
                continue;
            }
            let live = members.iter().filter(|live| live.route == dead.route);
            let mut live = live.map(|live| &live.destination);
            let to = live.find(|to| {
                word(to) == UP && to.health().state == State::Up && takes_all_of(to, from)
            });
            moves.extend(to.map(|to| (from.spec.id.clone(), to.spec.id.clone())));
        }
        moves
    }
}

fn members(config: &Config, destinations: &[Arc<Destination>]) -> Vec<Member> {
    let (mut members, mut index) = (Vec::new(), 0);
    for (number, route) in config.routes.iter().enumerate() {
        for _ in &route.destinations {
            if route.choice.asks_who_is_up(route.kind) {
                members.push(Member {
                    destination: destinations[index].clone(),
                    index,
                    route: number,
                    is_failover: route.kind == RouteKind::Failover,
                    failback: route.choice.failback,
                    down_since: None,
                });
            }
            index += 1;
        }
    }
    members
}

fn word(destination: &Destination) -> Word {
    destination.queue.send.cell(Cell::Standing)
}

/// The judgement that follows from the one before.
fn judge(
    word: Word,
    state: State,
    down_for: Option<Duration>,
    now_ms: u64,
    failback: Duration,
) -> Word {
    match (word, state) {
        (UP, State::Down) if down_for.is_some_and(|long| long >= DOWN) => IS_DOWN,
        // It has just connected. (A clock that was put back begins anew.)
        (since, State::Up) if since != UP => {
            let since = match since == IS_DOWN || since > now_ms {
                true => now_ms,
                false => since,
            };
            match u128::from(now_ms - since) >= failback.as_millis() {
                true => UP,
                false => since,
            }
        }
        (word, State::Down) if word != UP => IS_DOWN,
        (word, _) => word,
    }
}

fn tell(destination: &Destination, up: bool) {
    let id = &destination.spec.id;
    match up {
        true => tracing::info!(
            destination = id,
            "a destination is taken for up again: it gets lines"
        ),
        false => tracing::warn!(
            destination = id,
            "a destination is taken for down: its lines go to others while there are any"
        ),
    }
}

/// Files stay with what they have: nobody else has their path.
fn has_to_move(destination: &Destination) -> bool {
    let (queue, state) = (&destination.queue, destination.health().state);
    state == State::Down
        && matches!(destination.spec.address, Address::Tcp { .. })
        && (queue.queued_bytes() > 0 || queue.spooled_lines() > 0)
}

/// Whether one destination's matcher accepts all that another's did, as far as that can be seen.
fn takes_all_of(to: &Destination, from: &Destination) -> bool {
    to.spec.patterns == Patterns::default() || to.spec.patterns == from.spec.patterns
}

/// Judges for as long as this process lives, and has queues moved.
pub(super) async fn keep(relay: Arc<Relay>) {
    let mut moving: HashMap<String, Moving> = HashMap::new();
    loop {
        let nobody = lock(&relay.standing.members).is_empty();
        sleep(if nobody { LOOK_FOR_SOME } else { LOOK }).await;
        relay.inputs.gate.opened().await;
        relay.standing.look(&relay);
        moving.retain(|from, moving| moving.goes_on(from));
        // A stop keeps what is queued by itself.
        if !relay.serving.load(std::sync::atomic::Ordering::SeqCst) {
            continue;
        }
        for (from, to) in relay.standing.to_move() {
            moving.entry(from).or_insert_with_key(|from| Moving {
                answer: Some(relay.spool.ask(Errand::PassOver {
                    from: from.clone(),
                    to: to.clone(),
                })),
                to,
                again_at: Instant::now(),
            });
        }
    }
}

/// A queue that is being moved, or that couldn't be.
struct Moving {
    to: String,
    answer: Option<Receiver<Done>>,
    again_at: Instant,
}

impl Moving {
    /// False: it may be asked for again.
    fn goes_on(&mut self, from: &str) -> bool {
        let Some(answer) = &self.answer else {
            return Instant::now() < self.again_at;
        };
        match answer.try_recv() {
            Err(TryRecvError::Empty) => return true,
            Ok(Ok(lines)) => {
                if lines > 0 {
                    tracing::info!(from, to = self.to, lines, "what was queued was moved");
                    return false;
                }
            }
            Ok(Err(error)) if error != RESTART => {
                tracing::warn!(from, to = self.to, error, "what is queued can't be moved");
            }
            Ok(Err(_)) | Err(TryRecvError::Disconnected) => {}
        }
        self.answer = None;
        self.again_at = Instant::now() + RETRY;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn down_after_a_moment_and_up_after_a_while() {
        let failback = Duration::from_secs(10);
        let judge = |word, state, down_ms: Option<u64>, now| {
            judge(
                word,
                state,
                down_ms.map(Duration::from_millis),
                now,
                failback,
            )
        };
        // Before the first attempt has ended it is what it was.
        assert_eq!(judge(UP, State::Connecting, None, 5000), UP);
        assert_eq!(judge(IS_DOWN, State::Connecting, None, 5000), IS_DOWN);
        assert_eq!(judge(4000, State::Connecting, None, 5000), 4000);
        assert_eq!(judge(UP, State::Down, Some(299), 5000), UP);
        assert_eq!(judge(UP, State::Down, Some(300), 5000), IS_DOWN);
        assert_eq!(judge(IS_DOWN, State::Up, None, 5000), 5000);
        assert_eq!(judge(5000, State::Up, None, 14_999), 5000);
        assert_eq!(judge(5000, State::Up, None, 15_000), UP);
        // It went down again meanwhile: from the beginning.
        assert_eq!(judge(5000, State::Down, Some(0), 9000), IS_DOWN);
        // The clock was put back.
        assert_eq!(judge(5000, State::Up, None, 3000), 3000);
    }
}
