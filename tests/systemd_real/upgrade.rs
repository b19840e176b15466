//! The Debian package: an upgrade under load is a hot upgrade, and what else apt may do to it.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;

use baton::drill::{Excuse, Target};

use super::guest::{Guest, source, text, wait_for};
use super::package::{Package, Repository, state};
use super::site::{LINE, PICKLE, Site, UNITS, nothing};

const CONFIG: &str = "/etc/baton/baton.toml";
/// A conffile that nobody changes.
const UNTOUCHED: &str = "/etc/needrestart/conf.d/baton.conf";
const DATABASE: &str = "/var/lib/baton/baton.db";
/// At what moment workers fail is looked up in there.
const FAULTS: &str = "/etc/baton/faults";

/// A machine that has the package from apt, configured; the sockets listen, and the service isn't started.
fn installed(package: &Package) -> Option<(Site, Repository)> {
    let site = Site::bare()?;
    let repository = Repository::found(&site.guest)?;
    repository.publish(&site.guest, package);
    repository.apt(&site.guest, &["install", "baton"]);
    for unit in UNITS {
        let is = |what: &str| text(&site.guest.run(&["systemctl", what, unit]));
        assert_eq!(is("is-enabled"), "disabled\n", "{unit}");
        assert_eq!(is("is-active"), "inactive\n", "{unit}");
    }
    site.configure("");
    for unit in UNITS {
        site.guest.ok(&["systemctl", "enable", unit]);
    }
    for unit in &UNITS[1..] {
        site.guest.ok(&["systemctl", "start", unit]);
    }
    Some((site, repository))
}

/// What a restart of any of the units, by whomever, would change.
fn lives(guest: &Guest) -> Vec<String> {
    let mut all: Vec<String> = UNITS
        .iter()
        .map(|unit| guest.show(unit, "InvocationID"))
        .collect();
    all.push(guest.show("baton", "MainPID"));
    all.push(guest.show("baton", "NRestarts"));
    all
}

fn supervisor_program(guest: &Guest) -> Vec<u8> {
    let pid = guest.show("baton", "MainPID");
    fs::read(guest.path(&format!("/proc/{pid}/exe"))).unwrap()
}

/// That this version serves, out of the file that is installed.
fn assert_serves(site: &Site, package: &Package) {
    let status = site.serving();
    assert_eq!(status.text("/worker/version"), Some(&package.version[..]));
    let exe = format!("/proc/{}/exe", status.worker_pid().unwrap());
    site.runs_what_is_installed(&status);
    assert!(fs::read(site.guest.path(&exe)).unwrap() == package.program);
    let own = site.guest.ok(&["baton", "--version"]);
    let begin = format!("baton {} ", package.version);
    assert!(own.starts_with(&begin), "{own}");
    assert_eq!(
        state(&site.guest),
        format!("install ok installed {}", package.full_version())
    );
}

#[test]
fn a_first_installation_is_started_as_its_readme_says() {
    let Some((mut site, _)) = installed(&Package::built()) else {
        return;
    };
    for unit in UNITS {
        site.guest.ok(&["systemctl", "disable", "--now", unit]);
    }
    let readme = fs::read_to_string(source("packaging/deb/README.Debian")).unwrap();
    let (start, _) = readme.split_once("To stop all of it").unwrap();
    let start = start.replace("\\\n", "");
    let commands = start.lines().filter_map(|line| line.strip_prefix("    "));
    for command in commands {
        site.guest.ok(&["sh", "-c", command]);
    }
    for unit in UNITS {
        assert_eq!(site.guest.show(unit, "ActiveState"), "active", "{unit}");
        let enabled = site.guest.ok(&["systemctl", "is-enabled", unit]);
        assert_eq!(enabled, "enabled\n", "{unit}");
    }
    site.send(100);
    site.end_whole();
}

