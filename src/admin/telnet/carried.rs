//! What of sessions travels to a successor: a list as JSON, and behind it the bytes of half lines and of what isn't sent.
//!
//! ```text
//! magic u64 | length of the list u32 | list | half line | output | half line | output …
//! ```

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::input::{Input, Line};
use super::session::Session;
use crate::tap::Wanted;

const MAGIC: u64 = u64::from_le_bytes(*b"BatonTn1");
/// So many bytes pass in the pause. Sessions that don't fit are cut.
const MOST: usize = 16 << 20;

/// A session. New fields have defaults, so that versions understand each other.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Carried {
    /// SO_COOKIE.
    pub cookie: u64,
    /// Where in the stream it is, without the half line.
    pub input: Input,
    /// The length of that.
    pub half: usize,
    /// The length of what isn't sent.
    pub output: usize,
    /// Whole lines that wait.
    pub lines: Vec<Line>,
    /// What it is subscribed to.
    pub subscription: Option<Wanted>,
    /// It has asked for a restart, and waits for its end.
    pub restarting: bool,
    /// A change was under way of which it isn't known whether it was made.
    pub unsure: bool,
    /// It has said the token.
    pub known: bool,
    /// It was greeted.
    pub greeted: bool,
    /// The client has ended its side.
    pub ended: bool,
    /// It is closed once all is sent.
    pub closing: bool,
}

/// All of them, as they stand.
pub(super) fn write<'s>(sessions: impl Iterator<Item = &'s Arc<Session>>) -> Vec<u8> {
    let (mut list, mut bytes) = (Vec::new(), Vec::new());
    for session in sessions {
        let at = bytes.len();
        let Some(carried) = session.freeze(&mut bytes) else {
            continue;
        };
        if bytes.len() > MOST {
            bytes.truncate(at);
            continue;
        }
        list.push(carried);
    }
    // Plain data has a JSON form.
    let list = serde_json::to_vec(&list).unwrap_or_default();
    let mut all = MAGIC.to_le_bytes().to_vec();
    all.extend((list.len() as u32).to_le_bytes());
    all.extend(list);
    all.extend(bytes);
    all
}

/// Tells of each with its half line and its output.
///
/// # Errors
/// `InvalidData` when it isn't of this form.
pub(super) fn read(
    mut bytes: &[u8],
    mut tell: impl FnMut(Carried, &[u8], &[u8]),
) -> io::Result<()> {
    let broken = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the state of sessions is malformed",
        )
    };
    let mut take = |len: usize| -> io::Result<&[u8]> {
        let (taken, rest) = bytes.split_at_checked(len).ok_or_else(broken)?;
        bytes = rest;
        Ok(taken)
    };
    if take(8)? != MAGIC.to_le_bytes() {
        return Err(broken());
    }
    let len = take(4)?.try_into().map_or(0, u32::from_le_bytes);
    let list: Vec<Carried> = serde_json::from_slice(take(len as usize)?)?;
    for carried in list {
        let half = take(carried.half)?;
        let output = take(carried.output)?;
        tell(carried, half, output);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn what_is_cut_or_malformed_is_refused() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let memory = crate::sys::memfd("ledger", crate::ledger::BYTES).unwrap();
        let ledger = crate::ledger::Ledger::open(memory.as_fd()).unwrap();
        let object = ledger.object(crate::ledger::Kind::Listener, "unix:s");
        let session = Session::new(7, ("unix:s", object.unwrap()), ours.into()).unwrap();
        session.lock().take(b"view\nroute li");
        session.lock().say("hello\n");
        let bytes = write([Arc::new(session)].iter());
        let mut came = Vec::new();
        read(&bytes, |carried, half, output| {
            came.push((
                carried.cookie,
                carried.lines,
                half.to_vec(),
                output.to_vec(),
            ));
        })
        .unwrap();
        let lines = vec![Line::Text("view".into())];
        assert_eq!(
            came,
            [(7, lines, b"route li".to_vec(), b"hello\n".to_vec())]
        );
        for at in 0..bytes.len() {
            assert!(read(&bytes[..at], |_, _, _| ()).is_err(), "{at}");
        }
    }
}
