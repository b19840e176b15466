use toml::de::{DeTable, DeValue};

use super::*;
use crate::config::problem::Problem;

fn machine() -> Machine {
    Machine {
        host: "web1".to_owned(),
        has_ipv6: true,
        variable: |name| (name == "DC").then(|| "fra".to_owned()),
    }
}

/// A document without places.
fn plain(value: &DeValue) -> toml::Value {
    match value {
        DeValue::Array(list) => list
            .iter()
            .map(|one| plain(one.get_ref()))
            .collect::<Vec<_>>()
            .into(),
        DeValue::Table(table) => toml::Value::Table(plain_table(table)),
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .unwrap()
            .into(),
        other => panic!("{other:?}"),
    }
}

fn plain_table(table: &DeTable) -> toml::Table {
    table
        .iter()
        .map(|(key, value)| (key.get_ref().to_string(), plain(value.get_ref())))
        .collect()
}

fn translated(text: &str) -> (toml::Table, Vec<Problem>, Vec<Problem>) {
    let mut report = Report::new(text);
    let read = DeTable::parse(text).unwrap();
    assert!(is_its(read.get_ref()));
    let commands = super::commands(read.get_ref(), &machine());
    let mut document = read.clone();
    translate(&mut report, document.get_mut(), &commands, &machine());
    (
        plain_table(document.get_ref()),
        report.problems,
        report.warnings,
    )
}

fn assert_means(file: &str, expected: &str, warned: &[(&str, &str)]) {
    let (found, problems, warnings) = translated(file);
    assert_eq!(problems, []);
    let expected: toml::Table = expected.parse().unwrap();
    assert_eq!(found, expected, "\n{found}");
    let said: Vec<(&str, &str)> = warnings
        .iter()
        .map(|warning| (&warning.key[..], &warning.message[..]))
        .collect();
    assert_eq!(said.len(), warned.len(), "{said:#?}");
    for (key, words) in warned {
        assert!(
            said.iter().any(|(k, m)| k == key && m.contains(words)),
            "{key}: {words}: {said:#?}"
        );
    }
    assert!(warnings.iter().all(|warning| warning.line.is_some()));
}

#[test]
fn its_example_means_the_same_here() {
    assert_means(
        include_str!("../../../tests/configs/relay_ng/carbon-relay-ng.ini"),
        include_str!("../../../tests/configs/relay_ng/carbon-relay-ng.toml"),
        &[
            ("max_procs", "not needed"),
            ("pid_file", "not needed"),
            ("bad_metrics_max_age", "not needed"),
            ("admin_addr", "served on 127.0.0.1:2004 alone"),
            ("pickle_read_timeout", "the longer one: 5m"),
            ("aggregation.cache", "not needed"),
            ("init.cmds", "cache is not needed"),
            ("init.cmds", "unspoolsleep is not needed"),
            ("route.destinations", "spool=false: lines are dropped"),
            ("route.destinations", "connbuf, iobuf are not needed"),
        ],
    );
}

#[test]
fn its_first_version_is_read() {
    assert_means(
        include_str!("../../../tests/configs/relay_ng/first-version.ini"),
        include_str!("../../../tests/configs/relay_ng/first-version.toml"),
        &[("routes.zebra", "spool=false: lines are dropped")],
    );
}

/// Those of its versions before 1.0 are in the examples that it came with, and so in many files.
#[test]
fn its_log_levels_mean_the_nearest_here() {
    for (its, here) in [
        ("critical", "error"),
        ("panic", "error"),
        ("fatal", "error"),
        ("error", "error"),
        ("Warning", "warn"),
        ("warn", "warn"),
        ("notice", "info"),
        ("info", "info"),
        ("debug", "debug"),
        ("trace", "trace"),
    ] {
        let (found, problems, _) = translated(&format!("instance = \"a\"\nlog_level = \"{its}\""));
        assert_eq!(problems, []);
        assert_eq!(found["log"]["level"].as_str(), Some(here), "{its}");
    }
}

#[test]
fn variables_of_the_environment_are_put_in() {
    let file = "instance = \"${DC}-1\"\nspool_dir = \"${NOWHERE}/x\"\nfirst_only = true\n\
                [instrumentation]\nprefix = \"relays.{host}\"\ngraphite_addr = \"\"\n";
    let expected = "first_only = true\n[instrumentation]\nprefix = \"relays.fra-1\"\ninterval = \"0s\"\n\
                    [state]\npath = \"${NOWHERE}/x/baton.db\"\n";
    let warned = [
        ("spool_dir", "the environment has no NOWHERE"),
        ("spool_dir", "beside this file"),
        ("first_only", "carbon-relay-ng ignores it"),
    ];
    assert_means(file, expected, &warned);
}

#[test]
fn a_file_of_batons_own_is_left_alone() {
    for own in [
        "",
        "blocklist = []\n[instrumentation]\nprefix = \"${HOST}\"",
        "[[routes]]\nkey = 1",
        "first_only = true\n[[route]]\nkey = \"$HOST\"",
    ] {
        assert!(!is_its(DeTable::parse(own).unwrap().get_ref()), "{own}");
    }
    for its in [
        "instance = \"a\"",
        "Listen_Addr = \"\"",
        "[instrumentation]\ngraphite_interval = 1",
        "[routes.a]",
    ] {
        assert!(is_its(DeTable::parse(its).unwrap().get_ref()), "{its}");
    }
}

proptest::proptest! {
    #[test]
    fn no_command_makes_it_panic(
        words in proptest::collection::vec("addAgg|addRoute|addRewriter|addBlock|sum|  |\"|regex=\"?|[a-z0-9=-]{0,4}", 0..9),
        separator in " |  |\t",
    ) {
        let text = toml::Value::from(words.join(&separator)).to_string();
        let file = format!("init = {{ cmds = [{text}] }}\nlisten_addr = {text}\n");
        let _ = translated(&file);
    }

    /// The example with a stretch of bytes gone.
    #[test]
    fn no_damage_makes_it_panic(from in 0usize..2500, length in 0usize..99, with in "[\\[\\]={}\",a\n]{0,3}") {
        let mut source = include_bytes!("../../../tests/configs/relay_ng/carbon-relay-ng.ini").to_vec();
        let from = from.min(source.len());
        source.splice(from..(from + length).min(source.len()), with.bytes());
        let _ = crate::config::Config::compile(std::path::Path::new("/c.ini"), &source);
    }
}