#[test]
fn upgrade_and_downgrade_under_load_lose_nothing() {
    let a = Package::built();
    let b = a.next();
    let Some((mut site, repository)) = installed(&a) else {
        return;
    };
    // The first connection starts it.
    site.load_all();
    let visits = [LINE, PICKLE].map(|address| site.visits_to(address));
    wait_for("the start", || {
        site.guest.show("baton", "ActiveState") == "active"
    });
    assert_serves(&site, &a);
    site.guest
        .ok(&["baton", "blocklist", "add", "prefix", "one."]);
    let lives_before = lives(&site.guest);
    let config = fs::read(site.guest.path(CONFIG)).unwrap();
    let database = fs::metadata(site.guest.path(DATABASE)).unwrap().ino();

    let mut generation = 1;
    let back = format!("baton={}", a.full_version());
    let back = ["install", "--allow-downgrades", &back];
    for (package, command) in [(&b, &["upgrade"][..]), (&a, &back)] {
        repository.publish(&site.guest, package);
        let said = repository.apt(&site.guest, command);
        assert!(!said.contains("the reload failed"), "{said}");
        generation += 1;
        assert_serves(&site, package);
        assert_eq!(site.serving().generation(), Some(generation));
        visits.iter().for_each(|visits| visits.another());
        site.more(2_000);

        // What systemd knows of the units is of the new package, too.
        for unit in UNITS {
            assert_eq!(site.guest.show(unit, "NeedDaemonReload"), "no", "{unit}");
        }
        // The supervisor stays what it was, and says so.
        assert_eq!(lives(&site.guest), lives_before);
        assert!(supervisor_program(&site.guest) == a.program);
        let told = site.guest.ok(&["baton", "status"]);
        assert!(told.contains(&format!("baton {}, pid ", a.version)));
        let due = format!("({}): a full restart is due", b.version);
        assert_eq!(told.contains(&due), package.version == b.version, "{told}");

        // What the operator has written stays his, beside it is the package's; what he hasn't is the new package's.
        assert_eq!(fs::read(site.guest.path(CONFIG)).unwrap(), config);
        for path in [&format!("{CONFIG}.dpkg-dist"), UNTOUCHED] {
            let shipped = fs::read_to_string(site.guest.path(path)).unwrap();
            let end = format!("# as of {}\n", package.version);
            assert!(shipped.ends_with(&end), "{path}: {shipped}");
        }
        let rules = site.guest.ok(&["baton", "blocklist", "list"]);
        assert!(rules.contains("one."), "{rules}");
        let found = fs::metadata(site.guest.path(DATABASE)).unwrap().ino();
        assert_eq!(found, database);
    }
    for visits in visits {
        site.enter(visits);
    }
    site.end_whole();
}

#[test]
fn a_refused_version_leaves_the_old_one_serving_and_the_package_whole() {
    let a = Package::built();
    let Some((mut site, repository)) = installed(&a) else {
        return;
    };
    let drop_in = format!("[Service]\nEnvironment=BATON_FAULTS={FAULTS}\n");
    let path = "/etc/systemd/system/baton.service.d/test.conf";
    site.guest.write(path, drop_in, 0o644);
    site.guest.ok(&["systemctl", "daemon-reload"]);
    site.load_all();
    wait_for("the start", || {
        site.guest.show("baton", "ActiveState") == "active"
    });
    let before = lives(&site.guest);
    let refused = |site: &Site, package: &Package, why: &str| {
        repository.publish(&site.guest, package);
        let said = repository.apt(&site.guest, &["upgrade"]);
        let told = "the reload failed, and the old one serves on";
        assert!(said.contains(told), "{said}");
        let installed = format!("install ok installed {}", package.full_version());
        assert_eq!(state(&site.guest), installed);
        // What that message says to look at has the reason.
        let status = text(&site.guest.run(&["systemctl", "status", "baton"]));
        assert!(status.contains("Active: active (running)"), "{status}");
        assert!(status.contains(why), "{status}");
        assert_eq!(lives(&site.guest), before);
        assert_eq!(site.serving().generation(), Some(1));
        assert_eq!(site.serving().text("/worker/version"), Some(&a.version[..]));
        site.more(2_000);
    };
    let one = a.next();
    let two = one.next();
    let three = two.next();
    // One that doesn't run at all.
    let broken = Package {
        program: b"#!/bin/sh\necho nothing is right today >&2\nexit 1\n".to_vec(),
        ..one
    };
    refused(&site, &broken, "nothing is right today");
    // One that dies when it is to take over.
    site.guest.write(FAULTS, "on-go exit\n", 0o644);
    refused(&site, &two, "reload refused: the new worker ended");
    site.guest.write(FAULTS, "", 0o644);
    // One that doesn't take the config.
    site.configure("[input]\nno_such_key = 1");
    refused(&site, &three, "no_such_key");

    // What isn't refused any more takes over, by the next reload.
    site.configure("");
    site.guest.ok(&["systemctl", "reload", "baton"]);
    assert_serves(&site, &three);
    assert_eq!(lives(&site.guest), before);
    site.more(2_000);
    site.end_whole();
}

