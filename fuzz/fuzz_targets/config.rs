//! Config files, and the strings in them: whatever is written, there is an answer, and a destination reads back.
#![no_main]

use std::path::Path;

use baton::config::{Config, ListenAddress};
use baton::route::BlockRule;
use baton::spec::Destination;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &[u8]| {
    if let Err(problems) = Config::compile(Path::new("/etc/baton/baton.toml"), source) {
        assert!(!problems.to_string().is_empty());
    }
    let Ok(text) = std::str::from_utf8(source) else {
        return;
    };
    if let Ok(destination) = Destination::parse(text, "route") {
        let again = Destination::parse(text, "route").expect("it was read before");
        assert_eq!(destination.id, again.id);
    }
    if let Ok(address) = text.parse::<ListenAddress>() {
        assert_eq!(address.to_string().parse::<ListenAddress>().as_ref(), Ok(&address));
    }
    drop(BlockRule::parse(text));
});
