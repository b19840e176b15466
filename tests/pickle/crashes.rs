//! A worker that is killed takes the frame with it that it had begun to read: nobody knows where the next one begins.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use baton::drill::{Status, free_ports};

use crate::frame::of_lines;
use crate::trial::{LIMIT, Trial};

const LOST: &str = "/worker/totals/lost_by_crash_bytes";

fn crash(cut: usize, lost: bool) {
    let [port] = free_ports().unwrap();
    let mut trial = Trial::with(|config| config.pickle.push(format!("tcp://127.0.0.1:{port}")));
    let frame = of_lines([&b"name 1 1700000000"[..]]);
    let mut clients = vec![TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()];
    clients[0]
        .write_all(&[&frame[..], &frame[..cut]].concat())
        .unwrap();
    trial.read_bytes((frame.len() + cut) as u64);
    trial.instance.kill_worker(LIMIT).unwrap();
    if lost {
        // The client is told, by an end or a reset.
        clients[0].set_read_timeout(Some(LIMIT)).unwrap();
        let end = clients[0].read(&mut [0]);
        assert!(
            matches!(&end, Ok(0))
                || end
                    .as_ref()
                    .is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset),
            "{end:?}"
        );
        clients.push(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
    }
    let client = clients.last_mut().unwrap();
    client.write_all(&frame).unwrap();
    let all = |s: &Status| s.total("in") == Some(2) && s.total("routed") == Some(2);
    let status = trial.instance.wait_status("both", LIMIT, all).unwrap();
    let closed = |s: &Status| {
        let all = s.document()["worker"]["listeners"].as_array().unwrap();
        let of_port = all
            .iter()
            .find(|l| l["address"] == format!("tcp://127.0.0.1:{port}"));
        of_port.unwrap()["closed"].as_u64().unwrap()
    };
    assert_eq!(status.number(LOST), Some(cut as u64 * u64::from(lost)));
    assert_eq!(closed(&status), u64::from(lost));
    assert_eq!(trial.instance.stop(LIMIT).unwrap().code(), Some(0));
}

#[test]
fn a_crash_within_a_frame_closes_the_connection_and_counts_its_bytes() {
    crash(20, true);
    crash(2, true);
}

#[test]
fn a_crash_between_frames_costs_nothing() {
    crash(0, false);
}
