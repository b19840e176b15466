//! A worker: does all the relaying, owns nothing that can't be taken from it.
//!
//! The main thread talks with the supervisor and does what it says ([`conversation`]); a tokio runtime beside
//! it moves metrics. So a freeze is heard at once, however busy the runtime is.

mod amend;
mod assemble;
mod charts;
mod conversation;
pub(crate) mod fault;
mod loading;
mod losses;
mod offered;
mod own_metrics;
mod relay;
mod report;
mod settled;
mod spool;
mod standing;
mod stop;
mod tally;
mod trace;
mod web;
mod windows;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::admin::access::Access;
use crate::config::{Config, LogFormat, LogLevel, Weight};
use crate::handover::{FromSupervisor, FromWorker, Link, Origin, PROTOCOL};
use crate::ledger::Ledger;
use crate::state::StoreError;
use crate::{logging, profile, sys};
use loading::Loading;

/// The exit status of a worker whose supervisor has gone (EX_TEMPFAIL, sysexits.h).
const ORPHANED: i32 = 75;
/// The exit status for a config that doesn't compile (EX_CONFIG).
const BAD_CONFIG: i32 = 78;
/// The largest config that is passed.
const MAX_CONFIG: u64 = 64 << 20;
/// How long a start waits for a database that another process locks.
const LOCKED: Duration = Duration::from_secs(10);

/// How often it is looked whether a damaged one was begun anew.
const LOOK: Duration = Duration::from_millis(50);

/// Runs a worker, which was started by a supervisor with its control socket as descriptor 3.
/// Returns the exit status.
pub fn run(version: &str) -> i32 {
    sys::ignore_termination_signals();
    sys::set_process_name(c"baton-worker");
    sys::raise_open_files();
    // A thread that panicked may have left anything behind; a fresh process has not.
    logging::tell_panics();
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        #[expect(
            clippy::disallowed_methods,
            reason = "a crash, which the supervisor answers with a new worker"
        )]
        std::process::abort();
    }));
    let link = match sys::inherited(sys::CONTROL_FD) {
        Ok(socket) => Arc::new(Link::new(socket)),
        Err(_) => {
            eprintln!("baton worker is started by `baton run`, not by hand");
            return 64;
        }
    };
    match begin(&link, version) {
        Ok(begun) => match conversation::hold(begun) {
            Ok(status) => status,
            Err(error) => refuse(&link, &error.to_string(), 1),
        },
        Err(Refusal { reason, status }) => refuse(&link, &reason, status),
    }
}

/// Why a worker can't be.
struct Refusal {
    reason: String,
    status: i32,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal {
            reason: error.to_string(),
            status: 1,
        }
    }
}

/// What a worker knows once it was welcomed.
struct Begun {
    link: Arc<Link>,
    version: String,
    generation: u64,
    config: Config,
    /// What was changed about its rules at run time.
    kept: amend::Kept,
    ledger: Arc<Ledger>,
    /// The supervisor knows of sessions.
    sessions: bool,
    /// What tells whether the supervisor's holdings outlive it.
    token: Option<OwnedFd>,
    access: Access,
    loading: Loading,
}

