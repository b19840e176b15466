//! Kinds of routes: which member has a name, as the original relays have it; what moves when members come and go; and the same through
//! whole processes and real sockets, with the books checked at the end of every test.
#![allow(missing_docs)]

#[path = "routes/kinds.rs"]
mod kinds;
#[path = "routes/moves.rs"]
mod moves;
#[path = "inputs/relay.rs"]
#[expect(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;
#[path = "routes/store.rs"]
mod store;
#[path = "routes/vectors.rs"]
mod vectors;

use baton::route::{ChoiceOptions, Chooser, Member, Moment, RouteKind};

/// `host:port`, `host:port=instance`.
fn member(destination: usize, text: &str) -> Member {
    let (address, instance) = match text.split_once('=') {
        Some((address, instance)) => (address, Some(instance.to_owned())),
        None => (text, None),
    };
    let (host, port) = address.rsplit_once(':').unwrap();
    Member {
        destination,
        host: host.to_owned(),
        port: port.parse().unwrap(),
        instance,
    }
}

fn members(texts: &[String]) -> Vec<Member> {
    let numbered = texts.iter().enumerate();
    numbered.map(|(at, text)| member(at, text)).collect()
}

fn chooser(kind: RouteKind, texts: &[String], options: ChoiceOptions) -> Chooser {
    Chooser::new(kind, members(texts), options).unwrap()
}

/// Who takes a name.
fn chosen(chooser: &Chooser, name: &str, up: &[bool]) -> Vec<usize> {
    let mut chosen = Vec::new();
    let moment = Moment { up, turn: 0 };
    chooser.choose(name.as_bytes(), chooser.everyone(), &moment, &mut chosen);
    chosen
}
