use proptest::prelude::*;

use super::*;

const MAX_LINE: usize = 1024;

fn lines(pickle: &[u8]) -> Result<(String, Vec<Fault>), Refused> {
    let mut decoder = Decoder::default();
    let mut points = decoder.read(pickle, MAX_LINE)?;
    let (mut text, mut faults) = (Vec::new(), Vec::new());
    let items = points.len();
    let mut seen = 0;
    while let Some(item) = points.write_next(&mut text) {
        faults.extend(item.err().map(|bad| bad.fault));
        seen += 1;
    }
    assert_eq!(seen, items);
    Ok((String::from_utf8_lossy(&text).into_owned(), faults))
}

fn refused(pickle: &[u8]) -> Refused {
    lines(pickle).expect_err("it was taken")
}

/// A list of one item, `(name, (1, value))`, whose parts are opcodes.
fn item(name: &[u8], timestamp: &[u8], value: &[u8]) -> Vec<u8> {
    [&b"]"[..], name, timestamp, value, b"\x86\x86a."].concat()
}

#[test]
fn case_17_whatever_could_construct_refuses_the_frame() {
    for opcode in *b"cRbioPQ\x81\x82\x83\x84\x92\x93\x97\x98" {
        let call = [
            b"](K\x01",
            &[opcode][..],
            b"\x01\x01\x01\x01\x01\x01.\n\n\n",
        ]
        .concat();
        assert_eq!(refused(&call), Refused::Opcode(opcode), "{opcode:#x}");
    }
    assert_eq!(
        refused(b"cos\nsystem\n(S'true'\ntR."),
        Refused::Opcode(b'c')
    );
    for unknown in (0..=255_u8).filter(|byte| !byte.is_ascii() || byte.is_ascii_control()) {
        let known = matches!(unknown, 0x80 | 0x85..=0x91 | 0x94..=0x96);
        let is_refused = lines(&[b']', unknown]) == Err(Refused::Opcode(unknown));
        assert_eq!(is_refused, !known, "{unknown:#x}");
    }
}

#[test]
fn case_17_hostile_frames_end_early() {
    let many = |part: &[u8], times: usize| part.repeat(times);
    assert_eq!(refused(&many(b"(", 1 << 20)), Refused::Depth);
    assert_eq!(refused(&many(b"]", 400_000)), Refused::Items);
    assert_eq!(
        refused(&[b"]", &many(b"\x85", 1 << 20)[..]].concat()),
        Refused::Depth
    );
    // Lists in lists, the inner ones first.
    let nested = [many(b"]", 20), many(b"a", 19)].concat();
    assert_eq!(refused(&nested), Refused::Depth);
    assert_eq!(refused(&many(b"N", 200_000)), Refused::Items);
    assert_eq!(
        refused(&[b"]N", &many(b"2", 99_000)[..], b"r\xff\xff\xff\x7f."].concat()),
        Refused::Memo
    );
    assert_eq!(
        refused(&[b"](", &many(b"N", 100_001)[..], b"e."].concat()),
        Refused::Items
    );
    assert_eq!(refused(b"]p999999999\n."), Refused::Memo);
    assert_eq!(refused(b"]h\x05."), Refused::Memo);
    // A list in itself, ten times over.
    assert_eq!(
        refused(&[b"]q\0", &many(b"h\0a", 10)[..], b"."].concat()),
        Refused::Depth
    );
    // One long name, very often.
    let name = [b"X\xe8\x03\0\0", &many(b"n", 1000)[..]].concat();
    let bomb = [
        b"](",
        &name[..],
        b"K\x01K\x01\x86\x86q\0",
        &many(b"h\0", 90_000)[..],
        b"e.",
    ];
    assert_eq!(refused(&bomb.concat()), Refused::Growth);
}

