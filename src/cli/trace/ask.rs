//! The running daemon, asked.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::super::ControlArgs;
use crate::config::Config;
use crate::handover::{Answer, Client, Request, Traced};
use crate::pipeline::trace::Trace;
use crate::supervisor::Settings;
use crate::sys;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a worker may take to come, when a restart is under way.
const NEXT_WORKER: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// How long a daemon may take that isn't asked but for how it differs.
const GLANCE: Duration = Duration::from_secs(2);

/// In words, what the daemon that runs with a config has otherwise, if one runs and has.
pub(super) fn differs(config: &Config) -> Option<String> {
    let control = Settings::read(&config.path).control;
    let client = Client::connect(&control).ok()?;
    let Ok(Answer::Status { worker, .. }) = client.ask(Request::Status, Some(GLANCE)) else {
        return None;
    };
    let count = |key: &str| worker["run_time"][key].as_u64().unwrap_or(0);
    let (overruled, added) = (count("overruled"), count("added"));
    let ask = format!("--control {} asks it", control.display());
    if overruled + added > 0 {
        return Some(format!(
            "The baton that runs has run-time changes beside it ({overruled} of its rules overruled, {added} added): {ask}"
        ));
    }
    let loaded = worker["config_hash"].as_str()?;
    (loaded != config.hash()).then(|| {
        format!("The baton that runs has another text, before a reload or of another file: {ask}")
    })
}

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
        let path = self.place.path()?;
        let asked = self
            .client
            .say(&Request::Trace, Some(question.as_fd()))
            .and_then(|()| self.client.wait_at_most(Some(PATIENCE)))
            .and_then(|()| self.client.hear());
        asked.with_context(|| format!("the baton on {}", path.display()))
    }
}
