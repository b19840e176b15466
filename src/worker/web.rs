//! The HTTP listeners of a worker: served while it serves. A hand-over finishes responses under way and closes the
//! rest; the successor serves from then on.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::relay::{Relay, lock};
use super::report;
use crate::admin::http::{Source, router, serve};
use crate::admin::view::View;
use crate::intake::Sample;
use crate::listen::Listener;
use crate::pipeline::trace::Trace;
use crate::validate::Reason;

/// The servers that run now, by their listener.
#[derive(Debug, Default)]
pub(super) struct Web {
    running: Mutex<Vec<(u64, watch::Sender<bool>)>>,
}

impl Web {
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
        let router = router(relay.clone());
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

fn own_listener(listener: &Listener) -> io::Result<tokio::net::TcpListener> {
    let duplicate: OwnedFd = listener.socket.try_clone()?;
    tokio::net::TcpListener::from_std(duplicate.into())
}

impl Source for Relay {
    fn view(&self) -> View {
        report::view(self)
    }

    fn rejected(&self, reason: Option<Reason>) -> Vec<Sample> {
        self.inputs.intake.rejected.last(reason)
    }

    fn trace(&self, metrics: &[Vec<u8>]) -> Vec<Trace> {
        super::trace::trace(self, metrics)
    }

    fn is_serving(&self) -> bool {
        self.serving.load(Ordering::SeqCst)
    }
}