#[test]
fn what_is_cut_or_lacks_its_operands_is_refused() {
    let whole = item(b"X\x01\0\0\0a", b"J\0\x01\0\0", b"G\x3f\xf8\0\0\0\0\0\0");
    assert_eq!(lines(&whole).unwrap().0, "a 1.5 256\n");
    for cut in 0..whole.len() {
        assert_eq!(refused(&whole[..cut]), Refused::Cut, "{cut}");
    }
    for broken in [
        &b"."[..],
        b"(.",
        b"a.",
        b"]a.",
        b"]e.",
        b"](1a.",
        b"K\x01K\x02a.",
        b"(0\x85.",
        b"K\x01(\x85.",
        b"0.",
        b"2.",
        b"]s.",
        b"]]s.",
        b")a.",
    ] {
        assert!(matches!(refused(broken), Refused::Operand), "{broken:?}");
    }
    for broken in [
        &b"In\n."[..],
        b"I\n.",
        b"I-\n.",
        b"I1_0\n.",
        b"L5LL\n.",
        b"Fx\n.",
        b"F\n.",
        b"Sa\n.",
        b"S'a\n.",
        b"S'\\x1'\n.",
        b"S'\\'\n.",
        b"V\\u12\n.",
        b"V\\U00110000\n.",
    ] {
        assert_eq!(refused(broken), Refused::Literal, "{broken:?}");
    }
    for shape in [&b"N."[..], b"}.", b"K\x05.", b"U\x01a.", b"\x8f."] {
        assert_eq!(refused(shape), Refused::Shape, "{shape:?}");
    }
    assert_eq!(refused(b"\x80\x06]."), Refused::Protocol(6));
    assert_eq!(refused(b"\x80\x04\x95\xff\0\0\0\0\0\0\0]."), Refused::Cut);
    // Python looks at nothing behind the end either.
    assert_eq!(lines(b"].\xff\xff").unwrap().0, "");
    assert_eq!(lines(b").").unwrap().0, "");
}

#[test]
fn literals_of_protocol_0_are_read() {
    for (name, read) in [
        (&b"Vgr\xf6\\u00dfe\n"[..], "größe"),
        (b"V\\U0001f600\\u005cn\n", "😀\\n"),
        (b"S'a\\x41\\101\\'\\\\q'\n", "aAA'\\q"),
        (b"S\"a\\q\"\n", "a\\q"),
        (b"T\x01\0\0\0t", "t"),
        (b"U\x01u", "u"),
        (b"B\x01\0\0\0b", "b"),
        (b"C\x01c", "c"),
        (b"\x8c\x01d", "d"),
        (b"\x8d\x01\0\0\0\0\0\0\0e", "e"),
        (b"\x8e\x01\0\0\0\0\0\0\0f", "f"),
        (b"\x96\x01\0\0\0\0\0\0\0g", "g"),
    ] {
        let (text, faults) = lines(&item(name, b"I5\n", b"L7L\n")).unwrap();
        assert_eq!(
            (&text[..], &faults[..]),
            (&format!("{read} 7 5\n")[..], &[][..])
        );
    }
}

#[test]
fn case_16_numbers_are_taken_in_each_form() {
    let value = |opcodes: &[u8]| {
        let (text, faults) = lines(&item(b"U\x01v", b"K\x01", opcodes)).unwrap();
        match faults[..] {
            [] => text
                .trim_start_matches("v ")
                .trim_end_matches(" 1\n")
                .to_owned(),
            [fault] => format!("{fault:?}"),
            _ => unreachable!("there is one item"),
        }
    };
    let long = |len: u8| [&[0x8a, len][..], &vec![1; len.into()]].concat();
    for (opcodes, text) in [
        (&b"I-12\n"[..], "-12"),
        (b"I007\n", "007"),
        (b"I01\n", "1"),
        (b"\x89", "0"),
        (b"M\xff\xff", "65535"),
        (b"J\xff\xff\xff\xff", "-1"),
        (
            b"L123456789012345678901234567890L\n",
            "123456789012345678901234567890",
        ),
        (b"\x8a\0", "0"),
        (b"\x8b\x02\0\0\0\xff\xff", "-1"),
        (b"F1e-07\n", "1e-7"),
        (b"Fnan\n", "nan"),
        (b"U\x0412.5", "12.5"),
        (b"U\x021 ", "Value"),
        (b"U\x041\n2 ", "Value"),
        (b"U\0", "Value"),
        (b"N", "Item"),
        (b")", "Item"),
        (b"}", "Item"),
        (&long(130), "Value"),
    ] {
        assert_eq!(value(opcodes), text, "{opcodes:?}");
    }
    assert_eq!(value(&long(129)).len(), 309);
}

