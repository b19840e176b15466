//! Tables of a few rules.

use super::{NEVER, Scratch, Table};
use crate::route::matcher::Subject;

impl Table {
    /// The rule that blocks a name, or its takers, in the scratch. A plain loop: what is fastest for a few rules, and nothing is faster for one.
    #[inline]
    pub(super) fn takers_of_few(&self, name: &Subject, scratch: &mut Scratch) -> Option<usize> {
        scratch.takers.clear();
        let blocked = self
            .entries
            .blocklist
            .iter()
            .position(|rule| rule.matcher().accepts(name));
        if blocked.is_some() {
            return blocked;
        }
        for (index, (route, plan)) in self.entries.routes.iter().zip(&self.plans).enumerate() {
            if !route.matcher.accepts(name) {
                continue;
            }
            match plan.only {
                Some(taker) => scratch.takers.push(taker),
                None => self.takers_of_route(index, name, scratch),
            }
            if self.entries.first_only {
                break;
            }
        }
        None
    }

    fn takers_of_route(&self, index: usize, name: &Subject, scratch: &mut Scratch) {
        let plan = &self.plans[index];
        let Scratch {
            accepting,
            chosen,
            takers,
            ..
        } = scratch;
        // A hundred members that accept every name aren't asked about each.
        let accepting = match plan.members.is_empty() {
            true => &plan.always,
            false => {
                let members = self.entries.routes[index].destinations.iter().enumerate();
                let members = members.filter(|(_, (_, matcher))| matcher.accepts(name));
                accepting.clear();
                accepting.extend(members.map(|(at, _)| at));
                accepting
            }
        };
        if !accepting.is_empty() {
            self.choose(index, accepting, name.name(), &NEVER, chosen, takers);
        }
    }
}