/// Neither a program nor a config that were refused are what is started after a crash.
#[test]
fn after_a_refused_version_a_crash_is_answered_by_the_old_one() {
    let a = Package::built();
    let Some((mut site, repository)) = installed(&a) else {
        return;
    };
    // Lines: of a frame that a worker had begun the connection ends with it.
    site.load(Target::Tcp(LINE));
    site.configure("[input]\nno_such_key = 1");
    repository.publish(&site.guest, &a.next());
    repository.apt(&site.guest, &["upgrade"]);
    let worker = site.serving().worker_pid().unwrap().to_string();
    site.guest.ok(&["kill", "-KILL", &worker]);
    let status = site.wait_status("another worker", |status| {
        status.is_serving() && status.generation() > Some(1)
    });
    assert_eq!(status.text("/worker/version"), Some(&a.version[..]));
    let exe = format!("/proc/{}/exe", status.worker_pid().unwrap());
    assert!(fs::read(site.guest.path(&exe)).unwrap() == a.program);
    site.more(2_000);
    site.end(|status| Excuse {
        kernel_dropped: 0,
        crash_bytes: status.total("lost_by_crash_bytes").unwrap(),
    });
}

/// Removed, it is stopped and may come back to its backlog. Purged, nothing of it is left.
#[test]
fn a_removal_stops_it_and_a_purge_leaves_nothing() {
    let a = Package::built();
    let Some((mut site, repository)) = installed(&a) else {
        return;
    };
    let guest_has = |site: &Site, path: &str| site.guest.path(path).symlink_metadata().is_ok();
    site.send(100);
    site.serving();
    site.sink.refuse().unwrap();
    site.sink.reset().unwrap();
    site.send(20_000);
    repository.apt(&site.guest, &["remove", "baton"]);
    for unit in UNITS {
        assert_eq!(site.guest.show(unit, "ActiveState"), "inactive", "{unit}");
    }
    for address in [LINE, PICKLE] {
        assert!(TcpStream::connect(address).is_err());
    }
    assert!(!guest_has(&site, "/usr/bin/baton"));
    assert!(guest_has(&site, CONFIG));
    assert!(guest_has(&site, DATABASE));
    let came = site.sink.account().distinct();
    assert!(came < 20_100, "nothing was spooled");

    // What was enabled is so again, and nothing is started.
    repository.apt(&site.guest, &["install", "baton"]);
    for unit in UNITS {
        let enabled = site.guest.run(&["systemctl", "is-enabled", unit]);
        assert_eq!(text(&enabled), "enabled\n", "{unit}");
        assert_eq!(site.guest.show(unit, "ActiveState"), "inactive", "{unit}");
    }
    site.sink.resume().unwrap();
    site.start();
    let excuse = site.finish(nothing);
    repository.apt(&site.guest, &["purge", "baton"]);
    let report = site.judge(excuse);
    assert_eq!(report.sent, report.received);
    assert_eq!(report.sent, 20_100);
    for unit in UNITS {
        assert_eq!(site.guest.show(unit, "ActiveState"), "inactive", "{unit}");
    }
    let folders = "/etc /run /usr/bin /usr/lib/systemd /usr/lib/sysusers.d /usr/share/doc /usr/share/lintian /var/lib/baton \
                   /var/lib/private /var/lib/systemd";
    let find = format!("find {folders} -name '*baton*' 2>/dev/null");
    let left = text(&site.guest.run(&["sh", "-c", &find]));
    assert_eq!(left, "");
    // But for the user, whose files may be anywhere.
    site.guest.ok(&["getent", "passwd", "baton"]);
}
