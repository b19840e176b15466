//! The cost of finding who has a name among a hundred members. `Mitem/s` is million names a second: 1000 / it is ns a name.
#![allow(missing_docs)]

use baton::route::{ChoiceOptions, Chooser, Member, Moment, RouteKind};
use divan::{Bencher, counter::ItemsCount};

fn main() {
    divan::main();
}

fn members() -> Vec<Member> {
    let member = |at| Member {
        destination: at,
        host: format!("10.1.{}.{}", at / 10, at % 10),
        port: 2003,
        instance: Some(format!("i{at}")),
    };
    (0..100).map(member).collect()
}

/// Names of about 35 bytes, as collectors make them.
fn names() -> Vec<String> {
    let name = |at: usize| {
        let metric = ["cpu.total.user", "memory.mem_used", "net.eth0.rx_byte"][at % 3];
        format!("servers.dc1.web{:05}.{metric}", at / 3)
    };
    (0..100_000).map(name).collect()
}

fn run(bencher: Bencher, kind: RouteKind, options: ChoiceOptions) {
    let (chooser, names) = (Chooser::new(kind, members(), options).unwrap(), names());
    let (mut chosen, moment) = (Vec::new(), Moment::default());
    bencher
        .counter(ItemsCount::new(names.len()))
        .bench_local(|| {
            let mut sum = 0;
            for name in &names {
                chosen.clear();
                chooser.choose(name.as_bytes(), chooser.everyone(), &moment, &mut chosen);
                sum += chosen[0];
            }
            sum
        });
}

const KINDS: [RouteKind; 6] = [
    RouteKind::CarbonCh,
    RouteKind::ConsistentHashing,
    RouteKind::ConsistentHashingV2,
    RouteKind::Fnv1aCh,
    RouteKind::JumpFnv1aCh,
    RouteKind::AnyOf,
];

#[divan::bench(args = KINDS)]
fn one(bencher: Bencher, kind: &RouteKind) {
    run(bencher, *kind, ChoiceOptions::default());
}

#[divan::bench(args = KINDS)]
fn two_replicas(bencher: Bencher, kind: &RouteKind) {
    let options = ChoiceOptions {
        replication: 2,
        ..ChoiceOptions::default()
    };
    run(bencher, *kind, options);
}
