//! What the pipeline does with lines, case by case as the behaviour document numbers them.
#![allow(missing_docs)]

#[path = "behaviour_line/many_rules.rs"]
mod many_rules;
#[path = "behaviour_line/properties.rs"]
mod properties;
#[path = "behaviour_line/routing.rs"]
mod routing;
#[path = "behaviour_line/vectors.rs"]
mod vectors;

use std::str::FromStr;

use baton::{
    decode::{line::looks_like, split::Splitter},
    pipeline::{Batch, Terms},
    route::{
        BlockRule, ChoiceOptions, Chooser, Entries, Matcher, Member, Moment, Patterns, RouteKind,
        Table, TableRoute,
    },
    validate::{Level, LevelM20, Reason, Rules},
};

const NOW: u32 = 1_790_000_000;

fn all() -> Matcher {
    Matcher::new(&Patterns::default()).unwrap()
}

fn regex(expression: &str) -> Matcher {
    let regex = expression.to_owned();
    Matcher::new(&Patterns {
        regex,
        ..Patterns::default()
    })
    .unwrap()
}

fn prefix(prefix: &str) -> Matcher {
    let prefix = prefix.to_owned();
    Matcher::new(&Patterns {
        prefix,
        ..Patterns::default()
    })
    .unwrap()
}

fn route(kind: RouteKind, matcher: Matcher, destinations: Vec<(usize, Matcher)>) -> TableRoute {
    let members = destinations.iter().map(|(to, _)| Member::to(*to));
    let chooser = Chooser::new(kind, members.collect(), ChoiceOptions::default()).unwrap();
    TableRoute {
        key: "route".to_owned(),
        chooser,
        matcher,
        destinations,
    }
}

fn table(routes: Vec<TableRoute>) -> Entries {
    let indexes = routes.iter().flat_map(|route| &route.destinations);
    Entries {
        destinations: indexes.map(|(index, _)| index + 1).max().unwrap_or(0),
        routes,
        ..Entries::default()
    }
}

fn to_one() -> Entries {
    table(vec![route(
        RouteKind::SendAllMatch,
        all(),
        vec![(0, all())],
    )])
}

/// What each destination gets, as text, and the batch for its books.
fn run(table: &Entries, rules: &Rules, input: &[u8]) -> (Vec<Vec<u8>>, Batch) {
    let mut batch = Batch::new();
    again(&mut batch, &Table::new(table.clone()), rules, input);
    (texts(table, &batch, input), batch)
}

fn again(batch: &mut Batch, table: &Table, rules: &Rules, input: &[u8]) {
    let up = vec![true; table.entries().destinations];
    let moment = Moment { up: &up, turn: 0 };
    batch.run(
        &Terms {
            table,
            rules,
            now: NOW,
            moment,
            order: None,
        },
        input,
    );
}

fn texts(table: &Entries, batch: &Batch, input: &[u8]) -> Vec<Vec<u8>> {
    let mut texts = vec![Vec::new(); table.destinations];
    for placed in batch.placed() {
        let text = &mut texts[placed.destination];
        for span in &placed.spans {
            text.extend_from_slice(batch.text(input, span));
        }
        assert_eq!(text.len(), placed.bytes);
        assert_eq!(
            text.iter().filter(|&&byte| byte == b'\n').count() as u64,
            placed.lines
        );
    }
    texts
}

/// What becomes of one line: its text as sent, or the reason why it isn't.
fn one(rules: &Rules, line: impl AsRef<[u8]>) -> Result<Vec<u8>, Reason> {
    let mut input = line.as_ref().to_vec();
    input.push(b'\n');
    let (mut texts, batch) = run(&to_one(), rules, &input);
    match batch.rejections() {
        [] => Ok(texts.remove(0)),
        [rejection] => {
            assert_eq!(batch.rejected()[rejection.reason as usize], 1);
            assert_eq!(&input[rejection.range.clone()], line.as_ref());
            assert!(texts[0].is_empty());
            Err(rejection.reason)
        }
        more => panic!("{more:?}"),
    }
}

fn sent(line: &str) -> String {
    String::from_utf8(one(&Rules::default(), line).unwrap()).unwrap()
}

