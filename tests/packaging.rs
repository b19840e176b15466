//! What a package brings beside the program: the dashboard, the alerts, the guides, and the scripts that install it.
#![allow(missing_docs)]

#[path = "packaging/dashboard.rs"]
mod dashboard;
#[path = "packaging/guides.rs"]
mod guides;
#[path = "packaging/promql.rs"]
mod promql;
#[path = "inputs/relay.rs"]
#[allow(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;
#[path = "packaging/scripts.rs"]
mod scripts;

use std::path::{Path, PathBuf};

fn packaging(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("packaging").join(name)
}
