//! Configs of carbon-c-relay and of carbon: whatever is written, there is an answer, each statement is converted or noted,
//! and what was made is TOML. (It compiles if what it was made of made sense; `baton config convert` tells if it doesn't.)
//!
//! Of the files that one may name each other there are as many as there are form feeds in the input.
#![no_main]

use std::path::Path;

use baton::config::Config;
use baton::convert::{self, Converted, Load, Source, Unreadable};
use libfuzzer_sys::fuzz_target;

fn check(converted: Result<Converted, Unreadable>) {
    let converted = match converted {
        Ok(converted) => converted,
        Err(unreadable) => return assert!(!unreadable.message.is_empty()),
    };
    let count = converted.statements;
    assert_eq!(
        count.read,
        count.converted + count.noted,
        "{}",
        converted.toml
    );
    let notes: Vec<String> = converted.notes.iter().map(ToString::to_string).collect();
    let text = convert::comments(&notes) + &converted.toml;
    if let Err(problems) = Config::compile(Path::new("/etc/baton/baton.toml"), text.as_bytes()) {
        assert!(!problems.are_of_no_toml(), "{problems}\n{text}");
    }
}

fuzz_target!(|input: &str| {
    let mut texts = input.split('\x0c');
    let text = texts.next().unwrap_or_default().to_owned();
    let others: Vec<String> = texts.map(str::to_owned).collect();
    let source = Source {
        name: "main".to_owned(),
        text,
    };
    let load = |wanted: &str| {
        let at = wanted.bytes().map(usize::from).sum::<usize>() % others.len().max(1);
        let text = others.get(at).ok_or("there is none")?.clone();
        Ok(vec![Source {
            name: wanted.to_owned(),
            text,
        }])
    };
    let load: &Load = &load;
    check(convert::carbon_c_relay(&source, load));
    check(convert::carbon(&source, load));
});
