//! Where a metric goes: matchers over names, and the table of blocklist, rewriters, aggregators and routes made of them.

pub mod block;
pub mod choose;
pub mod decision;
pub mod entries;
mod index;
pub mod literals;
pub mod matcher;
pub mod table;

pub use block::{BadRule, BlockKind, BlockRule};
pub use choose::{BadMembers, Chooser, Member, Moment};
pub use decision::{Decision, Fate, Open, Output, Taker};
pub use entries::{Aggregate, Entries, Rewrite, RouteKind, TableRoute, UnknownKind};
pub use literals::{Literal, Literals};
pub use matcher::{BadPattern, Matcher, Patterns, Subject};
pub use table::{Scratch, Table};
