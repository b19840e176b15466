//! Which commit this is, for `baton --version`.
//!
//! A release build takes it from `BATON_COMMIT`, else from what `cargo package` noted, else from the files of git; git itself
//! isn't needed. Debug builds don't look: they would be built anew after every commit.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// How much of it is shown.
const SHOWN: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BATON_COMMIT");
    let given = env::var("BATON_COMMIT")
        .ok()
        .filter(|given| !given.is_empty());
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = match (given, is_release) {
        (Some(given), _) => given,
        (None, true) => packaged()
            .or_else(checked_out)
            .unwrap_or_else(|| "unknown".to_owned()),
        (None, false) => "debug".to_owned(),
    };
    let end = commit.floor_char_boundary(SHOWN);
    println!("cargo::rustc-env=BATON_COMMIT={}", &commit[..end]);
}

/// Reads a file, and has this run again when it changes.
fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    println!("cargo::rerun-if-changed={}", path.display());
    Some(text)
}

/// A source package's: `{"git": {"sha1": "…"}, …}`.
fn packaged() -> Option<String> {
    let text = read(Path::new(".cargo_vcs_info.json"))?;
    let (_, behind) = text.split_once("\"sha1\"")?;
    Some(behind.split('"').nth(1)?.to_owned())
}

/// A working tree's.
fn checked_out() -> Option<String> {
    let mut own = PathBuf::from(".git");
    // In a further working tree it is a file that says where.
    if own.is_file() {
        own = PathBuf::from(read(&own)?.strip_prefix("gitdir: ")?.trim_end());
    }
    let shared = match read(&own.join("commondir")) {
        Some(path) => own.join(path.trim_end()),
        None => own.clone(),
    };
    let head = read(&own.join("HEAD"))?;
    let Some(name) = head.trim_end().strip_prefix("ref: ") else {
        return Some(head.trim_end().to_owned());
    };
    if let Some(commit) = read(&shared.join(name)) {
        return Some(commit.trim_end().to_owned());
    }
    // The next commit makes a file there.
    println!("cargo::rerun-if-changed={}", shared.join("refs").display());
    let packed = read(&shared.join("packed-refs"))?;
    let line = packed
        .lines()
        .find(|line| line.ends_with(&format!(" {name}")))?;
    Some(line.split(' ').next()?.to_owned())
}
