//! Which rules can a name meet? One pass over it for all rules of a table, however many there are.
//!
//! Each rule is found by literals that are in every name that it matches (`literals`), of several choices those that the
//! fewest rules share. Literals at the start of a name are looked up there; those inside are scanned for. A rule without
//! a usable literal is found by an automaton of all such expressions, or is *residual*: always to be asked.

mod automaton;
mod filter;
mod literal_table;
mod scanner;
mod text;
mod trail;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;

use super::literals::{Literal, Literals};
use automaton::{Automaton, States};
use literal_table::{LONGEST, LiteralTable};
use scanner::Scanner;
use text::Text;
use trail::{Trail, add};

/// With fewer rules a plain loop over them is as fast.
pub const WORTH_IT: usize = 16;
/// Literals there may be in a table; the rules that would bring more are residual.
const MOST_LITERALS: usize = 1 << 18;
/// Shorter literals inside of names are scanned for by themselves: it takes more probes, and finds more that isn't there.
const LONG: usize = 6;

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// Unlike that of any other; a copy's is the same.
    id: u64,
    prefixes: Option<LiteralTable>,
    short: Option<Scanner>,
    long: Option<Scanner>,
    automaton: Option<Automaton>,
    residual: Vec<u32>,
}

/// What a rule can be found by.
#[derive(Debug, Clone, Default)]
pub struct Clues<'a> {
    /// Choices of literals, each enough by itself.
    pub literals: Vec<Literals>,
    /// An expression that matches every name that the rule does.
    pub expression: Option<&'a str>,
}

/// Room for a search, used again.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// The rules by whose literals the last name was found, ascending.
    pub hits: Vec<u32>,
    /// Counts how often they became others, whoever searched.
    pub changes: u64,
    /// The same and the residual ones: all that the name can meet.
    found: Vec<u32>,
    states: States,
    trail: Trail,
    /// For names that have no bytes behind them.
    copy: Vec<u8>,
}

/// How a rule is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// By the choice of this number among those it offered.
    Choice(usize),
    /// Not at all: it is always asked.
    Nothing,
}

impl Index {
    /// For rules by what each offers; and how each is found.
    pub fn new(rules: &[Clues]) -> (Index, Vec<FoundBy>) {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let mut shared: HashMap<&Literal, usize, RandomState> = HashMap::default();
        for choice in rules.iter().flat_map(|rule| &rule.literals) {
            choice
                .any
                .iter()
                .for_each(|literal| *shared.entry(literal).or_default() += 1);
        }
        let mut found_by = Vec::with_capacity(rules.len());
        let mut places: Vec<(Literal, Vec<u32>)> = Vec::new();
        let mut numbers: HashMap<Literal, usize, RandomState> = HashMap::default();
        let (mut residual, mut total) = (Vec::new(), 0);
        for (place, rule) in rules.iter().enumerate() {
            // The fewest rules that share the literals; then the longest, then the first.
            let cost = |choice: &Literals| -> usize {
                choice.any.iter().map(|literal| shared[literal]).sum()
            };
            let best = rule.literals.iter().enumerate().min_by_key(|(_, choice)| {
                (cost(choice), LONGEST.saturating_sub(choice.shortest()))
            });
            match best {
                Some((number, choice)) if total + choice.any.len() <= MOST_LITERALS => {
                    total += choice.any.len();
                    found_by.push(FoundBy::Choice(number));
                    for literal in &choice.any {
                        let literal = cut(literal);
                        let number = *numbers.entry(literal).or_insert_with_key(|literal| {
                            places.push((literal.clone(), Vec::new()));
                            places.len() - 1
                        });
                        let list = &mut places[number].1;
                        if list.last() != Some(&(place as u32)) {
                            list.push(place as u32);
                        }
                    }
                }
                _ => {
                    found_by.push(FoundBy::Nothing);
                    residual.push(place as u32);
                }
            }
        }
        let of = |wanted: &dyn Fn(&Literal) -> bool| -> Vec<(&[u8], &[u32])> {
            let list = places.iter().filter(|(literal, _)| wanted(literal));
            list.map(|(literal, places)| (literal.bytes(), &places[..]))
                .collect()
        };
        let prefixes = of(&|literal| matches!(literal, Literal::Prefix(_)));
        let inside = |long: bool| {
            of(
                &|literal| matches!(literal, Literal::Inside(bytes) if (bytes.len() >= LONG) == long),
            )
        };
        let (short, long) = (inside(false), inside(true));
        let scanner = |literals: &[(&[u8], &[u32])]| {
            let shortest = literals.iter().map(|(literal, _)| literal.len()).min()?;
            Some(Scanner::new(literals, shortest))
        };
        let expressions: Vec<_> = residual
            .iter()
            .filter_map(|place| Some((rules[*place as usize].expression?, *place)))
            .collect();
        let automaton = Automaton::new(&expressions);
        if automaton.is_some() {
            residual.retain(|place| rules[*place as usize].expression.is_none());
        }
        let index = Index {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            automaton,
            prefixes: (!prefixes.is_empty()).then(|| LiteralTable::new(&prefixes)),
            short: scanner(&short),
            long: scanner(&long),
            residual,
        };
        (index, found_by)
    }

