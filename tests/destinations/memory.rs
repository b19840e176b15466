//! What an outage may cost in memory.

use std::fs;
use std::time::{Duration, Instant};

use baton::drill::{Extent, Load, Senders};

use crate::fault::{Bench, wait_stalled};
use crate::relay::LIMIT;

/// Bytes of a process that are in memory, those it shares included.
fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kib: u64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kib * 1024
}

#[test]
fn memory_is_bounded_while_a_destination_hangs_and_a_thousand_clients_send() {
    const MIB: u64 = 1 << 20;
    let mut bench = Bench::start("queue=8MiB");
    let (worker, supervisor) = (
        bench.relay.instance.worker_pid().unwrap(),
        bench.relay.instance.pid(),
    );
    bench.sink.hang().unwrap();
    let load = Load {
        connections: 1_000,
        extent: Extent::Exactly(4_000_000),
        ..Load::new(bench.relay.tcp())
    };
    let senders = Senders::start(&load, bench.clock).unwrap();
    let mut most = [0, 0];
    let mut look = || {
        for (most, pid) in most.iter_mut().zip([worker, supervisor]) {
            *most = resident(pid).max(*most);
        }
    };
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        look();
        std::thread::sleep(Duration::from_millis(20));
    }
    wait_stalled(&[&senders]);
    look();
    bench.sink.resume().unwrap();
    let sent = senders.finish(LIMIT);
    look();
    println!(
        "worker {} MiB, supervisor {} MiB",
        most[0] / MIB,
        most[1] / MIB
    );
    // With a spool a queue is two rings of its size.
    assert!(
        most[0] <= (2 * 8 + 64) * MIB,
        "the worker takes {} MiB",
        most[0] / MIB
    );
    assert!(
        most[1] <= 16 * MIB,
        "the supervisor takes {} MiB",
        most[1] / MIB
    );
    bench.judge(&sent);
}
