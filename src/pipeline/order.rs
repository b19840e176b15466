//! Points that must be newer than the last of their name, `[validation] order`: a whole batch is asked about under one lock.

use super::{Batch, Terms};
use crate::validate::Reason;
use crate::validate::order::SharedOrder;

impl Batch {
    /// Refuses points that aren't newer than the last of their name; the others go on.
    pub(super) fn see_order(&mut self, terms: &Terms, order: &SharedOrder, input: &[u8]) {
        let mut judged = std::mem::take(&mut self.judged);
        let mut late = std::mem::take(&mut self.late);
        late.clear();
        let points = judged.iter().map(|(_, key, timestamp)| (*key, *timestamp));
        order.see(points, &mut self.admitted, |index| late.push(index));
        let mut next = late.iter().copied().peekable();
        for (index, (line, ..)) in judged.drain(..).enumerate() {
            match next.next_if_eq(&index) {
                Some(_) => self.refuse(&line, Reason::Order),
                None => self.go_on(terms, input, line),
            }
        }
        (self.judged, self.late) = (judged, late);
    }

    /// The batch is about to be placed: its points are the last of their names. False: they no longer are newer than those,
    /// and the batch must be run anew; unless `anyway`.
    #[must_use]
    pub fn note_order(&self, order: &SharedOrder, anyway: bool) -> bool {
        order.note(&self.admitted, anyway)
    }
}

/// The timestamp of a line as it is sent.
pub(super) fn timestamp(line: &[u8]) -> u32 {
    let line = line.trim_ascii_end();
    let digits = memchr::memrchr(b' ', line).map_or(line, |at| &line[at + 1..]);
    digits.iter().fold(0, |number: u32, digit| {
        number
            .wrapping_mul(10)
            .wrapping_add(u32::from(digit.wrapping_sub(b'0')))
    })
}
