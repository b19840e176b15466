use std::sync::Arc;

use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::*;
use crate::tap::{At, Seen, Tap, Wanted};

/// Nothing here takes so long unless it is broken.
const DEADLINE: Duration = Duration::from_secs(20);
const LINE: &str = "a.name.of.usual.length 1 1790000000\n";

struct Client {
    socket: UnixStream,
    tap: Arc<Tap>,
    serving: JoinHandle<io::Result<()>>,
}

impl Client {
    fn new(patience: Duration, silence: Duration) -> Client {
        let (socket, ours) = UnixStream::pair().unwrap();
        let tap = Arc::new(Tap::new());
        let subscription = tap.subscribe(&Wanted::default()).unwrap();
        let serving = tokio::spawn(serve_on(ours, subscription, (patience, silence)));
        Client {
            socket,
            tap,
            serving,
        }
    }

    fn show(&self, lines: usize) {
        let text = LINE.repeat(lines);
        let seen = std::iter::once(Seen::lines(text.as_bytes()));
        let mut time = self.tap.time(64 << 20);
        self.tap.show(At::Routed, seen, &mut time);
    }

    async fn read(&self, mut into: &mut [u8]) {
        while !into.is_empty() {
            timeout(DEADLINE, self.socket.readable())
                .await
                .unwrap()
                .unwrap();
            match self.socket.try_read(into) {
                Ok(0) => panic!("it was ended"),
                Ok(read) => into = &mut into[read..],
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }

    /// The opcode and the payload of the next frame.
    async fn frame(&self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.read(&mut head).await;
        let mut size = [0; 8];
        match head[1] {
            127 => self.read(&mut size).await,
            126 => self.read(&mut size[6..]).await,
            short => size[7] = short,
        }
        let mut payload = vec![0; u64::from_be_bytes(size) as usize];
        self.read(&mut payload).await;
        (head[0] & 15, payload)
    }

    fn say(&self, opcode: u8, payload: &[u8]) {
        // A mask of zeros.
        let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        assert_eq!(self.socket.try_write(&frame).unwrap(), frame.len());
    }
}

#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    let client = Client::new(Duration::from_millis(100), DEADLINE);
    // More than the socket has room for.
    client.show(25_000);
    let ended = timeout(DEADLINE, client.serving).await.unwrap().unwrap();
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(client.tap.subscribers(), 0);
}

#[tokio::test]
async fn what_comes_instead_of_a_pong_is_heard() {
    let silent = Duration::from_millis(500);
    let client = Client::new(DEADLINE, silent);
    let began = Instant::now();
    while began.elapsed() < silent {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    client.show(1);
    assert_eq!(client.frame().await, (1, LINE.into()));
    assert_eq!(client.frame().await, (9, Vec::new()));
    client.say(9, b"there?");
    assert_eq!(client.frame().await, (10, b"there?".to_vec()));
    client.say(8, &1000_u16.to_be_bytes());
    assert_eq!(client.frame().await, (8, 1000_u16.to_be_bytes().to_vec()));
    let ended = timeout(DEADLINE, client.serving).await.unwrap().unwrap();
    assert!(ended.is_ok());
}

#[tokio::test]
async fn what_is_said_is_done_wherever_it_is_waited_for() {
    let (_theirs, io) = UnixStream::pair().unwrap();
    let mut socket = Socket {
        io,
        came: Vec::new(),
        frame: Vec::new(),
        written: 0,
        heard: Instant::now(),
        patience: DEADLINE,
        silence: DEADLINE,
    };
    let said = [Ok(Said::Ping(Vec::new())), Ok(Said::Other)];
    for said in said {
        assert!(socket.heed(said).await.unwrap().is_none());
    }
    let close = socket.heed(Ok(Said::Close)).await.unwrap();
    assert!(matches!(close, Some(Close::Normal)));
    let wrong = socket.heed(Err(Close::Protocol)).await.unwrap();
    assert!(matches!(wrong, Some(Close::Protocol)));
}

#[tokio::test]
async fn what_a_slow_reader_loses_at_the_end_is_told() {
    let client = Client::new(DEADLINE, DEADLINE);
    client.show(25_000);
    let (first, mut text) = client.frame().await;
    assert_eq!(first, 1);
    // Some of it is in hand, and some is still queued.
    client.show(7);
    client.tap.close();
    let given_up = async {
        while client.tap.take_lost() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(DEADLINE, given_up).await.unwrap();
    let mut lost = 0;
    loop {
        match client.frame().await {
            (1, more) if more.ends_with(b"\n") => {
                assert_eq!(lost, 0, "it is told behind all lines");
                text.extend(more);
            }
            (1, told) => {
                let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
                lost = told["lost"].as_u64().unwrap();
            }
            (opcode, why) => {
                assert_eq!((opcode, &why[..]), (8, &1012_u16.to_be_bytes()[..]));
                break;
            }
        }
    }
    assert!(text.len().is_multiple_of(LINE.len()), "a line is torn");
    assert_eq!(text.len() / LINE.len() + lost as usize, 25_007);
    assert!(client.serving.await.unwrap().is_ok());
}
