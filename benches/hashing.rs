//! The cost of finding who has a name among a hundred members: by the hash alone, and as a batch of lines is, whose names mostly come
//! again. `Mitem/s` is million names a second: 1000 / it is ns a name.
#![allow(missing_docs)]

use baton::{
    pipeline::{Batch, Terms},
    route::{
        ChoiceOptions, Chooser, Entries, Matcher, Member, Moment, RouteKind, Table, TableRoute,
    },
    validate::Rules,
};
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

#[divan::bench(args = KINDS)]
fn batch(bencher: Bencher, kind: &RouteKind) {
    let route = TableRoute {
        key: String::new(),
        chooser: Chooser::new(*kind, members(), ChoiceOptions::default()).unwrap(),
        matcher: Matcher::all(),
        destinations: (0..100).map(|at| (at, Matcher::all())).collect(),
    };
    let table = Table::new(Entries {
        routes: vec![route],
        destinations: 100,
        ..Entries::default()
    });
    let (names, rules) = (names(), Rules::default());
    let lines: String = names.iter().map(|name| format!("{name} 1 1\n")).collect();
    let terms = Terms {
        table: &table,
        rules: &rules,
        now: 1,
        moment: Moment::default(),
        order: None,
    };
    let mut batch = Batch::new();
    bencher
        .counter(ItemsCount::new(names.len()))
        .bench_local(|| batch.run(&terms, lines.as_bytes()));
}
