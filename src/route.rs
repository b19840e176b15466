//! Where a metric goes: matchers over names, and the table of blocklist and routes made of them.

pub mod block;
pub mod choose;
pub mod hash;
mod kind;
pub mod matcher;
pub mod table;

pub use block::{BadRule, BlockKind, BlockRule};
pub use choose::{BadChoice, ChoiceOptions, Chooser, Moment};
pub use hash::Member;
pub use kind::{RouteKind, UnknownKind};
pub use matcher::{BadPattern, Matcher, Patterns, Subject};
pub use table::{Table, TableRoute, Taker};
