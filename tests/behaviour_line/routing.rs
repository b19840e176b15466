//! From a valid name to those who take the line.

use super::*;

#[test]
fn case_19_matchers_see_the_name_with_its_tags() {
    let mut table = to_one();
    let input = b"a.b;k=v 1 1790000000\n";
    for (matcher, matches) in [
        (regex("k=v$"), true),
        (regex("1790000000"), false),
        (regex("^fooo?|^a"), true),
        (regex("b 1"), false),
        (prefix("a.b;k=v"), true),
        (prefix("a.b;k=v "), false),
        // Longer than what is compared at once.
        (prefix("a.b;k=v.and.more.of.it"), false),
    ] {
        table.routes[0].matcher = matcher;
        let (texts, batch) = run(&table, &Rules::default(), input);
        assert_eq!(!texts[0].is_empty(), matches);
        assert_eq!(
            (batch.routed(), batch.unrouted()),
            (u64::from(matches), u64::from(!matches))
        );
    }
}

#[test]
fn case_20_the_blocklist_drops_and_counts_by_rule() {
    let mut table = to_one();
    table.blocklist = [
        "prefix collectd.",
        "sub .tmp.",
        "regex x[0-9]+$",
        "notPrefix a",
        "notSub .",
        "notRegex [.]",
    ]
    .map(|text| BlockRule::parse(text).unwrap())
    .into();
    let input =
        b"collectd.tmp.a 1 2\na.tmp.b 1 2\na.x1 1 2\nb.c 1 2\na.y 1 2\na 1 2\ncollectd.b 1 2\n";
    let (texts, batch) = run(&table, &Rules::default(), input);
    assert_eq!(texts[0], b"a.y 1 2\n");
    let blocked: Vec<_> = batch.blocked().collect();
    // The first rule that fits counts; the last one's lines were the one before it.
    assert_eq!(blocked, [(0, 2), (1, 1), (2, 1), (3, 1), (4, 1)]);
    assert_eq!(batch.lines(), 7);
    for bad in ["", "prefix", "substr x", "Prefix x", "regex ("] {
        assert!(BlockRule::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn case_22_every_matching_route_or_the_first_only() {
    let send = RouteKind::SendAllMatch;
    let mut table = table(vec![
        route(send, prefix("a"), vec![(0, all())]),
        route(send, prefix("a.b"), vec![(1, all())]),
        route(send, prefix("c"), vec![(2, all())]),
    ]);
    let input = b"a.b 1 2\na.c 1 2\nd 1 2\n";
    let (texts, batch) = run(&table, &Rules::default(), input);
    assert_eq!(texts, [&b"a.b 1 2\na.c 1 2\n"[..], b"a.b 1 2\n", b""]);
    assert_eq!(batch.routes().collect::<Vec<_>>(), [(0, 2), (1, 1)]);
    assert_eq!((batch.routed(), batch.unrouted()), (2, 1));
    table.first_only = true;
    let (texts, batch) = run(&table, &Rules::default(), input);
    assert_eq!(texts, [&b"a.b 1 2\na.c 1 2\n"[..], b"", b""]);
    assert_eq!(batch.routes().collect::<Vec<_>>(), [(0, 2)]);
}

#[test]
fn case_23_all_or_the_first_destination_that_accepts() {
    let destinations = || vec![(0, prefix("a")), (1, prefix("a.b")), (2, all())];
    let input = b"a.b 1 2\na.c 1 2\nd 1 2\n";
    let send_all = table(vec![route(RouteKind::SendAllMatch, all(), destinations())]);
    let (texts, batch) = run(&send_all, &Rules::default(), input);
    assert_eq!(texts, [&b"a.b 1 2\na.c 1 2\n"[..], b"a.b 1 2\n", input]);
    assert_eq!(batch.routes().collect::<Vec<_>>(), [(0, 3)]);
    let send_first = table(vec![route(
        RouteKind::SendFirstMatch,
        all(),
        destinations(),
    )]);
    let (texts, _) = run(&send_first, &Rules::default(), input);
    assert_eq!(texts, [&b"a.b 1 2\na.c 1 2\n"[..], b"", b"d 1 2\n"]);
    // A route that matches but finds no destination takes nothing; a destination listed twice gets a line once.
    let picky = table(vec![route(
        RouteKind::SendAllMatch,
        all(),
        vec![(1, prefix("a")), (0, prefix("a")), (1, prefix("a."))],
    )]);
    let (texts, batch) = run(&picky, &Rules::default(), input);
    assert_eq!(texts, [b"a.b 1 2\na.c 1 2\n"; 2]);
    assert_eq!((batch.routed(), batch.unrouted()), (2, 1));
    for kind in [RouteKind::SendAllMatch, RouteKind::SendFirstMatch] {
        assert_eq!(RouteKind::from_str(kind.as_str()), Ok(kind));
    }
    assert!(RouteKind::from_str("sendallmatch").is_err());
}

#[test]
fn clean_neighbours_are_one_span() {
    let send = RouteKind::SendAllMatch;
    let table = table(vec![
        route(send, all(), vec![(0, all())]),
        route(send, prefix("b"), vec![(1, all())]),
    ]);
    let input = b"a 1 1790000000\nb 1 1790000000\nb 2 2\na 1 3\nb  3 1790000000\nb 4 -1\nc 5 6\n";
    let (_, batch) = run(&table, &Rules::default(), input);
    let spans = |index: usize| -> Vec<_> {
        let spans = batch.placed()[index].spans.iter();
        spans.map(|span| (span.changed, span.lines)).collect()
    };
    assert_eq!(spans(0), [(false, 4), (true, 2), (false, 1)]);
    assert_eq!(spans(1), [(false, 2), (true, 2)]);
}

#[test]
fn changed_neighbours_are_one_span_of_their_own() {
    // The first line is as long as it was, so the second begins in the input where the first ends in the scratch.
    let input = b"a 1\t2\nb 1 2\n";
    let (texts, batch) = run(&to_one(), &Rules::default(), input);
    assert_eq!(texts[0], b"a 1 2\nb 1 2\n");
    assert_eq!(batch.placed()[0].spans.len(), 2);
    // A line refused half-written leaves nothing between its neighbours.
    let input = b"a  1 2\nsome.name x 2\nb  1 2\n";
    let (texts, batch) = run(&to_one(), &Rules::default(), input);
    assert_eq!(texts[0], b"a 1 2\nb 1 2\n");
    assert_eq!(batch.placed()[0].spans.len(), 1);
}

#[test]
fn a_hash_gives_a_name_the_same_member_whether_it_is_remembered_or_not() {
    let member = |destination| Member {
        destination,
        host: format!("10.0.0.{destination}"),
        port: 2003,
        instance: None,
    };
    let md5 = [
        RouteKind::CarbonCh,
        RouteKind::ConsistentHashing,
        RouteKind::ConsistentHashingV2,
    ];
    let others = [RouteKind::Fnv1aCh, RouteKind::JumpFnv1aCh];
    let input: String = (0..2_000).map(|at| format!("web{at}.cpu 1 1\n")).collect();
    for kind in md5.into_iter().chain(others) {
        for dynamic in [false, true] {
            let options = ChoiceOptions {
                replication: 2,
                dynamic,
                ..ChoiceOptions::default()
            };
            let chooser = Chooser::new(kind, (0..40).map(member).collect(), options).unwrap();
            let mut expected = vec![Vec::new(); 40];
            for line in input.split_inclusive('\n') {
                let name = line.split(' ').next().unwrap().as_bytes();
                let mut chosen = Vec::new();
                let moment = Moment::default();
                chooser.choose(name, chooser.everyone(), &moment, &mut chosen);
                for at in chosen {
                    expected[at].extend_from_slice(line.as_bytes());
                }
            }
            // A member with a matcher of its own is asked; the others take what there is.
            for one in [all(), prefix("web")] {
                let members = (0..40).map(|at| (at, if at == 7 { one.clone() } else { all() }));
                let entries = table(vec![TableRoute {
                    key: "route".to_owned(),
                    chooser: chooser.clone(),
                    matcher: all(),
                    destinations: members.collect(),
                }]);
                let (made, mut batch) = (Table::new(entries.clone()), Batch::new());
                let remembered = md5.contains(&kind) && !dynamic;
                assert_eq!(made.is_costly(), remembered, "{kind:?}");
                for _ in 0..2 {
                    again(&mut batch, &made, &Rules::default(), input.as_bytes());
                    let texts = texts(&entries, &batch, input.as_bytes());
                    assert!(texts == expected, "{kind:?}");
                }
            }
        }
    }
}