#[test]
fn case_16_timestamps_are_cut_off_and_never_made_up() {
    let stamp = |value: f64| {
        let opcodes = [b"G", &value.to_be_bytes()[..]].concat();
        let (text, _) = lines(&item(b"U\x01t", &opcodes, b"K\x01")).unwrap();
        text.trim_start_matches("t 1 ").trim_end().to_owned()
    };
    for (value, text) in [
        (1.9, "1"),
        (1_700_000_000.0, "1700000000"),
        (-1.0, "-1"),
        (-0.0, "0"),
        (-0.5, "-0.5"),
        (-2.0, "-2"),
        (f64::NAN, "nan"),
        (1e18, "1000000000000000000"),
    ] {
        assert!(
            stamp(value) == text || value == 1e18,
            "{value}: {}",
            stamp(value)
        );
    }
}

#[test]
fn case_16_a_bad_item_is_refused_alone() {
    let items = [
        &b"(X\x01\0\0\0aK\x01K\x02\x86t"[..],
        b"(X\x03\0\0\0a bK\x01K\x02\x86t",
        b"(X\x03\0\0\0a\nbK\x01K\x02\x86t",
        b"(X\0\0\0\0K\x01K\x02\x86t",
        b"(K\x05K\x01K\x02\x86t",
        b"(X\x01\0\0\0aK\x01K\x02K\x03\x87t",
        b"(X\x01\0\0\0aK\x01t",
        b"X\x01\0\0\0a",
        b"N",
        b"((X\x01\0\0\0aK\x01K\x02tt",
        b"](X\x01\0\0\0b](K\x01K\x02ee",
    ];
    let pickle = [b"](", &items.concat()[..], b"e."].concat();
    let (text, faults) = lines(&pickle).unwrap();
    assert_eq!(text, "a 2 1\nb 2 1\n");
    use Fault::{Item, Name};
    assert_eq!(
        faults,
        [Name, Name, Name, Item, Item, Item, Item, Item, Item]
    );
    let long = [b"X\x01\x04\0\0", &[b'n'; 1025][..]].concat();
    assert_eq!(
        lines(&item(&long, b"K\x01", b"K\x01")).unwrap().1,
        [Fault::TooLong]
    );
}

#[test]
fn points_can_be_resumed_behind_any_item() {
    let items: Vec<u8> = (0..5)
        .flat_map(|at| [b'(', b'U', 1, b'a' + at, b'K', 1, b'K', at, 0x86, b't'])
        .collect();
    let pickle = [b"](", &items[..], b"e."].concat();
    let all = lines(&pickle).unwrap().0;
    let mut decoder = Decoder::default();
    for skipped in 0..=6 {
        let mut points = decoder.read(&pickle, MAX_LINE).unwrap();
        points.skip(skipped);
        let mut text = Vec::new();
        while points.write_next(&mut text).is_some() {}
        let rest: String = all.split_inclusive('\n').skip(skipped).collect();
        assert_eq!(String::from_utf8(text).unwrap(), rest);
    }
}

proptest! {
    #[test]
    fn no_pickle_makes_it_panic_or_break_a_line(pickle in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok((text, _)) = lines(&pickle) {
            for line in text.lines() {
                prop_assert_eq!(line.split(' ').count(), 3);
            }
        }
    }

    #[test]
    fn no_program_of_real_opcodes_does_either(
        parts in prop::collection::vec(prop::sample::select(vec![
            &b"("[..], b"]", b")", b"}", b"N", b"K\x01", b"U\x01a", b"U\x03a\nb", b"I5\n", b"S'\\n'\n", b"G\x3f\xf8\0\0\0\0\0\0",
            b"\x85", b"\x86", b"\x86", b"\x86", b"\x87", b"t", b"l", b"d", b"a", b"e", b"s", b"u", b"0", b"1", b"2", b"q\0", b"q\x01", b"h\0", b"h\x01", b"\x94",
        ]), 0..60),
    ) {
        let pickle = [b"]", &parts.concat()[..], b"."].concat();
        if let Ok((text, _)) = lines(&pickle) {
            for line in text.lines() {
                prop_assert_eq!(line.split(' ').count(), 3);
            }
        }
    }
}
