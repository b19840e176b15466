//! A subscriber without a library.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use crate::relay::LIMIT;

/// A stream of server-sent events.
#[derive(Debug)]
pub struct Events {
    stream: BufReader<Chunks>,
    head: String,
}

/// A chunked body.
#[derive(Debug)]
struct Chunks {
    stream: BufReader<TcpStream>,
    left: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.left == 0 {
            let mut size = String::new();
            self.stream.read_line(&mut size)?;
            match usize::from_str_radix(size.trim(), 16) {
                Ok(0) => return Ok(0),
                Ok(size) => self.left = size,
                // The end of the chunk before.
                Err(_) if size == "\r\n" => {}
                Err(_) => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
        let most = buffer.len().min(self.left);
        let n = self.stream.read(&mut buffer[..most])?;
        self.left -= n;
        Ok(n)
    }
}

/// Asks for something, and reads the head of the answer.
pub fn ask(port: u16, path: &str, headers: &str) -> (String, BufReader<TcpStream>) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut stream = BufReader::with_capacity(4096, stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
    }
    (head, stream)
}

impl Events {
    /// Whoever has this is subscribed.
    pub fn open(port: u16, query: &str) -> Events {
        let (head, stream) = ask(port, &format!("/api/v1/subscribe?{query}"), "");
        let chunks = Chunks { stream, left: 0 };
        Events {
            stream: BufReader::with_capacity(4096, chunks),
            head,
        }
    }

    pub fn is_begun(&self) -> bool {
        self.head.starts_with("HTTP/1.1 200 ")
    }

    /// The name and the lines of the next event; `None`: the stream has ended.
    pub fn next(&mut self) -> Option<(String, Vec<String>)> {
        let (mut event, mut data) = (String::new(), Vec::new());
        loop {
            let mut line = String::new();
            match self.stream.read_line(&mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
                Err(error) => panic!("{error}"),
            }
            match line.trim_end_matches('\n').split_once(": ") {
                Some(("event", name)) => event = name.to_owned(),
                Some(("data", text)) => data.push(text.to_owned()),
                Some(_) => {}
                None if line == "\n" && !event.is_empty() => return Some((event, data)),
                None => {}
            }
        }
    }

    /// So many lines, none of which was lost; or more, if they come in one event.
    pub fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            let (event, data) = self.next().expect("the stream goes on");
            assert_eq!(event, "line", "{data:?}");
            lines.extend(data);
        }
        lines
    }
}
