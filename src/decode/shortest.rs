//! Numbers as text: the shortest that reads back as the same number.

/// Writes a float: `0.1`, `1e-7`, `1e+20`, whole numbers without `.0`; `nan`, `inf` and `-inf` where it is none.
pub fn float(value: f64, text: &mut Vec<u8>) {
    // Up to here each whole number is a float of its own, so all of its digits are its shortest form.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.abs() < EXACT && value.trunc() == value && (value != 0.0 || value.is_sign_positive()) {
        return integer(value as i64, text);
    }
    if value.is_nan() {
        return text.extend_from_slice(b"nan");
    }
    let mut buffer = zmij::Buffer::new();
    let shortest = match value.is_finite() {
        true => buffer.format_finite(value),
        false if value > 0.0 => "inf",
        false => "-inf",
    };
    let shortest = shortest.strip_suffix(".0").unwrap_or(shortest);
    text.extend_from_slice(shortest.as_bytes());
}

/// Writes a whole number.
pub fn integer(value: i64, text: &mut Vec<u8>) {
    text.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes a whole number of at most [`LONGEST`] bytes, in two's complement, little-endian, as pickle has them.
/// False, and nothing is written, when it is longer.
#[must_use]
pub fn long(bytes: &[u8], text: &mut Vec<u8>) -> bool {
    if bytes.len() > LONGEST {
        return false;
    }
    let negative = bytes.last().is_some_and(|high| high & 0x80 != 0);
    // The magnitude, in 32-bit digits, the lowest first.
    let mut digits = [0_u32; LONGEST.div_ceil(4) + 1];
    for (at, digit) in digits.iter_mut().enumerate() {
        let byte = |within: usize| match bytes.get(4 * at + within) {
            Some(byte) => *byte,
            None if negative => 0xff,
            None => 0,
        };
        *digit = u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]);
    }
    if negative {
        let mut carry = true;
        for digit in &mut digits {
            (*digit, carry) = (!*digit).overflowing_add(u32::from(carry));
        }
        text.push(b'-');
    }
    magnitude(&mut digits, text);
    true
}

/// A longer number than this is beyond what a float holds: no store could keep it.
pub const LONGEST: usize = 129;

/// Nine decimal digits at a time, from the lowest on.
fn magnitude(digits: &mut [u32], text: &mut Vec<u8>) {
    const STEP: u64 = 1_000_000_000;
    let start = text.len();
    let mut left = digits.len();
    loop {
        while left > 0 && digits[left - 1] == 0 {
            left -= 1;
        }
        let mut rest = 0;
        for digit in digits[..left].iter_mut().rev() {
            let part = rest << 32 | u64::from(*digit);
            (*digit, rest) = ((part / STEP) as u32, part % STEP);
        }
        let is_last = digits[..left].iter().all(|digit| *digit == 0);
        for place in 0..9 {
            if is_last && rest == 0 && place > 0 {
                break;
            }
            text.push(b'0' + (rest % 10) as u8);
            rest /= 10;
        }
        if is_last {
            break;
        }
    }
    text[start..].reverse();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(value: f64) -> String {
        let mut text = Vec::new();
        float(value, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn case_18_floats_are_written_in_their_shortest_form() {
        for (value, text) in [
            (0.1, "0.1"),
            (1e-7, "1e-7"),
            (1.5, "1.5"),
            (0.0, "0"),
            (-0.0, "-0"),
            (-3.0, "-3"),
            (1.0 / 3.0, "0.3333333333333333"),
            (123_456_789.123_456_79, "123456789.12345679"),
            (1_700_000_000.0, "1700000000"),
            (1e15, "1000000000000000"),
            (1e20, "1e+20"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::NAN, "nan"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(of(value), text);
        }
    }

    #[test]
    fn long_numbers_keep_all_their_digits() {
        let of = |bytes: &[u8]| {
            let mut text = Vec::new();
            assert!(long(bytes, &mut text));
            String::from_utf8(text).unwrap()
        };
        assert_eq!(of(&[]), "0");
        assert_eq!(of(&[0]), "0");
        assert_eq!(of(&[0xff]), "-1");
        assert_eq!(of(&[0, 0xff]), "-256");
        assert_eq!(
            of(&[0, 0, 0, 0, 0, 0, 0, 0, 0x40]),
            "1180591620717411303424"
        );
        let mut largest = [0xff; LONGEST];
        largest[LONGEST - 1] = 0;
        assert!(of(&largest).starts_with("179769313486231590772930"));
        assert_eq!(of(&largest).len(), 309);
        assert!(!long(&[1; LONGEST + 1], &mut Vec::new()));
    }

    proptest! {
        #[test]
        fn floats_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            let back: f64 = of(value).parse().unwrap();
            prop_assert!(back.to_bits() == bits || value.is_nan() && back.is_nan());
        }

        #[test]
        fn longs_are_what_the_language_prints(value: i128, sign_bytes in 0..8_usize) {
            let mut bytes = value.to_le_bytes().to_vec();
            bytes.resize(16 + sign_bytes, if value < 0 { 0xff } else { 0 });
            let mut text = Vec::new();
            prop_assert!(long(&bytes, &mut text));
            prop_assert_eq!(String::from_utf8(text).unwrap(), value.to_string());
        }
    }
}
