//! Configs and drop-ins as they are shipped.

use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};

use super::guest::{AS_DAEMON, source};
use super::guide::carried_out;
use super::site::Site;

fn shipped(name: &str) -> String {
    std::fs::read_to_string(source("packaging").join(name)).unwrap()
}

/// Sends a line to each of these, over TCP and, where it is said, over UDP; all are to come in.
fn all_come_in(site: &Site, addresses: &[(&str, bool)]) {
    let before = site.serving().total("in").unwrap();
    let mut lines = 0;
    for (address, has_datagrams) in addresses {
        let address: SocketAddr = address.parse().unwrap();
        let mut sender = TcpStream::connect(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        sender.write_all(b"a.b 1 1\n").unwrap();
        lines += 1;
        if *has_datagrams {
            let any = match address {
                SocketAddr::V4(_) => "0.0.0.0:0",
                SocketAddr::V6(_) => "[::]:0",
            };
            let sender = UdpSocket::bind(any).unwrap();
            sender.send_to(b"a.b 1 1\n", address).unwrap();
            lines += 1;
        }
    }
    site.wait_status("the lines", |status| {
        status.total("in") == Some(before + lines)
    });
}

const NONE: &str = "nothing to listen on for metrics";

/// With systemd's sockets, and without: then what it says in comments is to be written.
#[test]
fn the_config_of_the_packages() {
    let Some(site) = Site::installed("") else {
        return;
    };
    let guest = &site.guest;
    let config = shipped("baton.toml");
    guest.write("/etc/baton/baton.toml", &config, 0o644);
    guest.ok(&["systemctl", "start", "baton-line-udp.socket", "baton"]);
    all_come_in(&site, &[("127.0.0.1:2003", true), ("[::1]:2003", true)]);
    let warned = || {
        let of = ["--priority=warning", "--output=cat", "--unit=baton"];
        guest.ok(&[&["journalctl"][..], &of].concat())
    };
    assert!(!warned().contains("listen"), "{}", warned());

    let sockets = ["baton-line.socket", "baton-line-udp.socket"];
    guest.ok(&["systemctl", "stop", "baton", sockets[0], sockets[1]]);
    guest.ok(&["systemctl", "mask", sockets[0], sockets[1]]);
    guest.ok(&["systemctl", "start", "baton"]);
    assert!(warned().contains(NONE), "{}", warned());
    let lines = config
        .lines()
        .filter_map(|line| line.strip_prefix("#     "));
    let listen: Vec<&str> = lines.skip_while(|line| *line != "[listen]").collect();
    let config = format!("{}\n{config}", listen.join("\n"));
    guest.write("/etc/baton/baton.toml", config, 0o644);
    guest.ok(&["systemctl", "reload", "baton"]);
    all_come_in(&site, &[("127.0.0.1:2003", true), ("[::1]:2003", true)]);
    TcpStream::connect("127.0.0.1:2004").unwrap();
    TcpStream::connect("[::1]:2004").unwrap();
}

/// There systemd makes 0.0.0.0:2003 of 2003, and [::] can't be had.
#[test]
fn the_config_of_the_packages_on_a_kernel_without_ipv6() {
    let Some(site) = Site::installed(
        "[Service]\nRestrictAddressFamilies=\nRestrictAddressFamilies=AF_INET AF_UNIX\n",
    ) else {
        return;
    };
    let guest = &site.guest;
    guest.write(
        "/etc/systemd/system/baton-line.socket.d/v4.conf",
        "[Socket]\nListenStream=\nListenStream=0.0.0.0:2003\n",
        0o644,
    );
    guest.write("/etc/baton/baton.toml", shipped("baton.toml"), 0o644);
    guest.ok(&["systemctl", "daemon-reload"]);
    site.start();
    all_come_in(&site, &[("127.0.0.1:2003", false)]);
    assert_eq!(guest.show("baton", "NRestarts"), "0");
}

/// The container's: no systemd passes anything there.
#[test]
fn the_config_of_the_container() {
    let Some(site) = Site::installed("") else {
        return;
    };
    let guest = &site.guest;
    let config = shipped("container.toml");
    guest.write("/etc/baton/container.toml", &config, 0o644);
    let run = |name: &str| {
        let unit = format!("--unit={name}");
        let properties = [
            "--property=Type=notify",
            "--property=RuntimeDirectory=baton",
            "--property=StateDirectory=baton",
        ];
        let baton = [
            "/usr/bin/baton",
            "run",
            "--config",
            "/etc/baton/container.toml",
        ];
        guest.ok(&[&["systemd-run", &unit][..], &properties, &baton].concat());
    };
    run("first");
    all_come_in(&site, &[("127.0.0.1:2003", true), ("[::1]:2003", true)]);
    TcpStream::connect("127.0.0.1:2004").unwrap();
    TcpStream::connect("[::1]:2004").unwrap();
    assert!(ask("127.0.0.1:8081", "").unwrap().contains(" 200 "));
    assert!(ask("[::1]:8081", "").is_err());
    guest.ok(&["systemctl", "stop", "first"]);

    // What is there for other machines takes the place of the line before it.
    let config = config.replace("http = [\"tcp://127.0.0.1:8081\"]\n", "");
    let lines = config.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if !key.is_empty() && !key.starts_with(' ') => key,
        _ => line,
    });
    let config = lines.collect::<Vec<_>>().join("\n");
    guest.write("/etc/baton/container.toml", &config, 0o644);
    guest.write("/run/secrets/baton-token", TOKEN, 0o400);
    run("second");
    for address in ["127.0.0.1:8081", "[::1]:8081"] {
        token_is_asked_for(address);
    }
}

