//! What the guides have an operator do: from another relay to Baton, and back.

use std::collections::BTreeSet;

use super::guest::{Guest, source};
use super::guide::carried_out;
use super::site::{LINE, Site, UNITS};

#[test]
fn from_carbon_relay_ng_and_back() {
    let of_its_own = ["tcp 0.0.0.0:2013", "tcp [::]:2013", "tcp 127.0.0.1:2004"];
    let open = [&["tcp *:2003", "udp *:2003", HTTP], &of_its_own[..]].concat();
    moves("carbon-relay-ng", "carbon-relay-ng", &open);
}

#[test]
fn from_carbon_c_relay_and_back() {
    moves(
        "carbon-c-relay",
        "carbon-c-relay",
        &["tcp *:2003", "udp *:2003", HTTP],
    );
}

#[test]
fn from_carbon_and_back() {
    moves(
        "carbon",
        "carbon-relay@default",
        &["tcp *:2003", "tcp *:2004", HTTP],
    );
}

const HTTP: &str = "tcp 127.0.0.1:8081";

/// Where anything listens, as ss(8) says it.
fn open(guest: &Guest) -> BTreeSet<String> {
    let told = guest.ok(&["ss", "-tulnH"]);
    let place = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!("{} {}", words[0], words[4])
    };
    told.lines().map(place).collect()
}

/// The commands of a section.
fn commands(guide: &str, section: &str) -> String {
    let (_, section) = guide.split_once(&format!("\n## {section}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("\n```sh\n").skip(1);
    blocks
        .map(|block| block.split_once("```").unwrap().0)
        .collect()
}

/// Does all that a guide says, where another relay has port 2003; Baton is to listen at these places then, and at the end
/// nowhere.
fn moves(from: &str, relay: &str, places: &[&str]) {
    let Some(site) = Site::installed("") else {
        return;
    };
    let guest = &site.guest;
    let unit = match relay.split_once('@') {
        Some((template, _)) => format!("{template}@"),
        None => relay.to_owned(),
    };
    guest.write(
        &format!("/etc/systemd/system/{unit}.service"),
        "[Service]\nExecStart=/usr/bin/nc -lk 0.0.0.0 2003\n[Install]\nWantedBy=multi-user.target\n",
        0o644,
    );
    let by_itself = open(guest);
    guest.ok(&["systemctl", "enable", "--now", relay]);

    let guide = source("packaging").join(format!("migrating-from-{from}.md"));
    let guide = std::fs::read_to_string(guide).unwrap();
    let folder = tempfile::tempdir().unwrap();
    carried_out(&guide, folder.path());
    let config = std::fs::read(folder.path().join("baton.toml")).unwrap();
    guest.write("/root/baton.toml", config, 0o644);
    let shell = |commands: &str| guest.ok(&["sh", "-exc", &format!("cd /root; {commands}")]);

    shell(&commands(&guide, "3. Switch"));
    let mut expected = by_itself.clone();
    expected.extend(places.iter().map(|&place| place.to_owned()));
    assert_eq!(open(guest), expected);
    let mut sender = std::net::TcpStream::connect(LINE).unwrap();
    std::io::Write::write_all(&mut sender, b"servers.web1.cpu 1 1\n").unwrap();
    site.wait_status("the line", |status| status.total("in") >= Some(1));
    guest.ok(&["systemctl", "reload", "baton"]);
    drop(sender);

    shell(&commands(&guide, "4. Back"));
    // No store is there: it was spooled.
    let left = shell("cat *.lines");
    assert!(left.contains("servers.web1.cpu 1 1\n"), "{left}");
    for unit in UNITS {
        assert_eq!(guest.show(unit, "ActiveState"), "inactive", "{unit}");
        assert_eq!(guest.show(unit, "UnitFileState"), "disabled", "{unit}");
    }
    let its = open(guest);
    let more: Vec<&String> = its.difference(&by_itself).collect();
    assert_eq!(more, ["tcp 0.0.0.0:2003"]);
}

/// In the order of the file: what to begin with, what else there is, and the end of it.
#[test]
fn what_the_debian_package_says() {
    let Some(site) = Site::installed("") else {
        return;
    };
    let guest = &site.guest;
    let by_itself = open(guest);
    let said = std::fs::read_to_string(source("packaging/deb/README.Debian")).unwrap();
    let said = said.replace("\\\n", "");
    let commands: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .collect();
    let [check, enable, more, restart, end] = commands[..] else {
        panic!("{commands:?}");
    };
    let added = |commands: &[&str]| -> Vec<String> {
        for command in commands {
            guest.ok(&["sh", "-c", command]);
        }
        open(guest).difference(&by_itself).cloned().collect()
    };
    assert_eq!(added(&[check]), [""; 0]);
    assert_eq!(added(&[enable]), ["tcp *:2003", HTTP]);
    let telnet = guest.path("/run/baton-telnet.sock");
    assert!(!telnet.exists());
    let all = added(&[more, restart]);
    assert_eq!(all, ["tcp *:2003", "tcp *:2004", HTTP, "udp *:2003"]);
    assert!(telnet.exists());
    assert_eq!(added(&[end]), [""; 0]);
    assert_eq!(guest.show("baton", "ActiveState"), "inactive");
}