    /// Finds the rules that have a literal in the name, which is the first bytes of a line or all of it: `search.hits`,
    /// ascending, each once. Beside the residual ones no others match it.
    // As a call of its own it takes a tenth longer.
    #[inline(always)]
    pub fn seek(&self, line: &[u8], size: usize, search: &mut Search) {
        match Text::within(line, size) {
            Some(name) => self.seek_in(name, search),
            None => self.seek_copy(&line[..size], search),
        }
    }

    /// A name that has too little behind it.
    #[inline(never)]
    fn seek_copy(&self, name: &[u8], search: &mut Search) {
        let mut copy = std::mem::take(&mut search.copy);
        self.seek_in(Text::copied(name, &mut copy), search);
        search.copy = copy;
    }

    #[inline(always)]
    fn seek_in(&self, name: Text, search: &mut Search) {
        let trail = &mut search.trail;
        // An automaton says nothing of where it found what.
        let mut changed = !trail.is_of(self.id) || self.automaton.is_some();
        let alike = trail.turn(self.id, name);
        if let Some(prefixes) = &self.prefixes
            && alike < prefixes.longest()
        {
            changed = true;
            look_up(prefixes, name, &mut trail.prefixes);
        }
        if let Some(long) = &self.long {
            changed |= long.scan(name, alike, &mut trail.long);
        }
        if let Some(short) = &self.short {
            changed |= short.scan(name, alike, &mut trail.short);
        }
        if changed {
            self.collect(name, search);
        }
    }

    /// Puts together what was found.
    #[inline(never)]
    fn collect(&self, name: Text, search: &mut Search) {
        search.changes += 1;
        let Search {
            hits,
            states,
            trail,
            ..
        } = search;
        hits.clear();
        if let Some(automaton) = &self.automaton {
            automaton.find(name.name(), states, |places| hits.extend_from_slice(places));
        }
        for places in [&trail.prefixes, &trail.long.places, &trail.short.places] {
            add(places, hits);
        }
        if hits.len() > 1 {
            hits.sort_unstable();
            hits.dedup();
        }
    }

    /// Those that were found, and the residual ones: all rules that the name can meet, ascending.
    #[inline]
    pub fn candidates<'a>(&'a self, search: &'a mut Search) -> &'a [u32] {
        if self.residual.is_empty() {
            return &search.hits;
        }
        let Search { hits, found, .. } = search;
        found.clear();
        let mut residual = &self.residual[..];
        for hit in hits.iter() {
            let before = residual.partition_point(|place| place < hit);
            found.extend_from_slice(&residual[..before]);
            found.push(*hit);
            residual = &residual[before..];
        }
        found.extend_from_slice(residual);
        found
    }

