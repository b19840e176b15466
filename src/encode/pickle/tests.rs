use proptest::prelude::*;
use serde_pickle::{DeOptions, Value};

use super::*;

/// A point as a receiver sees it: the bytes of the name, the timestamp, the bits of the value.
type Seen = (Vec<u8>, i64, u64);

/// All frames, and what is in them.
fn frames(text: &[u8]) -> (Vec<Vec<u8>>, Frame) {
    let (mut all, mut sum) = (Vec::new(), Frame::default());
    while sum.text < text.len() {
        let mut out = b"before".to_vec();
        let made = frame(&text[sum.text..], &mut out);
        assert!(made.text > 0, "no progress at {}", sum.text);
        assert!(made.points + made.unencodable <= POINTS);
        assert_eq!(out.len() > 6, made.points > 0);
        assert_eq!(&out[..6], b"before");
        sum.text += made.text;
        sum.points += made.points;
        sum.unencodable += made.unencodable;
        if made.points > 0 {
            all.push(out.split_off(6));
        }
    }
    (all, sum)
}

/// The points of a frame, by a decoder that isn't ours.
fn decode(frame: &[u8]) -> Vec<Seen> {
    let (length, pickle) = frame.split_first_chunk::<4>().unwrap();
    assert_eq!(u32::from_be_bytes(*length) as usize, pickle.len());
    assert!(pickle.len() <= LONGEST);
    let value = serde_pickle::value_from_slice(pickle, DeOptions::new()).unwrap();
    let Value::List(points) = value else {
        panic!("{value:?}")
    };
    points.into_iter().map(point).collect()
}

fn point(value: Value) -> Seen {
    let pair = |value: Value| match value {
        Value::Tuple(two) => <[Value; 2]>::try_from(two).unwrap(),
        other => panic!("{other:?}"),
    };
    let [name, numbers] = pair(value);
    let [timestamp, value] = pair(numbers);
    let name = match name {
        Value::String(name) => name.into_bytes(),
        Value::Bytes(name) => name,
        other => panic!("{other:?}"),
    };
    // The other relays send some timestamps as floats, some integers as strings of digits, some values as integers.
    let timestamp = match timestamp {
        Value::I64(seconds) => seconds,
        Value::F64(seconds) => seconds as i64,
        Value::Int(seconds) => i64::try_from(seconds).unwrap(),
        other => panic!("{other:?}"),
    };
    let value = match value {
        Value::F64(value) => value,
        Value::I64(value) => value as f64,
        other => panic!("{other:?}"),
    };
    let value = if value.is_nan() { f64::NAN } else { value };
    (name, timestamp, value.to_bits())
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn case_30_a_frame_is_to_the_byte_what_it_was_when_encoding_was_given_its_number() {
    let mut out = Vec::new();
    let text = b"foo.bar 1.5 1700000000\nbad\n\xc3\xa4;k=v 7 4294967295\nlate";
    let made = frame(text, &mut out);
    assert_eq!(
        (made.text, made.points, made.unencodable),
        (text.len() - 4, 2, 1)
    );
    let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(ENCODING, 1);
    assert_eq!(
        hex,
        "0000003f80025d28\
         5807000000666f6f2e6261724a00f15365473ff80000000000008686\
         5806000000c3a43b6b3d768a05ffffffff0047401c0000000000008686652e"
    );
}

#[test]
fn case_30_the_points_are_those_that_carbon_sends_for_its_lines() {
    let vectors = include_str!("../../../tests/vectors/carbon_py_output.csv");
    for row in vectors.lines().skip(1) {
        let mut columns = row.rsplit(',');
        let theirs = unhex(columns.next().unwrap());
        let lines = unhex(columns.next().unwrap());
        let (ours, sum) = frames(&lines);
        assert_eq!((ours.len(), sum.unencodable), (1, 0), "{row}");
        // Carbon's text has ten digits, and no more than ten behind the point: its pickles are closer.
        let (ours, theirs) = (decode(&ours[0]), decode(&theirs));
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!((&ours.0, ours.1), (&theirs.0, theirs.1), "{row}");
            let (value, their_value) = (f64::from_bits(ours.2), f64::from_bits(theirs.2));
            let is_close = (value - their_value).abs() <= their_value.abs() * 1e-9 + 1e-10;
            assert!(value == their_value || is_close, "{row}");
        }
    }
}

#[test]
fn case_30_the_points_are_those_that_carbon_relay_ng_sends_for_its_lines() {
    let vectors = include_str!("../../../tests/vectors/crng_pickle_output.csv");
    for row in vectors.lines().skip(1) {
        let columns: Vec<&str> = row.split(',').collect();
        let [name, value, timestamp, hex] = columns[..] else {
            panic!("{row}")
        };
        let line = format!("{name} {value} {timestamp}\n");
        let (ours, _) = frames(line.as_bytes());
        assert_eq!(decode(&ours[0]), decode(&unhex(hex)), "{row}");
    }
}

#[test]
fn case_30_a_frame_has_500_points_and_no_more() {
    let text: String = (0..1_201)
        .map(|n| format!("name.{n} {n} 1700000000\n"))
        .collect();
    let (all, sum) = frames(text.as_bytes());
    let points: Vec<usize> = all.iter().map(|frame| decode(frame).len()).collect();
    assert_eq!((points, sum.points), (vec![500, 500, 201], 1_201));
}

