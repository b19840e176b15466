//! Values and timestamps, judged by their text. The digits of a value pass as they came, so nothing is parsed here.

use super::Reason;

/// A value must be what Rust's `f64` parser takes, without the spellings of not-a-number and infinity: an optional
/// sign, digits with or without a point on either side of which one is needed, an optional exponent.
pub fn value(text: &[u8]) -> Result<(), Reason> {
    if is_decimal(text) {
        return Ok(());
    }
    let word = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let not_finite = [&b"nan"[..], b"inf", b"infinity"]
        .iter()
        .any(|spelling| word.eq_ignore_ascii_case(spelling));
    Err(if not_finite { Reason::Nan } else { Reason::Value })
}

fn is_decimal(text: &[u8]) -> bool {
    let text = match text {
        [b'-' | b'+', unsigned @ ..] => unsigned,
        _ => text,
    };
    is_short_decimal(text) || scan_decimal(text)
}

/// Up to eight bytes at once: digits, or digits with one point among them. Says no to all else, also where the scan
/// would say yes.
fn is_short_decimal(text: &[u8]) -> bool {
    const DIGITS: u64 = 0x3030_3030_3030_3030;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let size = text.len();
    if !(4..=8).contains(&size) {
        return matches!(text, [b'0'..=b'9']);
    }
    let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) else {
        return false;
    };
    // The two halves overlap when there are less than eight bytes; the same bytes meet, so `or` is right.
    let halves = u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (size - 4));
    let padding = if size < 8 { DIGITS << (8 * size) } else { 0 };
    let word = (halves | padding) ^ DIGITS;
    // The high bit of every byte that is not a digit, i.e. ten or more after the exclusive-or.
    let others = ((word & !HIGH).wrapping_add(0x7676_7676_7676_7676) | word) & HIGH;
    let only_one = others & others.wrapping_sub(1) == 0;
    let point = u64::from(b'.' ^ b'0');
    others == 0 || only_one && word >> (others.trailing_zeros() - 7) & 0xff == point
}

/// Any length, and exponents.
fn scan_decimal(text: &[u8]) -> bool {
    let whole = digits(text);
    let mut rest = &text[whole..];
    let mut fraction = 0;
    if let [b'.', after @ ..] = rest {
        fraction = digits(after);
        rest = &after[fraction..];
    }
    if whole + fraction == 0 {
        return false;
    }
    match rest {
        [] => true,
        [b'e' | b'E', b'-' | b'+', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        _ => false,
    }
}

/// How many digits there are at the front.
fn digits(text: &[u8]) -> usize {
    text.iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len())
}

/// What is to be sent for a timestamp that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// The text as it came.
    AsItCame,
    /// Its first so many bytes: the rest is a fraction of a second.
    Truncated(usize),
    /// The time of receipt, for `-1`.
    Now,
}

/// A timestamp is seconds since 1970, 0 to 4294967295, a decimal fraction being cut off, or `-1`.
pub fn timestamp(text: &[u8]) -> Result<Stamp, Reason> {
    if text == b"-1" {
        return Ok(Stamp::Now);
    }
    let whole = digits(text);
    if whole == 0 || !fits_u32(&text[..whole]) {
        return Err(Reason::Timestamp);
    }
    match &text[whole..] {
        [] => Ok(Stamp::AsItCame),
        [b'.', fraction @ ..] if digits(fraction) == fraction.len() => Ok(Stamp::Truncated(whole)),
        _ => Err(Reason::Timestamp),
    }
}

/// The ten digits that every timestamp between 2001 and 2106 has. Says no to all else, also where [`timestamp`] says
/// yes.
pub fn is_usual_timestamp(text: &[u8; 10]) -> bool {
    let mut others = 0;
    for byte in text {
        others |= u8::from(byte.wrapping_sub(b'0') > 9);
    }
    others == 0 && (text[0] < b'4' || fits_u32(text))
}

/// Whether the digits, leading zeros aside, are at most 4294967295.
fn fits_u32(digits: &[u8]) -> bool {
    const LARGEST: &[u8] = b"4294967295";
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    let digits = &digits[zeros..];
    digits.len() < LARGEST.len() || digits.len() == LARGEST.len() && digits <= LARGEST
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the standard library says of the text, minus what is not finite by its spelling.
    fn oracle(text: &str) -> Result<(), Reason> {
        match text.parse::<f64>() {
            Err(_) => Err(Reason::Value),
            Ok(_) if text.bytes().any(|byte| byte.is_ascii_digit()) => Ok(()),
            Ok(_) => Err(Reason::Nan),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn values_are_what_the_standard_library_takes(text in "[-+]?[0-9.eE+x_-]{0,10}|[-+]?[0-9]{0,9}[.]?[0-9]{0,9}([eE][-+]?[0-9]{0,4})?") {
            prop_assert_eq!(value(text.as_bytes()), oracle(&text));
        }

        #[test]
        fn any_text_as_value(text in any::<String>()) {
            prop_assert_eq!(value(text.as_bytes()), oracle(&text));
        }

        #[test]
        fn short_values_with_any_byte(mut text in proptest::collection::vec(b'0'..=b'9', 1..10), at in 0..9usize, byte: u8) {
            let at = at % text.len();
            text[at] = byte;
            let expected = std::str::from_utf8(&text).map_or(Err(Reason::Value), oracle);
            prop_assert_eq!(value(&text), expected);
        }

        #[test]
        fn timestamps_are_numbers_of_32_bits(text in "-?0{0,3}[0-9]{0,11}([.][0-9]{0,3})?|[0-9+-.e]{0,4}") {
            let (whole, fraction) = text.split_once('.').map_or((&text[..], None), |(whole, fraction)| (whole, Some(fraction)));
            let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
            let expected = if text == "-1" {
                Ok(Stamp::Now)
            } else if !digits(whole) || whole.parse::<u32>().is_err() || !digits(fraction.unwrap_or("")) {
                Err(Reason::Timestamp)
            } else if fraction.is_some() {
                Ok(Stamp::Truncated(whole.len()))
            } else {
                Ok(Stamp::AsItCame)
            };
            prop_assert_eq!(timestamp(text.as_bytes()), expected);
        }

        #[test]
        fn usual_timestamps_are_timestamps(text in "[0-9]{10}|[0-9 .x-]{10}|429496[67][0-9]{3}") {
            let mut ten = [0; 10];
            ten.copy_from_slice(text.as_bytes());
            let expected = timestamp(text.as_bytes()) == Ok(Stamp::AsItCame);
            prop_assert_eq!(is_usual_timestamp(&ten), expected);
        }
    }

    #[test]
    fn not_finite_in_any_spelling() {
        for text in ["nan", "NaN", "-nan", "+NAN", "inf", "-Inf", "infinity", "+INFINITY"] {
            assert_eq!(value(text.as_bytes()), Err(Reason::Nan), "{text}");
        }
        for text in ["", "-", "infinit", "nano", "--nan", "1,5", "0x10", "1_000", ".", "e5", "1e"] {
            assert_eq!(value(text.as_bytes()), Err(Reason::Value), "{text}");
        }
    }
}
