//! HTTP/1.1 as a client, as far as the daemon speaks it (RFC 9112): one request a connection.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The head of an answer, in bytes, and the line before a chunk.
const MAX_HEAD: u64 = 64 << 10;

/// A connection to the daemon.
#[derive(Debug)]
pub enum Stream {
    /// To the API's own socket.
    Unix(UnixStream),
    /// To a listener that others may reach as well.
    Tcp(TcpStream),
}

impl Stream {
    /// How long a read or a write may take.
    pub fn wait_at_most(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Unix(stream) => {
                stream.set_read_timeout(limit)?;
                stream.set_write_timeout(limit)
            }
            Stream::Tcp(stream) => {
                stream.set_read_timeout(limit)?;
                stream.set_write_timeout(limit)
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.read(buffer),
            Stream::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct Response {
    /// 100 to 599.
    pub status: u16,
    /// What comes behind the head.
    pub body: Body,
}

/// Sends a request, with these headers beside the usual, and reads the head of the answer.
///
/// # Errors
/// The connection broke, or what came is no HTTP (`InvalidData`).
pub fn ask(
    mut stream: Stream,
    request: &str,
    headers: &[(&str, String)],
    body: &[u8],
) -> io::Result<Response> {
    let mut head = format!("{request} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str("Content-Type: application/json\r\n");
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes())?;
    // A daemon that refuses by the head alone may have closed already: its answer counts.
    let written = stream.write_all(body);
    match read(BufReader::new(stream)) {
        Err(error) => Err(written.err().unwrap_or(error)),
        answer => answer,
    }
}

fn read(mut from: BufReader<Stream>) -> io::Result<Response> {
    let mut left = MAX_HEAD;
    let first = line(&mut from, &mut left)?;
    let status = first
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1)?.parse().ok())
        .ok_or_else(|| bad("it doesn't speak HTTP"))?;
    let mut headers: Vec<(String, String)> = Vec::new();
    loop {
        let header = line(&mut from, &mut left)?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| bad("a header without a colon"))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let of = |wanted: &str| {
        let mut all = headers.iter();
        let found = all.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.to_ascii_lowercase())
    };
    let framing = match (of("transfer-encoding"), of("content-length")) {
        (Some(coding), _) if coding == "chunked" => Framing::Chunked {
            left: 0,
            first: true,
        },
        (Some(_), _) => return Err(bad("a transfer coding that isn't known")),
        (None, Some(length)) => Framing::Length(
            length
                .parse()
                .map_err(|_| bad("a length that is no number"))?,
        ),
        (None, None) => Framing::Close,
    };
    Ok(Response {
        status,
        body: Body { from, framing },
    })
}

/// How the end of a body is known.
#[derive(Debug)]
enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// So many bytes are left of this chunk.
    Chunked { left: u64, first: bool },
    /// The last chunk has come.
    Ended,
    /// By the end of the connection.
    Close,
}

/// The body of an answer, as it comes.
#[derive(Debug)]
pub struct Body {
    from: BufReader<Stream>,
    framing: Framing,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Framing::Chunked { left: 0, first } = self.framing {
            self.next_chunk(first)?;
        }
        let left = match &mut self.framing {
            Framing::Ended => return Ok(0),
            Framing::Close => return self.from.read(buffer),
            Framing::Length(left) | Framing::Chunked { left, .. } => left,
        };
        let most = buffer
            .len()
            .min(usize::try_from(*left).unwrap_or(usize::MAX));
        let length = self.from.read(&mut buffer[..most])?;
        if length == 0 && most > 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        *left -= length as u64;
        Ok(length)
    }
}

impl Body {
    fn next_chunk(&mut self, first: bool) -> io::Result<()> {
        let mut most = MAX_HEAD;
        if !first {
            line(&mut self.from, &mut most)?;
        }
        let size = line(&mut self.from, &mut most)?;
        let digits = size.split(';').next().unwrap_or_default().trim();
        let left = u64::from_str_radix(digits, 16).map_err(|_| bad("a chunk without a size"))?;
        self.framing = match left {
            0 => Framing::Ended,
            left => Framing::Chunked { left, first: false },
        };
        Ok(())
    }
}

/// A line without its end; `left` is what all lines may have.
fn line(from: &mut impl BufRead, left: &mut u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    let length = from.by_ref().take(*left).read_until(b'\n', &mut bytes)?;
    *left -= length as u64;
    match bytes.strip_suffix(b"\n") {
        Some(line) => {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            Ok(String::from_utf8_lossy(line).into_owned())
        }
        None if *left == 0 => Err(bad("a head that is too long")),
        None => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client makes of these bytes.
    fn answer(bytes: &[u8]) -> io::Result<(u16, String)> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(bytes).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let mut response = ask(Stream::Unix(ours), "GET /", &[], b"")?;
        let mut body = String::new();
        response.body.read_to_string(&mut body)?;
        Ok((response.status, body))
    }

    #[test]
    fn bodies_end_where_they_say() {
        for (bytes, status, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", 200, "ab"),
            ("HTTP/1.1 404 Not Found\n\nabc", 404, "abc"),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n",
                200,
                "abcd",
            ),
            (
                "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
                202,
                "",
            ),
        ] {
            assert_eq!(
                answer(bytes.as_bytes()).unwrap(),
                (status, body.to_owned()),
                "{bytes}"
            );
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(70_000));
        for bytes in [
            "",
            "SSH-2.0-OpenSSH\r\n",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
            &long,
        ] {
            assert!(answer(bytes.as_bytes()).is_err(), "{bytes}");
        }
    }
}
