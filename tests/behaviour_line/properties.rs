//! What holds for any input: the books, and that it doesn't matter how a stream was cut.

use super::*;
use proptest::prelude::*;

/// Streams of good lines, bad ones and bytes.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let line = "([ab][.c]{0,3}( |  |\t)-?[0-9x]{1,4}( |\t)([0-9]{10}|-1|[0-9]{1,3}[.]5?)( |\r)?|[ab ]{0,40}|[ -~]{0,9})\n?";
    let line = proptest::string::string_regex(line)
        .unwrap()
        .prop_map(String::into_bytes);
    let junk = proptest::collection::vec(any::<u8>(), 0..9);
    proptest::collection::vec(prop_oneof![9 => line, 1 => junk], 0..30)
        .prop_map(|parts| parts.concat())
}

fn tables() -> impl Strategy<Value = Entries> {
    let matcher = || prop_oneof![Just(""), Just("a"), Just("b"), Just("b.")];
    let kind = prop_oneof![
        Just(RouteKind::SendAllMatch),
        Just(RouteKind::SendFirstMatch)
    ];
    let shape = (kind, matcher(), proptest::collection::vec(matcher(), 0..4));
    let shapes = proptest::collection::vec(shape, 0..4);
    let blocklist = proptest::collection::vec(
        prop_oneof![Just("sub cc"), Just("notPrefix b"), Just("regex a\\.")],
        0..2,
    );
    (shapes, blocklist, any::<bool>()).prop_map(|(shapes, blocklist, first_only)| {
        let mut next = 0..;
        let routes = shapes.into_iter().map(|(kind, matcher, destinations)| {
            let destinations = destinations.into_iter().map(prefix);
            route(
                kind,
                prefix(matcher),
                next.by_ref().zip(destinations).collect(),
            )
        });
        let routes = routes.collect();
        let destinations = next.start;
        Entries {
            blocklist: blocklist
                .into_iter()
                .map(|rule| BlockRule::parse(rule).unwrap())
                .collect(),
            first_only,
            destinations,
            ..table(routes)
        }
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    (any::<bool>(), 16..40usize).prop_map(|(clean_dots, max_line)| Rules {
        clean_dots,
        max_line,
        ..Rules::default()
    })
}

/// By definition: each line by itself, so that no run, span or short cut has a part in it.
pub fn line_by_line(table: &Entries, rules: &Rules, input: &[u8]) -> Vec<Vec<u8>> {
    let mut expected = vec![Vec::new(); table.destinations];
    for line in input.split_inclusive(|&byte| byte == b'\n') {
        let text = run(&to_one(), rules, line).0.remove(0);
        let name = text.split(|&byte| byte == b' ').next().unwrap_or_default();
        if text.is_empty()
            || table
                .blocklist
                .iter()
                .any(|rule| rule.matcher().matches(name))
        {
            continue;
        }
        for route in table
            .routes
            .iter()
            .filter(|route| route.matcher.matches(name))
        {
            let accepts = route
                .destinations
                .iter()
                .filter(|(_, matcher)| matcher.matches(name));
            let accepts: Vec<_> = accepts.map(|(destination, _)| *destination).collect();
            let positions: Vec<_> = (0..accepts.len()).collect();
            let mut chosen = Vec::new();
            let moment = Moment { up: &[], turn: 0 };
            route.chooser.choose(name, &positions, &moment, &mut chosen);
            for position in chosen {
                expected[accepts[position]].extend_from_slice(&text);
            }
            if table.first_only {
                break;
            }
        }
    }
    expected
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_books_balance_and_each_destination_gets_its_lines(table in tables(), rules in rules(), input in stream()) {
        let mut batch = Batch::new();
        // Used again: what the batch before left behind must not show.
        again(&mut batch, &Table::new(to_one()), &rules, b"x 1  2\nx\n");
        again(&mut batch, &Table::new(table.clone()), &rules, &input);
        let rejected: u64 = batch.rejected().iter().sum();
        let blocked: u64 = batch.blocked().map(|(_, lines)| lines).sum();
        prop_assert_eq!(batch.lines(), rejected + blocked + batch.unrouted() + batch.routed());
        let placed: u64 = batch.placed().iter().map(|placed| placed.lines).sum();
        prop_assert!(placed >= batch.routed());
        for placed in batch.placed() {
            let lines: u32 = placed.spans.iter().map(|span| span.lines).sum();
            prop_assert_eq!(u64::from(lines), placed.lines);
        }
        prop_assert!(batch.placed().is_sorted_by_key(|placed| placed.destination));
        prop_assert_eq!(texts(&table, &batch, &input), line_by_line(&table, &rules, &input));
    }

    /// With a hand-over at every cut: the successor has only the carry and whether it is discarding.
    #[test]
    fn it_does_not_matter_where_a_stream_is_cut(rules in rules(), mut input in stream(), cuts in proptest::collection::vec(0..200usize, 0..20)) {
        let ended = input.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let (expected, whole) = run(&to_one(), &rules, &input[..ended]);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(input.len())).chain([0, input.len()]).collect();
        cuts.sort_unstable();
        let mut batch = Batch::new();
        let (mut text, mut lines, mut too_long) = (Vec::new(), 0, 0);
        let mut splitter = Splitter::new();
        let one = Table::new(to_one());
        for cut in cuts.windows(2) {
            splitter = Splitter::restore(splitter.carry().to_vec(), splitter.is_discarding());
            let piece = &input[cut[0]..cut[1]];
            let mut buffer = vec![0; rules.max_line + piece.len()];
            let kept = splitter.fill(&mut buffer);
            buffer.truncate(kept);
            buffer.extend_from_slice(piece);
            let split = splitter.split(&buffer, rules.max_line);
            let whole = &buffer[split.whole];
            again(&mut batch, &one, &rules, whole);
            text.extend(texts(&to_one(), &batch, whole).remove(0));
            lines += batch.lines() + split.too_long;
            too_long += batch.rejected()[Reason::TooLong as usize] + split.too_long;
        }
        prop_assert_eq!(String::from_utf8_lossy(&text), String::from_utf8_lossy(&expected[0]));
        // The unended rest is counted by its carry, or as too long already.
        let rest = input.split_off(ended);
        let rest_too_long = u64::from(rest.len() > rules.max_line);
        prop_assert_eq!(too_long, whole.rejected()[Reason::TooLong as usize] + rest_too_long);
        prop_assert_eq!(lines, whole.lines() + rest_too_long);
        prop_assert_eq!(splitter.carry(), if rest_too_long == 1 { &b""[..] } else { &rest });
    }
}
