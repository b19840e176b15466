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

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use baton::config::{Config, ONLY_PASSED};

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

/// The packages' config leaves it to systemd's units where to listen, so that there can be no conflict with one.
#[test]
fn the_shipped_configs_are_good() {
    for (name, warned) in [("baton.toml", &[ONLY_PASSED][..]), ("container.toml", &[])] {
        let text = fs::read(packaging(name)).unwrap();
        let config = Config::compile(Path::new("/etc/baton/baton.toml"), &text);
        let config = config.unwrap_or_else(|problems| panic!("{problems}"));
        let said: Vec<&str> = config.warnings.iter().map(|w| w.message.as_str()).collect();
        assert_eq!(said, warned, "{name}");
        let mut inputs = config.listen.iter().filter(|one| one.kind.takes_metrics());
        assert_eq!(inputs.next().is_none(), !warned.is_empty(), "{name}");
    }
}
