//! A client of a session, and a relay that has them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use baton::drill::free_ports;

use crate::relay::{Config, LIMIT, Relay};

/// A relay with a port for commands, and `unix:telnet.sock`.
pub struct Told {
    pub relay: Relay,
    pub port: u16,
    pub config: Config,
}

impl Told {
    pub fn start(mut config: Config) -> Told {
        let [port] = free_ports().unwrap();
        config.listen = format!("telnet = [\"tcp://127.0.0.1:{port}\", \"unix:telnet.sock\"]");
        Told {
            relay: Relay::start(&config),
            port,
            config,
        }
    }

    pub fn session(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(BufReader::new(stream))
    }

    pub fn unix_session(&self) -> Client<UnixStream> {
        let stream = UnixStream::connect(self.relay.instance.path("telnet.sock")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Client(BufReader::new(stream))
    }
}

/// Whoever types.
pub struct Client<S: Read>(pub BufReader<S>);

impl<S: Read + Write> Client<S> {
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// The next line, without its end; empty at the end of all.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    /// Lines up to the one that ends an answer, which is the last of them.
    #[track_caller]
    pub fn answer(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            assert!(!line.is_empty() || !lines.is_empty(), "it was ended");
            let is_last = line.starts_with("OK") || line.starts_with("ERR ");
            lines.push(line);
            if is_last {
                return lines;
            }
            assert!(lines.len() < 10_000, "{lines:?}");
        }
    }

    #[track_caller]
    pub fn ask(&mut self, command: &str) -> Vec<String> {
        self.write(format!("{command}\n"));
        self.answer()
    }

    /// Asks, and it is done.
    #[track_caller]
    pub fn done(&mut self, command: &str) -> Vec<String> {
        let answer = self.ask(command);
        assert_eq!(answer.last().unwrap(), "OK", "{command}: {answer:?}");
        answer
    }

    /// Asks, and is told why not.
    #[track_caller]
    pub fn refused(&mut self, command: &str) -> String {
        let answer = self.ask(command);
        assert_eq!(answer.len(), 1, "{command}: {answer:?}");
        assert!(answer[0].starts_with("ERR "), "{command}: {answer:?}");
        answer[0].clone()
    }

    /// All that still comes, up to the end.
    pub fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        String::from_utf8(rest).unwrap()
    }
}

impl Client<TcpStream> {
    /// Ends this side.
    pub fn hang_up(&self) {
        self.0.get_ref().shutdown(Shutdown::Write).unwrap();
    }
}
