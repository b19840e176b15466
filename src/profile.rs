//! Where the CPU's time goes: stacks are sampled by a timer of the process (SIGPROF, setitimer(2)) and told in pprof's
//! format.
//!
//! The timer's signal may interrupt any system call of any thread. It restarts those that can be (SA_RESTART); the others,
//! epoll_wait among them, say EINTR, which all who call them expect.

mod proto;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use pprof::{ProfilerGuard, ProfilerGuardBuilder};

/// Samples a second of CPU time: few enough to cost nothing, and in step with nothing that happens a hundred times a
/// second.
const FREQUENCY: i32 = 99;
/// Where a stack can't be followed: the code that follows stacks, and the kernel's.
const NOT_INSIDE: [&str; 2] = ["libgcc", "vdso"];

/// Samples until it is finished or dropped. There is one at a time.
pub struct Profiler(ProfilerGuard<'static>);

impl std::fmt::Debug for Profiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Profiler")
    }
}

/// Why there are no samples.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process is sampled already.
    #[error("it is profiled already")]
    Running,
    /// The timer, the signal.
    #[error("{0}")]
    System(String),
}

impl From<pprof::Error> for Error {
    fn from(error: pprof::Error) -> Error {
        match error {
            pprof::Error::Running => Error::Running,
            other => Error::System(other.to_string()),
        }
    }
}

impl Profiler {
    /// Begins.
    ///
    /// # Errors
    /// [`Error::Running`] when another one samples.
    pub fn begin() -> Result<Profiler, Error> {
        let builder = ProfilerGuardBuilder::default()
            .frequency(FREQUENCY)
            .blocklist(&NOT_INSIDE);
        Ok(Profiler(builder.build()?))
    }

    /// What was sampled, as a `Profile` of pprof's `profile.proto`. It takes as long as finding the functions' names
    /// does: up to seconds.
    ///
    /// # Errors
    /// The samples can't be read.
    pub fn finish(self) -> Result<Vec<u8>, Error> {
        let report = self.0.report().build()?;
        Ok(proto::encode(&report))
    }
}

/// What is written at the end of this process, and where.
static WHOLE_LIFE: Mutex<Option<(Profiler, PathBuf)>> = Mutex::new(None);

/// Samples from now to [`write`], for this file.
///
/// # Errors
/// As [`Profiler::begin`].
pub fn begin_for(file: &Path) -> Result<(), Error> {
    let profiler = Profiler::begin()?;
    let mut whole_life = WHOLE_LIFE.lock().unwrap_or_else(|e| e.into_inner());
    *whole_life = Some((profiler, file.to_owned()));
    Ok(())
}

/// Writes the file of [`begin_for`], if that was asked for.
///
/// # Errors
/// It can't be written.
pub fn write() -> io::Result<()> {
    let mut whole_life = WHOLE_LIFE.lock().unwrap_or_else(|e| e.into_inner());
    let Some((profiler, path)) = whole_life.take() else {
        return Ok(());
    };
    let profile = profiler.finish().map_err(io::Error::other)?;
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(true).write(true).mode(0o600);
    options.open(path)?.write_all(&profile)
}
