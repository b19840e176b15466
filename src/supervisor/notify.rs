//! What systemd is told (sd_notify(3)). Without NOTIFY_SOCKET nothing happens.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::machine::State;

/// The service manager, seen from here.
#[derive(Debug)]
pub struct Notify {
    watchdog: Option<Duration>,
    next: Instant,
}

impl Notify {
    /// Reads what systemd asked for.
    pub fn new(now: Instant) -> Notify {
        // Half of the time, as sd_watchdog_enabled(3) advises.
        let watchdog = sd_notify::watchdog_enabled().map(|time| time / 2);
        Notify {
            watchdog,
            next: now,
        }
    }

    /// When `tick` is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.watchdog.map(|_| self.next)
    }

    /// Says that the supervisor's loop turns.
    pub fn tick(&mut self, now: Instant) {
        if let Some(every) = self.watchdog
            && now >= self.next
        {
            self.next = now + every;
            send(&[NotifyState::Watchdog]);
        }
    }

    /// Tells a state.
    pub fn tell(&self, state: &State, serving: Option<u64>) {
        let generation = serving.unwrap_or(0);
        match state {
            State::Reloading => {
                let mut states = vec![NotifyState::Reloading];
                if let Ok(now) = NotifyState::monotonic_usec_now() {
                    states.push(now);
                }
                send(&states);
            }
            State::Ready => {
                let text = format!("serving, generation {generation}");
                send(&[NotifyState::Ready, NotifyState::Status(&text)]);
            }
            State::Refused(why) => {
                let why = why.lines().next().unwrap_or_default();
                let text = format!("generation {generation} serves on; reload refused: {why}");
                send(&[NotifyState::Ready, NotifyState::Status(&text)]);
            }
            State::Recovering(why) => {
                let text = format!("the worker died ({why}), starting another");
                send(&[NotifyState::Status(&text)]);
            }
            State::Stopping => send(&[NotifyState::Stopping]),
        }
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be notified");
    }
}
