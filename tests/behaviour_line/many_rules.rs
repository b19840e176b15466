//! With many rules only those are asked that a name can meet: it must make no difference.

use super::*;
use baton::route::{Aggregate, Literals, Rewrite};
use proptest::prelude::*;
use std::sync::Arc;

fn patterns() -> impl Strategy<Value = Patterns> {
    let text = || {
        prop_oneof![
            3 => Just(String::new()),
            1 => "[ab][abc.]{0,4}",
            1 => "(abc|cab|b\\.c|a\\.b){1,12}",
        ]
    };
    let regex = || {
        prop_oneof![
            4 => Just(String::new()),
            1 => r"\^?(a|b|abc|cab\\.|\.\*|\[\^.\]\+|\(abc\|bca\)|\[ab\]){1,5}\$?",
        ]
    };
    let all = (text(), text(), text(), text(), regex(), regex());
    all.prop_map(
        |(prefix, not_prefix, sub, not_sub, regex, not_regex)| Patterns {
            prefix,
            not_prefix,
            sub,
            not_sub,
            regex,
            not_regex,
        },
    )
}

fn matcher() -> impl Strategy<Value = Matcher> {
    patterns().prop_filter_map("no expression", |patterns| Matcher::new(&patterns).ok())
}

fn rule() -> impl Strategy<Value = BlockRule> {
    let kind = prop_oneof!["prefix", "sub", "regex", "notPrefix", "notSub"];
    // Rules that few names meet, so that some pass all of them.
    let text = (kind, "(abc|cab|bb|a\\.b){2,4}");
    text.prop_map(|(kind, expression)| match &kind[..] {
        "notPrefix" | "notSub" => format!("{kind} {}", &expression[..1]),
        _ => format!("{kind} {expression}"),
    })
    .prop_map(|text| BlockRule::parse(&text).unwrap())
}

