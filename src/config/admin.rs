//! `[admin]`: by which ways a running relay is seen and changed, and by whom.

use std::path::{Path, PathBuf};

use super::listen::{ListenAddress, Listener, ListenerKind, Placed, socket_path};
use super::read::{Report, Section};
use super::{compile, keys};

/// The socket of the API that a config has without naming it: beside the control socket, and named after it when that
/// has a name of its own, so that two relays of one folder need no more than two control sockets.
pub(super) fn usual_socket(control: &Path) -> PathBuf {
    let stem = control.file_stem().unwrap_or_default().to_string_lossy();
    match &*stem {
        "baton" | "control" => control.with_file_name("api.sock"),
        own => control.with_file_name(format!("{own}-api.sock")),
    }
}

/// Who may see and change a relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// The token that is asked for at addresses that other machines can reach: the absolute path of its file, which is
    /// read when a worker starts.
    pub token_file: Option<PathBuf>,
    /// Whether none is asked for there.
    pub allow_anyone: bool,
    /// Names that this relay is asked by, beside `localhost` and IP addresses; in lower case.
    pub hosts: Vec<String>,
    /// Whether `/metrics` and `/healthz` want the token, too.
    pub protect_metrics: bool,
    /// Whether it may be profiled over HTTP.
    pub pprof: bool,
}

impl Admin {
    /// Whether there may be a listener of that kind at that address.
    ///
    /// # Errors
    /// In words: it would let in who mustn't be.
    pub fn admits(&self, kind: ListenerKind, address: &ListenAddress) -> Result<(), String> {
        let is_settled = self.token_file.is_some() || self.allow_anyone;
        if !kind.administers() || !address.is_for_others() || is_settled {
            return Ok(());
        }
        Err(format!(
            "expected a loopback address or unix:PATH, found {address}, where other machines may change this relay: \
             set admin.token_file, or admin.allow_anyone = true"
        ))
    }
}

/// Reads the section, and adds the API's socket to the listeners unless they have one, or there is to be none.
pub(super) fn compile(
    report: &mut Report,
    root: &Section,
    folder: &Path,
    control: Option<&Path>,
    listen: &mut Vec<Placed>,
) -> Admin {
    let section = root.section(report, "admin", keys::ADMIN);
    let mut flag = |key| section.value(key).and_then(|value| value.flag(report));
    let api = flag("api");
    let allow_anyone = flag("allow_anyone").unwrap_or(false);
    let protect_metrics = flag("protect_metrics").unwrap_or(false);
    let pprof = flag("pprof").unwrap_or(false);
    let token_file = section.value("token_file");
    if let Some(value) = token_file.as_ref().filter(|_| allow_anyone) {
        let message = "expected token_file or allow_anyone = true, found both";
        value.refuse(report, message);
    }
    let admin = Admin {
        token_file: token_file.and_then(|value| {
            let text = value.text(report)?;
            value.keep(report, compile::beside(folder, Path::new(text)))
        }),
        allow_anyone,
        hosts: hosts(report, &section),
        protect_metrics,
        pprof,
    };
    let has_token = section.value("token_file").is_some();
    for placed in listen.iter().filter(|_| !has_token) {
        let Listener { kind, address } = &placed.listener;
        if let (Err(message), Some(at)) = (admin.admits(*kind, address), placed.at) {
            report.problem(at, &format!("listen.{kind}"), message);
        }
    }
    if let Some(control) = control
        && api.unwrap_or(true)
        && !listen.iter().any(|placed| is_api(&placed.listener))
    {
        add_usual(report, control, listen);
    }
    admin
}

fn hosts(report: &mut Report, section: &Section) -> Vec<String> {
    let list = section.value("hosts").map(|value| value.list(report));
    let mut hosts = Vec::new();
    for value in list.unwrap_or_default() {
        let Some(text) = value.text(report) else {
            continue;
        };
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if text.is_empty() || !text.bytes().all(is_allowed) {
            let message = format!("expected a host's name without a port, found {text:?}");
            value.refuse(report, message);
            continue;
        }
        hosts.push(text.trim_end_matches('.').to_ascii_lowercase());
    }
    hosts
}

fn add_usual(report: &mut Report, control: &Path, listen: &mut Vec<Placed>) {
    let path = usual_socket(control);
    let address = ListenAddress::Unix(path.clone());
    let taken = listen
        .iter()
        .find(|placed| placed.listener.address == address);
    let problem = match taken {
        Some(placed) => Some(format!(
            "expected a path of its own, found {address}, which {} has: name another, or say admin.api = false",
            placed.who(report)
        )),
        None => socket_path(Path::new("/"), &path)
            .err()
            .map(|message| format!("{message}: name another, or say admin.api = false")),
    };
    if let Some(message) = problem {
        report.problem(0, "listen.http", message);
        return;
    }
    listen.push(Placed {
        listener: Listener {
            kind: ListenerKind::Http,
            address,
        },
        at: None,
    });
}

