//! What becomes of metrics, asked of the worker that serves. It takes what is in force as a batch does, and waits for no lane.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::amend::InForce;
use super::relay::Relay;
use crate::handover::{FromWorker, Link, MAX_TRACED, MAX_TRACED_BYTES, Traced};
use crate::intake::now_ms;
use crate::pipeline::Terms;
use crate::pipeline::trace::{Names, Trace, Tracer};
use crate::route::Moment;
use crate::sys;

/// What becomes of lines or names, if they came now.
pub(super) fn trace<M: AsRef<[u8]>>(relay: &Relay, metrics: &[M]) -> Vec<Trace> {
    let intake = &relay.inputs.intake;
    let in_force = relay.in_force();
    let snapshot = &in_force.snapshot;
    let up = snapshot.up.load();
    let names = names(&in_force);
    let terms = Terms {
        table: &snapshot.table,
        rules: &snapshot.rules,
        now: (now_ms() / 1000) as u32,
        moment: Moment {
            up: &up,
            turn: intake.next_turn(),
        },
        order: None,
    };
    let mut tracer = Tracer::new(terms, &names);
    let metrics = metrics.iter();
    metrics.map(|one| tracer.trace(one.as_ref())).collect()
}

fn names(in_force: &InForce) -> Names {
    let destinations = in_force.destinations.iter();
    Names {
        destinations: destinations
            .map(|one| (one.spec.id.clone(), one.spec.address.to_string()))
            .collect(),
        ..crate::ruleset::names(&in_force.config)
    }
}

/// Answers a question of the command line, from a thread where that holds up nothing.
pub(super) fn answer(relay: &Arc<Relay>, link: &Arc<Link>, id: u64, beside: Vec<OwnedFd>) {
    let (theirs, link) = (relay.clone(), link.clone());
    relay.runtime.spawn_blocking(move || {
        let traced = match theirs.serving.load(Ordering::SeqCst) {
            true => traced(&theirs, beside),
            false => Ok(None),
        };
        let (outcome, memory) = match traced {
            Ok(None) => (Traced::Restarting, None),
            Ok(memory) => (Traced::Done, memory),
            Err(error) => {
                let reason = error.to_string();
                (Traced::Failed { reason }, None)
            }
        };
        let beside: Vec<_> = memory.iter().map(|memory| memory.as_fd()).collect();
        if let Err(error) = link.send(&FromWorker::Traced { id, outcome }, &beside) {
            tracing::debug!(%error, "the supervisor can't be told what becomes of metrics");
        }
    });
}

/// The answer as JSON, sealed.
fn traced(relay: &Relay, beside: Vec<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    let metrics = beside.into_iter().next();
    let metrics = metrics.ok_or_else(|| io::Error::other("no metrics came with the question"))?;
    let text = sys::read_memfd(metrics.as_fd(), MAX_TRACED_BYTES)?;
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let metrics: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    if metrics.len() > MAX_TRACED {
        let found = metrics.len();
        return Err(io::Error::other(format!(
            "expected at most {MAX_TRACED} metrics at once, found {found}"
        )));
    }
    let json = serde_json::to_vec(&trace(relay, &metrics))?;
    sys::memfd_with("baton-trace", &[json]).map(Some)
}
