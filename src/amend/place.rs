//! From a place among others to a position.

use super::change::{Place, Refused};
use super::draft::Draft;
use super::{BEHIND, Entry, Row, STEP, Spot};
use crate::config::{Problem, RuleKind};

impl Draft<'_> {
    /// Where a rule is at that place, which the rule `own` of this kind is to get.
    pub(super) fn spot(
        &mut self,
        kind: RuleKind,
        place: &Place,
        own: Option<&str>,
    ) -> Result<Spot, Refused> {
        let of_kind = self.document.of_kind(kind);
        let others = of_kind.filter(|placed| Some(&placed.key[..]) != own);
        let all: Vec<(&str, Spot)> = others.map(|p| (&p.key[..], p.spot)).collect();
        let at = match place {
            Place::First => 0,
            Place::Last => all.len(),
            Place::Before(key) | Place::After(key) => {
                self.known(kind, key)?;
                // Before or behind itself: where it is.
                let at = all.iter().position(|(other, _)| other == key);
                let Some(at) = at else {
                    return Ok(self.known(kind, key)?.spot);
                };
                at + usize::from(matches!(place, Place::After(_)))
            }
        };
        let before = at.checked_sub(1).map(|at| all[at].1.position);
        let behind = all.get(at).map(|other| other.1.position);
        let position = match (before, behind) {
            (_, None) => before.map_or(BEHIND, |before| (before + STEP).max(BEHIND)),
            (None, Some(behind)) => behind - STEP,
            (Some(before), Some(behind)) if behind - before > 1 => before + (behind - before) / 2,
            (Some(_), Some(_)) => self.spread(kind, &all, at)?,
        };
        Ok(Spot::chosen(position))
    }

    /// No number is left at this index: what was put between the same two rules of the file gets new ones there, evenly.
    /// The file's own stay as they are, so that they follow the file.
    fn spread(&mut self, kind: RuleKind, all: &[(&str, Spot)], at: usize) -> Result<i64, Refused> {
        let is_of_file = |(_, spot): &(&str, Spot)| spot.of_file;
        let from = all[..at].iter().rposition(is_of_file).map_or(0, |i| i + 1);
        let to = all[at..].iter().position(is_of_file);
        let to = to.map_or(all.len(), |i| at + i);
        let low = from.checked_sub(1).map(|i| all[i].1.position);
        let high = all.get(to).map(|(_, spot)| spot.position);
        let count = (to - from) as i64 + 1;
        let (first, gap) = match (low, high) {
            (Some(low), Some(high)) => {
                let gap = (high - low) / (count + 1);
                (low + gap, gap)
            }
            (None, Some(high)) => (high - count * STEP, STEP),
            (low, None) => (low.map_or(BEHIND, |low| (low + STEP).max(BEHIND)), STEP),
        };
        for (number, (key, _)) in (from..to).zip(&all[from..to]) {
            let steps = (number - from) + usize::from(number >= at);
            self.renumber(kind, key, first + steps as i64 * gap)?;
        }
        Ok(first + (at - from) as i64 * gap)
    }

    fn renumber(&mut self, kind: RuleKind, key: &str, position: i64) -> Result<(), Refused> {
        let name = (kind, key.to_owned());
        let Some(entry) = self.document.entries.get(&name).cloned() else {
            return Ok(());
        };
        if self.volatile && !entry.volatile {
            // What isn't written can't give other numbers to what is.
            return Err(Refused::Bad(vec![Problem::without_line(
                "place",
                "expected another place, or a change that isn't volatile: there is no room left here".to_owned(),
            )]));
        }
        let was = entry.spot;
        let moved = |entry: Entry| Entry {
            spot: Spot::chosen(position),
            ..entry
        };
        let beneath = entry
            .beneath
            .clone()
            .map(|beneath| match beneath.spot == was {
                true => Box::new(moved(*beneath)),
                false => beneath,
            });
        self.rows.push(Row {
            kind,
            key: name.1,
            entry: Some(Entry {
                beneath,
                ..moved(entry)
            }),
        });
        Ok(())
    }
}
