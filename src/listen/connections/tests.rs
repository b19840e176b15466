use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use super::super::Kind;
use super::super::framing::Protocol;
use super::*;
use crate::ledger::{self, BYTES, Writer};
use crate::sys::{cookie, memfd};

/// A client, and the other end of its connection, which each worker has a duplicate of.
struct Client {
    slot: Slot,
    cookie: u64,
    socket: OwnedFd,
    _client: TcpStream,
}

impl Client {
    fn connect(slot: u32) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = OwnedFd::from(listener.accept().unwrap().0);
        Client {
            slot: Slot::from_number(slot).unwrap(),
            cookie: cookie(socket.as_fd()).unwrap(),
            socket,
            _client: client,
        }
    }
}

/// A worker, as far as its clients go. All of them share a ledger.
struct Worker {
    ledger: Arc<Ledger>,
    writer: Writer,
    connections: Connections,
}

impl Worker {
    fn new(memory: &OwnedFd, clients: &[&Client]) -> Worker {
        let ledger = Arc::new(Ledger::open(memory.as_fd()).unwrap());
        let worker = Worker {
            writer: Writer::new(ledger.clone(), 0),
            ledger,
            connections: Connections::default(),
        };
        clients.iter().for_each(|client| worker.add(client));
        worker
    }

    fn add(&self, client: &Client) {
        let listener = self.ledger.object(ledger::Kind::Listener, "l").unwrap();
        let socket = client.socket.try_clone().unwrap();
        let (cookie, slot) = (client.cookie, client.slot);
        let connection = Connection::new(
            cookie,
            slot,
            (Kind::Tcp, Protocol::Line),
            ("l", listener),
            socket,
            true,
        );
        self.connections.insert(Arc::new(connection.unwrap()));
    }

    /// Has accepted this client, who gets a slot that was free.
    fn accept(&mut self, client: &Client) {
        let beginning = Offset::default();
        self.writer
            .open_stream(client.slot, client.cookie, beginning);
        self.writer.commit();
        self.add(client);
    }

    /// One that takes over from `old`.
    fn behind(memory: &OwnedFd, old: &Worker, clients: &[&Client]) -> Worker {
        let worker = Worker::new(memory, clients);
        let state = old.connections.freeze().finish().concat();
        let links = worker.connections.inherit(state, &worker.ledger).unwrap();
        assert!(links.is_empty());
        worker
    }

    fn connection(&self, client: &Client) -> Arc<Connection> {
        self.connections.table().by_cookie[&client.cookie].clone()
    }

    /// Has read these bytes. Returns the whole lines, which are placed; without `room` for them they wait.
    fn read(&mut self, client: &Client, bytes: &[u8], room: bool) -> Vec<u8> {
        let connection = self.connection(client);
        let mut state = self.connections.state(&connection);
        let mut buffer = vec![0; 4096];
        let Framing::Lines(splitter) = &mut state.framing else {
            panic!("it is a stream of lines");
        };
        let kept = splitter.fill(&mut buffer);
        buffer.truncate(kept);
        buffer.extend_from_slice(bytes);
        connection.add_received(&mut state, &self.ledger, bytes.len());
        let Framing::Lines(splitter) = &mut state.framing else {
            panic!("it is a stream of lines");
        };
        let split = splitter.split(&buffer, 1024);
        let mut whole = std::mem::take(&mut state.waiting);
        whole.extend_from_slice(&buffer[split.whole]);
        if !room {
            state.waiting = std::mem::take(&mut whole);
        }
        let offset = connection.offset(&state);
        self.writer.set_offset(connection.slot, offset);
        self.writer.commit();
        self.connections.mark(&connection, &mut state);
        whole
    }

    /// How far the ledger says that a stream is accounted for.
    fn offset(&self, client: &Client) -> u64 {
        self.ledger.stream(client.slot).1.bytes
    }

    /// What would be passed on now: the cookies, and slots with what is kept there.
    fn passes(&self) -> (Vec<u64>, Vec<(u32, String)>) {
        let state = self.connections.freeze().finish().concat();
        let frozen = Frozen::decode(&state).unwrap();
        let partials = frozen.partials.map(|partial| {
            let partial = partial.unwrap();
            (
                partial.slot,
                String::from_utf8(partial.bytes.to_vec()).unwrap(),
            )
        });
        (frozen.slots, partials.collect())
    }
}

