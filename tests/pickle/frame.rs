//! Frames as other relays send them.

/// With its length before it.
pub fn framed(pickle: &[u8]) -> Vec<u8> {
    [&(pickle.len() as u32).to_be_bytes()[..], pickle].concat()
}

/// A frame of these lines, `name value timestamp`: in protocol 2, the value as the text that it is.
pub fn of_lines<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut pickle = b"\x80\x02](".to_vec();
    let text = |text: &[u8], pickle: &mut Vec<u8>| {
        pickle.push(b'X');
        pickle.extend((text.len() as u32).to_le_bytes());
        pickle.extend(text);
    };
    for line in lines {
        let fields: Vec<&[u8]> = line.trim_ascii_end().split(|byte| *byte == b' ').collect();
        let [name, value, timestamp] = fields[..] else {
            panic!("a line has three fields");
        };
        text(name, &mut pickle);
        let timestamp: u32 = std::str::from_utf8(timestamp).unwrap().parse().unwrap();
        pickle.push(b'J');
        pickle.extend(timestamp.to_le_bytes());
        text(value, &mut pickle);
        pickle.extend(b"\x86\x86");
    }
    pickle.extend(b"e.");
    framed(&pickle)
}
