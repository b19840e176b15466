//! A stream of lines, in pieces: whatever it is and however it is cut, what leaves are whole lines of three fields, and
//! the books balance.
#![no_main]

use baton::decode::split::Splitter;
use baton::pipeline::Batch;
use baton::route::{Matcher, Patterns, RouteKind, Table, TableRoute};
use baton::validate::{Level, Rules};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, Vec<Vec<u8>>)| {
    let (switches, pieces) = input;
    let rules = Rules {
        level: [Level::None, Level::Medium, Level::Strict][usize::from(switches % 3)],
        clean_dots: switches & 0x40 != 0,
        sort_tags: switches & 0x80 != 0,
        max_line: 100,
        ..Rules::default()
    };
    let all = || Matcher::new(&Patterns::default()).expect("no pattern is a good one");
    let table = Table {
        blocklist: Vec::new(),
        routes: vec![TableRoute {
            key: "all".into(),
            kind: RouteKind::SendAllMatch,
            matcher: all(),
            destinations: vec![(0, all())],
        }],
        first_only: false,
        destinations: 1,
    };
    let (mut splitter, mut batch) = (Splitter::new(), Batch::new());
    for piece in pieces {
        let mut buffer = vec![0; rules.max_line + piece.len()];
        let kept = splitter.fill(&mut buffer);
        buffer.truncate(kept);
        buffer.extend_from_slice(&piece);
        let whole = &buffer[splitter.split(&buffer, rules.max_line).whole];
        batch.run(&table, &rules, 1_790_000_000, whole);
        let rejected: u64 = batch.rejected().iter().sum();
        assert_eq!(batch.lines(), rejected + batch.routed());
        for span in batch.placed().iter().flat_map(|placed| &placed.spans) {
            let text = batch.text(whole, span);
            assert_eq!(text.last(), Some(&b'\n'));
            for line in text[..text.len() - 1].split(|byte| *byte == b'\n') {
                assert_eq!(line.split(|byte| *byte == b' ').count(), 3);
            }
        }
    }
});