    /// Whether a search costs more than to remember what it found.
    pub fn is_costly(&self) -> bool {
        self.short.is_some()
            || self.long.is_some()
            || self.automaton.is_some()
            || self.residual.len() >= WORTH_IT
    }

    /// How many rules have no literal that they are found by.
    pub fn without_literal(&self) -> usize {
        let found = self.automaton.as_ref().map_or(0, |all| all.places().len());
        self.residual.len() + found
    }

    /// Roughly how much memory it takes, in bytes.
    pub fn memory(&self) -> usize {
        let tables = self.prefixes.as_ref().map_or(0, LiteralTable::memory);
        let scanners = [&self.short, &self.long].into_iter().flatten();
        let automaton = self.automaton.as_ref().map_or(0, Automaton::memory);
        let scanners: usize = scanners.map(Scanner::memory).sum();
        tables + scanners + automaton + size_of_val(&self.residual[..])
    }
}

/// Whether a literal is looked up as a whole.
pub fn is_whole(literal: &Literal) -> bool {
    literal.bytes().len() <= LONGEST
}

fn cut(literal: &Literal) -> Literal {
    let bytes = |bytes: &[u8]| bytes[..bytes.len().min(LONGEST)].to_vec();
    match literal {
        Literal::Prefix(text) => Literal::Prefix(bytes(text)),
        Literal::Inside(text) => Literal::Inside(bytes(text)),
    }
}

/// The places of the literals that a name begins with. By itself, since most names begin like the one before.
#[inline(never)]
fn look_up(prefixes: &LiteralTable, name: Text, places: &mut Vec<u32>) {
    places.clear();
    let keep = |found: &[u32]| add(found, places);
    prefixes.at(name, 0, prefixes.sizes(), keep);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules() -> impl Strategy<Value = Vec<Literals>> {
        let text = || prop_oneof!["[ab.]{1,9}", "[ab]{25,36}", "a{1,40}"];
        let literals = prop_oneof![
            text().prop_map(|text| Literals::of_prefix(text.as_bytes())),
            text().prop_map(|text| Literals::of_text(text.as_bytes())),
        ];
        proptest::collection::vec(literals, 1..40)
            .prop_map(|rules| rules.into_iter().flatten().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        /// All of one length as well, so that each stride has its turn.
        #[test]
        fn every_rule_is_found(rules in rules(), least in 1..12usize, behind in "( 1 1790000000)?", both in "[ab.]{0,50}", names in proptest::collection::vec("([ab.]{0,300}|[ab.]{0,9}|a{0,70})", 1..6)) {
            let rules: Vec<_> = rules.into_iter().filter(|rule| rule.shortest() >= least).map(|rule| Clues { literals: vec![rule], expression: None }).collect();
            let (index, _) = Index::new(&rules);
            let mut search = Search::default();
            // Half of them begin alike.
            let names = names.iter().enumerate().map(|(at, name)| if at % 3 == 0 { name.clone() } else { both.clone() + name });
            for name in names {
                let (before, changes) = (search.hits.clone(), search.changes);
                let line = format!("{name}{behind}");
                index.seek(line.as_bytes(), name.len(), &mut search);
                prop_assert!(changes != search.changes || before == search.hits);
                let candidates = index.candidates(&mut search);
                prop_assert!(candidates.is_sorted_by(|a, b| a < b));
                for (place, rule) in rules.iter().enumerate() {
                    let (is_in, whole) = match &rule.literals[0].any[0] {
                        literal @ Literal::Prefix(text) => (name.as_bytes().starts_with(text), is_whole(literal)),
                        literal @ Literal::Inside(text) => (memchr::memmem::find(name.as_bytes(), text).is_some(), is_whole(literal)),
                    };
                    let found = candidates.contains(&(place as u32));
                    prop_assert!(found || !is_in, "{:?} in {:?}", rule, &name);
                    prop_assert!(!found || is_in || !whole, "{:?} not in {:?}", rule, &name);
                }
            }
        }
    }
}
