//! A worker that loads tells the supervisor that it gets on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::handover::{FromWorker, Link};

/// Says so after a part of the work, when the last word is long ago; what hangs says nothing. How often that gives a worker
/// more time, the supervisor decides: so it isn't said before it is needed.
pub(super) struct Loading {
    link: Arc<Link>,
    told: Instant,
    /// Half of what the supervisor allows for the next word.
    pace: Duration,
}

impl Loading {
    /// Of a worker that began to load then.
    pub fn since(began: Instant, link: &Arc<Link>, ready_timeout: Duration) -> Loading {
        Loading {
            link: link.clone(),
            told: began,
            pace: ready_timeout / 2,
        }
    }

    /// This much is done.
    pub fn has(&mut self, step: &str) {
        if self.told.elapsed() < self.pace {
            return;
        }
        self.told = Instant::now();
        let step = step.to_owned();
        // Without a supervisor there is nobody to tell.
        let _gone = self.link.send(&FromWorker::Progress { step }, &[]);
    }
}
