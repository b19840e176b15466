//! What a package brings beside the program: the dashboard, the alerts, the guides, and the scripts that install it.
#![allow(missing_docs)]

#[path = "packaging/dashboard.rs"]
mod dashboard;
#[path = "packaging/examples.rs"]
mod examples;
#[path = "packaging/guide.rs"]
mod guide;
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
use std::process::Command;

fn packaging(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("packaging").join(name)
}

#[test]
fn the_version_names_the_build() {
    let mut baton = Command::new(env!("CARGO_BIN_EXE_baton"));
    let said = baton.arg("--version").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let build = said
        .trim()
        .strip_prefix(concat!("baton ", env!("CARGO_PKG_VERSION"), " ("));
    // A commit in a release build.
    let build = build.and_then(|build| build.strip_suffix(')'));
    assert!(build.is_some_and(|build| !build.is_empty()), "{said}");
}
