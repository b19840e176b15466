use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::pipeline::Batch;
use crate::route::{Moment, Table};
use crate::ruleset;

const NOW: u32 = 1_790_000_000;

fn config(text: &str) -> Config {
    let config = Config::compile(std::path::Path::new("/trace.toml"), text.as_bytes());
    config.unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn table(config: &Config) -> (Table, Names) {
    let entries = ruleset::compile(config).unwrap().entries;
    (Table::new(entries), ruleset::names(config))
}

fn trace(text: &str, up: &[bool], turn: u64, metric: &str) -> Trace {
    let config = config(text);
    let (table, names) = table(&config);
    let terms = Terms {
        table: &table,
        rules: &config.rules,
        now: NOW,
        moment: Moment { up, turn },
        order: None,
    };
    Tracer::new(terms, &names).trace(metric.as_bytes())
}

fn ids(route: &Routed) -> Vec<&str> {
    route.destinations.iter().map(|one| &one.id[..]).collect()
}

const ALL: &str = "[[route]]\nkey = 'all'\ndestinations = ['127.0.0.1:2013 id=a', '127.0.0.1:2014 id=b prefix=b']\n";

#[test]
fn a_name_and_a_line() {
    let name = trace(ALL, &[], 0, " b.c\r");
    assert_eq!((name.is_name, name.outcome), (true, Outcome::Routed));
    assert_eq!(ids(&name.routes[0]), ["a", "b"]);
    assert_eq!(name.routes[0].destinations[1].address, "127.0.0.1:2014");
    let line = trace(ALL, &[], 0, "a.c 1 2");
    assert_eq!((line.is_name, line.outcome), (false, Outcome::Routed));
    assert_eq!(
        (ids(&line.routes[0]), &line.routes[0].why),
        (vec!["a"], &None)
    );
}

#[test]
fn what_is_rejected_is_so_in_words() {
    for (metric, reason, text) in [
        ("a x 2", "value", "not a decimal number"),
        ("a 1", "fields", "three fields"),
        ("a 1 2 3", "fields", "three fields"),
        ("a;b", "tags", ";key=value"),
        ("a\u{7}", "name", "refuses"),
        ("unit=B.a", "metrics20", "mtype"),
        ("a nan 2", "nan", "infinite"),
        ("a 1 x", "timestamp", "seconds since 1970"),
    ] {
        let trace = trace(ALL, &[], 0, metric);
        let rejected = trace.rejected.unwrap();
        assert_eq!(trace.outcome, Outcome::Rejected, "{metric}");
        assert_eq!(rejected.reason, reason, "{metric}");
        assert!(rejected.text.contains(text), "{metric}: {}", rejected.text);
    }
    let empty = trace(ALL, &[], 0, " \t\r");
    assert_eq!((empty.outcome, empty.is_name), (Outcome::Empty, false));
}

#[test]
fn bytes_for_a_terminal_are_escaped() {
    let config = config(ALL);
    let (table, names) = table(&config);
    let terms = Terms {
        table: &table,
        rules: &config.rules,
        now: NOW,
        moment: Moment::default(),
        order: None,
    };
    let mut tracer = Tracer::new(terms, &names);
    assert_eq!(tracer.trace(b"a\x1b[2J").input, "a\\x1b[2J");
    assert_eq!(tracer.trace(b"\xff.z\xc3\xbc").input, "\\xff.z\\xc3\\xbc");
    assert_eq!(tracer.trace("zü".as_bytes()).input, "zü");
}

const RULES: &str = r#"
blocklist = ["prefix drop."]
[validation]
clean_dots = true
sort_tags = true
[[rewriter]]
old = '/^servers\.([^.]+)/'
new = 'hosts.${1}'
max = -1
[[rewriter]]
old = 'bad'
new = ''
max = -1
[[rewriter]]
old = 'web'
new = 'www'
max = 1
[[aggregation]]
function = "sum"
regex = '^hosts\.[^.]+\.(.*)'
format = 'sum.$1'
interval = 10
wait = 20
[[aggregation]]
function = "percentiles"
sub = ".raw"
format = 'raw;a=b'
interval = 10
wait = 20
dropRaw = true
[[route]]
key = "sums"
prefix = "sum"
destinations = ["127.0.0.1:2013 id=s"]
[[route]]
key = "rest"
notPrefix = "sum"
destinations = ["127.0.0.1:2014 id=r notSub=none"]
"#;

#[test]
fn each_step_is_told() {
    let trace = trace(RULES, &[], 0, "servers..web1.cpu;b=1;a=2");
    assert_eq!(trace.cleaned.clone().unwrap(), "servers.web1.cpu;a=2;b=1");
    let steps: Vec<_> = trace
        .rewritten
        .iter()
        .map(|step| (&step.by[..], &step.name[..]))
        .collect();
    assert_eq!(
        steps,
        [
            (
                r"/^servers\.([^.]+)/ hosts.${1} -1",
                "hosts.web1.cpu;a=2;b=1"
            ),
            ("web www 1", "hosts.www1.cpu;a=2;b=1"),
        ]
    );
    let [made] = &trace.aggregated[..] else {
        panic!("{trace:?}")
    };
    assert_eq!(made.name, "sum.cpu;a=2;b=1");
    assert!(made.by.starts_with("sum regex="), "{}", made.by);
    assert_eq!(
        (&made.routes[0].key[..], ids(&made.routes[0])),
        ("sums", vec!["s"])
    );
    assert_eq!((trace.routes.len(), ids(&trace.routes[0])), (1, vec!["r"]));
}

#[test]
fn where_it_ends() {
    let blocked = trace(RULES, &[], 0, "drop.a");
    assert_eq!(blocked.outcome, Outcome::Blocked);
    assert_eq!(blocked.blocked_by.unwrap(), "prefix drop.");
    let spoiled = trace(RULES, &[], 0, "bad");
    assert_eq!(spoiled.rejected.unwrap().reason, "rewrite");
    assert_eq!(spoiled.rewritten[0].name, "");
    let consumed = trace(RULES, &[], 0, "x.raw");
    assert_eq!(consumed.outcome, Outcome::Consumed);
    assert_eq!(consumed.routes, []);
    let names: Vec<_> = consumed
        .aggregated
        .iter()
        .map(|made| &made.name[..])
        .collect();
    assert_eq!(names[..2], ["raw.p25;a=b", "raw.p50;a=b"]);
    assert_eq!(names.len(), 6);
    assert_eq!(consumed.aggregated[0].by, consumed.consumed_by.unwrap());
    let unrouted = trace(RULES, &[], 0, "none");
    assert_eq!(unrouted.outcome, Outcome::Unrouted);
    assert_eq!(
        unrouted.routes[0].why.as_deref(),
        Some("none of its destinations takes the name")
    );
}

fn of_kind(kind: &str, more: &str, up: &[bool], turn: u64) -> (String, String, Vec<String>) {
    let config = format!(
        "[[route]]\nkey = 'k'\ntype = '{kind}'\n{more}\ndestinations = ['h:1:a id=a', 'h:2:b id=b', 'h:3:c id=c']\n"
    );
    let mut trace = trace(&config, up, turn, "some.name");
    let route = trace.routes.remove(0);
    (
        ids(&route).concat(),
        route.why.unwrap_or_default(),
        route.down,
    )
}

#[test]
fn who_is_up_is_a_reason() {
    let said = |kind, up: &[bool], turn| {
        let (to, why, down) = of_kind(kind, "", up, turn);
        format!("{to}: {why}; {}", down.concat())
    };
    assert_eq!(
        said("failover", &[], 0),
        "a: the first, if all of 3 are up; "
    );
    assert_eq!(
        said("failover", &[true; 3], 0),
        "a: the first, all of 3 being up; "
    );
    assert_eq!(
        said("failover", &[false, true, true], 0),
        "b: the first of those that are up: 2 of 3; a"
    );
    assert_eq!(
        said("failover", &[false; 3], 0),
        "a: the first, all of 3 being down; abc"
    );
    assert_eq!(
        said("roundRobin", &[true, false, true], 1),
        "c: by turns, batch by batch: whose turn is next of those that are up: 2 of 3; b"
    );
    let (usual, why, _) = of_kind("any_of", "", &[true; 3], 0);
    assert_eq!(why, "by hash of the name, all of 3 being up");
    let up = ["a", "b", "c"].map(|id| id != usual);
    let (other, why, down) = of_kind("any_of", "", &up, 0);
    assert_eq!((other != usual, down), (true, vec![usual]));
    assert_eq!(why, "by hash of the name of those that are up: 2 of 3");
    assert_eq!(
        of_kind("sendFirstMatch", "", &[], 0).1,
        "the first that takes the name"
    );
    let (one, why, down) = of_kind("carbon_ch", "", &[false; 3], 0);
    assert_eq!(
        (one.len(), &why[..], down.len()),
        (1, "by hash of the name", 0)
    );
    let (two, why, _) = of_kind(
        "carbon_ch",
        "replication = 2\ndynamic = true",
        &[false, false, true],
        0,
    );
    assert!(two.contains('c') && two.len() == 2, "{two}");
    assert_eq!(why, "by hash of the name, too few of 3 being up: 1");
}

#[test]
fn the_document_keeps_its_form() {
    let trace = trace(ALL, &[], 0, "a");
    let expected = serde_json::json!({
        "input": "a", "is_name": true, "outcome": "routed", "rejected": null, "cleaned": null, "blocked_by": null,
        "rewritten": [], "aggregated": [], "consumed_by": null,
        "routes": [{
            "key": "all", "type": "sendAllMatch", "why": null, "down": [],
            "destinations": [{"id": "a", "address": "127.0.0.1:2013"}],
        }],
    });
    assert_eq!(serde_json::to_value(&trace).unwrap(), expected);
    // An older daemon may know less.
    let less: Trace = serde_json::from_str(r#"{"input": "a", "new": 1}"#).unwrap();
    assert_eq!(less.outcome, Outcome::Empty);
}

/// Configs of a few rules of each kind.
fn configs() -> impl Strategy<Value = String> {
    let name = || prop_oneof![Just("a"), Just("b"), Just("ab"), Just("a."), Just("x")];
    let rewriter = (
        prop_oneof![name().prop_map(str::to_owned), Just("/^(a+)/".to_owned())],
        prop_oneof![
            Just(""),
            Just("b"),
            Just("$1c"),
            Just("c;c=1"),
            Just("aaaaaaaa")
        ],
    );
    let rewriter = rewriter
        .prop_map(|(old, new)| format!("[[rewriter]]\nold = '{old}'\nnew = '{new}'\nmax = -1\n"));
    let function = prop_oneof![Just("sum"), Just("percentiles")];
    let aggregation = (function, name(), any::<bool>(), 0..9u8);
    let aggregation = aggregation.prop_map(|(function, sub, drop, n)| {
        format!(
            "[[aggregation]]\nfunction = '{function}'\nsub = '{sub}'\nformat = 'a.{n}'\ninterval = 10\nwait = 20\ndropRaw = {drop}\n"
        )
    });
    let kind = prop_oneof![
        Just("sendAllMatch"),
        Just("sendFirstMatch"),
        Just("failover"),
        Just("any_of"),
        Just("roundRobin"),
    ];
    let route = (kind, name(), name());
    let routes = proptest::collection::vec(route, 1..4).prop_map(|routes| {
        let one = |(at, (kind, sub, prefix)): (usize, (&str, &str, &str))| {
            format!(
                "[[route]]\nkey = 'r{at}'\ntype = '{kind}'\nsub = '{sub}'\ndestinations = \
                 ['h:1 id=a{at} prefix={prefix}', 'h:2 id=b{at}', 'h:3 id=c{at} sub={prefix}']\n"
            )
        };
        routes.into_iter().enumerate().map(one).collect::<String>()
    });
    let top = (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(clean, sort, first)| {
        format!(
            "first_only = {first}\nblocklist = ['sub bb']\n[validation]\nclean_dots = {clean}\nsort_tags = {sort}\n[input]\nmax_line = 64\n"
        )
    });
    let some = |one: BoxedStrategy<String>| {
        proptest::collection::btree_set(one, 0..4)
            .prop_map(|all| all.into_iter().collect::<String>())
    };
    (
        top,
        some(rewriter.boxed()),
        some(aggregation.boxed()),
        routes,
    )
        .prop_map(|(top, rewriters, aggregations, routes)| {
            top + &rewriters + &aggregations + &routes
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// What a trace says is what a batch does.
    #[test]
    fn a_trace_is_what_happens(
        text in configs(),
        metrics in proptest::collection::vec("[ab.x]{1,9}(;a=b|;c)?( [1x]{1,2}( 17900000000?)?)?|[a]{40,60}( 1 2)?|[ -~]{0,9}", 1..9),
        up in proptest::collection::vec(any::<bool>(), 9),
        turn in 0..9u64,
    ) {
        let config = config(&text);
        let (table, names) = table(&config);
        let terms = Terms { table: &table, rules: &config.rules, now: NOW, moment: Moment { up: &up, turn }, order: None };
        let (mut tracer, mut batch) = (Tracer::new(terms, &names), Batch::new());
        for metric in metrics {
            let trace = tracer.trace(metric.as_bytes());
            let input = match trace.is_name {
                true => format!("{} 0 {NOW}\n", metric.trim()),
                false => format!("{metric}\n"),
            };
            batch.run(&terms, input.as_bytes());
            let rejected = batch.rejections().first().map(|one| one.reason.as_str());
            prop_assert_eq!(trace.rejected.as_ref().map(|one| &one.reason[..]), rejected);
            let blocked = batch.blocked().next().map(|(rule, _)| &table.entries().blocklist[rule].text);
            prop_assert_eq!(trace.blocked_by.as_ref(), blocked);
            let counts = [batch.rejected().iter().sum(), batch.blocked().count() as u64, batch.consumed(), batch.unrouted(), batch.routed()];
            let outcomes = [Outcome::Rejected, Outcome::Blocked, Outcome::Consumed, Outcome::Unrouted, Outcome::Routed];
            let outcome = counts.iter().position(|count| *count > 0).map_or(Outcome::Empty, |at| outcomes[at]);
            prop_assert_eq!(trace.outcome, outcome);
            let mut made = Vec::new();
            for point in batch.gathered(input.as_bytes()) {
                for suffix in aggregate::suffixes(names.aggregators[point.rule].1) {
                    let mut name = Vec::new();
                    aggregate::suffixed(point.output, suffix, &mut name);
                    made.push((names.aggregators[point.rule].0.clone(), String::from_utf8(name).unwrap()));
                }
            }
            let told: Vec<_> = trace.aggregated.iter().map(|one| (one.by.clone(), one.name.clone())).collect();
            prop_assert_eq!(told, made);
            // What an aggregator makes goes where a line of that name would, were it asked about by routes alone.
            let routes_only = Table::new(crate::route::Entries {
                blocklist: Vec::new(),
                rewriters: Vec::new(),
                aggregators: Vec::new(),
                ..table.entries().clone()
            });
            for one in &trace.aggregated {
                let mut alone = Batch::new();
                let line = format!("{} 1 {NOW}\n", one.name);
                alone.run(&Terms { table: &routes_only, ..terms }, line.as_bytes());
                prop_assert_eq!(to(&one.routes), placed(&alone, &names));
            }
            prop_assert_eq!(to(&trace.routes), placed(&batch, &names));
            if let Some(one) = batch.placed().first() {
                let sent = batch.text(input.as_bytes(), &one.spans[0]);
                let sent = String::from_utf8(sent.to_vec()).unwrap();
                let steps = trace.rewritten.iter().map(|step| step.name.clone());
                let came = metric.split_ascii_whitespace().next().unwrap_or_default().to_owned();
                let name = [came].into_iter().chain(trace.cleaned).chain(steps).last();
                prop_assert_eq!(sent.split(' ').next(), name.as_deref());
            }
        }
    }
}

proptest! {
    #[test]
    fn no_input_makes_it_panic(input: Vec<u8>) {
        let config = config(RULES);
        let (table, names) = table(&config);
        let terms = Terms { table: &table, rules: &config.rules, now: NOW, moment: Moment::default(), order: None };
        Tracer::new(terms, &names).trace(&input);
    }
}

/// Ids, sorted.
fn to(routes: &[Routed]) -> Vec<String> {
    let all = routes.iter().flat_map(|route| &route.destinations);
    let mut ids: Vec<String> = all.map(|one| one.id.clone()).collect();
    ids.sort();
    ids
}

fn placed(batch: &Batch, names: &Names) -> Vec<String> {
    let placed = batch.placed().iter();
    let mut ids: Vec<String> = placed
        .map(|one| names.destinations[one.destination].0.clone())
        .collect();
    ids.sort();
    ids
}
