//! The frames of a WebSocket (RFC 6455), as a server needs them that says much and listens little.

/// What a client may say in one frame: nothing that it says but the end is of use.
pub(super) const MAX_PAYLOAD: usize = 4096;
/// Of a frame with such a payload, with the longest head.
pub(super) const MAX_FRAME: usize = 14 + MAX_PAYLOAD;

/// What a frame is for: its opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Text = 1,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// Why a WebSocket ends (section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    Normal = 1000,
    Protocol = 1002,
    TooLong = 1009,
    /// Another worker serves: connect again.
    Restart = 1012,
}

/// What a client has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Ping(Vec<u8>),
    /// Something that needs no answer.
    Other,
    Close,
}

/// Writes a whole, unmasked frame.
pub(super) fn write(opcode: Opcode, payload: &[u8], to: &mut Vec<u8>) {
    to.push(0x80 | opcode as u8);
    match payload.len() {
        size @ 0..=125 => to.push(size as u8),
        size @ 126..=0xffff => {
            to.push(126);
            to.extend_from_slice(&(size as u16).to_be_bytes());
        }
        size => {
            to.push(127);
            to.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    to.extend_from_slice(payload);
}

/// The payload of a close frame.
pub(super) fn close(why: Close) -> [u8; 2] {
    (why as u16).to_be_bytes()
}

/// Reads a client's frame from the front of what has come; how long it is, and what it says. `None`: more is to come.
///
/// # Errors
/// What ends the WebSocket.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(usize, Said)>, Close> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    let (is_last, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
    let is_control = opcode & 8 != 0;
    let size = second & 0x7f;
    // A client's frames are masked; a control frame is short, and whole.
    if reserved != 0 || second & 0x80 == 0 || is_control && (!is_last || size > 125) {
        return Err(Close::Protocol);
    }
    let (size, rest) = match size {
        126 => match rest.split_first_chunk() {
            Some((size, rest)) => (u64::from(u16::from_be_bytes(*size)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((size, rest)) => (u64::from_be_bytes(*size), rest),
            None => return Ok(None),
        },
        size => (u64::from(size), rest),
    };
    if size > MAX_PAYLOAD as u64 {
        return Err(Close::TooLong);
    }
    let Some((mask, rest)) = rest.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let Some(payload) = rest.get(..size as usize) else {
        return Ok(None);
    };
    let said = match opcode {
        0..=2 | 10 => Said::Other,
        8 => Said::Close,
        9 => {
            let plain = payload.iter().zip(mask.iter().cycle());
            Said::Ping(plain.map(|(byte, mask)| byte ^ mask).collect())
        }
        _ => return Err(Close::Protocol),
    };
    let length = bytes.len() - rest.len() + payload.len();
    Ok(Some((length, said)))
}

/// The answer to a client's key: that of a server which speaks the protocol (section 4.2.2).
pub(super) fn accept_key(key: &[u8]) -> String {
    use sha1::{Digest, Sha1};
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64(&hash.finalize())
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group
            .iter()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - group.len()));
        for at in 0..4 {
            text.push(match at <= group.len() {
                true => char::from(ALPHABET[(word >> (18 - 6 * at)) as usize & 63]),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        write(Opcode::Text, payload, &mut frame);
        let head = frame.len() - payload.len();
        frame[0] = first;
        frame[1] |= 0x80;
        let mask = [1, 2, 3, 4];
        frame.splice(head..head, mask);
        let body = frame[head + 4..].iter_mut().zip(mask.iter().cycle());
        body.for_each(|(byte, mask)| *byte ^= mask);
        frame
    }

    #[test]
    fn the_example_of_the_rfc() {
        let accept = accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
        ] {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn frames_of_clients() {
        let told = |first, payload: &[u8]| {
            let mut frame = masked(first, payload);
            for end in 0..frame.len() {
                assert_eq!(read(&frame[..end]), Ok(None), "{first:x} cut at {end}");
            }
            let length = frame.len();
            frame.extend([0x89, 0x80]);
            let (read, said) = read(&frame).unwrap().unwrap();
            assert_eq!(read, length);
            said
        };
        assert_eq!(told(0x89, b"hello"), Said::Ping(b"hello".to_vec()));
        assert_eq!(told(0x8a, b""), Said::Other);
        assert_eq!(told(0x81, &[7; 300]), Said::Other);
        assert_eq!(told(0x02, &[7; MAX_PAYLOAD]), Said::Other);
        assert_eq!(told(0x88, &close(Close::Normal)), Said::Close);
        for (first, payload, why) in [
            (0x81, &[7; MAX_PAYLOAD + 1][..], Close::TooLong),
            (0x82, &[7; 70_000], Close::TooLong),
            (0xc1, b"", Close::Protocol),
            (0x09, b"", Close::Protocol),
            (0x89, &[7; 126], Close::Protocol),
            (0x83, b"", Close::Protocol),
        ] {
            assert_eq!(read(&masked(first, payload)), Err(why), "{first:x}");
        }
        let mut unmasked = Vec::new();
        write(Opcode::Ping, b"a", &mut unmasked);
        assert_eq!(read(&unmasked), Err(Close::Protocol));
    }

    #[test]
    fn frames_say_how_long_they_are() {
        for (size, head) in [
            (5, &[0x81, 5][..]),
            (300, &[0x81, 126, 1, 44]),
            (70_000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]),
        ] {
            let mut frame = Vec::new();
            write(Opcode::Text, &vec![7; size], &mut frame);
            assert_eq!(
                (&frame[..head.len()], frame.len()),
                (head, head.len() + size)
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_are_read_beyond_their_end(bytes: Vec<u8>) {
            if let Ok(Some((length, _))) = read(&bytes) {
                prop_assert!(length <= bytes.len() && length <= MAX_FRAME);
            }
        }
    }
}
