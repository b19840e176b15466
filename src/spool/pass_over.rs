//! What is queued for a member of a route that is down goes to one that is up.
//!
//! First everything becomes rows of the one that is down, as at a stop; then they are given to the other, some in each step. The one that is
//! down is kept from connecting only while its rings change, so that nothing of them is on its way to it.

use super::account::Account;
use super::engine::{Engine, Trouble};
use super::errand::Step;
use crate::ledger::Count;

impl Engine {
    /// One step. The last one, if the giver is up or the taker isn't: then nothing is to be moved any more.
    pub(super) fn pass_over(&mut self, from: &str, to: &str) -> Result<Step, Trouble> {
        let (Some(giver), Some(taker)) = (self.account(from), self.account(to)) else {
            return Ok(Step::Last(0));
        };
        if self.accounts[giver].is_up() || !self.accounts[taker].is_up() {
            return Ok(Step::Last(0));
        }
        if self.accounts[giver].is_in_memory() {
            let destination = self.accounts[giver].destination.clone();
            if !destination.hold() {
                return Ok(Step::Last(0));
            }
            let stowed = self.stow(giver);
            destination.let_go();
            stowed?;
        }
        self.give_rows(from, to, Count::Moved)
    }
}

impl Account {
    /// Whether something of it is queued, or rows are thought to be in its send ring.
    fn is_in_memory(&self) -> bool {
        self.queue.queued_bytes() > 0 || self.cursor().is_some()
    }
}
