use std::collections::BTreeSet;

use super::read::{Contents, read_as};
use super::*;
use crate::handover::Item;

/// Half of what a socket of the default size has room for (net.core.wmem_max, 212992): setting one doubles it.
const DEFAULT_BUFFER: usize = 212_992;
const NO_LIMIT: usize = usize::MAX;

fn connection(cookie: u64) -> Kept {
    Kept::Held(Item::Connection {
        cookie,
        slot: cookie as u32,
        listener: "tcp://[::]:2003".into(),
    })
}

fn queue(destination: &str, size: u64) -> Kept {
    Kept::Held(Item::Queue {
        destination: destination.into(),
        size,
        spec: serde_json::json!({"address": "127.0.0.1:2003"}),
    })
}

fn memory() -> Rc<OwnedFd> {
    Rc::new(sys::memfd("baton-test", 8).unwrap())
}

fn small() -> Lot {
    Lot::with(DEFAULT_BUFFER, NO_LIMIT).unwrap()
}

fn take(lot: &mut Lot, kept: impl IntoIterator<Item = Kept>) {
    lot.take(kept.into_iter().map(|kept| (kept, memory())));
    lot.write().unwrap();
}

fn gone(lot: &mut Lot, cookies: impl IntoIterator<Item = u64>) {
    lot.gone(cookies.into_iter().collect(), Vec::new());
    lot.write().unwrap();
}

/// What a successor finds, while the writer is gone.
fn contents(lot: Lot) -> Option<Contents> {
    let end = lot.end.try_clone().unwrap();
    drop(lot);
    read(end.as_fd()).unwrap()
}

/// The cookies of what is found; what has none is 0.
fn found(lot: Lot) -> Option<BTreeSet<u64>> {
    Some(cookies_of(&contents(lot)?))
}

fn cookies_of<T>(contents: &Contents<T>) -> BTreeSet<u64> {
    let cookies = contents.kept.iter().map(|(kept, _)| match kept {
        Kept::Held(item) => item.cookie().unwrap_or(0),
        _ => 0,
    });
    cookies.collect()
}

#[test]
fn what_was_taken_and_has_not_gone_is_found() {
    let mut lot = small();
    take(&mut lot, [Kept::Ledger]);
    take(&mut lot, (1..=600).map(connection));
    gone(&mut lot, 1..=300);
    take(&mut lot, [connection(300)]);
    let expected = [0].into_iter().chain(300..=600).collect();
    assert_eq!(found(lot), Some(expected));
}

/// A queue is put into other memory, goes, and comes again.
#[test]
fn the_last_word_about_a_queue_counts() {
    let sizes = |lot: Lot| -> Vec<u64> {
        let all = contents(lot).unwrap().kept;
        let sizes = all.iter().map(|(kept, _)| match kept {
            Kept::Held(Item::Queue { size, .. }) => *size,
            other => panic!("{other:?}"),
        });
        sizes.collect()
    };
    let go = |lot: &mut Lot| lot.gone(Vec::new(), vec!["d".into()]);

    let mut lot = small();
    take(&mut lot, [queue("d", 1)]);
    take(&mut lot, [queue("d", 2)]);
    assert_eq!(sizes(lot), [2]);

    let mut lot = small();
    take(&mut lot, [queue("d", 1)]);
    go(&mut lot);
    take(&mut lot, [queue("d", 2)]);
    assert_eq!(sizes(lot), [2], "told in one turn");

    let mut lot = small();
    take(&mut lot, [queue("d", 1)]);
    lot.take([(queue("d", 2), memory())]);
    go(&mut lot);
    lot.write().unwrap();
    assert_eq!(sizes(lot), [0; 0]);
}

/// As many connections as max_connections allows by default, while others come and go four at a time: in sockets that have
/// room for some three hundred such messages.
#[test]
fn sixty_five_thousand_connections_fit_in_small_sockets() {
    // What is in flight is limited for all but root.
    let stay = match rustix::process::geteuid().is_root() {
        true => 65_536,
        false => 65_536.min(sys::raise_open_files() / 2),
    };
    let fd = memory();
    let mut lot = small();
    let mut cookies = 1..;
    let mut staying = BTreeSet::new();
    let mut turn = |lot: &mut Lot, count: usize, stay: usize| {
        let some: Vec<u64> = cookies.by_ref().take(count).collect();
        lot.take(some.iter().map(|cookie| (connection(*cookie), fd.clone())));
        lot.write().unwrap();
        staying.extend(&some[..stay]);
        lot.gone(some[stay..].to_vec(), Vec::new());
        lot.write().unwrap();
        staying.len() as u64
    };
    while turn(&mut lot, 250, 250) < stay - 4_000 {}
    while turn(&mut lot, 4, 3) < stay {}
    for _ in 0..1_000 {
        turn(&mut lot, 4, 0);
    }
    assert_eq!(lot.counts(), (staying.len(), staying.len()));
    assert!(lot.log.len() < 800, "{} messages", lot.log.len());
    assert!(lot.parts.len() < 8, "{} parts", lot.parts.len());
    // All of these descriptors at one time are more than a test may have.
    let end = lot.end.try_clone().unwrap();
    let contents = read_as(end.as_fd(), drop).unwrap().unwrap();
    assert!(cookies_of(&contents) == staying);
}

