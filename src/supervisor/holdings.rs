//! What the supervisor holds for its workers: sockets, queues, the ledger.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::sockets::Listener;
use crate::handover::Item;

/// Something to be told to a worker that takes over, in order.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A socket or queue.
    Take(Item, Rc<OwnedFd>),
    /// What is gone: sockets by cookie, queues by destination.
    Released(Vec<u64>, Vec<String>),
    /// Everything that was held has been told; what follows are changes.
    All,
}

/// What came or went.
#[derive(Debug)]
pub enum Change {
    /// A connection or queue is held.
    Held(Item, Rc<OwnedFd>),
    /// Sockets by cookie and queues by destination are not, any more.
    Gone(Vec<u64>, Vec<String>),
}

/// Duplicates of everything that must outlive a worker.
#[derive(Debug)]
pub struct Holdings {
    /// The ledger's memfd.
    pub ledger: Rc<OwnedFd>,
    /// Listening and UDP sockets.
    pub listeners: Vec<Listener>,
    /// Connections and outbound connections, by cookie.
    pub sockets: HashMap<u64, (Item, Rc<OwnedFd>)>,
    /// Rings, by destination.
    pub queues: HashMap<String, (Item, Rc<OwnedFd>)>,
    /// What came and went since this was last looked at.
    pub changes: Vec<Change>,
}

impl Holdings {
    /// With what there is at the start.
    pub fn found(
        ledger: Rc<OwnedFd>,
        listeners: Vec<Listener>,
        items: Vec<(Item, Rc<OwnedFd>)>,
    ) -> Holdings {
        let mut holdings = Holdings {
            ledger,
            listeners,
            sockets: HashMap::new(),
            queues: HashMap::new(),
            changes: Vec::new(),
        };
        for (item, fd) in items {
            holdings.register(item, fd);
        }
        holdings
    }

    /// Takes what a worker registered.
    pub fn register(&mut self, item: Item, fd: Rc<OwnedFd>) {
        self.changes.push(Change::Held(item.clone(), fd.clone()));
        match &item {
            Item::Queue { destination, .. } => {
                self.queues.insert(destination.clone(), (item, fd));
            }
            Item::Connection { cookie, .. }
            | Item::Session { cookie, .. }
            | Item::Outbound { cookie, .. } => {
                self.sockets.insert(*cookie, (item, fd));
            }
            // Listeners come from here, never from a worker.
            Item::Listener { .. } => drop(self.changes.pop()),
        }
    }

    /// Lets go of what a worker is done with. Returns the listeners among it.
    pub fn release(&mut self, cookies: &[u64], queues: &[String]) -> Vec<Listener> {
        for cookie in cookies {
            self.sockets.remove(cookie);
        }
        for queue in queues {
            self.queues.remove(queue);
        }
        let gone = Change::Gone(cookies.to_vec(), queues.to_vec());
        self.changes.push(gone);
        let (gone, kept) = std::mem::take(&mut self.listeners)
            .into_iter()
            .partition(|l| !l.passed && cookies.contains(&l.cookie));
        self.listeners = kept;
        gone
    }

    /// Everything, for a worker of this generation that wants these listeners: queues before the
    /// connections that lead to them.
    pub fn all(&self, generation: u64, wanted: &[crate::handover::Wanted]) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(self.sockets.len() + self.queues.len() + 16);
        for listener in &self.listeners {
            if listener.pending.is_some_and(|of| of != generation) {
                continue;
            }
            let address = listener.address.to_string();
            let want = wanted.iter().find(|w| w.address == address);
            let item = Item::Listener {
                kind: want.map_or(&listener.kind, |w| &w.kind).clone(),
                address,
                cookie: listener.cookie,
                unlisted: want.is_none(),
                passed: listener.passed,
            };
            entries.push(Entry::Take(item, listener.fd.clone()));
        }
        let held = self.queues.values().chain(self.sockets.values());
        entries.extend(held.map(|(item, fd)| Entry::Take(item.clone(), fd.clone())));
        entries.push(Entry::All);
        entries
    }
}
