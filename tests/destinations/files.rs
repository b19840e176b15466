//! Destinations that are files.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::relay::{Config, Relay, wait_for};

fn numbered(from: u64, to: u64) -> Vec<String> {
    (from..to)
        .map(|number| format!("n.{number} 1 1700000000"))
        .collect()
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Everything to this destination, and by another route to the file `good`.
fn beside_a_good_file(destination: &str) -> Config {
    let routes = [("trying", destination), ("good", "file:good id=good")];
    let route = |(key, to)| format!("[[route]]\nkey = {key:?}\ndestinations = [{to:?}]\n");
    Config {
        routes: routes.map(route).concat(),
        ..Config::default()
    }
}

#[test]
fn case_30_lines_are_appended_to_a_file() {
    let mut relay = Relay::set_up(&Config::to_file(), |setup| {
        fs::write(setup.path("out"), "here before\n").unwrap();
        setup
    });
    relay.send(text(&numbered(0, 3)));
    relay.wait_done(3);
    assert_eq!(
        fs::read_to_string(relay.instance.path("out")).unwrap(),
        format!("here before\n{}", text(&numbered(0, 3)))
    );
    relay.check_books();
}

#[test]
fn case_30_a_file_that_ends_within_a_line_gets_a_newline_first() {
    let mut relay = Relay::set_up(&Config::to_file(), |setup| {
        fs::write(setup.path("out"), "cut 15").unwrap();
        setup
    });
    relay.send(text(&numbered(0, 2)));
    relay.wait_done(2);
    assert_eq!(relay.file("out")[0], "cut 15");
    assert_eq!(relay.file("out")[1..], numbered(0, 2));
    relay.check_books();
}

#[test]
fn case_30_a_file_that_was_renamed_is_opened_anew_at_a_reload() {
    let mut relay = Relay::start(&Config::to_file());
    relay.send(text(&numbered(0, 10)));
    relay.wait_done(10);
    fs::rename(relay.instance.path("out"), relay.instance.path("out.1")).unwrap();
    relay.send(text(&numbered(10, 20)));
    relay.wait_done(20);
    relay.instance.reload().unwrap();
    relay.send(text(&numbered(20, 30)));
    relay.wait_done(30);
    // And once more without a rename: nothing twice, nothing between.
    relay.instance.reload().unwrap();
    relay.send(text(&numbered(30, 40)));
    relay.wait_done(40);
    assert_eq!(relay.file("out.1"), numbered(0, 20));
    assert_eq!(relay.file("out"), numbered(20, 40));
    relay.check_books();
}

#[test]
fn case_30_a_file_that_cannot_be_written_harms_no_other_and_heals() {
    let config = beside_a_good_file("file:bad id=bad reconnect=100ms");
    let mut relay = Relay::set_up(&config, |setup| {
        symlink("/dev/full", setup.path("bad")).unwrap();
        setup
    });
    relay.send(text(&numbered(0, 1000)));
    relay.wait("the good file", |status| {
        status.of_destination("good", "acknowledged") == Some(1000)
    });
    assert_eq!(relay.file("good"), numbered(0, 1000));
    let status = relay.wait("the bad one to be down", |status| {
        status.destination("bad").unwrap()["state"] == "down"
    });
    assert_eq!(status.of_destination("bad", "queued"), Some(1000));
    let error = status.destination("bad").unwrap()["error"].to_string();
    assert!(error.contains("No space left"), "{error}");
    // The disk has room again.
    fs::write(relay.instance.path("good.too"), "").unwrap();
    fs::remove_file(relay.instance.path("bad")).unwrap();
    relay.send(text(&numbered(1000, 1100)));
    let status = relay.wait_done(1100);
    assert_eq!(relay.file("bad"), numbered(0, 1100));
    assert_eq!(status.destination("bad").unwrap()["state"], "up");
    relay.check_books();
}

#[test]
fn case_30_a_disk_that_is_full_costs_nothing_once_there_is_room() {
    let namespaces = Command::new("unshare").args(["-m", "true"]).status();
    if !namespaces.is_ok_and(|status| status.success()) {
        println!("skipped: a file system of one's own needs root");
        return;
    }
    let config = beside_a_good_file("file:disk/out id=disk reconnect=100ms");
    let mut relay = Relay::set_up(&config, |setup| {
        fs::create_dir(setup.path("disk")).unwrap();
        setup.shell(
            r#"exec unshare -m sh -c 'mount -t tmpfs -o size=256k none disk && exec "$@"' sh "$@""#,
        )
    });
    // Only the instance sees it at this place.
    let disk = format!(
        "/proc/{}/root{}",
        relay.instance.pid(),
        relay.instance.path("disk").display()
    );
    fs::write(format!("{disk}/filler"), [0; 128 * 1024]).unwrap();
    // Three times what there is room for: the file ends within a line.
    let lines = numbered(0, 20_000);
    relay.send(text(&lines));
    let status = relay.wait("the disk to be full", |status| {
        status.destination("disk").unwrap()["state"] == "down"
            && status.of_destination("good", "acknowledged") == Some(20_000)
    });
    assert!(status.of_destination("disk", "queued") > Some(1000));
    relay.instance.reload().unwrap();
    fs::remove_file(format!("{disk}/filler")).unwrap();
    let half = 128 * 1024 / lines[19_999].len();
    relay.wait("what there is room for", |status| {
        status.of_destination("disk", "acknowledged") > Some(half as u64)
    });
    // The rest goes to another file, since this one is as large as the disk.
    // At every moment there is one at that place.
    fs::hard_link(format!("{disk}/out"), format!("{disk}/out.1")).unwrap();
    symlink(relay.instance.path("rest"), format!("{disk}/next")).unwrap();
    fs::rename(format!("{disk}/next"), format!("{disk}/out")).unwrap();
    relay.wait_done(20_000);
    let first = fs::read_to_string(format!("{disk}/out.1")).unwrap();
    let whole = first.rfind('\n').unwrap() + 1;
    let rest = relay.file("rest");
    let written: Vec<String> = first[..whole].lines().map(str::to_owned).collect();
    assert_eq!([&written[..], &rest[..]].concat(), lines);
    relay.check_books();
}

#[test]
fn case_30_a_file_in_a_folder_that_appears_later() {
    let mut relay = Relay::start(&Config::to(&["file:later/out id=out reconnect=100ms"]));
    relay.send(text(&numbered(0, 5)));
    relay.wait("the file to be missed", |status| {
        status.destination("out").unwrap()["state"] == "down"
    });
    fs::create_dir(relay.instance.path("later")).unwrap();
    relay.wait_done(5);
    wait_for("the lines", || relay.file("later/out") == numbered(0, 5));
    relay.check_books();
}
