//! `baton top`.
