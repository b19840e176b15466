//! One line, `name value timestamp`, taken apart; and a guess at what a line that isn't one may be.

/// What a line holds, before anything in it is judged.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Nothing but blanks: ignored and uncounted.
    Empty,
    /// Three fields, none of them empty.
    Point(Fields<'a>),
    /// One, two, or more than three fields.
    Malformed,
}

/// The three fields as they came.
#[derive(Debug, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The name with its tags.
    pub name: &'a [u8],
    /// The value's text.
    pub value: &'a [u8],
    /// The timestamp's text.
    pub timestamp: &'a [u8],
}

/// Takes a line (without its newline) apart: fields lie between runs of blanks and tabs; one carriage return before the
/// newline is no part of the last field.
pub fn fields(line: &[u8]) -> Line<'_> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut fields = line
        .split(|&byte| byte == b' ' || byte == b'\t')
        .filter(|field| !field.is_empty());
    let Some(name) = fields.next() else {
        return Line::Empty;
    };
    let (Some(value), Some(timestamp), None) = (fields.next(), fields.next(), fields.next()) else {
        return Line::Malformed;
    };
    Line::Point(Fields {
        name,
        value,
        timestamp,
    })
}

/// What a rejected line seems to be, if it isn't a mistyped line but another protocol on the line port.
/// Meant for the first line of a connection: later ones lack the opening that gives a protocol away.
pub fn looks_like(line: &[u8]) -> Option<&'static str> {
    if is_tls(line) {
        return Some("a TLS client hello");
    }
    if is_http(line) {
        return Some("an HTTP request");
    }
    if is_pickle(line) {
        return Some("a pickle frame");
    }
    let binary = |&byte: &u8| (byte < b' ' && byte != b'\t' && byte != b'\r') || byte == 0x7f;
    line.iter().any(binary).then_some("binary data")
}

/// A record of type handshake (22) with a major version of 3 (RFC 8446, section 5.1).
fn is_tls(line: &[u8]) -> bool {
    matches!(line, [0x16, 0x03, 0..=4, ..])
}

/// A request line, `GET /metrics HTTP/1.1` (RFC 9112, section 3).
fn is_http(line: &[u8]) -> bool {
    const METHODS: [&[u8]; 9] = [
        b"GET ",
        b"POST ",
        b"PUT ",
        b"HEAD ",
        b"OPTIONS ",
        b"DELETE ",
        b"PATCH ",
        b"CONNECT ",
        b"TRACE ",
    ];
    METHODS.iter().any(|method| line.starts_with(method)) && memchr::memmem::find(line, b" HTTP/").is_some()
        // The preface of HTTP/2 with prior knowledge.
        || line.starts_with(b"PRI * HTTP/2")
}

/// Four bytes of length, of which a frame below 16 MiB has a zero first, then the opening of a pickled list: the
/// protocol opcode (2 and up), or a list or mark in protocol 0 or 1.
fn is_pickle(line: &[u8]) -> bool {
    let Some((length, pickle)) = line.split_first_chunk::<4>() else {
        return false;
    };
    length[0] == 0
        && matches!(
            pickle,
            [0x80, 2..=5, ..] | [b'(', b'l' | b't', ..] | [b']', b'q' | b'(', ..]
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(line: &[u8]) -> (&[u8], &[u8], &[u8]) {
        match fields(line) {
            Line::Point(point) => (point.name, point.value, point.timestamp),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn blanks_and_tabs_separate_in_runs() {
        for line in [
            "a 1 2",
            "a  1 2",
            "a\t1 2",
            " a 1 2",
            "a 1 2 ",
            "a 1 2\r",
            "a 1 2 \r",
            "\ta\t\t1  2\t",
        ] {
            assert_eq!(
                point(line.as_bytes()),
                (&b"a"[..], &b"1"[..], &b"2"[..]),
                "{line:?}"
            );
        }
    }

    #[test]
    fn only_the_last_carriage_return_is_dropped() {
        assert_eq!(point(b"a 1 2\r\r").2, b"2\r");
        assert_eq!(point(b"a 1 2\r ").2, b"2\r");
    }

    #[test]
    fn a_line_of_nothing_is_empty_and_others_are_malformed() {
        for line in ["", "\r", "   ", "\t \r"] {
            assert_eq!(fields(line.as_bytes()), Line::Empty, "{line:?}");
        }
        for line in ["a", "a 1", "a 1 2 3", "\r\r"] {
            assert_eq!(fields(line.as_bytes()), Line::Malformed, "{line:?}");
        }
    }
}
