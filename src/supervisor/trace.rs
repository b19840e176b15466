//! Questions what becomes of metrics: passed to the worker that serves, whose answer is passed back. Nobody waits here.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::Supervisor;
use super::machine::Id;
use crate::handover::{Answer, FromSupervisor, Traced};

impl Supervisor {
    /// A client's question. It is answered by [`Supervisor::question_answered`], or when that worker has ended.
    pub(super) fn pass_question(&mut self, id: u64, beside: Vec<OwnedFd>) {
        let serving = self.machine.serving();
        let worker = serving.and_then(|id| Some((id, self.workers.get_mut(&id)?)));
        let Some((serving, worker)) = worker else {
            return self.answer_question(id, Traced::Restarting, None);
        };
        if let Some(client) = self.control.client(id) {
            client.waits_trace = Some(serving);
        }
        let beside = beside.into_iter().map(Rc::new).collect();
        worker.say(&FromSupervisor::Trace { id }, beside);
    }

    /// A worker has answered a client, unless the client has gone.
    pub(super) fn question_answered(
        &mut self,
        worker: Id,
        id: u64,
        outcome: Traced,
        traces: Option<OwnedFd>,
    ) {
        if self.control.asking(worker).contains(&id) {
            self.answer_question(id, outcome, traces);
        }
    }

    /// A worker has ended: what it was still asked it doesn't answer.
    pub(super) fn questions_cut(&mut self, worker: Id) {
        for id in self.control.asking(worker) {
            self.answer_question(id, Traced::Restarting, None);
        }
    }

    fn answer_question(&mut self, id: u64, outcome: Traced, beside: Option<OwnedFd>) {
        let traces = serde_json::Value::Null;
        let answer = Answer::Traced { outcome, traces };
        self.control.answer(id, &answer, beside.as_ref());
    }
}
