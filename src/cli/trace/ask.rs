//! The running daemon, asked.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::super::ControlArgs;
use crate::handover::{Answer, Client, Request, Traced};
use crate::pipeline::trace::Trace;
use crate::sys;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a worker may take to come, when a restart is under way.
const NEXT_WORKER: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// A daemon that answered once.
pub(super) struct Daemon {
    place: ControlArgs,
    client: Client,
}

impl Daemon {
    /// Finds it.
    ///
    /// # Errors
    /// None answers.
    pub(super) fn find(place: ControlArgs) -> anyhow::Result<Daemon> {
        let client = place.connect()?;
        Ok(Daemon { place, client })
    }

    /// What becomes of lines or names, at most [`MAX_TRACED`](crate::handover::MAX_TRACED).
    ///
    /// # Errors
    /// It has gone, doesn't know the question, or has no worker.
    pub(super) fn trace(&mut self, metrics: &[Vec<u8>]) -> anyhow::Result<Vec<Trace>> {
        let question = sys::memfd_with("baton-trace", &[metrics.join(&b'\n'), b"\n".to_vec()])?;
        let until = Instant::now() + NEXT_WORKER;
        loop {
            match self.ask(&question)? {
                Answer::Traced {
                    outcome: Traced::Done,
                    traces,
                } => {
                    let traces: Vec<Trace> =
                        serde_json::from_value(traces).context("the daemon's answer")?;
                    if traces.len() != metrics.len() {
                        bail!(
                            "asked of {} metrics, the daemon answered of {}",
                            metrics.len(),
                            traces.len()
                        );
                    }
                    return Ok(traces);
                }
                Answer::Traced {
                    outcome: Traced::Restarting,
                    ..
                } if Instant::now() < until => std::thread::sleep(LOOK),
                Answer::Traced {
                    outcome: Traced::Restarting,
                    ..
                } => bail!("no worker serves just now"),
                Answer::Traced {
                    outcome: Traced::Failed { reason },
                    ..
                } => bail!("the daemon can't trace: {reason}"),
                // A daemon that is older than the question.
                Answer::Refused { reason } => bail!("the daemon refuses to trace: {reason}"),
                other => bail!("an answer that isn't one to a trace: {other:?}"),
            }
        }
    }

    fn ask(&self, question: &impl AsFd) -> anyhow::Result<Answer> {
        let path = self.place.path();
        let asked = self
            .client
            .say(&Request::Trace, Some(question.as_fd()))
            .and_then(|()| self.client.wait_at_most(Some(PATIENCE)))
            .and_then(|()| self.client.hear());
        asked.with_context(|| format!("the baton on {}", path.display()))
    }
}
