//! A stream of lines, in pieces: whatever it is and however it is cut, what leaves are whole lines of three fields, and
//! the books balance.
#![no_main]

use baton::decode::split::Splitter;
use baton::pipeline::{Batch, Terms};
use baton::route::{Entries, Matcher, Moment, Table, TableRoute};
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
    let table = Table::new(Entries {
        routes: vec![TableRoute::to_all("all", Matcher::all(), vec![(0, Matcher::all())])],
        destinations: 1,
        ..Entries::default()
    });
    let terms = Terms {
        table: &table,
        rules: &rules,
        now: 1_790_000_000,
        moment: Moment::default(),
        order: None,
    };
    let (mut splitter, mut batch) = (Splitter::new(), Batch::new());
    for piece in pieces {
        let mut buffer = vec![0; rules.max_line + piece.len()];
        let kept = splitter.fill(&mut buffer);
        buffer.truncate(kept);
        buffer.extend_from_slice(&piece);
        let whole = &buffer[splitter.split(&buffer, rules.max_line).whole];
        batch.run(&terms, whole);
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
