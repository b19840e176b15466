//! Commands to the spool: passed to the worker that serves, whose answer is passed back. Nobody waits here.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::Supervisor;
use super::machine::Id;
use crate::handover::{Answer, FromSupervisor, Outcome, SpoolCommand};

impl Supervisor {
    /// A client's command. It is answered by [`Supervisor::command_done`], or when that worker has ended.
    pub(super) fn pass_command(&mut self, id: u64, command: SpoolCommand, beside: Vec<OwnedFd>) {
        let serving = self.machine.serving();
        let worker = serving.and_then(|id| Some((id, self.workers.get_mut(&id)?)));
        let Some((serving, worker)) = worker else {
            self.answer_command(id, Outcome::Restarting);
            return;
        };
        if let Some(client) = self.control.client(id) {
            client.waits_spool = Some(serving);
        }
        tracing::debug!(?command, "asked of the spool");
        let beside = beside.into_iter().map(Rc::new).collect();
        worker.say(&FromSupervisor::Spool { id, command }, beside);
    }

    /// A worker has done what a client had asked for, unless the client has gone.
    pub(super) fn command_done(&mut self, worker: Id, id: u64, outcome: Outcome) {
        if self.control.waiting_for(worker).contains(&id) {
            self.answer_command(id, outcome);
        }
    }

    /// A worker has ended: what it was still asked for it hasn't done, or not to the end.
    pub(super) fn commands_cut(&mut self, worker: Id) {
        for id in self.control.waiting_for(worker) {
            self.answer_command(id, Outcome::Restarting);
        }
    }

    fn answer_command(&mut self, id: u64, outcome: Outcome) {
        self.control.answer(id, &Answer::Spooled { outcome }, None);
    }
}