fn begin(link: &Arc<Link>, version: &str) -> Result<Begun, Refusal> {
    let began = Instant::now();
    fault::point("before-hello");
    link.send(
        &FromWorker::Hello {
            protocol_min: PROTOCOL,
            protocol_max: PROTOCOL,
            version: version.to_owned(),
            windows: true,
            changes: true,
            sessions: true,
            token: true,
        },
        &[],
    )?;
    fault::point("after-hello");
    let (generation, (path, origin, sessions), profile, token, mut fds) =
        match link.receive(true)? {
            Some((
                FromSupervisor::Welcome {
                    generation,
                    config,
                    origin,
                    profile,
                    sessions,
                    token,
                    ..
                },
                mut fds,
            )) => (
                generation,
                (config, origin, sessions),
                profile,
                token.then(|| fds.pop()).flatten(),
                fds.into_iter(),
            ),
            Some((other, _)) => {
                let reason = format!("expected a welcome, heard {other:?}");
                return Err(Refusal { reason, status: 1 });
            }
            None => {
                return Err(Refusal {
                    reason: "the supervisor has gone".into(),
                    status: ORPHANED,
                });
            }
        };
    let missing = || Refusal {
        reason: "the welcome came without the ledger".into(),
        status: 1,
    };
    let ledger = fds.next().ok_or_else(missing)?;
    let last_worked = fds.next();
    let is_recovery = last_worked.is_some();
    let compiled = match last_worked {
        // What last worked, whatever the file holds by now.
        Some(source) => {
            let source = sys::read_memfd(source.as_fd(), MAX_CONFIG)?;
            Config::compile(Path::new(&path), &source)
        }
        None => Config::load(Path::new(&path)),
    };
    let config = compiled.map_err(|problems| Refusal {
        reason: problems.to_string(),
        status: BAD_CONFIG,
    })?;
    logging::init(level_name(config.log.level), format_name(config.log.format));
    if let Some(file) = profile
        && let Err(error) = profile::begin_for(Path::new(&file))
    {
        tracing::error!(%error, file, "there will be no profile");
    }
    for warning in &config.warnings {
        let said = warning.in_file(&config.path);
        match warning.weight {
            Weight::Problem => tracing::warn!("{said}"),
            Weight::Note => tracing::info!("{said}"),
            // Once it is known what is passed.
            Weight::UnlessPassed => {}
        }
    }
    let mut loading = Loading::since(began, link, config.supervisor.ready_timeout);
    loading.has("compiled the config");
    let kept = kept(&config, origin)?;
    let access = match Access::read(&config.admin) {
        Ok(access) => access,
        // Metrics go on, whoever may look at them.
        Err(error) if is_recovery => {
            tracing::error!(error, "where a token is asked for, nobody is let in");
            Access::for_nobody(&config.admin)
        }
        Err(reason) => {
            let status = BAD_CONFIG;
            return Err(Refusal { reason, status });
        }
    };
    fault::point("after-config");
    loading.has("read what was changed at run time");
    let ledger = Arc::new(Ledger::open(ledger.as_fd())?);
    Ok(Begun {
        link: link.clone(),
        version: version.to_owned(),
        generation,
        config,
        kept,
        ledger,
        sessions,
        token,
        access,
        loading,
    })
}

/// What was changed about the rules at run time. Who takes over from a living worker has all of it or isn't ready; else
/// Baton begins with what there is.
fn kept(config: &Config, origin: Origin) -> Result<amend::Kept, Refusal> {
    let deadline = Instant::now() + LOCKED;
    let mut damaged = false;
    loop {
        match amend::read(config) {
            // It is being begun anew: that has a number as soon as all is in it.
            Ok((_, 0)) if damaged && Instant::now() < deadline => std::thread::sleep(LOOK),
            Ok(kept) => return Ok(kept),
            Err(newer @ StoreError::Newer { .. }) => {
                return Err(Refusal {
                    reason: newer.to_string(),
                    status: BAD_CONFIG,
                });
            }
            Err(StoreError::Busy) if Instant::now() < deadline => {}
            // The worker that serves moves it aside, and writes anew what it has.
            Err(StoreError::Damaged(_))
                if origin == Origin::Reload && Instant::now() < deadline =>
            {
                damaged = true;
                std::thread::sleep(LOOK);
            }
            Err(error) if origin == Origin::Reload && !matches!(error, StoreError::Damaged(_)) => {
                let reason = format!("what was changed at run time can't be read: {error}");
                return Err(Refusal { reason, status: 1 });
            }
            Err(error) => {
                tracing::error!(
                    %error, path = %config.state.path.display(),
                    "what was changed at run time can't be read: the rules are those of the config alone"
                );
                return Ok(amend::Kept::default());
            }
        }
    }
}

/// Writes the profile that was asked for.
fn write_profile() {
    if let Err(error) = profile::write() {
        tracing::error!(%error, "the profile can't be written");
    }
}

fn refuse(link: &Link, reason: &str, status: i32) -> i32 {
    let refused = FromWorker::Refused {
        reason: reason.to_owned(),
        status,
    };
    if link.send(&refused, &[]).is_err() {
        logging::last_words(reason);
    }
    status
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

fn format_name(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Auto => "auto",
        LogFormat::Text => "text",
        LogFormat::Json => "json",
        LogFormat::Journald => "journald",
    }
}
