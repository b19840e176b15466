//! A relay under test: the real binary behind real sockets, and its books at the end.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use baton::drill::{Instance, Setup, Status, Target, free_ports};
use serde_json::Value;

/// How long anything that must happen may take.
pub const LIMIT: Duration = Duration::from_secs(30);

/// What a test changes of the config.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Keys before the first section.
    pub top: String,
    /// Keys of `[supervisor]`.
    pub supervisor: String,
    /// More keys of `[listen]`.
    pub listen: String,
    /// Keys of `[input]`.
    pub input: String,
    /// The routes.
    pub routes: String,
}

impl Config {
    /// One route that takes everything, to these destinations.
    pub fn to(destinations: &[&str]) -> Config {
        Config {
            routes: format!("[[route]]\nkey = \"all\"\ndestinations = {destinations:?}\n"),
            ..Config::default()
        }
    }

    /// Everything into the file `out`.
    pub fn to_file() -> Config {
        Config::to(&["file:out id=out flush=1ms"])
    }

    fn text(&self, port: u16, http: u16) -> String {
        let Config {
            top,
            supervisor,
            listen,
            input,
            routes,
        } = self;
        let probation = match supervisor.contains("probation") {
            true => "",
            false => "probation = \"100ms\"",
        };
        format!(
            r#"{top}
[supervisor]
control = "unix:control.sock"
{probation}
{supervisor}
[listen]
line = ["tcp://127.0.0.1:{port}", "udp://127.0.0.1:{port}", "unix:line.sock"]
http = ["tcp://127.0.0.1:{http}"]
{listen}
[instrumentation]
interval = "0s"
[input]
{input}
{routes}
"#
        )
    }
}

/// A Baton that listens on TCP, UDP, a unix socket and HTTP.
#[derive(Debug)]
pub struct Relay {
    pub instance: Instance,
    pub port: u16,
    pub http: u16,
}

impl Relay {
    pub fn start(config: &Config) -> Relay {
        Relay::set_up(config, |setup| setup)
    }

    /// Started in another way, or in a folder where something is already.
    pub fn set_up(config: &Config, change: impl FnOnce(Setup) -> Setup) -> Relay {
        let [port, http] = free_ports().unwrap();
        let setup = Setup::new(env!("CARGO_BIN_EXE_baton"), &config.text(port, http)).unwrap();
        Relay {
            instance: change(setup).start().unwrap(),
            port,
            http,
        }
    }

    /// Writes another config, which is in force with the next reload.
    pub fn rewrite(&mut self, config: &Config) {
        let text = config.text(self.port, self.http);
        self.instance.rewrite(&text).unwrap();
    }

    /// Puts another config in force, unless it is refused.
    pub fn try_reconfigure(&mut self, config: &Config) -> baton::drill::Reload {
        self.rewrite(config);
        self.instance.reload().unwrap()
    }

    /// Puts another config in force.
    pub fn reconfigure(&mut self, config: &Config) {
        let reload = self.try_reconfigure(config);
        assert!(
            matches!(reload, baton::drill::Reload::Done { .. }),
            "{reload:?}"
        );
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn tcp(&self) -> Target {
        Target::Tcp(self.address())
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    pub fn connect_unix(&self) -> UnixStream {
        let stream = UnixStream::connect(self.instance.path("line.sock")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    pub fn udp(&self) -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(self.address()).unwrap();
        socket
    }

    /// Sends this over a connection of its own, which the relay has read to its end when this returns.
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        let mut client = self.connect();
        client.write_all(bytes.as_ref()).unwrap();
        hang_up(client);
    }

    pub fn status(&mut self) -> Status {
        self.instance.status().unwrap()
    }

    pub fn wait(&mut self, what: &'static str, wanted: impl FnMut(&Status) -> bool) -> Status {
        self.instance.wait_status(what, LIMIT, wanted).unwrap()
    }

    /// Waits until so many lines came in and none of them is on its way any more.
    pub fn wait_done(&mut self, lines: u64) -> Status {
        self.wait("the lines to be delivered", |status| {
            let destinations = status.document()["worker"]["destinations"].as_array();
            let mut all = destinations.into_iter().flatten();
            status.total("in") == Some(lines) && all.all(|one| one["queued"] == 0)
        })
    }

    /// The lines in a file of the folder. Who reads while lines are being appended may see half of one: that is waited out.
    pub fn file(&self, name: &str) -> Vec<String> {
        let mut bytes = Vec::new();
        wait_for("the end of a line", || {
            bytes = fs::read(self.instance.path(name)).unwrap_or_default();
            bytes.is_empty() || bytes.ends_with(b"\n")
        });
        let text = String::from_utf8_lossy(&bytes);
        text.lines().map(str::to_owned).collect()
    }

    /// An answer over HTTP.
    pub fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.page(path)).unwrap()
    }

    /// What a page says.
    pub fn page(&self, path: &str) -> String {
        let mut http = TcpStream::connect((Ipv4Addr::LOCALHOST, self.http)).unwrap();
        http.set_read_timeout(Some(LIMIT)).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        http.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        http.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body.to_owned()
    }

    /// How often the log says this.
    pub fn logged(&self, what: &str) -> usize {
        self.instance.log().matches(what).count()
    }

    pub fn wait_logged(&self, what: &str) {
        wait_for(what, || self.logged(what) > 0);
    }

    /// The end of every test: both equations of the books hold.
    pub fn check_books(mut self) {
        let deadline = Instant::now() + LIMIT;
        while let Err(wrong) = self.status().check_books() {
            assert!(
                Instant::now() < deadline,
                "the books don't balance:\n{wrong}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Ends our side of a connection, and waits until the relay has ended its side: it has read all.
pub fn hang_up(client: TcpStream) {
    client.shutdown(std::net::Shutdown::Write).unwrap();
    wait_closed(client);
}

/// Waits until the relay has ended a connection.
pub fn wait_closed(mut client: impl Read) {
    match client.read(&mut [0; 16]) {
        Ok(0) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        other => panic!("a line connection said {other:?}"),
    }
}

/// Aborts a connection: the other end gets a reset.
pub fn reset(client: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
}

pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// An address at which nobody listens.
pub fn free_address() -> SocketAddr {
    let [port] = free_ports().unwrap();
    (Ipv4Addr::LOCALHOST, port).into()
}
