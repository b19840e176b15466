//! Where a metric goes: matchers over names, and the table of blocklist, rewriters, aggregators and routes made of them.

pub mod block;
pub mod choose;
pub mod decision;
pub mod entries;
pub mod hash;
mod index;
mod kind;
pub mod literals;
pub mod matcher;
pub mod table;

pub use block::{BadRule, BlockKind, BlockRule};
pub use choose::{BadChoice, ChoiceOptions, Chooser, Moment};
pub use decision::{Decision, Fate, Open, Output, Taker};
pub use entries::{Aggregate, Entries, Rewrite, TableRoute};
pub use hash::Member;
pub use kind::{RouteKind, UnknownKind};
pub use literals::{Literal, Literals};
pub use matcher::{BadPattern, Matcher, Patterns, Subject};
pub use table::{Outcome, Scratch, Table};