fn refused(line: &str) -> Reason {
    one(&Rules::default(), line).unwrap_err()
}

fn at(level: Level) -> Rules {
    Rules {
        level,
        ..Rules::default()
    }
}

#[test]
fn case_01_fields_are_separated_by_runs_of_blanks() {
    assert_eq!(sent("a.b 1 2"), "a.b 1 2\n");
    assert_eq!(sent(" \ta.b  1 \t 2\t "), "a.b 1 2\n");
    assert_eq!(sent("a.b 1 2\r"), "a.b 1 2\n");
    assert_eq!(sent("a.b 1 1790000000 \r"), "a.b 1 1790000000\n");
    // Only one, and only before the newline.
    assert_eq!(refused("a.b 1 2\r\r"), Reason::Timestamp);
    assert_eq!(refused("a.b 1\r 2"), Reason::Value);
    let (texts, batch) = run(&to_one(), &Rules::default(), b"\n\r\n  \n\na 1 2\n\n");
    assert_eq!((&texts[0][..], batch.lines()), (&b"a 1 2\n"[..], 1));
}

#[test]
fn case_02_exactly_three_fields() {
    for line in ["foo", "foo 1", "foo bar 1 123", "foo 1 123 4 5"] {
        assert_eq!(refused(line), Reason::Fields, "{line}");
    }
}

#[test]
fn case_03_the_unterminated_rest_of_a_stream_is_no_line() {
    let mut splitter = Splitter::new();
    let split = splitter.split(b"a 1 2\nb 3 15000", 100);
    assert_eq!(split.whole, 0..6);
    // Through a restart it travels, and goes on at the byte.
    let mut successor = Splitter::restore(splitter.carry().to_vec(), splitter.is_discarding());
    let mut buffer = [0; 100];
    let kept = successor.fill(&mut buffer);
    buffer[kept..kept + 2].copy_from_slice(b"0\n");
    let split = successor.split(&buffer[..kept + 2], 100);
    assert_eq!(&buffer[split.whole], b"b 3 150000\n");
}

#[test]
fn case_04_the_last_line_of_a_datagram_needs_no_newline() {
    for last in ["b 3 1790000000", "b 3 4", "b  3  4\r", "b 3 4\n"] {
        let input = format!("a 1 2\n{last}");
        let (texts, batch) = run(&to_one(), &Rules::default(), input.as_bytes());
        let expected = format!(
            "a 1 2\nb 3 {}\n",
            last.trim_end().rsplit(' ').next().unwrap()
        );
        assert_eq!(String::from_utf8_lossy(&texts[0]), expected);
        assert_eq!(batch.lines(), 2);
    }
    assert_eq!(run(&to_one(), &Rules::default(), b"").1.lines(), 0);
}

#[test]
fn case_05_a_line_over_the_limit_is_one_too_long() {
    let rules = Rules {
        max_line: 20,
        ..Rules::default()
    };
    assert!(one(&rules, "a 1 1790000000.12345").is_ok());
    assert_eq!(one(&rules, "a 1 1790000000.123456"), Err(Reason::TooLong));
    assert_eq!(one(&rules, "aaaaaaaaa 1 1790000000"), Err(Reason::TooLong));
    assert_eq!(Rules::default().max_line, 16 * 1024);
    // Over many reads: found once, and what follows its newline is a line again.
    let mut splitter = Splitter::new();
    assert_eq!(splitter.split(&[b'x'; 21], 20).too_long, 1);
    assert_eq!(splitter.split(&[b'x'; 50], 20).too_long, 0);
    let split = splitter.split(b"x 1 2\na 1 2\n", 20);
    assert_eq!((split.whole, split.too_long), (6..12, 0));
}

#[test]
fn case_06_value_digits_pass_through() {
    for value in [
        "1e-7",
        "007",
        "12345678901234567890",
        "-0.0",
        "+5",
        ".5",
        "5.",
        "1E+9",
        "1e400",
        "98.25",
        "-12",
    ] {
        for timestamp in ["2", "1790000000"] {
            assert_eq!(
                sent(&format!("a.b {value} {timestamp}")),
                format!("a.b {value} {timestamp}\n")
            );
        }
    }
    for value in ["nan", "NaN", "-nan", "inf", "+Inf", "INFINITY"] {
        assert_eq!(
            refused(&format!("a.b {value} 1790000000")),
            Reason::Nan,
            "{value}"
        );
    }
    for value in [
        "0x10", "1_000", "1,5", "None", "true", "1f", ".", "-", "1e", "--1",
    ] {
        assert_eq!(
            refused(&format!("a.b {value} 1790000000")),
            Reason::Value,
            "{value}"
        );
    }
}