const TOKEN: &str = "0123456789abcdef";

/// What the API says to who sends this, too.
fn ask(address: &str, header: &str) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(address)?;
    let request = format!("GET /api/v1/status HTTP/1.0\r\nhost: localhost\r\n{header}\r\n");
    socket.write_all(request.as_bytes())?;
    std::io::read_to_string(socket)
}

fn token_is_asked_for(address: &str) {
    assert!(ask(address, "").unwrap().contains(" 401 "));
    let answer = ask(address, &format!("authorization: Bearer {TOKEN}\r\n")).unwrap();
    assert!(answer.contains(" 200 "), "{answer}");
}

/// As `systemd/remote-admin` says it: an address of other machines, for who knows the token; beside the shipped config.
#[test]
fn remote_admin_takes_the_token() {
    let Some(site) = Site::installed("") else {
        return;
    };
    let guest = &site.guest;
    for (file, unit) in [
        ("socket", "baton-http.socket"),
        ("service", "baton.service"),
    ] {
        let text = std::fs::read(source(&format!("systemd/remote-admin/{file}.conf"))).unwrap();
        let path = format!("/etc/systemd/system/{unit}.d/remote-admin.conf");
        guest.write(&path, text, 0o644);
    }
    guest.write("/etc/baton/token", TOKEN, 0o600);
    let admin = "[admin]\ntoken_file = \"/run/credentials/baton.service/token\"\n";
    let config = shipped("baton.toml") + admin;
    guest.write("/etc/baton/baton.toml", config, 0o644);
    guest.ok(&["systemctl", "daemon-reload"]);
    site.start();
    for address in ["127.0.0.1:8081", "[::1]:8081"] {
        token_is_asked_for(address);
    }
    assert_eq!(guest.show("baton", "NRestarts"), "0");
}

/// Into a socket file that systemd makes, as the guide says it, others may send; into one that Baton makes they may not.
#[test]
fn everybody_may_send_to_a_unix_socket() {
    let Some(site) = Site::installed("") else {
        return;
    };
    let guest = &site.guest;
    let folder = tempfile::tempdir().unwrap();
    carried_out(&shipped("migrating-from-carbon-c-relay.md"), folder.path());
    let drop_in = std::fs::read(folder.path().join("unix.conf")).unwrap();
    guest.write(
        "/etc/systemd/system/baton-line.socket.d/unix.conf",
        drop_in,
        0o644,
    );
    guest.ok(&["systemctl", "daemon-reload"]);
    site.configure("[listen]\nline = [\"unix:/run/baton/own.sock\"]");
    site.start();
    let send = |path: &str| {
        let line = format!("echo a.b 1 1 | nc -U -q1 {path}");
        let send = [&AS_DAEMON[..], &["sh", "-c", &line]].concat();
        guest.run(&send).status.success()
    };
    assert!(!send("/run/baton/own.sock"));
    assert!(send("/run/baton-line.sock"));
    site.wait_status("the line", |status| status.total("in") == Some(1));
}
