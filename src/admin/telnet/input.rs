//! What a client types: lines, out of a stream in which a telnet client may negotiate (RFC 854).

use serde::{Deserialize, Serialize};

/// The longest line, in bytes.
pub const MAX_LINE: usize = 16 * 1024;

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
/// The beginning of a subnegotiation.
const SB: u8 = 250;
/// Its end.
const SE: u8 = 240;

/// A line that was typed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// This, without its end.
    Text(String),
    /// One of more than [`MAX_LINE`] bytes.
    TooLong,
    /// One that isn't UTF-8.
    NotText,
}

/// Where in the stream a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The line that hasn't ended yet.
    #[serde(skip)]
    pub half: Vec<u8>,
    /// It has become too long.
    too_long: bool,
    at: At,
    /// The client negotiates, so a person sits at a terminal.
    pub terminal: bool,
}

/// Of which kind the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum At {
    #[default]
    Text,
    /// Behind a carriage return, which ends a line with what follows it, or is one character of it.
    Return,
    /// Behind an IAC.
    Command,
    /// Behind WILL, WONT, DO or DONT.
    Option(u8),
    /// Inside of a subnegotiation.
    Sub,
    /// There, behind an IAC.
    SubCommand,
}

impl Input {
    /// Takes bytes as they came. Whole lines are put behind `lines`, what is to be answered at once behind `replies`.
    pub fn take(&mut self, bytes: &[u8], lines: &mut impl Extend<Line>, replies: &mut Vec<u8>) {
        for &byte in bytes {
            self.at = match (self.at, byte) {
                (At::Text | At::Return, IAC) => {
                    self.flush_return();
                    self.terminal = true;
                    At::Command
                }
                (At::Text | At::Return, b'\n') | (At::Return, 0) => {
                    lines.extend([self.end()]);
                    At::Text
                }
                (At::Text | At::Return, b'\r') => {
                    self.flush_return();
                    At::Return
                }
                (At::Text | At::Return, byte) => {
                    self.flush_return();
                    self.push(byte);
                    At::Text
                }
                (At::Command, SB) => At::Sub,
                (At::Command, WILL | WONT | DO | DONT) => At::Option(byte),
                (At::Command, IAC) => {
                    self.push(IAC);
                    At::Text
                }
                // Others have nothing behind them, and mean nothing here.
                (At::Command, _) => At::Text,
                (At::Option(verb), option) => {
                    // Nothing is agreed to. A refusal needs no answer.
                    match verb {
                        WILL => replies.extend([IAC, DONT, option]),
                        DO => replies.extend([IAC, WONT, option]),
                        _ => {}
                    }
                    At::Text
                }
                (At::Sub, IAC) => At::SubCommand,
                (At::SubCommand, SE) => At::Text,
                (At::Sub | At::SubCommand, _) => At::Sub,
            };
        }
    }

    /// The client has ended its side: a last line may lack its end.
    pub fn finish(&mut self) -> Option<Line> {
        let some = !self.half.is_empty() || self.too_long;
        some.then(|| self.end())
    }

    fn flush_return(&mut self) {
        if self.at == At::Return {
            self.push(b'\r');
        }
    }

    fn push(&mut self, byte: u8) {
        if self.half.len() == MAX_LINE {
            self.too_long = true;
            self.half.clear();
        }
        if !self.too_long {
            self.half.push(byte);
        }
    }

    fn end(&mut self) -> Line {
        let bytes = std::mem::take(&mut self.half);
        match std::mem::take(&mut self.too_long) {
            true => Line::TooLong,
            false => String::from_utf8(bytes).map_or(Line::NotText, Line::Text),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> (Vec<Line>, Vec<u8>, Input) {
        let (mut input, mut lines, mut replies) = (Input::default(), Vec::new(), Vec::new());
        for piece in pieces {
            input.take(piece, &mut lines, &mut replies);
        }
        (lines, replies, input)
    }

    fn text(text: &str) -> Line {
        Line::Text(text.to_owned())
    }

    #[test]
    fn lines_end_as_clients_end_them() {
        let (lines, replies, mut input) = read(&[b"a\nb\r\nc\r\0d\re\n\nlast"]);
        let expected = [text("a"), text("b"), text("c"), text("d\re"), text("")];
        assert_eq!(lines, expected);
        assert!(replies.is_empty() && !input.terminal);
        assert_eq!(input.finish(), Some(text("last")));
        assert_eq!(input.finish(), None);
    }

    #[test]
    fn negotiations_are_refused_and_left_out() {
        // DO SUPPRESS-GO-AHEAD, WILL TERMINAL-TYPE, WONT ECHO, a subnegotiation, an escaped 255, NOP.
        let (lines, replies, input) = read(&[
            b"vi\xff\xfd\x03ew\xff\xfb\x18\xff\xfc\x01\xff\xfa\x18\x00x\xff\xff\n\xff\xf0\xff\xf1\r\n",
            b"\xff\xff\n",
        ]);
        assert_eq!(lines, [text("view"), Line::NotText]);
        assert_eq!(replies, b"\xff\xfc\x03\xff\xfe\x18");
        assert!(input.terminal);
    }

    #[test]
    fn a_line_too_long_is_one_error_and_the_next_is_read() {
        let long = vec![b'x'; MAX_LINE + 1];
        let (lines, _, input) = read(&[&long, &long, b"\nview\n", &long[1..], b"\n", b"y"]);
        let fits = text(&"x".repeat(MAX_LINE));
        assert_eq!(lines, [Line::TooLong, text("view"), fits]);
        assert_eq!(input.half, b"y");
    }

    proptest! {
        #[test]
        fn it_doesnt_matter_how_it_comes_in_pieces(
            bytes in prop::collection::vec(prop::sample::select(
                vec![255u8, 254, 253, 252, 251, 250, 240, b'\r', b'\n', 0, b'a', 0xc3, 0xa9]), 0..60),
            cut in any::<prop::sample::Index>(),
        ) {
            let at = cut.index(bytes.len() + 1);
            let whole = read(&[&bytes]);
            let (head, tail) = bytes.split_at(at);
            prop_assert_eq!(whole, read(&[head, tail]));
        }
    }
}
