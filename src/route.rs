//! Where a metric goes: matchers over names, and the table of blocklist and routes made of them.

pub mod block;
pub mod matcher;
pub mod table;

pub use block::{BadRule, BlockKind, BlockRule};
pub use matcher::{BadPattern, Matcher, Patterns, Subject};
pub use table::{RouteKind, Table, TableRoute, Taker, UnknownKind};
