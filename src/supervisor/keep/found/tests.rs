use std::os::unix::net::UnixStream;

use super::super::lot::Lot;
use super::*;
use crate::ledger;

fn memory(bytes: u64) -> Rc<OwnedFd> {
    Rc::new(sys::memfd("baton-test", bytes).unwrap())
}

fn queue(destination: &str) -> (Kept, Rc<OwnedFd>) {
    let item = Item::Queue {
        destination: destination.into(),
        size: 8,
        spec: serde_json::Value::Null,
    };
    (Kept::Held(item), memory(8))
}

/// A connection that is said to have the cookie that it has, or one more.
fn connection(wrong: u64) -> (Kept, Rc<OwnedFd>) {
    let socket: OwnedFd = UnixStream::pair().unwrap().0.into();
    let item = Item::Outbound {
        cookie: sys::cookie(socket.as_fd()).unwrap() + wrong,
        destination: "d".into(),
    };
    (Kept::Held(item), Rc::new(socket))
}

fn left(all: impl IntoIterator<Item = (Kept, Rc<OwnedFd>)>) -> (io::Result<Option<Found>>, Lost) {
    let mut lot = Lot::new().unwrap();
    lot.take(all);
    lot.write().unwrap();
    let end = lot.end().try_clone_to_owned().unwrap();
    drop(lot);
    let mut lost = Lost::default();
    (read(&end, &mut lost), lost)
}

#[test]
fn one_that_is_not_what_it_is_said_to_be_is_lost_alone() {
    let ledger = (Kept::Ledger, memory(8));
    let (found, lost) = left([ledger, queue("a"), connection(0), connection(1)]);
    let found = found.unwrap().unwrap();
    assert_eq!((found.items.len(), found.stopping), (2, false));
    let one = Lost {
        sockets: 1,
        ..Lost::default()
    };
    assert_eq!(lost, one);
}

/// The program that is in it knows it: who only passes it on needn't.
#[test]
fn the_ledger_may_be_one_of_another_version() {
    let all = [Kept::Ledger, Kept::Program, Kept::Config, Kept::Stopping];
    let (found, lost) = left(all.map(|kept| (kept, memory(ledger::BYTES / 2))));
    let found = found.unwrap().unwrap();
    assert!(found.last_good.is_some() && found.stopping);
    assert_eq!(lost, Lost::default());
}

#[test]
fn without_a_ledger_it_is_said_what_is_lost() {
    let (found, lost) = left([queue("a"), queue("b"), connection(0)]);
    let error = found.unwrap_err().to_string();
    assert!(error.contains("1 sockets, 2 queues"), "{error}");
    assert_eq!((lost.sockets, lost.queues), (1, 2));
}

#[test]
fn what_never_worked_left_nothing() {
    let (found, _) = left([(Kept::Ledger, memory(8)), (Kept::History, memory(8))]);
    assert!(found.unwrap().is_none());
}