#[test]
fn case_30_lines_that_are_no_points_are_counted_and_hold_nothing_up() {
    for line in [
        "",
        " ",
        "a",
        "a 1",
        "a 1 2 3",
        "a x 2",
        "a 1 x",
        "a 1 ",
        "a 1 -",
        "a 1 .5",
        "a 1 1e3",
        "a 1 4294967296",
        "a 1 -2147483649",
        "a 1 99999999999999999999",
        "a 1_0 2",
        "a 1\u{e4} 2",
    ] {
        let text = format!("{line}\nb 1 2\n{line}\n");
        let (all, sum) = frames(text.as_bytes());
        assert_eq!((sum.points, sum.unencodable), (1, 2), "{line:?}");
        assert_eq!(
            decode(&all[0]),
            [(b"b".to_vec(), 2, 1f64.to_bits())],
            "{line:?}"
        );
        // And alone there is no frame at all.
        let (all, sum) = frames(format!("{line}\n").as_bytes());
        assert_eq!(
            (all.len(), sum.points, sum.unencodable),
            (0, 0, 1),
            "{line:?}"
        );
    }
}

#[test]
fn lines_of_a_foreign_file_are_read_as_a_listener_reads_them() {
    let text = b"  a\t1   2.9 \r\nb +.5 0002\nc 1e400 -1\n";
    let (all, _) = frames(text);
    let expected = [("a", 2, 1.0), ("b", 2, 0.5), ("c", -1, f64::INFINITY)];
    let expected =
        expected.map(|(name, at, value)| (name.as_bytes().to_vec(), at, value.to_bits()));
    assert_eq!(decode(&all[0]), expected);
}

#[test]
fn case_30_names_that_are_not_utf8_are_strings_of_bytes_in_frames_of_their_own() {
    let long = [b"\xff".repeat(300), b" 3 4\n".to_vec()].concat();
    let text = [
        b"a 1 2\nb\xff 1 2\nc\xfe 2 3\n".to_vec(),
        long,
        b"d 4 5\n".to_vec(),
    ]
    .concat();
    let (all, sum) = frames(&text);
    assert_eq!((all.len(), sum.points), (3, 5));
    // A decoder for Python 3 can't read them; that of Python 2 sees bytes.
    let of_bytes = &all[1][4..];
    assert!(of_bytes.starts_with(b"\x80\x02](U\x02b\xff"));
    let long = memchr::memmem::find(of_bytes, &[b'T', 44, 1, 0, 0, 0xff]);
    assert!(long.is_some(), "{of_bytes:?}");
    assert_eq!((decode(&all[0]).len(), decode(&all[2]).len()), (1, 1));
}

#[test]
fn a_frame_is_no_longer_than_carbon_takes() {
    let line = |length: usize| [b"n".repeat(length), b" 1 1700000000\n".to_vec()].concat();
    // Three that fill it, one that is too long for any, one that fits alone.
    let most = LONGEST - 4 - AROUND - 2;
    let text = [
        line(400_000),
        line(400_000),
        line(400_000),
        line(most + 1),
        line(most),
    ]
    .concat();
    let (all, sum) = frames(&text);
    assert_eq!((sum.points, sum.unencodable), (4, 1));
    let points: Vec<usize> = all.iter().map(|frame| decode(frame).len()).collect();
    assert_eq!(points, [2, 1, 1]);
}

proptest! {
    /// Whatever the text is: all of it is accounted for, and what comes out reads back as the points that are in it.
    #[test]
    fn points_read_back(
        points in prop::collection::vec(("[a-z\u{e4}.;=]{1,40}", any::<f64>(), any::<u32>()), 0..1_100),
    ) {
        let text: String = points
            .iter()
            .map(|(name, value, at)| format!("{name} {value} {at}\n"))
            .collect();
        let (all, sum) = frames(text.as_bytes());
        prop_assert_eq!(sum, Frame { text: text.len(), points: points.len() as u64, unencodable: 0 });
        let seen: Vec<Seen> = all.iter().flat_map(|frame| decode(frame)).collect();
        let expected: Vec<Seen> = points
            .iter()
            .map(|(name, value, at)| {
                let value = if value.is_nan() { f64::NAN } else { *value };
                (name.clone().into_bytes(), i64::from(*at), value.to_bits())
            })
            .collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn any_text_is_taken_to_its_end(text in prop::collection::vec(prop::sample::select(b"ab \t\r\n\xff019.-e".to_vec()), 0..3_000)) {
        let mut text = text;
        text.push(b'\n');
        let lines = memchr::memchr_iter(b'\n', &text).count() as u64;
        let (_, sum) = frames(&text);
        prop_assert_eq!((sum.text, sum.points + sum.unencodable), (text.len(), lines));
    }

    /// What a successor needs: the text between two boundaries becomes the same frame, whatever follows it.
    #[test]
    fn a_frame_depends_on_its_own_text_alone(lines in 1usize..700, more in "[a-z 0-9\n\u{e4}]{0,200}") {
        let text: String = (0..lines).map(|n| format!("name.{n} {n}.5 1700000000\n")).collect();
        let (mut first, mut again) = (Vec::new(), Vec::new());
        let made = frame(format!("{text}{more}").as_bytes(), &mut first);
        let whole = format!("{text}{more}");
        prop_assert_eq!(frame(&whole.as_bytes()[..made.text], &mut again), made);
        prop_assert_eq!(first, again);
    }
}
