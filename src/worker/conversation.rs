//! What a worker hears from its supervisor, and does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::loading::Loading;
use super::offered::Offered;
use super::relay::{Relay, lock};
use super::stop::Stopping;
use super::windows::{flush_for_ever, pack};
use super::{Begun, ORPHANED, assemble, fault, losses, own_metrics, report};
use crate::handover::{FromSupervisor, FromWorker, Link, Wanted};
use crate::ledger::LANES;
use crate::listen::read_stream;
use crate::spool::Errand;
use crate::sys;

/// The largest state that a frozen worker can pass.
const MAX_FROZEN: u64 = 8 << 30;

/// Prepares, serves, and goes, as the supervisor says. Returns the exit status.
///
/// # Errors
/// Why this worker can't be; the supervisor is to be told.
pub(super) fn hold(mut begun: Begun) -> io::Result<i32> {
    let threads = std::thread::available_parallelism()
        .map_or(1, |n| n.get())
        .clamp(2, LANES - 1);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("baton-relay")
        .enable_all()
        .build()?;
    let _context = runtime.enter();
    let link = begun.link.clone();
    let token = begun.token.take();
    let wanted = begun
        .config
        .listen
        .iter()
        .map(|l| Wanted {
            kind: l.kind.as_str().to_owned(),
            address: l.address.to_string(),
        })
        .collect();
    link.send(&FromWorker::Listeners { wanted }, &[])?;
    fault::point("after-listeners");
    let mut offered = Offered::default();
    if !take_all(&link, &mut offered, &mut begun.loading)? {
        return Ok(ORPHANED);
    }
    let relay = assemble::assemble(begun, &mut offered, runtime.handle().clone(), threads)?;
    relay.start_tasks();
    runtime.spawn(own_metrics::send_for_ever(relay.clone()));
    runtime.spawn(flush_for_ever(relay.clone()));
    runtime.spawn(losses::tell_for_ever(relay.clone()));
    runtime.spawn(tick(relay.clone(), link.clone()));
    let config = sys::memfd_with("baton-config", &[&relay.config.source])?;
    fault::point("before-ready");
    let ready = FromWorker::Ready {
        config_hash: relay.config_hash.clone(),
    };
    link.send(&ready, &[config.as_fd()])?;
    fault::point("after-ready");
    let status = Conversation {
        link,
        relay,
        offered,
        stopping: None,
        token,
    }
    .hear_until_end();
    let status = status?;
    super::write_profile();
    #[expect(
        clippy::disallowed_methods,
        reason = "the runtime's threads may be inside of anything: nobody waits for them"
    )]
    std::process::exit(status)
}

/// Takes what the supervisor passes until it says that this is all. False: it has gone.
fn take_all(link: &Link, offered: &mut Offered, loading: &mut Loading) -> io::Result<bool> {
    loop {
        match link.receive(true)? {
            None => return Ok(false),
            Some((FromSupervisor::All, _)) => return Ok(true),
            Some((FromSupervisor::Refuse { reason }, _)) => return Err(io::Error::other(reason)),
            Some((FromSupervisor::Take { batch, items }, fds)) => {
                let count = fds.len();
                offered.take(items, fds)?;
                link.send(&FromWorker::Taken { batch, count }, &[])?;
                fault::point("after-taken");
                loading.has("took sockets and queues");
            }
            Some((FromSupervisor::Released { cookies, queues }, _)) => {
                offered
                    .connections
                    .retain(|(c, _)| !c.cookie().is_some_and(|c| cookies.contains(&c)));
                offered.sessions.retain(|(c, ..)| !cookies.contains(c));
                cookies
                    .iter()
                    .for_each(|cookie| drop(offered.outbound.remove(cookie)));
                queues
                    .iter()
                    .for_each(|queue| drop(offered.queues.remove(queue)));
            }
            Some((other, _)) => {
                return Err(io::Error::other(format!(
                    "did not expect {other:?} while preparing"
                )));
            }
        }
    }
}

/// Tells the supervisor each second that the runtime turns.
async fn tick(relay: Arc<Relay>, link: Arc<Link>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        relay.registry.try_flush();
        crate::logging::tell_repeats();
        // A full socket says that the supervisor is behind, not that we hang.
        let _behind = link.try_send(&FromWorker::Tick, &[]);
        let now = crate::intake::now_ms();
        for destination in relay.all_destinations() {
            if let Some(mut lane) = relay.inputs.gate.enter() {
                destination.queue.note_age(&mut lane.writer, now);
            }
        }
    }
}

