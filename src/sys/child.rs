//! A worker process: how it is started, and what it inherits.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal};

/// The one descriptor besides 0, 1 and 2 that a worker inherits: its control socket.
pub const CONTROL_FD: RawFd = 3;

/// A child process, held by its pidfd, so that a signal never hits a recycled pid.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Child {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get() as u32
    }

    /// Readable once it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.pidfd)
    }

    /// SIGKILL. An error only says that it is gone already.
    pub fn kill(&self) {
        let _gone_already = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Reaps it if it has ended: the exit code or the signal, in words.
    pub fn reap(&self) -> io::Result<Option<String>> {
        let options =
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOHANG;
        let id = rustix::process::WaitId::PidFd(std::os::fd::AsFd::as_fd(&self.pidfd));
        Ok(rustix::process::waitid(id, options)?.map(|status| {
            if let Some(code) = status.exit_status() {
                format!("exit status {code}")
            } else if let Some(signal) = status.terminating_signal() {
                format!("killed by signal {signal}")
            } else {
                "ended".to_owned()
            }
        }))
    }
}

/// Starts `program` (usually `/proc/self/fd/N`, so that the inode that is held is what runs) with
/// `control` as its descriptor 3, in a process group of its own.
///
/// Nothing else is inherited: all of our descriptors are close-on-exec.
pub fn spawn_worker(
    program: &OsStr,
    args: &[&OsStr],
    control: BorrowedFd<'_>,
) -> io::Result<Child> {
    let control = control.as_raw_fd();
    let mut command = Command::new(program);
    command
        .arg0("baton")
        .args(args)
        .stdin(Stdio::null())
        .process_group(0)
        // What systemd said to the supervisor is not for the worker.
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .env_remove("LISTEN_FDS")
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDNAMES");
    // SAFETY: between fork and exec the closure makes async-signal-safe system calls only (dup2,
    // fcntl, signal) and touches no lock and no allocator.
    unsafe {
        command.pre_exec(move || {
            if control == CONTROL_FD {
                let flags = libc::fcntl(control, libc::F_GETFD);
                if libc::fcntl(control, libc::F_SETFD, flags & !libc::FD_CLOEXEC) != 0 {
                    return Err(io::Error::last_os_error());
                }
            } else if libc::dup2(control, CONTROL_FD) < 0 {
                return Err(io::Error::last_os_error());
            }
            // Ignored dispositions survive exec, so there is no moment at which a stray signal
            // to the group would end a worker.
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
                libc::signal(signal, libc::SIG_IGN);
            }
            Ok(())
        });
    }
    let child = command.spawn()?;
    let pid = Pid::from_raw(child.id() as i32)
        .ok_or_else(|| io::Error::other("a child without a process id"))?;
    // The child can't be reaped by anyone but us, so its pid still means it.
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    Ok(Child { pid, pidfd })
}

/// A worker obeys its control socket alone: TERM, INT and HUP of a terminal or a service manager
/// are for the supervisor.
pub fn ignore_termination_signals() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: SIG_IGN is a valid disposition and installs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Takes a descriptor that this process was started with, and marks it close-on-exec.
///
/// # Errors
/// When no such descriptor is open.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD only looks.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and by the protocol of the process that started us (our supervisor,
    // or systemd's LISTEN_FDS) it was given to us and nobody else in this process uses it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// The name that ps(1) and top(1) show.
pub fn set_process_name(name: &std::ffi::CStr) {
    // A name is cosmetic: nothing depends on it.
    let _cosmetic = nix::sys::prctl::set_name(name);
}
