//! The HTTP API, as a client without a library sees it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use serde_json::Value;

use crate::relay::LIMIT;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Answer {
    /// A header's value; empty if it isn't there.
    pub fn header(&self, name: &str) -> &str {
        let of = |line: &&str| {
            line.split_once(':')
                .is_some_and(|(key, _)| key.eq_ignore_ascii_case(name))
        };
        let line = self.head.lines().find(of);
        line.and_then(|line| line.split_once(": "))
            .map_or("", |(_, value)| value)
    }
}

/// Asks, with these headers beside the usual.
pub fn ask(port: u16, method: &str, path: &str, headers: &str, body: &Value) -> Answer {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Content-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Answer {
        status: status.unwrap_or_else(|| panic!("{method} {path}: {text:?}")),
        head: head.to_owned(),
        body: serde_json::from_str(body).unwrap_or(Value::Null),
    }
}

/// Asks, and it is done.
#[track_caller]
pub fn done(port: u16, method: &str, path: &str, body: &Value) -> Answer {
    let answer = ask(port, method, path, "", body);
    assert!(
        (200..300).contains(&answer.status),
        "{method} {path} {body}: {} {}",
        answer.head,
        answer.body
    );
    answer
}
