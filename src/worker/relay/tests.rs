use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::{Begun, assemble, loading::Loading, offered::Offered};
use super::*;
use crate::admin::access::Access;
use crate::amend::Backlog;
use crate::handover::{FromWorker, Link};
use crate::ledger::{BYTES, Offset, Writer};
use crate::spec;

const LISTENER: &str = "tcp://127.0.0.1:2003";
const CONFIG: &[u8] = b"[listen]\nline = []\nhttp = []\n[instrumentation]\ninterval = \"0s\"\n";

/// A worker that doesn't serve yet, and the supervisor's end of its link.
fn relay() -> (Arc<Relay>, Link) {
    relay_with(&mut Offered::default())
}

fn relay_with(offered: &mut Offered) -> (Arc<Relay>, Link) {
    let (link, supervisor) = Link::pair().unwrap();
    let memory = sys::memfd("ledger", BYTES).unwrap();
    let config = Config::compile(Path::new("/baton.toml"), CONFIG).unwrap();
    let link = Arc::new(link);
    let begun = Begun {
        loading: Loading::since(Instant::now(), &link, Duration::MAX),
        link,
        version: String::new(),
        generation: 2,
        access: Access::for_nobody(&config.admin),
        config,
        kept: Default::default(),
        sessions: true,
        token: None,
        ledger: Arc::new(Ledger::open(memory.as_fd()).unwrap()),
    };
    let relay = assemble::assemble(begun, offered, Handle::current(), 1);
    (relay.unwrap(), Link::new(supervisor))
}

/// A client, and its connection as it is passed.
fn client(slot: u32) -> (TcpStream, Item, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let socket = OwnedFd::from(listener.accept().unwrap().0);
    let item = Item::Connection {
        cookie: sys::cookie(socket.as_fd()).unwrap(),
        slot,
        listener: LISTENER.into(),
    };
    (client, item, socket)
}

#[tokio::test]
async fn a_connection_whose_slot_has_another_owner_by_now_is_closed_and_released() {
    let (relay, supervisor) = relay();
    let (mut old, old_item, old_socket) = client(3);
    let (_new, new_item, new_socket) = client(3);
    let slot = Slot::from_number(3).unwrap();
    let mut writer = Writer::new(relay.ledger.clone(), 0);
    for item in [&old_item, &new_item] {
        writer.open_stream(slot, item.cookie().unwrap(), Offset::default());
        writer.commit();
    }
    // In whatever order they come.
    let added = relay.add_connection(&new_item, new_socket).unwrap();
    assert_eq!(added.map(|c| c.cookie), new_item.cookie());
    assert!(
        relay
            .add_connection(&old_item, old_socket)
            .unwrap()
            .is_none()
    );
    assert_eq!(old.read(&mut [0]).unwrap(), 0, "it isn't closed");
    let held = relay.inputs.connections.all();
    assert_eq!(held.len(), 1);
    assert_eq!(Some(held[0].cookie), new_item.cookie());
    let told = supervisor.receive::<FromWorker>(false).unwrap().unwrap().0;
    let released = FromWorker::Release {
        cookies: vec![old_item.cookie().unwrap()],
        queues: Vec::new(),
    };
    assert_eq!(told, released);
}

/// Queues of destinations that the config doesn't have, and what was said of their lines.
fn with_leaving(said: &[(&str, Backlog)]) -> (Arc<Relay>, Link) {
    let mut offered = Offered::default();
    for (id, how) in said {
        let text = format!("127.0.0.1:1 id={id} full=drop queue=1MiB");
        let spec = spec::Destination::parse(&text, "route").unwrap();
        let size = assemble::ring_size(spec.queue);
        let memory = sys::memfd("queue", crate::queue::memory_for(size)).unwrap();
        let item = assemble::leaving_item(&spec, size, *how);
        offered.take(vec![item], vec![memory]).unwrap();
    }
    relay_with(&mut offered)
}

#[tokio::test]
async fn what_is_to_become_of_lines_is_known_to_who_takes_over() {
    let said = [
        ("a", Backlog::Drain),
        ("b", Backlog::Discard),
        ("c", Backlog::Keep),
    ];
    let (relay, _supervisor) = with_leaving(&said);
    let mut found: Vec<(String, Backlog)> = lock(&relay.leaving)
        .iter()
        .map(|one| (one.destination.spec.id.clone(), one.how))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found, said.map(|(id, how)| (id.to_owned(), how)));
}

/// From here to the moment in which the table is in force a freeze or a stop may come: it is in a list all the time.
#[tokio::test]
async fn a_destination_that_is_taken_back_is_there_until_it_is_in_force_again() {
    let (relay, _supervisor) = with_leaving(&[("a", Backlog::Keep)]);
    let there = || relay.all_destinations().len();
    let back = relay.take_back("a").unwrap().unwrap();
    assert_eq!(there(), 1);
    assert!(!relay.put_away(&back), "it is put away");
    assert!(relay.still_leaves(&back));
    // It won't be: it goes on leaving, as it was said.
    relay.leave_it(std::slice::from_ref(&back));
    assert_eq!(lock(&relay.leaving)[0].how, Backlog::Keep);
    assert!(relay.put_away(&back));
    assert!(
        relay.take_back("a").is_err(),
        "it is put away, and had again"
    );
    relay.is_put_away("a");
    let back = relay.take_back("a").unwrap().unwrap();
    relay.leave_with(std::slice::from_ref(&back), &[], || {});
    assert_eq!(there(), 0);
    assert!(!relay.still_leaves(&back));
}
