//! Reading datagrams. Each stands alone: several lines, the last with or without its newline.

use std::net::SocketAddr;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketAddrAny, recvfrom};

use super::{Inputs, Listener};
use crate::gate::{Lane, READ};
use crate::intake::{Origin, Patience};
use crate::ledger::Count;

/// The largest datagram, and its newline.
const DATAGRAM: usize = 65_536;

/// Who sent a batch of datagrams, for people.
#[derive(Debug, Default)]
struct Sender {
    address: Option<SocketAddrAny>,
    text: String,
}

impl Sender {
    /// The address, if all that was sent came from it. A batch is mostly of whom the one before was of, or of many.
    fn name(&mut self, first: Option<SocketAddrAny>, is_alone: bool) -> &str {
        if !is_alone {
            return "several";
        }
        if self.text.is_empty() || first != self.address {
            let address = first.clone().map(SocketAddr::try_from);
            self.text = match address {
                Some(Ok(address)) => address.to_string(),
                _ => "udp".to_owned(),
            };
            self.address = first;
        }
        &self.text
    }
}

enum Step {
    Read,
    Empty,
    Closed,
}

/// Reads datagrams until the listener leaves.
pub async fn read_datagrams(inputs: Arc<Inputs>, listener: Arc<Listener>) {
    let socket = match listener.watched() {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(listener = listener.address, %error, "a socket can't be watched");
            return;
        }
    };
    let mut sender = Sender::default();
    let reading = async {
        loop {
            let Ok(mut ready) = socket.readable().await else {
                return;
            };
            match step(&inputs, &listener, &mut sender) {
                Step::Read => tokio::task::yield_now().await,
                Step::Empty => ready.clear_ready(),
                Step::Closed => inputs.gate.opened().await,
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = listener.leaving.notified() => {}
        () = inputs.stopped() => {}
    }
}

/// Reads what has come: as much as a socket's buffer holds, however much more comes meanwhile.
pub fn drain(inputs: &Inputs, listener: &Listener) {
    const BATCHES: usize = 64;
    let mut sender = Sender::default();
    for _ in 0..BATCHES {
        if !matches!(step(inputs, listener, &mut sender), Step::Read) {
            return;
        }
    }
}

fn step(inputs: &Inputs, listener: &Listener, sender: &mut Sender) -> Step {
    let Some(mut lane) = inputs.gate.enter() else {
        return Step::Closed;
    };
    let Lane {
        buffer,
        batch,
        writer,
        ..
    } = &mut *lane;
    let (mut filled, mut bytes, mut more) = (0, 0, true);
    let (mut first, mut is_alone) = (None, true);
    while filled < READ && buffer.len() - filled > DATAGRAM {
        match recvfrom(
            &listener.socket,
            &mut buffer[filled..filled + DATAGRAM],
            RecvFlags::DONTWAIT,
        ) {
            Ok((_, n, from)) => {
                match filled {
                    0 => first = from,
                    _ => is_alone &= from == first,
                }
                bytes += n as u64;
                filled += n;
                if n > 0 && buffer[filled - 1] != b'\n' {
                    buffer[filled] = b'\n';
                    filled += 1;
                }
            }
            Err(Errno::WOULDBLOCK) => {
                more = false;
                break;
            }
            // An ICMP error of an earlier answer, which we never send, or a signal.
            Err(_) => {}
        }
    }
    if filled > 0 {
        let snapshot = inputs.intake.snapshot.load();
        let origin = Origin {
            listener: listener.object,
            address: &listener.address,
            peer: sender.name(first, is_alone),
            patience: Patience::Never,
        };
        let fed = inputs.intake.feed(
            &snapshot,
            batch,
            writer,
            origin,
            &buffer[..filled],
            |writer| {
                writer.add(listener.object, Count::Bytes, bytes);
            },
        );
        debug_assert!(fed.is_ok(), "datagrams are never told to wait");
    }
    if more { Step::Read } else { Step::Empty }
}
