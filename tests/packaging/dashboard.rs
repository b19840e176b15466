//! The dashboard and the alerts, against the names that are served.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::packaging;
use super::promql::{Names, names, shown};
use super::relay::{Config, Relay};

/// An expression, where it stands, and what is shown beside its result.
struct Asked {
    place: String,
    expression: String,
    shown: BTreeSet<String>,
}

/// Those of the alerts. Each stands in a line of its own, or below `expr: |`.
fn alerts() -> Vec<Asked> {
    let text = fs::read_to_string(packaging("prometheus/baton.rules.yml")).unwrap();
    let rules = text.split("- alert: ").skip(1);
    let asked = rules.map(|rule| {
        let (place, body) = rule.split_once('\n').unwrap();
        let (_, behind) = body.split_once("expr: ").unwrap();
        let end = behind.find("\n        for:").unwrap_or(usize::MAX);
        let end = end.min(behind.find("\n        labels:").unwrap());
        Asked {
            place: place.to_owned(),
            expression: behind[..end].trim_start_matches('|').to_owned(),
            shown: shown(rule),
        }
    });
    asked.collect()
}

fn dashboard() -> Value {
    serde_json::from_slice(&fs::read(packaging("grafana/baton.json")).unwrap()).unwrap()
}

/// Those of the dashboard: of its panels, its annotations and its variables.
fn panels() -> Vec<Asked> {
    let dashboard = dashboard();
    let mut asked = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().into_iter().flatten();
        asked.extend(targets.map(|target| Asked {
            place: panel["title"].as_str().unwrap().to_owned(),
            expression: target["expr"].as_str().unwrap().to_owned(),
            shown: shown(target["legendFormat"].as_str().unwrap()),
        }));
    }
    for note in dashboard["annotations"]["list"].as_array().unwrap() {
        asked.push(Asked {
            place: "annotations".to_owned(),
            expression: note["expr"].as_str().unwrap().to_owned(),
            shown: shown(note["textFormat"].as_str().unwrap()),
        });
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let Some(query) = variable["query"]["query"].as_str() else {
            continue;
        };
        let inside = query
            .strip_prefix("label_values(")
            .unwrap()
            .trim_end_matches(')');
        let (expression, label) = inside.rsplit_once(", ").unwrap();
        asked.push(Asked {
            place: format!("variable {}", variable["name"]),
            expression: expression.to_owned(),
            shown: BTreeSet::from([label.to_owned()]),
        });
    }
    asked
}

/// Which labels each metric is served with.
fn served(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut served: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        // As the expressions that ask for it are written.
        let (series, _value) = line.rsplit_once(' ').unwrap();
        for metric in names(series).metrics {
            served.entry(metric.name).or_default().extend(metric.labels);
        }
    }
    served
}

/// A relay to which all has happened that makes a metric begin.
fn eventful() -> (Relay, String) {
    let mut config = Config::to_file();
    config.top = "blocklist = [\"prefix blocked\"]\n".to_owned();
    config.routes += concat!(
        "[[route]]\nkey = \"gone\"\ndestinations = [\"127.0.0.1:1 full=drop queue=1MiB\"]\n",
        "[[aggregation]]\nfunction = \"sum\"\nregex = \"^a[.](.*)\"\nformat = \"b.$1\"\ninterval = 10\nwait = 20\n",
    );
    let mut relay = Relay::start(&config);
    let mut lines = String::from("a.old 1 1000000000\nblocked 1 1000000000\nno number\n");
    let (mut sent, more) = (3, "x".repeat(1000));
    while lines.len() < 3 << 20 {
        lines += &format!("{more} 1 1000000000\n");
        sent += 1;
    }
    relay.send(lines);
    relay.wait("all lines to be read", |status| {
        status.total("in") == Some(sent)
    });
    relay.instance.reload().unwrap();
    let page = relay.page("/metrics");
    (relay, page)
}

#[test]
fn dashboard_and_alerts_ask_for_what_is_served() {
    let (_relay, page) = eventful();
    let mut served = served(&page);
    // Of the scrape itself.
    served.insert("up".to_owned(), BTreeSet::new());
    let of_the_scrape = ["instance", "job"].map(str::to_owned);
    let mut complaints = Vec::new();
    let mut metrics = BTreeSet::new();
    for asked in alerts().into_iter().chain(panels()) {
        let Names {
            metrics: found,
            grouped,
        } = names(&asked.expression);
        assert!(!found.is_empty(), "{}", asked.place);
        for metric in found {
            let Some(labels) = served.get(&metric.name) else {
                complaints.push(format!("{}: no {} is served", asked.place, metric.name));
                continue;
            };
            let wanted = metric.labels.iter().chain(&grouped).chain(&asked.shown);
            for label in wanted.filter(|label| !of_the_scrape.contains(label)) {
                if !labels.contains(label) {
                    complaints.push(format!("{}: {} has no {label}", asked.place, metric.name));
                }
            }
            metrics.insert(metric.name);
        }
        // What isn't in `by` is gone.
        let lost = |label: &&String| !grouped.is_empty() && !grouped.contains(*label);
        for label in asked.shown.iter().filter(lost) {
            complaints.push(format!("{}: {label} is shown and not in `by`", asked.place));
        }
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(metrics.len() > 40, "{metrics:?}");
}

#[test]
fn panels_have_their_own_numbers_and_don_t_overlap() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let number = |panel: &Value, key: &str| panel["gridPos"][key].as_u64().unwrap();
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        for x in number(panel, "x")..number(panel, "x") + number(panel, "w") {
            assert!(x < 24, "{panel}");
            for y in number(panel, "y")..number(panel, "y") + number(panel, "h") {
                assert!(cells.insert((x, y)), "{panel}");
            }
        }
    }
}

/// What promtool says, and whether it is content; `None` without it.
#[expect(
    clippy::print_stdout,
    reason = "who reads the log sees what was not tried"
)]
fn promtool(arguments: &[&str]) -> Option<(bool, String)> {
    match Command::new("promtool").args(arguments).output() {
        Ok(run) => {
            let said = [run.stdout, run.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            Some((run.status.success(), said))
        }
        Err(_) => {
            println!("skipped: there is no promtool here");
            None
        }
    }
}

#[test]
fn alerts_go_off_when_they_should() {
    let tests = packaging("../tests/packaging/alerts.yml");
    let rules = packaging("prometheus/baton.rules.yml");
    for arguments in [
        ["check", "rules", rules.to_str().unwrap()],
        ["test", "rules", tests.to_str().unwrap()],
    ] {
        if let Some((content, said)) = promtool(&arguments) {
            assert!(content, "{said}");
        }
    }
}

/// As rules, since promtool knows nothing of dashboards.
#[test]
fn prometheus_understands_the_dashboard() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dashboard.yml");
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    for (number, asked) in panels().iter().enumerate() {
        let expression = asked.expression.replace("$__rate_interval", "5m");
        let expression = expression.replace("$__range", "1h");
        let quoted = serde_json::to_string(&expression).unwrap();
        rules += &format!("  - record: panel_{number}\n    expr: {quoted}\n");
    }
    fs::write(&file, &rules).unwrap();
    if let Some((content, said)) = promtool(&["check", "rules", file.to_str().unwrap()]) {
        assert!(content, "{said}\n{rules}");
    }
}
