//! Traces for people.

use crate::pipeline::trace::{Outcome, Routed, Trace};

/// Of what is said, the first column's width.
const WIDTH: usize = 14;

/// The metric, and indented what becomes of it.
pub fn for_people(trace: &Trace) -> String {
    let mut text = format!("{}\n", trace.input);
    let mut say = |what: &str, of: &str| {
        text += format!("  {what:WIDTH$}{of}").trim_end();
        text += "\n";
    };
    if let Some(name) = &trace.cleaned {
        say("cleaned to", name);
    }
    let names = trace.rewritten.iter().map(|step| step.name.chars().count());
    let width = names.max().unwrap_or(0);
    for step in &trace.rewritten {
        say(
            "rewritten to",
            &format!("{:width$}  by {}", step.name, step.by),
        );
    }
    for made in &trace.aggregated {
        say("aggregated in", &format!("{}  by {}", made.name, made.by));
        match &made.refused {
            Some(why) => say("", &format!("refused: {why}")),
            None if made.routes.is_empty() => say("", "→ unrouted: no route matches it"),
            None => {}
        }
        for route in &made.routes {
            say("", &format!("→ route {}", of_route(route)));
        }
    }
    for route in &trace.routes {
        say("route", &of_route(route));
    }
    match trace.outcome {
        Outcome::Empty => say("empty", "there is nothing in the line: it is passed over"),
        Outcome::Rejected => {
            let rejected = trace.rejected.clone().unwrap_or_default();
            say(
                "rejected",
                &format!("{}: {}", rejected.reason, rejected.text),
            );
        }
        Outcome::Blocked => {
            let rule = trace.blocked_by.clone().unwrap_or_default();
            say("blocked by", &rule);
        }
        Outcome::Consumed => {
            let rule = trace.consumed_by.clone().unwrap_or_default();
            say("consumed by", &rule);
        }
        Outcome::Unrouted if trace.routes.is_empty() => say("unrouted", "no route matches it"),
        Outcome::Unrouted => say("unrouted", "no destination takes it"),
        Outcome::Routed => {}
    }
    text
}

/// `key (type) → address (id), … [why; down: id, …]`
fn of_route(route: &Routed) -> String {
    let mut text = format!("{} ({}) → ", route.key, route.kind);
    let to = route.destinations.iter();
    let to: Vec<_> = to
        .map(|one| format!("{} ({})", one.address, one.id))
        .collect();
    text += &match &to[..] {
        [] => "nobody".to_owned(),
        to => to.join(", "),
    };
    let down = match &route.down[..] {
        [] => None,
        ids => Some(format!("down: {}", ids.join(", "))),
    };
    let more: Vec<_> = route.why.iter().cloned().chain(down).collect();
    match &more[..] {
        [] => text,
        more => format!("{text}  [{}]", more.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::trace::{Aggregated, Destination, Rejected, Rewritten};

    fn routed() -> Routed {
        Routed {
            key: "all".to_owned(),
            kind: "failover".to_owned(),
            destinations: vec![Destination {
                id: "b".to_owned(),
                address: "127.0.0.1:2003".to_owned(),
            }],
            why: Some("the first of those that are up: 1 of 2".to_owned()),
            down: vec!["a".to_owned()],
        }
    }

    #[test]
    fn a_metric_with_everything() {
        let step = |by: &str, name: &str| Rewritten {
            by: by.to_owned(),
            name: name.to_owned(),
        };
        let trace = Trace {
            input: "a..b".to_owned(),
            outcome: Outcome::Routed,
            cleaned: Some("a.b".to_owned()),
            rewritten: vec![step("a cc -1", "cc.b"), step("cc d -1", "d.b")],
            aggregated: vec![Aggregated {
                by: "sum s 10 20".to_owned(),
                name: "s".to_owned(),
                refused: None,
                routes: vec![routed()],
            }],
            routes: vec![Routed {
                destinations: Vec::new(),
                why: None,
                down: Vec::new(),
                ..routed()
            }],
            ..Trace::default()
        };
        let expected = r#"a..b
  cleaned to    a.b
  rewritten to  cc.b  by a cc -1
  rewritten to  d.b   by cc d -1
  aggregated in s  by sum s 10 20
                → route all (failover) → 127.0.0.1:2003 (b)  [the first of those that are up: 1 of 2; down: a]
  route         all (failover) → nobody
"#;
        assert_eq!(for_people(&trace), expected);
    }

    #[test]
    fn how_it_ends() {
        let end = |outcome| {
            let trace = Trace {
                input: "a".to_owned(),
                outcome,
                rejected: Some(Rejected {
                    reason: "tags".to_owned(),
                    text: "why".to_owned(),
                }),
                blocked_by: Some("sub a".to_owned()),
                consumed_by: Some("sum a 1 2 dropRaw=true".to_owned()),
                ..Trace::default()
            };
            let text = for_people(&trace);
            let said = text.strip_prefix("a\n").unwrap_or_default();
            said.trim_start().to_owned()
        };
        assert_eq!(end(Outcome::Rejected), "rejected      tags: why\n");
        assert_eq!(end(Outcome::Blocked), "blocked by    sub a\n");
        assert_eq!(
            end(Outcome::Consumed),
            "consumed by   sum a 1 2 dropRaw=true\n"
        );
        assert_eq!(
            end(Outcome::Unrouted),
            "unrouted      no route matches it\n"
        );
        assert_eq!(end(Outcome::Routed), "");
        assert!(end(Outcome::Empty).starts_with("empty "));
    }
}