/// Whether this is a socket that the command line can ask.
pub(super) fn is_api(listener: &Listener) -> bool {
    listener.kind == ListenerKind::Http && matches!(listener.address, ListenAddress::Unix(_))
}

#[cfg(test)]
mod tests {
    use super::super::compile::{self, Surroundings};
    use super::super::{Config, Problems};
    use super::*;
    use crate::sys::Directories;

    fn compiled(text: &str, runtime_directory: Option<&str>) -> Result<Config, Problems> {
        let surroundings = Surroundings {
            directories: Directories {
                runtime: runtime_directory.map(PathBuf::from),
                state: None,
            },
            memory: None,
        };
        let path = Path::new("/etc/baton/baton.toml");
        compile::compile(path, text.as_bytes(), &surroundings)
    }

    #[test]
    fn the_api_has_a_socket_beside_the_control_socket() {
        let socket = |text, directory| {
            let config = compiled(text, directory).unwrap();
            config.api_socket().map(Path::to_owned)
        };
        let at = |path| Some(PathBuf::from(path));
        assert_eq!(socket("", None), at("/etc/baton/api.sock"));
        assert_eq!(socket("", Some("/run/baton")), at("/run/baton/api.sock"));
        let named = "supervisor.control = \"unix:/run/b/control.sock\"";
        assert_eq!(socket(named, None), at("/run/b/api.sock"));
        let second = "supervisor.control = \"unix:two.sock\"";
        assert_eq!(socket(second, None), at("/etc/baton/two-api.sock"));
        let others = "listen.http = [\"tcp://127.0.0.1:1\"]";
        assert_eq!(socket(others, None), at("/etc/baton/api.sock"));
        assert_eq!(socket("listen.http = []", None), at("/etc/baton/api.sock"));
        let own = "listen.http = [\"unix:x.sock\"]";
        assert_eq!(socket(own, Some("/run/baton")), at("/etc/baton/x.sock"));
        assert_eq!(compiled(own, None).unwrap().listen.len(), 1);
        assert_eq!(socket("admin.api = false", None), None);
        let stays = "admin.api = false\n[listen]\nhttp = [\"unix:x.sock\"]";
        assert_eq!(socket(stays, None), at("/etc/baton/x.sock"));
    }

    #[test]
    fn the_apis_socket_is_nobody_elses() {
        for (text, said) in [
            (
                "listen.line = [\"unix:api.sock\"]",
                "listen.http: expected a path of its own, found unix:/etc/baton/api.sock, which the listener in line 1 has",
            ),
            (
                "state.path = \"api.sock\"",
                "state.path: expected a path of its own, found /etc/baton/api.sock: the API's socket has it",
            ),
        ] {
            let problems = compiled(text, None).unwrap_err().to_string();
            assert!(problems.contains(said), "{problems}");
        }
        let long = format!(
            "supervisor.control = \"unix:/{}/control.sock\"",
            "x".repeat(93)
        );
        compiled(&long, None).unwrap();
        let long = format!("supervisor.control = \"unix:/{}.sock\"", "x".repeat(100));
        let problems = compiled(&long, None).unwrap_err().to_string();
        assert!(problems.contains("or say admin.api = false"), "{problems}");
    }

    #[test]
    fn who_can_reach_it_from_elsewhere_needs_a_token() {
        for (text, is_good) in [
            (
                "listen.http = [\"tcp://127.0.0.1:1\", \"tcp://[::1]:1\", \"tcp://127.9.9.9:1\"]",
                true,
            ),
            ("listen.http = [\"tcp://0.0.0.0:1\"]", false),
            ("listen.http = [\"tcp://[::]:1\"]", false),
            ("listen.http = [\"tcp://10.0.0.1:1\"]", false),
            (
                "admin.allow_anyone = true\nlisten.http = [\"tcp://0.0.0.0:1\"]",
                true,
            ),
            (
                "admin.token_file = \"t\"\nlisten.http = [\"tcp://0.0.0.0:1\"]",
                true,
            ),
            ("listen.line = [\"tcp://0.0.0.0:1\"]", true),
        ] {
            let problems = compiled(text, None)
                .err()
                .map(|problems| problems.to_string());
            assert_eq!(problems.is_none(), is_good, "{text}");
            let said = problems.unwrap_or_default();
            assert!(
                is_good || said.contains("set admin.token_file, or admin.allow_anyone = true"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_printed_config_has_the_same_socket() {
        for text in [
            "",
            "supervisor.control = \"unix:two.sock\"",
            "listen.http = [\"unix:api.sock\", \"unix:x.sock\"]",
            "listen.http = [\"unix:api.sock\"]",
            "admin.api = false",
            "listen.http = [\"tcp://127.0.0.1:1\"]",
        ] {
            let config = compiled(text, None).unwrap();
            let printed = super::super::print(&config);
            let again = compiled(&printed, None).unwrap();
            assert_eq!(again.listen, config.listen, "{text}: {printed}");
            assert_eq!(
                printed.contains("api.sock"),
                text.contains(", "),
                "{printed}"
            );
        }
    }
}