fn tables() -> impl Strategy<Value = Entries> {
    let kind = prop_oneof![
        Just(RouteKind::SendAllMatch),
        Just(RouteKind::SendFirstMatch)
    ];
    let shape = (kind, matcher(), proptest::collection::vec(matcher(), 0..4));
    let shapes = proptest::collection::vec(shape, 0..30);
    let blocklist = proptest::collection::vec(rule(), 0..12);
    (shapes, blocklist, any::<bool>()).prop_map(|(shapes, blocklist, first_only)| {
        let mut next = 0..;
        let routes = shapes.into_iter().map(|(kind, matcher, destinations)| {
            route(kind, matcher, next.by_ref().zip(destinations).collect())
        });
        let routes = routes.collect();
        Entries {
            blocklist,
            first_only,
            ..table(routes)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn many_rules_are_as_a_loop_over_all(
        table in tables(),
        names in proptest::collection::vec("[abc.]{1,9}|(abc|cab|b\\.c|a\\.b|c){1,14}|[abc.]{1,80}", 1..60),
    ) {
        let input: Vec<u8> = names.iter().flat_map(|name| format!("{name} 1 1790000000\n").into_bytes()).collect();
        let rules = Rules::default();
        let expected = properties::line_by_line(&table, &rules, &input);
        let blocked = names.iter().filter_map(|name| {
            table.blocklist.iter().position(|rule| rule.matcher().matches(name.as_bytes()))
        });
        let mut by_rule = vec![0; table.blocklist.len()];
        blocked.for_each(|rule| by_rule[rule] += 1);
        let made = Table::new(table.clone());
        let mut batch = Batch::new();
        // Names seen for the first time, then names seen before.
        for _ in 0..2 {
            again(&mut batch, &made, &rules, &input);
            prop_assert_eq!(&texts(&table, &batch, &input), &expected);
            let counted: Vec<_> = batch.blocked().collect();
            prop_assert!(counted.iter().all(|(rule, lines)| by_rule[*rule] == *lines));
            prop_assert_eq!(counted.iter().map(|(_, lines)| lines).sum::<u64>(), by_rule.iter().sum::<u64>());
        }
    }
}

/// Replaces a text by another one wherever it is.
#[derive(Debug)]
struct Replace(&'static str, &'static str);

impl Rewrite for Replace {
    fn rewrite(&self, name: &[u8], to: &mut Vec<u8>) -> bool {
        let name = std::str::from_utf8(name).unwrap();
        let is_in = name.contains(self.0);
        if is_in {
            to.extend_from_slice(name.replace(self.0, self.1).as_bytes());
        }
        is_in
    }

    fn literals(&self) -> Vec<Literals> {
        Literals::of_text(self.0.as_bytes()).into_iter().collect()
    }
}

/// Gathers names with a text under another name.
#[derive(Debug)]
struct Gather(&'static str, bool);

impl Aggregate for Gather {
    fn output(&self, name: &[u8], to: &mut Vec<u8>) -> bool {
        let is_in = std::str::from_utf8(name).unwrap().contains(self.0);
        if is_in {
            to.extend_from_slice(format!("sum.{}", self.0).as_bytes());
        }
        is_in
    }

    fn drops_raw(&self) -> bool {
        self.1
    }

    fn literals(&self) -> Vec<Literals> {
        Literals::of_text(self.0.as_bytes()).into_iter().collect()
    }
}

/// As few rules, and as many: with rules that have nothing to do with it.
fn with_more(entries: Entries) -> [Table; 2] {
    let mut more = entries.clone();
    more.blocklist = (0..50)
        .map(|at| BlockRule::parse(&format!("sub nothing{at}.")).unwrap())
        .collect();
    [Table::new(entries), Table::new(more)]
}

#[test]
fn case_21_each_rewriter_sees_what_the_one_before_left() {
    let entries = Entries {
        rewriters: vec![
            Arc::new(Replace("web", "app")),
            Arc::new(Replace("app17", "x.db")),
            Arc::new(Replace("web", "never")),
            Arc::new(Replace("bad", " ")),
        ],
        routes: vec![
            route(RouteKind::SendAllMatch, prefix("x.db"), vec![(0, all())]),
            route(RouteKind::SendAllMatch, prefix("web"), vec![(1, all())]),
            route(RouteKind::SendAllMatch, all(), vec![(2, all())]),
        ],
        destinations: 3,
        ..Entries::default()
    };
    let input =
        b"web17.cpu 1 2\nother 1  2\nweb1.cpu  1 2\nso.bad 1 2\nso.bad  1 2\nweb17.cpu  3 2\n";
    for table in with_more(entries.clone()) {
        let mut batch = Batch::new();
        for _ in 0..3 {
            again(&mut batch, &table, &Rules::default(), input);
            let texts = texts(&entries, &batch, input);
            assert_eq!(texts[0], b"x.db.cpu 1 2\nx.db.cpu 3 2\n");
            assert_eq!(texts[1], b"");
            assert_eq!(
                texts[2],
                b"x.db.cpu 1 2\nother 1 2\napp1.cpu 1 2\nx.db.cpu 3 2\n"
            );
            assert_eq!(batch.rejected()[Reason::Rewrite as usize], 2);
            assert_eq!(
                batch.rejections()[1].reason,
                Reason::Rewrite,
                "as it came: {:?}",
                &input[batch.rejections()[1].range.clone()]
            );
            assert_eq!(&input[batch.rejections()[1].range.clone()], b"so.bad  1 2");
            assert_eq!((batch.lines(), batch.routed()), (6, 4));
        }
    }
}

#[test]
fn a_rewritten_line_that_grew_too_long_is_rejected() {
    let entries = Entries {
        rewriters: vec![Arc::new(Replace("aaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"))],
        ..to_one()
    };
    let rules = Rules {
        max_line: 34,
        ..Rules::default()
    };
    for table in with_more(entries) {
        let mut batch = Batch::new();
        again(
            &mut batch,
            &table,
            &rules,
            b"aaa 1 2\naaa 1 1790000000\naaaaaa 1 2\n",
        );
        assert_eq!(batch.rejected()[Reason::Rewrite as usize], 2);
        assert_eq!((batch.lines(), batch.routed()), (3, 1));
    }
}

#[test]
fn case_28_what_an_aggregator_drops_goes_no_further() {
    let entries = Entries {
        rewriters: vec![Arc::new(Replace("web", "app"))],
        aggregators: vec![
            Arc::new(Gather("cpu", false)),
            Arc::new(Gather("app", true)),
            Arc::new(Gather("cpu", false)),
        ],
        ..to_one()
    };
    let input = b"web.cpu 1.50 2\ndb.cpu  7 1790000000\nweb.mem 3 2\nother 4 2\n";
    for table in with_more(entries.clone()) {
        let mut batch = Batch::new();
        for _ in 0..3 {
            again(&mut batch, &table, &Rules::default(), input);
            let gathered = batch.gathered(input).map(|point| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                (
                    point.rule,
                    text(point.output),
                    text(point.value),
                    text(point.timestamp),
                )
            });
            let expected = [
                (0, "sum.cpu", "1.50", "2"),
                (1, "sum.app", "1.50", "2"),
                (0, "sum.cpu", "7", "1790000000"),
                (2, "sum.cpu", "7", "1790000000"),
                (1, "sum.app", "3", "2"),
            ];
            let expected =
                expected.map(|(rule, a, b, c)| (rule, a.to_owned(), b.to_owned(), c.to_owned()));
            assert_eq!(gathered.collect::<Vec<_>>(), expected);
            assert_eq!(
                texts(&entries, &batch, input)[0],
                b"db.cpu 7 1790000000\nother 4 2\n"
            );
            assert_eq!((batch.lines(), batch.consumed(), batch.routed()), (4, 2, 2));
        }
    }
}
