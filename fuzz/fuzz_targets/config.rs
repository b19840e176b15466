//! Config files, Baton's and carbon-relay-ng's: whatever is written, there is an answer; what compiles is printed as what
//! compiles to the same, and its rules can be made. And the strings in them read back.
#![no_main]

use std::path::Path;

use baton::config::{self, Config, ListenAddress};
use baton::route::{BlockRule, Table};
use baton::ruleset;
use baton::spec::Destination;
use libfuzzer_sys::fuzz_target;

const PATH: &str = "/etc/baton/baton.toml";

/// All but where it was read.
fn meaning(config: &Config) -> String {
    let mut config = config.clone();
    (config.source, config.warnings) = (Vec::new(), Vec::new());
    format!("{config:?}")
}

fn file(source: &[u8]) {
    let config = match Config::compile(Path::new(PATH), source) {
        Ok(config) => config,
        Err(problems) => return assert!(!problems.to_string().is_empty()),
    };
    let printed = config::print(&config);
    let again = Config::compile(Path::new(PATH), printed.as_bytes());
    let again = again.unwrap_or_else(|problems| panic!("{problems}\n{printed}"));
    assert_eq!(meaning(&again), meaning(&config), "{printed}");
    assert_eq!(config::print(&again), printed);
    let ruleset = ruleset::compile(&config).expect("its rules were read before");
    drop(Table::new(ruleset.entries));
}

fn strings(text: &str) {
    if let Ok(destination) = Destination::parse(text, "route") {
        let shown = destination.to_string();
        let again = Destination::parse(&shown, "another").expect("it was read before");
        assert_eq!(again, destination, "{shown}");
    }
    if let Ok(address) = text.parse::<ListenAddress>() {
        assert_eq!(
            address.to_string().parse::<ListenAddress>().as_ref(),
            Ok(&address)
        );
    }
    drop(BlockRule::parse(text));
}

fuzz_target!(|source: &[u8]| {
    file(source);
    if let Ok(text) = std::str::from_utf8(source) {
        strings(text);
    }
});