/// More than may be in flight: what doesn't fit waits for what goes.
#[test]
fn what_has_no_room_is_written_when_there_is() {
    let mut lot = Lot::with(DEFAULT_BUFFER, 2_000).unwrap();
    lot.take((1..=3_000).map(|cookie| (connection(cookie), memory())));
    assert!(lot.write().is_err());
    let (kept, of) = lot.counts();
    assert!(
        (1_700..2_000).contains(&kept) && of == 3_000,
        "{kept} of {of}"
    );
    assert!(lot.write().is_err(), "nothing has gone");
    // Those that aren't in it go without a word.
    lot.gone((1_001..=3_000).collect(), Vec::new());
    while lot.write().is_err() {}
    assert_eq!(lot.counts(), (1_000, 1_000));
    assert_eq!(found(lot), Some((1..=1_000).collect()));
}

/// An address is free once nothing holds its socket.
#[test]
fn what_has_gone_is_closed_when_it_is_tidied() {
    let mut lot = small();
    let (reader, writer) = std::io::pipe().unwrap();
    lot.take([(connection(7), Rc::new(writer.into()))]);
    lot.write().unwrap();
    take(&mut lot, [connection(8)]);
    gone(&mut lot, [7]);
    lot.tidy_all().unwrap();
    let closed = std::io::read_to_string(reader).unwrap();
    assert_eq!(closed, "", "its last writer has gone");
    assert_eq!(found(lot), Some([8].into()));
}

#[test]
fn a_lot_that_was_ended_has_nothing() {
    let mut lot = small();
    take(&mut lot, [connection(1)]);
    lot.end_it().unwrap();
    assert!(contents(lot).is_none());
}

/// What is said in a lot, as it stands in a file: one message a line. Each has so many descriptors as it takes.
const GOLDEN: &str = include_str!("golden.jsonl");

fn golden() -> Vec<Kept> {
    let listener = Item::Listener {
        kind: "line".into(),
        address: "unix:/run/baton/line.sock".into(),
        cookie: 4,
        unlisted: false,
        passed: false,
    };
    let file = ("/run/baton/line.sock".into(), 25, 1041);
    vec![
        Kept::Ledger,
        Kept::Program,
        Kept::Config,
        Kept::History,
        Kept::Stopping,
        queue("127.0.0.1:2003", 1 << 20),
        connection(1),
        Kept::Held(Item::Session {
            cookie: 2,
            listener: "tcp://127.0.0.1:2004".into(),
        }),
        Kept::Held(Item::Outbound {
            cookie: 3,
            destination: "127.0.0.1:2003".into(),
        }),
        Kept::Bound(listener, Some(file)),
    ]
}

/// Lots of other versions are read: who changes what is written adds to the file, and changes nothing that stands in it.
#[test]
fn a_lot_of_version_1_is_read() {
    let (ours, end) = pair(BUFFER).unwrap();
    let mut parts = Vec::new();
    for line in GOLDEN.lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        if json["type"] == "part" {
            let (in_it, its_end) = pair(BUFFER).unwrap();
            sys::send(ours.as_fd(), line.as_bytes(), &[its_end.as_fd()], false).unwrap();
            parts.push(in_it);
            continue;
        }
        let count = json["kept"].as_array().map_or(0, Vec::len);
        let fds: Vec<_> = (0..count).map(|_| memory()).collect();
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        let part = parts.last().unwrap();
        sys::send(part.as_fd(), line.as_bytes(), &fds, false).unwrap();
    }
    let contents = read(end.as_fd()).unwrap().unwrap();
    let kept: HashMap<Key, Kept> = contents
        .kept
        .into_iter()
        .map(|(k, _)| (k.key(), k))
        .collect();
    let expected = golden().into_iter().map(|k| (k.key(), k)).collect();
    assert_eq!(kept, expected);
    assert_eq!(
        (contents.unknown, contents.cut),
        (3, 0),
        "what only the file knows"
    );
    assert_eq!(contents.foreign, None);
}

/// And what this version writes stands in the file.
#[test]
fn what_is_written_is_of_version_1() {
    let written = |value: serde_json::Value| {
        let stands = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap() == value;
        assert!(GOLDEN.lines().any(stands), "{value}");
    };
    written(serde_json::to_value(Outer::Part { version: VERSION }).unwrap());
    for kept in golden() {
        written(serde_json::to_value(Message::Take { kept: vec![kept] }).unwrap());
    }
    let (cookies, queues) = (vec![5], vec!["127.0.0.1:2103".into()]);
    written(serde_json::to_value(Message::<Kept>::Gone { cookies, queues }).unwrap());
}

#[test]
fn of_another_version_only_its_size_is_known() {
    let (ours, end) = pair(BUFFER).unwrap();
    let (part, its_end) = pair(BUFFER).unwrap();
    let outer = br#"{"type":"part","version":2}"#;
    sys::send(ours.as_fd(), outer, &[its_end.as_fd()], false).unwrap();
    let fds = [memory(), memory(), memory()];
    let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    sys::send(part.as_fd(), b"what is new", &fds, false).unwrap();
    let contents = read(end.as_fd()).unwrap().unwrap();
    assert_eq!((contents.kept.len(), contents.unknown), (0, 3));
    assert!(contents.foreign.unwrap().contains("\"version\":2"));
}