fn kept(parts: &[(u32, &str)]) -> Vec<(u32, String)> {
    parts
        .iter()
        .map(|(slot, text)| (*slot, (*text).to_owned()))
        .collect()
}

#[tokio::test]
async fn partial_lines_pass_through_a_worker_that_reads_only_some_of_them() {
    let memory = memfd("ledger", BYTES).unwrap();
    let [silent, waits, goes_on, ends, leaves, begins] = [0, 1, 2, 3, 4, 70].map(Client::connect);
    let all = [&silent, &waits, &goes_on, &ends, &leaves, &begins];
    let mut first = Worker::new(&memory, &all);
    assert_eq!(first.read(&silent, b"a 1 1\nsil", true), b"a 1 1\n");
    assert_eq!(first.read(&waits, b"b 1 1\nb 2 2\nwai", false), b"");
    for client in [&goes_on, &ends, &leaves] {
        assert_eq!(first.read(client, b"one", true), b"");
    }
    let mut cookies = vec![0; 71];
    for client in all {
        cookies[client.slot.number() as usize] = client.cookie;
    }
    let passed = kept(&[
        (0, "sil"),
        (1, "b 1 1\nb 2 2\nwai"),
        (2, "one"),
        (3, "one"),
        (4, "one"),
    ]);
    assert_eq!(first.passes(), (cookies.clone(), passed.clone()));

    let mut middle = Worker::behind(&memory, &first, &all);
    assert_eq!(middle.passes(), (cookies.clone(), passed), "untouched");
    assert_eq!(middle.read(&goes_on, b" 1 1\ntw", true), b"one 1 1\n");
    assert_eq!(middle.read(&ends, b" 2 2\n", true), b"one 2 2\n");
    assert_eq!(middle.read(&begins, b"beg", true), b"");
    middle.connections.remove(leaves.cookie).unwrap();
    cookies[4] = 0;
    assert_eq!(middle.passes().0, cookies);
    let comes = Client::connect(4);
    middle.accept(&comes);
    assert_eq!(middle.read(&comes, b"new 1 1\nne", true), b"new 1 1\n");
    assert_eq!((middle.offset(&silent), middle.offset(&waits)), (6, 0));
    assert_eq!((middle.offset(&goes_on), middle.offset(&ends)), (8, 8));
    cookies[4] = comes.cookie;
    let passed = kept(&[
        (0, "sil"),
        (1, "b 1 1\nb 2 2\nwai"),
        (2, "tw"),
        (4, "ne"),
        (70, "beg"),
    ]);
    assert_eq!(middle.passes(), (cookies.clone(), passed.clone()));
    assert_eq!(middle.passes(), (cookies.clone(), passed), "once more");

    let all = [&silent, &waits, &goes_on, &ends, &comes, &begins];
    let mut last = Worker::behind(&memory, &middle, &all);
    assert_eq!(last.read(&silent, b"ent 1 1\n", true), b"silent 1 1\n");
    let lines = b"b 1 1\nb 2 2\nwaits 3 3\n";
    assert_eq!(last.read(&waits, b"ts 3 3\n", true), lines);
    assert_eq!(last.read(&goes_on, b"o 2 2\n", true), b"two 2 2\n");
    assert_eq!(last.read(&ends, b"three 3 3\n", true), b"three 3 3\n");
    assert_eq!(last.read(&comes, b"wer 2 2\n", true), b"newer 2 2\n");
    assert_eq!(last.read(&begins, b"ins 1 1\n", true), b"begins 1 1\n");
    let offsets = all.map(|client| last.offset(client));
    assert_eq!(offsets, [17, lines.len() as u64, 16, 18, 18, 11]);
    assert_eq!(last.passes(), (cookies, Vec::new()));
}

#[tokio::test]
async fn a_slot_is_freed_by_the_connection_that_has_it_alone() {
    let memory = memfd("ledger", BYTES).unwrap();
    let [old, new] = [5, 5].map(Client::connect);
    // Passed while the old one had gone, and its release was still to be told.
    let mut worker = Worker::new(&memory, &[&old, &new]);
    worker.read(&new, b"half", true);
    assert!(worker.connections.remove(old.cookie).is_some());
    let mut cookies = vec![0; 5];
    cookies.push(new.cookie);
    assert_eq!(worker.passes(), (cookies, kept(&[(5, "half")])));
    assert!(worker.connections.remove(new.cookie).is_some());
    assert_eq!(worker.passes(), (Vec::new(), Vec::new()));
    assert!(worker.connections.is_empty());
}
