//! Commands to the spool. They may take long, so the answer comes from a thread of its own.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::relay::Relay;
use crate::handover::{FromWorker, Link, Outcome, SpoolCommand};
use crate::spool::{Errand, RESTART};

/// Known destinations that an error names.
const NAMED: usize = 20;

/// Does what was asked, and answers it.
pub(super) fn obey(
    relay: &Relay,
    link: &Arc<Link>,
    (id, command): (u64, SpoolCommand),
    beside: Vec<OwnedFd>,
) {
    if !relay.serving.load(Ordering::SeqCst) {
        return answer(link, id, Outcome::Restarting);
    }
    let errand = match errand(relay, command, beside) {
        Ok(errand) => errand,
        Err(outcome) => return answer(link, id, outcome),
    };
    let done = relay.spool.ask(errand);
    let theirs = link.clone();
    let waits = std::thread::Builder::new()
        .name("baton-errand".into())
        .spawn(move || {
            let outcome = match done.recv() {
                Ok(Ok(lines)) => Outcome::Done { lines },
                Ok(Err(reason)) if reason != RESTART => Outcome::Failed { reason },
                Ok(Err(_)) | Err(_) => Outcome::Restarting,
            };
            answer(&theirs, id, outcome);
        });
    if let Err(error) = waits {
        let reason = format!("it is being done, but nobody can wait for it: {error}");
        answer(link, id, Outcome::Failed { reason });
    }
}

fn answer(link: &Link, id: u64, outcome: Outcome) {
    if let Err(error) = link.send(&FromWorker::Spooled { id, outcome }, &[]) {
        tracing::debug!(%error, "the supervisor can't be told what came of a command");
    }
}

/// What the spool is to do; or the answer, when that is clear already.
fn errand(relay: &Relay, command: SpoolCommand, beside: Vec<OwnedFd>) -> Result<Errand, Outcome> {
    let known = |id: &str, force: bool| match force || is_known(relay, id) {
        true => Ok(()),
        false => Err(Outcome::Failed {
            reason: unknown(relay, id),
        }),
    };
    match command {
        SpoolCommand::Where => {
            let path = relay.spool.health().path;
            let path = path.to_string_lossy().into_owned();
            Err(Outcome::Lies { path })
        }
        SpoolCommand::Replay { destination, force } => {
            known(&destination, force)?;
            let failed = |reason: &str| Outcome::Failed {
                reason: reason.to_owned(),
            };
            let file = beside.into_iter().next().map(File::from);
            let file = file.ok_or_else(|| failed("no file came with the command"))?;
            // To read anything else may take for ever.
            match file.metadata() {
                Ok(about) if about.is_file() => Ok(Errand::Import { destination, file }),
                Ok(_) => Err(failed("what is to be replayed is no regular file")),
                Err(error) => Err(failed(&error.to_string())),
            }
        }
        SpoolCommand::Purge { destination } => Ok(Errand::Purge {
            destination,
            taken: Arc::default(),
        }),
        SpoolCommand::Assign { from, to, force } => {
            known(&to, force)?;
            Ok(Errand::Assign { from, to })
        }
    }
}

fn is_known(relay: &Relay, id: &str) -> bool {
    let in_force = relay.in_force();
    in_force.destinations.iter().any(|d| d.spec.id == id)
}

fn unknown(relay: &Relay, id: &str) -> String {
    let in_force = relay.in_force();
    let ids = in_force.destinations.iter().map(|d| d.spec.id.as_str());
    crate::spool::unknown(id, &ids.collect::<Vec<_>>(), NAMED)
}