#[test]
fn case_07_timestamps_are_whole_seconds() {
    for good in ["0", "1", "007", "4294967295", "1790000000"] {
        assert_eq!(sent(&format!("a 1 {good}")), format!("a 1 {good}\n"));
    }
    assert_eq!(sent("a 1 -1"), format!("a 1 {NOW}\n"));
    assert_eq!(sent("a 1 1790000000.9"), "a 1 1790000000\n");
    assert_eq!(sent("a 1 123."), "a 1 123\n");
    for bad in [
        "-2",
        "-1.0",
        "4294967296",
        "1790000000000",
        "nan",
        "abc",
        "+5",
        "1e9",
        ".5",
        "1.2.3",
        "1.x",
        "-",
    ] {
        assert_eq!(refused(&format!("a 1 {bad}")), Reason::Timestamp, "{bad}");
    }
}

#[test]
fn case_08_names_by_level() {
    for byte in (0..=0x20)
        .chain([0x7f])
        .filter(|byte| !b"\n\t ".contains(byte))
    {
        let line = [b"a".as_slice(), &[byte], b"b 1 2"].concat();
        for level in [Level::None, Level::Medium, Level::Strict] {
            assert_eq!(one(&at(level), &line), Err(Reason::Name), "{byte}");
        }
    }
    let latin = b"gr\xf6\xdfe.x 1 1790000000";
    assert!(one(&at(Level::None), latin).is_ok());
    assert!(one(&at(Level::Medium), latin).is_ok());
    assert_eq!(one(&at(Level::Strict), latin), Err(Reason::Name));
    for name in ["a..b", ".a", "a.", "a/b", "a:b", "a*"] {
        let line = format!("{name} 1 1790000000");
        assert!(one(&at(Level::Medium), &line).is_ok(), "{name}");
        assert_eq!(one(&at(Level::Strict), &line), Err(Reason::Name), "{name}");
    }
    for name in ["A-Za_z0-9.x", "a.b;k=/:*"] {
        assert!(
            one(&at(Level::Strict), format!("{name} 1 2")).is_ok(),
            "{name}"
        );
    }
    assert!(one(&at(Level::None), "a;b;; 1 2").is_ok());
}

#[test]
fn case_09_dots_are_cleaned_before_matching() {
    assert_eq!(sent("..a..b. 1 2"), "..a..b. 1 2\n");
    let rules = Rules {
        clean_dots: true,
        level: Level::Strict,
        ..Rules::default()
    };
    let mut table = to_one();
    table.routes[0].matcher = regex("^a\\.b($|;)");
    for (name, cleaned) in [
        ("..a...b.", "a.b"),
        ("a..b.;k=..v.", "a.b;k=..v."),
        ("a.b", "a.b"),
    ] {
        for timestamp in ["2", "1790000000"] {
            let line = format!("{name} 1 {timestamp}\n");
            let (texts, _) = run(&table, &rules, line.as_bytes());
            assert_eq!(texts[0], format!("{cleaned} 1 {timestamp}\n").into_bytes());
        }
    }
    assert_eq!(one(&rules, "... 1 2"), Err(Reason::Name));
}

