//! Subscriptions as WebSockets.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use baton::tap::MAX_SUBSCRIBERS;

use crate::client::ask;
use crate::relay::{Config, Relay, wait_for};

const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[derive(Debug)]
pub struct Socket(BufReader<TcpStream>);

impl Socket {
    pub fn open(port: u16, query: &str) -> Result<Socket, String> {
        let (head, stream) = ask(port, &format!("/api/v1/subscribe?{query}"), UPGRADE);
        match head.starts_with("HTTP/1.1 101 ") {
            true => {
                let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
                assert!(
                    head.to_lowercase().contains(&accept.to_lowercase()),
                    "{head}"
                );
                Ok(Socket(stream))
            }
            false => Err(head),
        }
    }

    /// The opcode and the payload of the next frame.
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        assert!(head[0] & 0x80 != 0 && head[1] & 0x80 == 0, "{head:?}");
        let mut size = u64::from(head[1]);
        if size > 125 {
            let mut bytes = [0; 8];
            let from = if size == 126 { 6 } else { 0 };
            self.0.read_exact(&mut bytes[from..]).unwrap();
            size = u64::from_be_bytes(bytes);
        }
        let mut payload = vec![0; size as usize];
        self.0.read_exact(&mut payload).unwrap();
        (head[0] & 15, payload)
    }

    fn say(&mut self, opcode: u8, payload: &[u8]) {
        // A mask of zeros.
        let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        self.0.get_mut().write_all(&frame).unwrap();
    }
}

#[test]
fn lines_come_in_frames_and_pings_are_answered() {
    let relay = Relay::start(&Config::to_file());
    let mut socket = Socket::open(relay.http, "prefix=a").unwrap();
    relay.send("a 1 1790000000\nb 1 1790000000\na\u{e9} 1 1790000000\n");
    let mut text = Vec::new();
    while text.iter().filter(|byte| **byte == b'\n').count() < 2 {
        let (opcode, payload) = socket.frame();
        assert_eq!(opcode, 1);
        text.extend(payload);
    }
    assert_eq!(text, "a 1 1790000000\na\u{e9} 1 1790000000\n".as_bytes());
    socket.say(9, b"there?");
    assert_eq!(socket.frame(), (10, b"there?".to_vec()));
    socket.say(1, b"ignored");
    socket.say(8, &1000_u16.to_be_bytes());
    assert_eq!(socket.frame(), (8, 1000_u16.to_be_bytes().to_vec()));
    let mut socket = Socket::open(relay.http, "").unwrap();
    // Not masked.
    socket.0.get_mut().write_all(&[0x81, 0]).unwrap();
    assert_eq!(socket.frame(), (8, 1002_u16.to_be_bytes().to_vec()));
    relay.check_books();
}

#[test]
fn pages_of_other_sites_are_refused() {
    let relay = Relay::start(&Config::to_file());
    let status = |headers: &str| {
        let (head, _) = ask(relay.http, "/api/v1/subscribe", headers);
        head[9..12].to_owned()
    };
    let port = relay.http;
    assert_eq!(
        status(&format!("{UPGRADE}Origin: http://127.0.0.1:{port}\r\n")),
        "101"
    );
    assert_eq!(
        status(&format!("{UPGRADE}Origin: http://evil.example\r\n")),
        "403"
    );
    assert_eq!(status(&format!("{UPGRADE}Origin: null\r\n")), "403");
    assert_eq!(status(&UPGRADE.replace("13", "12")), "400");
    assert_eq!(status("Upgrade: websocket\r\n"), "400");
    relay.check_books();
}

#[test]
fn there_may_be_so_many_subscribers() {
    let relay = Relay::start(&Config::to_file());
    let open = || Socket::open(relay.http, "");
    let mut all: Vec<Socket> = (0..MAX_SUBSCRIBERS).map(|_| open().unwrap()).collect();
    let refused = open().unwrap_err();
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    all.pop();
    wait_for("room for another", || open().is_ok());
    drop(all);
    relay.check_books();
}
