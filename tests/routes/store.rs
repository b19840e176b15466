//! A store that keeps what it was sent, line by line, and can go away and come back at its address.

use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::relay::{free_address, wait_for};

/// See the module's text.
#[derive(Debug)]
pub struct Store {
    pub address: SocketAddr,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    /// Up, when this is the number of the listener that accepts.
    up: Option<u64>,
    listeners: u64,
    connections: Vec<TcpStream>,
    /// What came on each connection.
    texts: Vec<Vec<u8>>,
}

impl Store {
    pub fn start() -> Store {
        let store = Store::down();
        store.go_up();
        store
    }

    /// One whose address refuses connections.
    pub fn down() -> Store {
        Store {
            address: free_address(),
            inside: Arc::default(),
        }
    }

    pub fn go_up(&self) {
        let listener = TcpListener::bind(self.address).unwrap();
        let inside = self.inside.clone();
        let number = {
            let mut inside = inside.lock().unwrap();
            inside.listeners += 1;
            inside.up = Some(inside.listeners);
            inside.listeners
        };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut held = inside.lock().unwrap();
                if held.up != Some(number) {
                    return;
                }
                held.connections.push(stream.try_clone().unwrap());
                held.texts.push(Vec::new());
                let (theirs, at) = (inside.clone(), held.texts.len() - 1);
                thread::spawn(move || keep(stream, &theirs, at));
            }
        });
    }

    /// Refuses from now on, and ends its connections. It must have read all.
    pub fn go_down(&self) {
        let mut inside = self.inside.lock().unwrap();
        inside.up = None;
        for connection in inside.connections.drain(..) {
            let _gone = connection.shutdown(Shutdown::Both);
        }
        drop(inside);
        // The listener looks when somebody comes.
        wait_for("the store to refuse", || {
            TcpStream::connect(self.address).is_err()
        });
    }

    /// All whole lines.
    pub fn lines(&self) -> Vec<String> {
        let inside = self.inside.lock().unwrap();
        let whole = |text: &Vec<u8>| {
            let end = memchr::memrchr(b'\n', text).map_or(0, |at| at + 1);
            String::from_utf8(text[..end].to_vec()).unwrap()
        };
        let texts: Vec<String> = inside.texts.iter().map(whole).collect();
        texts
            .iter()
            .flat_map(|text| text.lines().map(str::to_owned))
            .collect()
    }

    pub fn count(&self) -> usize {
        let inside = self.inside.lock().unwrap();
        let newlines = |text: &Vec<u8>| memchr::memchr_iter(b'\n', text).count();
        inside.texts.iter().map(newlines).sum()
    }

    pub fn wait_lines(&self, count: usize) {
        wait_for("the lines at the store", || self.count() >= count);
    }
}

fn keep(mut stream: TcpStream, inside: &Mutex<Inside>, at: usize) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        inside.lock().unwrap().texts[at].extend_from_slice(&buffer[..n]);
    }
}
