//! What baton(1) says beside the commands. README.md has the same in its tables, which tests hold against this.

use super::super::api::{LATER, NO_DAEMON};
use super::super::check::BAD_CONFIG;

/// What an exit status means.
pub(super) const EXIT_STATUS: &[(i32, &str)] = &[
    (
        0,
        "Done, or it is so already. run: stopped as asked. reload: the new worker serves.",
    ),
    (
        1,
        "It failed and says why: a reload was refused or rolled back, a change was refused, no daemon answers at its control socket, \
         run could not begin or its worker died while stopping, a drill was not clean.",
    ),
    (2, "The command line makes no sense."),
    (
        NO_DAEMON as i32,
        "No daemon answers at its API (EX_UNAVAILABLE).",
    ),
    (
        LATER as i32,
        "It may be given again (EX_TEMPFAIL): a restart was under way, or the answer was cut.",
    ),
    (
        BAD_CONFIG,
        "run, check, trace: the config is wrong (EX_CONFIG). A service manager need not try again.",
    ),
];

/// What a signal to the supervisor does.
pub(super) const SIGNALS: &[(&str, &str)] = &[
    (
        "SIGHUP",
        "As baton reload, without an answer: what came of it the log says, and baton status.",
    ),
    (
        "SIGTERM, SIGINT",
        "Stops. A second one stops without waiting for slow destinations.",
    ),
];

/// The variables that are read.
pub(super) const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "BATON_CONFIG",
        "The config by which commands find their daemon, where --config names none.",
    ),
    (
        "RUNTIME_DIRECTORY",
        "Where the control socket is by default, as control.sock. systemd sets it.",
    ),
    (
        "STATE_DIRECTORY",
        "Where the state is by default, as baton.db. systemd sets it.",
    ),
    (
        "CREDENTIALS_DIRECTORY",
        "A token_file below it need not be its owner's alone. systemd sets it.",
    ),
    (
        "LISTEN_FDS, NOTIFY_SOCKET, WATCHDOG_USEC",
        "systemd's sockets, which are served, and where it is told the state: see sd_listen_fds(3), sd_notify(3).",
    ),
    (
        "JOURNAL_STREAM",
        "Whether standard error leads to the journal, which then gets records with fields.",
    ),
    (
        "VISUAL, EDITOR",
        "The editor of edit. Without them it is vi.",
    ),
    ("NO_COLOR, TERM", "Whether differences are coloured."),
];

/// What belongs to the service that packages install.
pub(super) const FILES: &[(&str, &str)] = &[
    ("/etc/baton/baton.toml", "The config, see baton.toml(5)."),
    (
        "/run/baton/control.sock, /run/baton/api.sock",
        "Where the daemon is asked, by its user and root.",
    ),
    (
        "/var/lib/baton/baton.db",
        "The state: spools, events, and what was changed at run time. It is an SQLite database.",
    ),
    (
        "/usr/share/doc/baton/",
        "README.md, config.example.toml, and how to move from other relays.",
    ),
];

/// What else there is to read.
pub(super) const SEE_ALSO: &str = "baton.toml(5), systemctl(1), journalctl(1), systemd.socket(5)";
