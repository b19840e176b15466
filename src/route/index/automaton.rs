//! Which of many expressions can match a name? All of them in one automaton, whose states are made as names need them.
//!
//! For those that have no literal to be found by. A state for a thousand expressions takes tens of microseconds to be
//! made, and kilobytes to be kept, so it is worth it as long as names lead to the same ones. Each thread keeps a bounded
//! number. Where they are used up again and again nothing is gained; then the expressions are asked one after the other
//! for a while, as they are if the automaton would be too large from the start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind, PatternSet};

/// Of fewer expressions, a loop is as fast.
pub const WORTH_IT: usize = 32;
/// Bytes that the expressions may take, all threads together, and the states of one thread.
const LARGEST: usize = 16 << 20;
const STATES: usize = 20 << 20;
/// So often the states are thrown away; from then on each must have served so many bytes of names.
const CLEARED: usize = 3;
const BYTES_A_STATE: usize = 64;
/// Names for which it isn't tried again, once it gave up.
const PAUSE: u32 = 20_000;

/// See the module's text.
#[derive(Debug, Clone)]
pub struct Automaton {
    /// Unlike that of any other.
    id: u64,
    dfa: Arc<DFA>,
    places: Vec<u32>,
}

/// A thread's states.
#[derive(Debug, Clone, Default)]
pub struct States {
    /// Which automaton's.
    id: u64,
    made: Option<(Cache, PatternSet)>,
    /// Names that are left of the pause.
    pause: u32,
}

impl Automaton {
    /// Of expressions, each with the place that is found by it; `None` if there are too few, or they are too large.
    pub fn new(expressions: &[(&str, u32)]) -> Option<Automaton> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        if expressions.len() < WORTH_IT {
            return None;
        }
        let patterns: Vec<_> = expressions.iter().map(|(pattern, _)| pattern).collect();
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .unicode_word_boundary(true)
            .cache_capacity(STATES)
            .minimum_cache_clear_count(Some(CLEARED))
            .minimum_bytes_per_state(Some(BYTES_A_STATE));
        let nfa = thompson::Config::new()
            .utf8(false)
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(LARGEST));
        let dfa = DFA::builder()
            .configure(config)
            .syntax(syntax::Config::new().utf8(false))
            .thompson(nfa)
            .build_many(&patterns);
        Some(Automaton {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            dfa: Arc::new(dfa.ok()?),
            places: expressions.iter().map(|(_, place)| *place).collect(),
        })
    }

    /// Calls `found` with the places of the expressions that match; perhaps with all.
    pub fn find(&self, name: &[u8], states: &mut States, mut found: impl FnMut(&[u32])) {
        if states.id != self.id {
            *states = States {
                id: self.id,
                ..States::default()
            };
        }
        if states.pause > 0 {
            states.pause -= 1;
            return found(&self.places);
        }
        let (cache, matched) = states.made.get_or_insert_with(|| {
            let room = PatternSet::new(self.dfa.pattern_len());
            (self.dfa.create_cache(), room)
        });
        matched.clear();
        let input = Input::new(name);
        match self
            .dfa
            .try_which_overlapping_matches(cache, &input, matched)
        {
            Ok(()) => {
                // It goes over all that there are: no further than to the last one that matched.
                let matched = matched.iter().take(matched.len());
                let places = matched.map(|pattern| self.places[pattern.as_usize()]);
                places.for_each(|place| found(&[place]));
            }
            Err(error) => {
                // A byte that word boundaries don't go with says nothing about the next name.
                if matches!(error.kind(), regex_automata::MatchErrorKind::GaveUp { .. }) {
                    (states.pause, states.made) = (PAUSE, None);
                }
                found(&self.places);
            }
        }
    }

    /// The places of all.
    pub fn places(&self) -> &[u32] {
        &self.places
    }

    /// Roughly how much memory it takes without the states of the threads, in bytes.
    pub fn memory(&self) -> usize {
        self.dfa.get_nfa().memory_usage() + size_of_val(&self.places[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::bytes::Regex;

    fn found(automaton: &Automaton, states: &mut States, name: &[u8]) -> Vec<u32> {
        let mut all = Vec::new();
        automaton.find(name, states, |places| all.extend_from_slice(places));
        all.sort_unstable();
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn it_finds_what_matches(
            expressions in proptest::collection::vec(r"(\^|\(\?i\))?(a|b|\.|\[ab\]|\[\^.\]\+|(ab|b)\*|a\?|\\b|\\w|é|\(\?-u:.\)){1,5}\$?", WORTH_IT..40),
            names in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'.'), Just(b'\n'), any::<u8>()], 0..20), 1..5),
        ) {
            let regexes: Vec<_> = expressions.iter().filter_map(|text| Regex::new(text).ok()).collect();
            let numbered: Vec<_> = regexes.iter().map(Regex::as_str).zip(0..).collect();
            let Some(automaton) = Automaton::new(&numbered) else { return Ok(()) };
            let mut states = States::default();
            for name in &names {
                let matching: Vec<u32> = (0..).zip(&regexes).filter(|(_, regex)| regex.is_match(name)).map(|(at, _)| at).collect();
                let found = found(&automaton, &mut states, name);
                prop_assert!(found == matching || found.len() == regexes.len(), "{:?} {:?}", found, matching);
            }
        }
    }

    #[test]
    fn where_states_are_used_up_again_and_again_it_pauses_and_finds_all() {
        // What was seen up to a thousand bytes ago must be kept: each position of a letter is a state of its own.
        let expressions: Vec<_> = (0..64)
            .map(|at| format!("[ab][^c]{{{}}}[xy]", 300 + at))
            .collect();
        let numbered: Vec<_> = expressions.iter().map(String::as_str).zip(0..).collect();
        let automaton = Automaton::new(&numbered).unwrap();
        let mut states = States::default();
        let mut random = 1u64;
        let mut name = || -> Vec<u8> {
            let mut byte = || {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                b"abzzxc"[(random >> 33) as usize % 6]
            };
            (0..900).map(|_| byte()).collect()
        };
        let paused = (0..2_000).any(|_| {
            found(&automaton, &mut states, &name());
            let memory = states
                .made
                .as_ref()
                .map_or(0, |(cache, _)| cache.memory_usage());
            assert!(memory <= 30 << 20, "{memory}");
            states.pause > 0
        });
        assert!(paused && states.made.is_none());
        assert_eq!(found(&automaton, &mut states, b"").len(), 64);
    }

    #[test]
    fn too_few_or_too_large_ones_are_left_to_a_loop() {
        assert!(Automaton::new(&[("a", 0); WORTH_IT - 1]).is_none());
        assert!(Automaton::new(&[(r"\w{50}", 0); 200]).is_none());
    }
}
