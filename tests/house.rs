//! The house's rules, held against the source: which room imports which, and what is nowhere.

#[path = "house/rules.rs"]
mod rules;
#[path = "house/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use rules::{MAX_LINES, ROOMS, complaints, room_of};
use source::Source;

/// All sources below `src`, by their paths from the repository's root.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    assert!(found.len() > 20, "the source was not found");
    found
}

#[test]
fn the_source_keeps_the_rules_of_the_house() {
    let all: Vec<String> = sources()
        .iter()
        .flat_map(|(path, text)| complaints(path, text))
        .collect();
    assert!(all.is_empty(), "\n{}\n", all.join("\n"));
}

#[test]
fn no_file_is_longer_than_it_may_be() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(
            lines <= MAX_LINES,
            "{} has {lines} lines, {MAX_LINES} are allowed",
            path.display()
        );
    }
}

#[test]
fn every_room_has_a_level() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let modules = Source::new(&lib).modules();
    assert!(modules.iter().any(|m| m == "sys"), "{modules:?}");
    for module in &modules {
        assert!(
            room_of(module).is_some(),
            "{module} is in src/lib.rs, give it a level in ROOMS"
        );
    }
    for room in ROOMS {
        assert!(
            modules.iter().any(|m| m == room.name),
            "{} is not in src/lib.rs",
            room.name
        );
    }
}
