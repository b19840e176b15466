//! Which rules can a name meet? One pass over it for all rules of a table, however many there are.
//!
//! Each rule is found by literals that are in every name that it matches (`literals`), of several choices those that the
//! fewest rules share. Literals at the start of a name are looked up there; those inside are scanned for. A rule without
//! a usable literal is *residual*: always to be asked.

mod literal_table;
mod scanner;

use std::collections::{BTreeMap, HashMap};

use super::literals::{Literal, Literals};
use literal_table::{LONGEST, LiteralTable};
use scanner::Scanner;

/// With fewer rules a plain loop over them is as fast.
pub const WORTH_IT: usize = 16;
/// Literals there may be in a table; the rules that would bring more are residual.
const MOST_LITERALS: usize = 1 << 18;
/// From this length on a literal inside can be scanned for at every fourth position.
const LONG: usize = 7;

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub struct Index {
    prefixes: Option<LiteralTable>,
    short: Option<Scanner>,
    long: Option<Scanner>,
    residual: Vec<u32>,
    places: usize,
}

/// Room for a search, used again.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// The rules that the last name can meet, ascending.
    pub found: Vec<u32>,
    /// In which search a rule was last found.
    marks: Vec<u32>,
    search: u32,
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
    /// For rules by the choices that each offers; and how each is found.
    pub fn new(rules: &[Vec<Literals>]) -> (Index, Vec<FoundBy>) {
        let mut shared: HashMap<&Literal, usize> = HashMap::new();
        for choice in rules.iter().flatten() {
            choice
                .any
                .iter()
                .for_each(|literal| *shared.entry(literal).or_default() += 1);
        }
        let mut found_by = Vec::with_capacity(rules.len());
        let mut places: BTreeMap<Literal, Vec<u32>> = BTreeMap::new();
        let (mut residual, mut total) = (Vec::new(), 0);
        for (place, choices) in rules.iter().enumerate() {
            // The fewest rules that share the literals; then the longest, then the first.
            let cost = |choice: &Literals| -> usize {
                choice.any.iter().map(|literal| shared[literal]).sum()
            };
            let best = choices.iter().enumerate().min_by_key(|(_, choice)| {
                (cost(choice), LONGEST.saturating_sub(choice.shortest()))
            });
            match best {
                Some((number, choice)) if total + choice.any.len() <= MOST_LITERALS => {
                    total += choice.any.len();
                    found_by.push(FoundBy::Choice(number));
                    for literal in &choice.any {
                        let list = places.entry(cut(literal)).or_default();
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
        let index = Index {
            prefixes: (!prefixes.is_empty()).then(|| LiteralTable::new(&prefixes)),
            short: scanner(&short),
            long: scanner(&long),
            residual,
            places: rules.len(),
        };
        (index, found_by)
    }

    /// Finds the rules that a name can meet: `search.found`, ascending, each once. All others don't match it.
    #[inline]
    pub fn search(&self, name: &[u8], search: &mut Search) {
        search.begin(self.places);
        search.found.extend_from_slice(&self.residual);
        let mut found = |places: &[u32]| search.add(places);
        if let Some(prefixes) = &self.prefixes {
            prefixes.at(name, 0, prefixes.sizes(), &mut found);
        }
        if let Some(long) = &self.long {
            long.scan(name, &mut found);
        }
        if let Some(short) = &self.short {
            short.scan(name, &mut found);
        }
        if !search.found.is_sorted() {
            search.found.sort_unstable();
        }
    }

    /// Whether a search costs more than to remember what it found.
    pub fn is_costly(&self) -> bool {
        self.short.is_some() || self.long.is_some() || self.residual.len() >= WORTH_IT
    }

    /// Rules that are always asked.
    pub fn residual(&self) -> &[u32] {
        &self.residual
    }

    /// Roughly how much memory it takes, in bytes.
    pub fn memory(&self) -> usize {
        let tables = self.prefixes.as_ref().map_or(0, LiteralTable::memory);
        let scanners = [&self.short, &self.long].into_iter().flatten();
        tables + scanners.map(Scanner::memory).sum::<usize>() + size_of_val(&self.residual[..])
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

impl Search {
    #[inline]
    fn begin(&mut self, places: usize) {
        self.found.clear();
        let (search, overflown) = self.search.overflowing_add(1);
        self.search = search;
        // A mark of another table, or of four billion searches ago, must not be taken for one of this search.
        if self.marks.len() != places || overflown {
            self.marks.clear();
            self.marks.resize(places, 0);
            self.search = 1;
        }
    }

    #[inline]
    fn add(&mut self, places: &[u32]) {
        for &place in places {
            let mark = &mut self.marks[place as usize];
            if *mark != self.search {
                *mark = self.search;
                self.found.push(place);
            }
        }
    }
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
        fn every_rule_is_found(rules in rules(), least in 1..12usize, names in proptest::collection::vec("([ab.]{0,300}|[ab.]{0,9}|a{0,70})", 1..4)) {
            let rules: Vec<_> = rules.into_iter().filter(|rule| rule.shortest() >= least).map(|rule| vec![rule]).collect();
            let (index, _) = Index::new(&rules);
            let mut search = Search::default();
            for name in &names {
                index.search(name.as_bytes(), &mut search);
                prop_assert!(search.found.is_sorted_by(|a, b| a < b));
                for (place, rule) in rules.iter().enumerate() {
                    let (is_in, whole) = match &rule[0].any[0] {
                        literal @ Literal::Prefix(text) => (name.as_bytes().starts_with(text), is_whole(literal)),
                        literal @ Literal::Inside(text) => (memchr::memmem::find(name.as_bytes(), text).is_some(), is_whole(literal)),
                    };
                    let found = search.found.contains(&(place as u32));
                    prop_assert!(found || !is_in, "{:?} in {:?}", rule, name);
                    prop_assert!(!found || is_in || !whole, "{:?} not in {:?}", rule, name);
                }
            }
        }
    }
}
