//! The migration guides: what they say of commands must be so. `BATON_WRITE_EXPECTED=1` writes what these print anew.

use std::fs;

use super::guide::carried_out;
use super::packaging;

const GUIDES: [&str; 3] = [
    "migrating-from-carbon-relay-ng.md",
    "migrating-from-carbon-c-relay.md",
    "migrating-from-carbon.md",
];

#[test]
fn guides_say_what_happens() {
    for name in GUIDES {
        let guide = fs::read_to_string(packaging(name)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (found, commands) = carried_out(&guide, folder.path());
        assert!(commands >= 4, "{name}");
        if std::env::var_os("BATON_WRITE_EXPECTED").is_some() {
            fs::write(packaging(name), &found).unwrap();
        }
        let guide = fs::read_to_string(packaging(name)).unwrap();
        for (found, said) in found.lines().zip(guide.lines()) {
            assert_eq!(found, said, "{name}");
        }
        assert_eq!(found, guide, "{name}");
    }
}
