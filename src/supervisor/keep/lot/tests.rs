use std::collections::BTreeSet;

use super::*;

fn connection(cookie: u64) -> (Kept, Rc<OwnedFd>) {
    let item = Item::Connection {
        cookie,
        slot: cookie as u32,
        listener: "tcp://[::]:2003".into(),
    };
    (Kept::Held(item), memory())
}

fn memory() -> Rc<OwnedFd> {
    Rc::new(sys::memfd("baton-test", 8).unwrap())
}

/// What a successor finds, while the writer is gone.
fn found(lot: Lot) -> Option<BTreeSet<u64>> {
    let end = lot.end.try_clone().unwrap();
    drop(lot);
    let all = read(end.as_fd()).unwrap()?;
    let cookies = all.iter().map(|(kept, _)| match kept {
        Kept::Held(item) => item.cookie().unwrap(),
        _ => 0,
    });
    Some(cookies.collect())
}

#[test]
fn what_was_taken_and_has_not_gone_is_found() {
    let mut lot = Lot::new().unwrap();
    lot.take(vec![(Kept::Ledger, memory())]).unwrap();
    lot.take((1..=600).map(connection).collect()).unwrap();
    lot.gone((1..=300).collect(), Vec::new()).unwrap();
    lot.take(vec![connection(300)]).unwrap();
    let expected = [0].into_iter().chain(300..=600).collect();
    assert_eq!(found(lot), Some(expected));
}

#[test]
fn an_endless_coming_and_going_finds_room_and_loses_nothing() {
    let mut lot = Lot::new().unwrap();
    lot.take(vec![(Kept::Ledger, memory())]).unwrap();
    lot.take((1..=2_000).map(connection).collect()).unwrap();
    for cookie in 3_000..6_000 {
        lot.take(vec![connection(cookie)]).unwrap();
        if cookie % 100 > 3 {
            lot.gone(vec![cookie], Vec::new()).unwrap();
        }
    }
    assert!(lot.log.len() < 2 * SPARE, "{} messages", lot.log.len());
    let stayed = (3_000..6_000).filter(|cookie| cookie % 100 <= 3);
    let expected: BTreeSet<u64> = (0..=2_000).chain(stayed).collect();
    assert_eq!(found(lot), Some(expected));
}

/// An address is free once nothing holds its socket.
#[test]
fn what_has_gone_is_closed_when_it_is_tidied() {
    let mut lot = Lot::new().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let item = connection(7).0;
    lot.take(vec![(item, Rc::new(writer.into()))]).unwrap();
    lot.take(vec![connection(8)]).unwrap();
    lot.gone(vec![7], Vec::new()).unwrap();
    lot.tidy_all().unwrap();
    let closed = std::io::read_to_string(reader).unwrap();
    assert_eq!(closed, "", "its last writer has gone");
    assert_eq!(found(lot), Some([8].into()));
}

#[test]
fn a_lot_that_was_ended_has_nothing() {
    let mut lot = Lot::new().unwrap();
    lot.take(vec![connection(1)]).unwrap();
    lot.end_it().unwrap();
    assert_eq!(found(lot), None);
}
