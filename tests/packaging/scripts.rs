//! The maintainer scripts of the packages, with a systemd that only notes what it is asked.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::packaging;

/// What the scripts call; it answers as the files in its folder say.
const FAKE: &str = r#"#!/bin/sh
echo "${0##*/} $*" >>"$FAKES/calls"
case "${0##*/} $*" in
*is-active*) test -e "$FAKES/active" ;;
*"reload baton.service") test ! -e "$FAKES/refused" ;;
*debian-installed*) test -e "$FAKES/installed" ;;
*was-enabled*) test -e "$FAKES/enabled" ;;
esac
"#;

const UNITS: [&str; 6] = [
    "baton.service",
    "baton-line.socket",
    "baton-line-udp.socket",
    "baton-pickle.socket",
    "baton-telnet.socket",
    "baton-http.socket",
];

struct Machine {
    folder: TempDir,
}

impl Machine {
    /// Where these files are.
    fn with(states: &[&str]) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for name in [
            "systemctl",
            "systemd-sysusers",
            "deb-systemd-helper",
            "deb-systemd-invoke",
        ] {
            fs::write(path.join(name), FAKE).unwrap();
            fs::set_permissions(path.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        for folder in ["systemd", "lib/baton", "lib/private/baton"] {
            fs::create_dir_all(path.join(folder)).unwrap();
        }
        for state in states {
            fs::write(path.join(state), "").unwrap();
        }
        Machine { folder }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a script as dpkg or rpm does, in here instead of the machine; returns what it called.
    fn run(&self, script: &str, arguments: &[&str]) -> (Output, Vec<String>) {
        let text = fs::read_to_string(packaging(script)).unwrap();
        let here = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let text = text
            .replace("/run/systemd/system", &here("systemd"))
            .replace("/run/baton-telnet.sock", &here("telnet.sock"))
            .replace("/run/baton", &here("run"))
            .replace("/var/lib", &here("lib"));
        let calls = self.path("calls");
        fs::write(&calls, "").unwrap();
        let output = Command::new("sh")
            .args(["-ec", &text, Path::new(script).to_str().unwrap()])
            .args(arguments)
            .env("PATH", format!("{}:/usr/bin:/bin", here("")))
            .env("FAKES", self.folder.path())
            .env_remove("DPKG_ROOT")
            .output()
            .unwrap();
        let calls = fs::read_to_string(calls).unwrap();
        (output, calls.lines().map(str::to_owned).collect())
    }

    /// The same, which must do.
    #[track_caller]
    fn calls(&self, script: &str, arguments: &[&str]) -> Vec<String> {
        let (output, calls) = self.run(script, arguments);
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        // Nothing in here may ever end a connection.
        let ends = |call: &&String| call.contains("restart") || call.contains("kill");
        assert_eq!(calls.iter().find(ends), None);
        calls
    }
}

fn about(calls: &[String], word: &str) -> Vec<String> {
    let calls = calls.iter().filter(|call| call.contains(word));
    calls.cloned().collect()
}

#[test]
fn the_first_installation_makes_the_user_and_starts_nothing() {
    let calls = Machine::with(&[]).calls("deb/postinst", &["configure", ""]);
    assert_eq!(calls[0], "systemd-sysusers baton.conf");
    assert_eq!(
        about(&calls, "systemctl").last().unwrap(),
        "systemctl --quiet is-active baton.service"
    );
    for word in [" enable ", " start ", "reload baton"] {
        assert_eq!(about(&calls, word), [""; 0]);
    }
    assert_eq!(about(&calls, "update-state").len(), UNITS.len());
}

#[test]
fn an_upgrade_is_a_reload_and_nothing_is_stopped() {
    let machine = Machine::with(&["active", "installed", "enabled"]);
    // The old package's script is asked first.
    assert_eq!(machine.calls("deb/prerm", &["upgrade", "0.2.0-1"]), [""; 0]);
    assert_eq!(
        machine.calls("deb/postrm", &["upgrade", "0.2.0-1"]),
        [""; 0]
    );
    for version in ["0.1.0-1", "0.3.0-1"] {
        let calls = machine.calls("deb/postinst", &["configure", version]);
        // What the manager knows of the unit is of the new version, then the new version takes over.
        let mut asked = about(&calls, "systemctl");
        asked.extend(about(&calls, "deb-systemd-invoke"));
        assert_eq!(
            asked,
            [
                "systemctl --system daemon-reload",
                "systemctl --quiet is-active baton.service",
                // Which heeds policy-rc.d.
                "deb-systemd-invoke reload baton.service"
            ]
        );
        for unit in UNITS {
            let enabled = format!("deb-systemd-helper enable {unit}");
            assert!(calls.contains(&enabled), "{calls:?}");
        }
    }
}

#[test]
fn an_upgrade_of_what_isn_t_enabled_enables_nothing() {
    let calls = Machine::with(&["installed"]).calls("deb/postinst", &["configure", "0.1.0-1"]);
    assert_eq!(about(&calls, " enable "), [""; 0]);
    assert_eq!(about(&calls, "reload baton"), [""; 0]);
}

#[test]
fn a_refused_version_is_told_and_leaves_the_package_whole() {
    for (script, arguments, by) in [
        (
            "deb/postinst",
            ["configure", "0.1.0-1"],
            "deb-systemd-invoke",
        ),
        ("rpm/post", ["2", ""], "systemctl"),
    ] {
        let (output, calls) = Machine::with(&["active", "refused"]).run(script, &arguments);
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        // The config on disk may be what is wrong, as well as the version.
        let told = "baton: the reload failed, and the old one serves on";
        assert!(said.contains(told), "{said}");
        let asked = format!("{by} reload baton.service");
        assert_eq!(*calls.last().unwrap(), asked);
    }
}

#[test]
fn a_removal_stops_it_and_keeps_the_spool_until_the_purge() {
    let machine = Machine::with(&["active", "installed", "enabled", "telnet.sock"]);
    let calls = machine.calls("deb/prerm", &["remove"]);
    assert_eq!(calls.len(), UNITS.len());
    assert_eq!(
        calls.last().unwrap(),
        "deb-systemd-invoke stop baton.service"
    );
    let calls = machine.calls("deb/postrm", &["remove"]);
    assert_eq!(calls[0], "systemctl --system daemon-reload");
    assert_eq!(about(&calls, "deb-systemd-helper mask").len(), UNITS.len());
    assert!(machine.path("lib/baton").exists());
    assert!(!machine.path("telnet.sock").exists());
    let calls = machine.calls("deb/postrm", &["purge"]);
    assert_eq!(about(&calls, "deb-systemd-helper purge").len(), UNITS.len());
    assert_eq!(
        about(&calls, "deb-systemd-helper unmask").len(),
        UNITS.len()
    );
    assert!(!machine.path("lib/baton").exists());
    assert!(!machine.path("lib/private/baton").exists());
}

/// dpkg has begun a removal, and then doesn't do it: it runs as before.
#[test]
fn a_removal_that_is_broken_off_starts_what_it_stopped() {
    let machine = Machine::with(&["installed", "enabled"]);
    let stopped = machine.calls("deb/prerm", &["remove"]);
    let calls = machine.calls("deb/postinst", &["abort-remove"]);
    let started = about(&calls, "deb-systemd-invoke");
    assert_eq!(started.len(), 1, "{calls:?}");
    let started = started[0]
        .strip_prefix("deb-systemd-invoke start ")
        .unwrap();
    let stopped: Vec<&str> = stopped
        .iter()
        .map(|call| call.strip_prefix("deb-systemd-invoke stop ").unwrap())
        .collect();
    // In that order, too: the sockets before the service that takes them over.
    assert_eq!(started.split(' ').collect::<Vec<_>>(), stopped);
    assert_eq!(about(&calls, "reload baton"), [""; 0]);
}

#[test]
fn the_rpm_does_the_same() {
    let machine = Machine::with(&["active", "telnet.sock"]);
    let reloaded = machine.calls("rpm/post", &["2"]);
    assert_eq!(reloaded.last().unwrap(), "systemctl reload baton.service");
    assert_eq!(machine.calls("rpm/preun", &["1"]), [""; 0]);
    assert_eq!(
        machine.calls("rpm/postun", &["1"]),
        ["systemctl --system daemon-reload"]
    );
    let removed = machine.calls("rpm/preun", &["0"]);
    assert_eq!(removed.len(), 1);
    for unit in UNITS {
        assert!(removed[0].contains(unit), "{removed:?}");
    }
    assert!(removed[0].ends_with("baton.service"));
    assert!(machine.path("telnet.sock").exists());
    machine.calls("rpm/postun", &["0"]);
    assert!(!machine.path("telnet.sock").exists());
}

/// What a package names is there, or is made by `packaging/build`.
#[test]
fn what_the_packages_install_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let metadata = &manifest["package"]["metadata"];
    let deb = metadata["deb"]["assets"].as_array().unwrap().iter();
    let deb = deb.map(|asset| asset[0].as_str().unwrap());
    let rpm = metadata["generate-rpm"]["assets"]
        .as_array()
        .unwrap()
        .iter();
    let rpm = rpm.map(|asset| asset["source"].as_str().unwrap());
    for source in deb
        .chain(rpm)
        .filter(|source| !source.starts_with("target/"))
    {
        let (before, _) = source.split_once('*').unwrap_or((source, ""));
        let (folder, start) = before.rsplit_once('/').unwrap_or(("", before));
        let files = fs::read_dir(root.join(folder)).unwrap();
        let mut names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        assert!(names.any(|name| name.starts_with(start)), "{source}");
    }
    // What the texts say of files beside them must be so of both.
    let documents = |list: &str, from: &dyn Fn(&toml::Value) -> [String; 2]| {
        let all = metadata[list]["assets"].as_array().unwrap().iter();
        let all = all.map(from).filter(|[from, to]| {
            to.starts_with("/usr/share/doc/baton/") && !from.ends_with("README.Debian")
        });
        all.collect::<BTreeSet<_>>()
    };
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let deb = documents("deb", &|asset| {
        [text(&asset[0]), format!("/{}", text(&asset[1]))]
    });
    let rpm = documents("generate-rpm", &|asset| {
        [text(&asset["source"]), text(&asset["dest"])]
    });
    assert_eq!(deb, rpm);
    assert!(deb.len() >= 6, "{deb:?}");
    for script in ["postinst", "prerm", "postrm"] {
        assert!(packaging("deb").join(script).exists());
    }
}
