//! The rig that proves the promise: a private Baton, numbered lines in, every line checked at the sink.
//!
//! A [`Plan`] is what `baton drill` carries out. Its parts stand alone, so that a test can set up the fault it
//! is about:
//!
//! - [`Senders`] keep connections open and write numbered lines over them, cut at random bytes, never
//!   reconnecting: whatever a relay does to a connection shows as a client error.
//! - [`Instance`] is a private Baton in a temporary folder, with its control socket at hand.
//! - [`Sink`] is the destination: it ticks off every line and can refuse, reset, hang or crawl on demand.
//! - [`Report`] compares what was sent with what came.
//!
//! Nothing in here knows how Baton works inside; it sees what a user could see.

mod account;
mod folder;
mod histogram;
mod instance;
mod line;
mod plan;
mod ports;
mod report;
mod senders;
mod sink;
mod status;

pub use account::Account;
pub use histogram::Histogram;
pub use instance::{Instance, Reload, Setup};
pub use line::{Clock, LINES_A_DATAGRAM, Line};
pub use plan::{Plan, Progress, Transport};
pub use ports::free_ports;
pub use report::{Excuse, Report};
pub use senders::{Extent, Flow, Load, Senders, Sent, Target};
pub use sink::Sink;
pub use status::Status;

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a drill could not be carried out. A relay that loses lines is no error: that is a [`Report`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the operating system failed.
    #[error("cannot {step}")]
    Os {
        /// What was being done, as the end of "cannot …".
        step: String,
        /// What the system said.
        source: io::Error,
    },
    /// The instance ended although nobody had asked it to.
    #[error("{} ended with {status}; the end of its log:\n{log}", binary.display())]
    Ended {
        /// The program that was started.
        binary: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The last lines it logged.
        log: String,
    },
    /// What was waited for did not come about in time.
    #[error("{what} took longer than {limit:?}; the end of the instance's log:\n{log}")]
    Late {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
        /// The last lines the instance logged.
        log: String,
    },
    /// The control socket gave an answer that is none.
    #[error("unexpected answer to `{request}`: {answer}")]
    Answer {
        /// The type of the request.
        request: &'static str,
        /// The whole answer.
        answer: String,
    },
}

/// Names the step in front of an [`io::Error`].
trait Step<T> {
    fn step(self, step: impl Into<String>) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: impl Into<String>) -> Result<T, Error> {
        self.map_err(|source| Error::Os {
            step: step.into(),
            source: source.into(),
        })
    }
}