#[test]
fn case_10_tags_are_well_formed_or_refused() {
    for tags in [
        ";k=v",
        ";k=v;a=b",
        ";k=v=w",
        ";k=v!",
        ";k=v;k=v",
        ";k=\u{e9}",
    ] {
        assert_eq!(
            sent(&format!("n{tags} 1 1790000000")),
            format!("n{tags} 1 1790000000\n")
        );
    }
    for tags in [";", ";k", ";k=", ";=v", ";k!=v", ";k=~v", ";k=v;", ";;k=v"] {
        for level in [Level::Medium, Level::Strict] {
            assert_eq!(
                one(&at(level), format!("n{tags} 1 1790000000")),
                Err(Reason::Tags),
                "{tags}"
            );
        }
    }
    let rules = Rules {
        sort_tags: true,
        ..Rules::default()
    };
    assert_eq!(
        one(&rules, "n;b=1;a=2;b=3 1 1790000000").unwrap(),
        b"n;a=2;b=3 1 1790000000\n"
    );
    assert_eq!(
        one(&rules, "n;a=2;b=3 1 1790000000").unwrap(),
        b"n;a=2;b=3 1 1790000000\n"
    );
}

#[test]
fn case_11_metrics20_names_have_unit_and_mtype() {
    let none = Rules {
        level_m20: LevelM20::None,
        ..Rules::default()
    };
    for name in [
        "unit=B.mtype=gauge.host=a",
        "host_is_a.unit_is_B.mtype_is_rate",
    ] {
        assert!(
            one(&Rules::default(), format!("{name} 1 1790000000")).is_ok(),
            "{name}"
        );
    }
    for name in [
        "unit=B.mtype=gauge",
        "unit=B.host=a.x=y",
        "mtype=rate.host=a.x=y",
        "unit=B.mtype=gauge.host_is_a",
        "a.b_is_c.d",
        "a.unit=B",
    ] {
        assert_eq!(
            refused(&format!("{name} 1 1790000000")),
            Reason::Metrics20,
            "{name}"
        );
        assert!(one(&none, format!("{name} 1 1790000000")).is_ok(), "{name}");
    }
    // Tags don't count, nor does what only looks like it.
    for name in [
        "cpu;unit=B",
        "cpu;host_is_a=b",
        "this_isnt",
        "_is",
        "a_i.s_b",
    ] {
        assert!(
            one(&Rules::default(), format!("{name} 1 1790000000")).is_ok(),
            "{name}"
        );
    }
}

#[test]
fn the_first_reason_counts() {
    let rules = Rules {
        max_line: 12,
        ..Rules::default()
    };
    for (line, reason) in [
        (
            "\x01 \x01 \x01 \x01\x01\x01\x01\x01\x01\x01",
            Reason::TooLong,
        ),
        ("\x01 x x x", Reason::Fields),
        ("\x01 x x", Reason::Name),
        ("a; x x", Reason::Tags),
        ("a=b x x", Reason::Metrics20),
        ("a x x", Reason::Value),
        ("a nan x", Reason::Nan),
        ("a 1 x", Reason::Timestamp),
    ] {
        assert_eq!(one(&rules, line), Err(reason), "{line:?}");
    }
}

#[test]
fn case_14_a_rejected_line_is_recognised() {
    for (line, what) in [
        (
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
            Some("a TLS client hello"),
        ),
        (b"GET /metrics HTTP/1.1\r", Some("an HTTP request")),
        (b"PRI * HTTP/2.0\r", Some("an HTTP request")),
        (b"\x00\x00\x01\x2c\x80\x02]q\x01", Some("a pickle frame")),
        (b"\x00\x00\x00\x2c(lp0", Some("a pickle frame")),
        (b"\x05\x00\xff\xfe", Some("binary data")),
        (b"GET 1 x", None),
        (b"foo bar 1 123\r", None),
        (b"gr\xf6\xdfe x\t1", None),
    ] {
        assert_eq!(
            looks_like(line),
            what,
            "{:?}",
            String::from_utf8_lossy(line)
        );
    }
    // As lines, they are rejected and the next line is good.
    let input = b"\x16\x03\x01\x02\n\x00 \xff z\nGET / HTTP/1.1\r\na 1 2\n";
    let (texts, batch) = run(&to_one(), &Rules::default(), input);
    assert_eq!(texts[0], b"a 1 2\n");
    assert_eq!(batch.rejected().iter().sum::<u64>(), 3);
}

#[test]
fn only_the_first_rejections_are_kept() {
    let (_, batch) = run(&to_one(), &Rules::default(), &b"x\n".repeat(10));
    assert_eq!(
        (
            batch.rejections().len(),
            batch.rejected()[Reason::Fields as usize]
        ),
        (4, 10)
    );
}
