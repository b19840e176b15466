//! What the machine hears and says.

use std::time::Duration;

use crate::handover::Origin;

/// A worker's number: its generation.
pub type Id = u64;
/// Someone who waits for the end of a reload.
pub type Asker = u64;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A reload was asked for (`None`: SIGHUP, nobody waits).
    Reload(Option<Asker>),
    /// TERM or INT, or a stop asked for.
    Terminate,
    /// A worker couldn't be started.
    SpawnFailed(Id, String),
    /// It is still preparing.
    Progress(Id),
    /// It could take over.
    Ready(Id),
    /// It says that it can't; the exit status to use.
    Refused(Id, String, i32),
    /// It doesn't read, write or accept any more.
    Frozen(Id),
    /// It holds what the old one held.
    Confirmed(Id),
    /// Its loops run.
    Running(Id),
    /// It was told what its predecessor had in windows, or that nothing will come.
    Passed(Id),
    /// It is alive.
    Tick(Id),
    /// It has stopped as it was told.
    Stopped(Id),
    /// It broke the protocol.
    Broken(Id, String),
    /// Its process has ended, and all it said was read.
    Exited(Id, String),
    /// Some time has passed.
    Time,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a worker: what lies on disk, or (after a crash) what last worked.
    Spawn(Id, Origin),
    /// SIGKILL.
    Kill(Id, Cause),
    /// Say `freeze`.
    Freeze(Id),
    /// Pass what the old one said to the new one.
    PassFrozen(Id),
    /// Say `recover`: there is no old one.
    Recover(Id),
    /// Say `go`.
    Go(Id),
    /// Say `thaw`; stale: the successor had begun.
    Thaw(Id, bool),
    /// Say `retire`.
    Retire(Id),
    /// Its probation is over: it is what last worked.
    Settle(Id),
    /// Say `stop`.
    Stop(Id, Duration),
    /// It never had the `go`: what was made for it goes.
    Discard(Id),
    /// A worker's outcome, for the history.
    Outcome(Id, String),
    /// It serves; the pause it took.
    Serves(Id, Option<Duration>),
    /// Tell those who wait for the reload: the new worker serves, and is watched for so long.
    Watch(Vec<Asker>, Id, Duration),
    /// Answer those who wait for the reload: the new worker, or why not.
    Answer(Vec<Asker>, Result<Id, String>),
    /// What to tell the service manager.
    Tell(State),
    /// Tell it how long the next word may take, at most.
    Extend(Duration),
    /// End the supervisor with this status.
    Exit(i32),
}

/// Why a worker is killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It didn't do what it must: somebody should look.
    Fault(String),
    /// It isn't wanted any more, or has said itself why it can't be.
    Unwanted(&'static str),
}

/// The service's state, for the service manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A reload has begun.
    Reloading,
    /// A worker serves.
    Ready,
    /// A worker serves, the reload was refused.
    Refused(String),
    /// No worker serves: another is started.
    Recovering {
        /// What became of the last one.
        why: String,
        /// In how long.
        pause: Duration,
    },
    /// The end.
    Stopping,
}

/// Times from the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// For a new worker to be ready.
    pub ready: Duration,
    /// For which the old worker is kept.
    pub probation: Duration,
    /// For a stop to deliver.
    pub stop: Duration,
}