struct Conversation {
    link: Arc<Link>,
    relay: Arc<Relay>,
    offered: Offered,
    stopping: Option<Stopping>,
    /// Hung up unless somebody keeps what the supervisor held when it is gone.
    token: Option<OwnedFd>,
}

impl Conversation {
    fn hear_until_end(mut self) -> io::Result<i32> {
        loop {
            match self.link.receive(true) {
                Ok(Some((message, fds))) => {
                    if let Some(status) = self.heard(message, fds)? {
                        return Ok(status);
                    }
                }
                Ok(None) => return Ok(self.orphaned()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(self.orphaned());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Does what was said. Returns the exit status when this is the end.
    fn heard(&mut self, message: FromSupervisor, fds: Vec<OwnedFd>) -> io::Result<Option<i32>> {
        match message {
            FromSupervisor::Take { batch, items } => {
                let count = fds.len();
                self.offered.take(items, fds)?;
                if !self.relay.serving.load(Ordering::SeqCst) {
                    self.admit_offered()?;
                }
                self.link.send(&FromWorker::Taken { batch, count }, &[])?;
            }
            FromSupervisor::Released { cookies, queues } => {
                for cookie in cookies {
                    self.relay.inputs.connections.remove(cookie);
                    self.relay.sessions.forget(cookie);
                    self.offered.outbound.remove(&cookie);
                }
                self.queues_released(&queues)?;
            }
            FromSupervisor::Frozen => {
                fault::point("on-frozen");
                let state = fds
                    .first()
                    .ok_or_else(|| io::Error::other("no state came with it"))?;
                let began = Instant::now();
                let state = sys::read_memfd(state.as_fd(), MAX_FROZEN)?;
                self.take_over(state)?;
                self.take_sessions(fds.get(1).map(|fd| fd.as_fd()));
                self.relay.gathering.succeed();
                fault::point("before-confirmed");
                self.link.send(&FromWorker::Confirmed, &[])?;
                tracing::debug!(us = began.elapsed().as_micros() as u64, "took over");
                fault::point("after-confirmed");
            }
            FromSupervisor::Recover => {
                let finished = self.relay.ledger.recover();
                tracing::debug!(finished, "commits of the dead worker that were finished");
                self.relay.recover_connections(false);
                self.link_and_resize();
                fault::point("before-confirmed");
                self.link.send(&FromWorker::Confirmed, &[])?;
                fault::point("after-confirmed");
            }
            FromSupervisor::Preparing { successor } => {
                self.relay.amending.prepares(successor.is_some());
                if successor.is_some() {
                    // It reads the database: is that damaged, it is better found here, where the rules are. Nobody waits.
                    drop(self.relay.spool.ask(Errand::Examine));
                }
            }
            FromSupervisor::Go => self.go(),
            FromSupervisor::Freeze { successor } => self.freeze(successor)?,
            FromSupervisor::Thaw { stale } => self.thaw(stale)?,
            FromSupervisor::PassWindows { successor } => self.pass_windows(successor)?,
            FromSupervisor::Windows => self.take_windows(fds.first().map(|fd| fd.as_fd())),
            FromSupervisor::Settled { leaving } => super::settled::settled(&self.relay, &leaving),
            FromSupervisor::Retire => return Ok(Some(0)),
            FromSupervisor::Stop { timeout_ms } => self.stop(Duration::from_millis(timeout_ms), 0),
            FromSupervisor::Report { id } => {
                let json = serde_json::to_vec(&report::view(&self.relay))?;
                // Out of descriptors, the status goes without its part.
                let memory = sys::memfd_with("baton-status", &[json])
                    .inspect_err(|error| tracing::error!(%error, "the status can't be passed"))
                    .ok();
                let beside: Vec<_> = memory.iter().map(|memory| memory.as_fd()).collect();
                self.link.send(&FromWorker::Report { id }, &beside)?;
            }
            FromSupervisor::Spool { id, command } => {
                super::spool::obey(&self.relay, &self.link, (id, command), fds);
            }
            FromSupervisor::Trace { id } => super::trace::answer(&self.relay, &self.link, id, fds),
            FromSupervisor::History { generations, kept } => {
                if self.relay.serving.load(Ordering::SeqCst) {
                    // Nobody waits: what can't be noted now is noted with the next.
                    drop(
                        self.relay
                            .spool
                            .ask(Errand::Generations(generations.clone())),
                    );
                }
                *lock(&self.relay.history) = generations;
                *lock(&self.relay.kept) = kept;
            }
            FromSupervisor::Welcome { .. }
            | FromSupervisor::All
            | FromSupervisor::Refuse { .. } => {
                return Err(io::Error::other("did not expect this once prepared"));
            }
        }
        Ok(None)
    }

    /// Connections and queues that came after the first lot.
    fn admit_offered(&mut self) -> io::Result<()> {
        let relay = &self.relay;
        for (item, socket) in self.offered.connections.drain(..) {
            if let Some(connection) = relay.add_connection(&item, socket)? {
                relay
                    .runtime
                    .spawn(read_stream(relay.inputs.clone(), connection));
            }
        }
        for (cookie, listener, socket) in self.offered.sessions.drain(..) {
            relay.sessions.add(cookie, &listener, socket)?;
        }
        for (id, (size, spec, memory)) in self.offered.queues.drain() {
            let known = relay
                .all_destinations()
                .into_iter()
                .find(|d| d.spec.id == id);
            match known {
                // A successor that failed had put the ring into other memory.
                Some(known) => known.queue.replace_memory(memory, size)?,
                None => tracing::warn!(
                    destination = id, spec = %spec,
                    "lines for a destination that only the failed config had: they stay queued until a config has it again"
                ),
            }
        }
        Ok(())
    }

    /// The predecessor has let go of queues that it was emptying. Those that this config has again are ours now, and
    /// the supervisor is to hold them still.
    fn queues_released(&mut self, queues: &[String]) -> io::Result<()> {
        let relay = &self.relay;
        lock(&relay.leaving).retain(|one| !queues.contains(&one.destination.spec.id));
        for destination in &relay.in_force().destinations {
            if queues.contains(&destination.spec.id) {
                let item = assemble::queue_item(&destination.spec, destination.queue.size());
                let memory = destination.queue.memory();
                relay.registry.register(&[item], &[memory.as_fd()])?;
            }
        }
        Ok(())
    }

    /// Takes what the frozen worker said.
    fn take_over(&mut self, state: Vec<u8>) -> io::Result<()> {
        let links = self
            .relay
            .inputs
            .connections
            .inherit(state, &self.relay.ledger)?;
        let outbound = &self.offered.outbound;
        // As many as I know, all of which I know: that is the same set.
        let known = links
            .iter()
            .filter(|cookie| outbound.contains_key(cookie))
            .count();
        if known != links.len() || known != outbound.len() {
            return Err(io::Error::other(format!(
                "the old worker holds {} connections to destinations, I was passed {}, and {known} are the same",
                links.len(),
                outbound.len(),
            )));
        }
        self.link_and_resize();
        Ok(())
    }

    /// Takes what it said of its sessions. Without it they are cut; nothing else depends on them.
    fn take_sessions(&self, memory: Option<BorrowedFd<'_>>) {
        let Some(memory) = memory else { return };
        let read = sys::read_memfd(memory, MAX_FROZEN);
        let taken = read.and_then(|state| {
            let generation = self.relay.generation;
            self.relay.sessions.take_over(&state, generation)
        });
        if let Err(error) = taken {
            tracing::error!(%error, "sessions can't be taken over");
        }
    }

    fn link_and_resize(&mut self) {
        self.relay.link_destinations(&mut self.offered.outbound);
        self.relay.reset_fresh_rings();
        self.relay.resize_rings();
    }

    fn go(&mut self) {
        fault::point("on-go");
        self.relay.gathering.begin(&self.relay);
        let (relay, link) = (self.relay.clone(), self.link.clone());
        let (opened, is_open) = std::sync::mpsc::sync_channel(1);
        // By the runtime, so that it is seen to turn before it is to serve; and told from here, before all the tasks
        // that the gate's opening wakes.
        self.relay.runtime.spawn(async move {
            relay.open();
            fault::point("before-running");
            if let Err(error) = link.send(&FromWorker::Running, &[]) {
                tracing::error!(%error, "the supervisor can't be told");
            }
            // This thread waits for it.
            let _waits = opened.send(());
            fault::point("after-running");
        });
        let _opened = is_open.recv();
        self.relay.gathering.serve(&self.relay);
    }

    /// Frozen, and its successor serves: nothing changes here any more.
    fn pass_windows(&mut self, successor: u64) -> io::Result<()> {
        fault::point("on-pass-windows");
        self.relay.gathering.join();
        let packed = pack(&self.relay, Some(successor));
        let memory = packed.and_then(|parts| sys::memfd_with("baton-windows", &parts));
        // Without it the successor counts them as lost.
        let memory = memory
            .inspect_err(|error| tracing::error!(%error, "aggregation windows can't be passed"))
            .ok();
        let beside: Vec<_> = memory.iter().map(|memory| memory.as_fd()).collect();
        self.link.send(&FromWorker::Windows { successor }, &beside)
    }

    fn take_windows(&mut self, memory: Option<BorrowedFd<'_>>) {
        let read = memory.map(|memory| sys::read_memfd(memory, MAX_FROZEN));
        let parcel = read.and_then(|read| {
            read.inspect_err(|error| tracing::error!(%error, "aggregation windows can't be read"))
                .ok()
        });
        if parcel.is_some() || self.relay.gathering.awaits() {
            self.relay.gathering.take(&self.relay, parcel);
        }
    }

    fn freeze(&mut self, successor: u64) -> io::Result<()> {
        fault::point("on-freeze");
        let began = Instant::now();
        let (frozen, sessions) = self.relay.freeze();
        let closed = began.elapsed();
        // What was released must be known before the list of what is held.
        self.relay.registry.flush()?;
        let memory = sys::memfd_with("baton-frozen", &frozen)?;
        let sessions = sessions.map(|state| sys::memfd_with("baton-sessions", &[state]));
        let sessions = sessions.transpose();
        let sessions = sessions
            .inspect_err(|error| tracing::error!(%error, "sessions can't be passed"))
            .unwrap_or_default();
        let beside = sessions
            .iter()
            .chain([&memory])
            .map(|memory| memory.as_fd());
        let beside: Vec<_> = beside.collect();
        self.link.send(&FromWorker::Frozen { successor }, &beside)?;
        let bytes: usize = frozen.iter().map(Vec::len).sum();
        tracing::debug!(
            closed_us = closed.as_micros() as u64,
            us = began.elapsed().as_micros() as u64,
            bytes,
            "froze"
        );
        fault::point("after-frozen");
        self.relay.inputs.intake.tap.close();
        self.relay.web.finish();
        Ok(())
    }

    fn thaw(&mut self, stale: bool) -> io::Result<()> {
        self.relay.amending.prepares(false);
        tracing::warn!(stale, "the successor failed: going on");
        if stale {
            self.relay.ledger.recover();
            self.relay.recover_connections(true);
            self.link_and_resize();
            self.relay.gathering.thawed(&self.relay);
            self.relay.sessions.recover();
        }
        self.relay.open();
        for destination in self.relay.all_destinations() {
            destination.queue.taken_over();
        }
        Ok(())
    }

    fn stop(&mut self, limit: Duration, status: i32) {
        match &self.stopping {
            // Asked again: now.
            Some(stopping) => stopping.hurry(limit),
            None => {
                let (link, teller) = (self.link.clone(), self.link.clone());
                let takes_longer = move |step: &str| {
                    // Without a supervisor there is nobody to tell.
                    let step = step.to_owned();
                    let _gone = teller.send(&FromWorker::Progress { step }, &[]);
                };
                let stopping = Stopping::begin(&self.relay, limit, takes_longer, move |summary| {
                    super::write_profile();
                    // Without a supervisor there is nobody to tell.
                    let _gone = link.send(&FromWorker::Stopped { summary }, &[]);
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "the end of a worker's life: all is delivered or counted"
                    )]
                    std::process::exit(status);
                });
                self.stopping = Some(stopping);
            }
        }
    }

    /// The supervisor has died. Nobody could take over from this worker any more: it stops.
    fn orphaned(&mut self) -> i32 {
        if !self.relay.serving.load(Ordering::SeqCst) && self.stopping.is_none() {
            // Frozen, or never begun: it owns nothing.
            return ORPHANED;
        }
        let is_kept = |token: &OwnedFd| {
            let mut poll = [PollFd::new(token, PollFlags::empty())];
            let polled = rustix::event::poll(&mut poll, Some(&Timespec::default()));
            polled.is_ok() && !poll[0].revents().contains(PollFlags::HUP)
        };
        if self.stopping.is_none() && self.token.as_ref().is_some_and(is_kept) {
            // Clients and destinations needn't know: nothing is ended, and the successor begins where this leaves off.
            tracing::error!("the supervisor has gone: what it held is kept for the next");
            self.relay.inputs.gate.close();
            return ORPHANED;
        }
        tracing::error!("the supervisor has gone: stopping");
        self.stop(self.relay.config.supervisor.stop_timeout, ORPHANED);
        loop {
            // `stop` ends the process.
            std::thread::park();
        }
    }
}
