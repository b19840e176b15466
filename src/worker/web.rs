//! The HTTP listeners of a worker: served while it serves. A hand-over finishes responses under way and closes the
//! rest; the successor serves from then on.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::amend;
use super::relay::{Relay, lock};
use super::report;
use crate::admin::access::Access;
use crate::admin::charts::Charts;
use crate::admin::desk::{self, Desk, Outcome, Refusal, TableView};
use crate::admin::http::{Guard, Reach, Socket, router, serve};
use crate::admin::view::View;
use crate::config::{self, ListenAddress};
use crate::intake::Sample;
use crate::listen::Listener;
use crate::pipeline::trace::Trace;
use crate::state::{PastChange, Store};
use crate::tap::{Subscription, Wanted};
use crate::validate::Reason;

/// The servers that run now, by their listener.
#[derive(Debug)]
pub(super) struct Web {
    running: Mutex<Vec<(u64, watch::Sender<bool>)>>,
    access: Arc<Access>,
}

impl Web {
    /// Serves nothing yet; later, those who may.
    pub fn new(access: Arc<Access>) -> Web {
        Web {
            running: Mutex::default(),
            access,
        }
    }

    /// Who may.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Serves a listener.
    pub fn serve(&self, relay: &Arc<Relay>, listener: &Listener) {
        let socket = match own_listener(listener) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::error!(address = listener.address, %error, "HTTP can't be served");
                return;
            }
        };
        let (end, mut ended) = watch::channel(false);
        lock(&self.running).push((listener.cookie, end));
        let pages = router(Arc::new(Asked(relay.clone())));
        let router = Guard::new(self.access.clone(), reach(&listener.address)).around(pages);
        relay.runtime.spawn(serve(socket, router, async move {
            // That the sender has gone means the same.
            let _ended = ended.wait_for(|ended| *ended).await;
        }));
    }

    /// Ends all servers; responses under way are finished.
    pub fn finish(&self) {
        for (_, end) in lock(&self.running).drain(..) {
            end.send_replace(true);
        }
    }

    /// Ends the server of one listener.
    pub fn close(&self, listener: &Listener) {
        for (_, end) in lock(&self.running).extract_if(.., |(cookie, _)| *cookie == listener.cookie)
        {
            end.send_replace(true);
        }
    }
}

/// Who can reach an address. One that can't be read is taken for the worst.
fn reach(address: &str) -> Reach {
    match address.parse::<ListenAddress>() {
        Ok(ListenAddress::Unix(_)) => Reach::Owner,
        Ok(address) if !address.is_for_others() => Reach::Machine,
        _ => Reach::Others,
    }
}

fn own_listener(listener: &Listener) -> io::Result<Socket> {
    let duplicate: OwnedFd = listener.socket.try_clone()?;
    Ok(if listener.address.starts_with("unix:") {
        tokio::net::UnixListener::from_std(duplicate.into())?.into()
    } else {
        tokio::net::TcpListener::from_std(duplicate.into())?.into()
    })
}

/// A running relay, as it is asked.
#[derive(Debug)]
pub(super) struct Asked(pub Arc<Relay>);

impl Desk for Asked {
    fn view(&self) -> View {
        report::view(&self.0)
    }

    fn rejected(&self, reason: Option<Reason>) -> Vec<Sample> {
        self.0.inputs.intake.rejected.last(reason)
    }

    fn trace(&self, metrics: &[Vec<u8>]) -> Vec<Trace> {
        super::trace::trace(&self.0, metrics)
    }

    fn is_serving(&self) -> bool {
        self.0.serving.load(Ordering::SeqCst)
    }

    fn may_change(&self) -> bool {
        self.0.amending.may()
    }

    fn table(&self) -> TableView {
        let now = self.0.in_force();
        TableView::of(&now.document, now.version(&self.0.config_hash))
    }

    fn version(&self) -> String {
        self.0.in_force().version(&self.0.config_hash)
    }

    fn config(&self) -> String {
        config::print(&self.0.in_force().config)
    }

    fn preview(&self, asked: &desk::Asked) -> Result<Outcome, Refusal> {
        amend::preview(&self.0, asked)
    }

    fn change(&self, asked: &desk::Asked) -> Result<Outcome, Refusal> {
        amend::change(&self.0, asked)
    }

    fn history(&self, before: Option<u64>, most: u32) -> Result<Vec<PastChange>, String> {
        let path = self.0.spool.health().path;
        if !path.exists() {
            return Ok(Vec::new());
        }
        let store = Store::open_existing(&path, false);
        let changes = store.and_then(|store| store.changes(before, most));
        changes.map_err(|error| error.to_string())
    }

    fn restart(&self) -> Result<(), String> {
        let asked = self.0.registry.ask_for_reload();
        asked.map_err(|error| format!("the supervisor can't be asked: {error}"))
    }

    fn subscribe(&self, wanted: &Wanted) -> Result<Subscription, String> {
        self.0.inputs.intake.tap.subscribe(wanted)
    }

    fn charts(&self) -> Charts {
        self.0.charting.charts()
    }
}
