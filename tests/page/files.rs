//! How the page is served.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use crate::relay::{Config, LIMIT, Relay};

fn ask(relay: &Relay, path: &str, headers: &str) -> (String, String) {
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.http)).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let host = format!("127.0.0.1:{}", relay.http);
    write!(
        client,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

#[test]
fn browsers_get_the_page_and_others_the_text() {
    let relay = Relay::start(&Config::to_file());
    let (head, page) = ask(&relay, "/", "Accept: text/html,*/*;q=0.8\r\n");
    assert!(
        head.starts_with("http/1.1 200") && head.contains("text/html; charset=utf-8"),
        "{head}"
    );
    assert!(
        head.contains("vary: accept") && head.contains("cache-control: no-cache"),
        "{head}"
    );
    assert!(page.starts_with("<!DOCTYPE html>"));
    for path in ["/", "/help"] {
        let (head, text) = ask(&relay, path, "Accept: */*\r\n");
        assert!(head.contains("text/plain"), "{path}: {head}");
        assert!(text.starts_with("Baton, a relay"), "{path}: {text}");
    }
}

#[test]
fn all_that_the_page_names_is_there_and_comes_once() {
    let relay = Relay::start(&Config::to_file());
    let (_, page) = ask(&relay, "/", "Accept: text/html\r\n");
    let mut names: Vec<String> = page
        .split('"')
        .filter(|text| text.starts_with("page/"))
        .map(|text| format!("/{text}"))
        .collect();
    assert!(names.len() >= 4, "{names:?}");
    let mut at = 0;
    while at < names.len() {
        let path = names[at].clone();
        let (head, body) = ask(&relay, &path, "");
        assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
        let kind = match path.rsplit_once('.').unwrap().1 {
            "js" => "text/javascript",
            "css" => "text/css",
            _ => "image/svg+xml",
        };
        assert!(
            head.contains(kind) && head.contains("nosniff"),
            "{path}: {head}"
        );
        let tag = head
            .lines()
            .find_map(|line| line.strip_prefix("etag: "))
            .unwrap();
        let (again, _) = ask(&relay, &path, &format!("If-None-Match: {tag}\r\n"));
        assert!(again.starts_with("http/1.1 304"), "{path}: {again}");
        for line in body
            .lines()
            .filter(|line| path.ends_with(".js") && line.contains(" from './"))
        {
            let name = line.split('\'').nth(1).unwrap().replacen("./", "/page/", 1);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        at += 1;
    }
    let (head, _) = ask(&relay, "/page/nothing.js", "");
    assert!(head.starts_with("http/1.1 404"), "{head}");
}

/// A policy without `unsafe-inline` would leave them out, and so does the house.
#[test]
fn nothing_is_inline_or_from_elsewhere_or_made_of_markup() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/page");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        assert!(lines <= 500, "{} has {lines} lines", path.display());
        let forbidden = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "style=\"",
            "<style",
            "onclick=",
            "javascript:",
            "https://",
            "//cdn",
        ];
        for word in forbidden {
            assert!(!text.contains(word), "{} has {word}", path.display());
        }
        files += 1;
    }
    assert!(files > 15, "{files}");
}
