#![allow(missing_docs)]
//! tmp
pub fn expand_host(p: &str, _h: &str) -> String { p.into() }
pub fn graphite(_m: &[()], _p: &str, _n: u64) -> String { String::new() }
