//! Rules of routes, aggregations and rewrites.

use super::super::expression::{any_of, check};
use super::super::sheet::{Place, Sheet, Table};
use super::super::{Load, Unreadable};
use super::{Daemon, beside, ini};

/// An expression of Python's that Baton can have; else a note counts the statement.
pub(super) fn expression(sheet: &mut Sheet, place: &Place, text: &str) -> Option<String> {
    let text = text.replace(r"\Z", r"\z");
    match check(&text) {
        Ok(_) => Some(text),
        Err(error) => {
            let note =
                format!("{text:?} is no expression that Baton can have ({error}): write it anew");
            sheet.noted(place, note);
            None
        }
    }
}

/// A section of `relay-rules.conf`.
struct Rule {
    name: String,
    regex: String,
    continues: bool,
    destinations: Vec<String>,
}

/// `relay-rules.conf`: the first that matches takes a name, and the next ones only if it says `continue`.
pub(super) fn routes(
    sheet: &mut Sheet,
    daemon: &Daemon,
    load: &Load,
    destinations: &[(String, String)],
) -> Result<(), Unreadable> {
    let Some(source) = beside(sheet, daemon, load, "RELAY_RULES", "relay-rules.conf") else {
        return Ok(());
    };
    let (mut rules, mut last) = (Vec::new(), None);
    for section in ini::read(&source)? {
        sheet.read();
        let is_default = section.is_true("default");
        let pattern = section.get("pattern");
        let regex = match (pattern, is_default) {
            (Some(pattern), false) => {
                let Some(regex) = expression(sheet, &pattern.place, &pattern.value) else {
                    continue;
                };
                // carbon's rules don't look at case.
                format!("(?i){regex}")
            }
            (None, true) => String::new(),
            (Some(_), true) => {
                sheet.noted(
                    &section.place,
                    format!(
                        "[{}]: pattern and default together: choose one",
                        section.name
                    ),
                );
                continue;
            }
            (None, false) => {
                sheet.noted(
                    &section.place,
                    format!(
                        "[{}]: neither pattern nor default: it matches nothing",
                        section.name
                    ),
                );
                continue;
            }
        };
        let mut texts = Vec::new();
        let named = section
            .get("destinations")
            .map(|entry| entry.value.clone())
            .unwrap_or_default();
        for name in named
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            match destinations.iter().find(|(known, _)| known == name) {
                Some((_, text)) if !texts.contains(text) => texts.push(text.clone()),
                Some(_) => {}
                None => sheet.note(
                    &section.place,
                    format!("[{}]: {name} is not in DESTINATIONS: carbon sends nothing there, nor is it here", section.name),
                ),
            }
        }
        if texts.is_empty() {
            sheet.noted(
                &section.place,
                format!(
                    "[{}]: no destination that is in DESTINATIONS: left out",
                    section.name
                ),
            );
            continue;
        }
        for entry in &section.entries {
            if !["pattern", "destinations", "default", "continue"].contains(&&entry.key[..]) {
                sheet.note(
                    &entry.place,
                    format!("{}: no key of a rule", super::said(entry)),
                );
            }
        }
        sheet.converted();
        let continues = section.is_true("continue");
        let rule = Rule {
            name: section.name,
            regex,
            continues,
            destinations: texts,
        };
        match is_default {
            true => last = Some(rule),
            false => rules.push(rule),
        }
    }
    rules.extend(last);
    write(sheet, rules);
    Ok(())
}

fn write(sheet: &mut Sheet, rules: Vec<Rule>) {
    let before_last = rules.len().saturating_sub(1);
    let first_only = before_last > 0 && rules[..before_last].iter().all(|rule| !rule.continues);
    if first_only {
        sheet.root.set("first_only", true);
    }
    let mut stopped: Vec<String> = Vec::new();
    for rule in rules {
        let mut route = Table::default();
        route.set("key", sheet.key(&rule.name));
        route.set_text("regex", &rule.regex);
        if !first_only && !stopped.is_empty() {
            route.set("notRegex", any_of(&stopped));
        }
        route.set("destinations", rule.destinations);
        sheet.routes.push(route);
        if !rule.continues {
            stopped.push(rule.regex);
        }
    }
}

/// `rewrite-rules.conf`: what is rewritten before the aggregation.
pub(super) fn rewriters(sheet: &mut Sheet, daemon: &Daemon, load: &Load) -> Result<(), Unreadable> {
    let Some(source) = beside(sheet, daemon, load, "REWRITE_RULES", "rewrite-rules.conf") else {
        return Ok(());
    };
    let mut is_before = None;
    for (line, place) in ini::lines(&source) {
        let line = line.trim();
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            is_before = Some(name.eq_ignore_ascii_case("pre"));
            continue;
        }
        sheet.read();
        let Some((old, new)) = line.split_once('=') else {
            sheet.noted(
                &place,
                format!("expected expression = replacement, found {line:?}"),
            );
            continue;
        };
        if is_before != Some(true) {
            let text = "[post]: Baton rewrites before the aggregation only: rewrite where the lines arrive";
            sheet.noted(&place, text);
            continue;
        }
        let Some(old) = expression(sheet, &place, old.trim()) else {
            continue;
        };
        let new = match replacement(new.trim()) {
            Ok(new) => new,
            Err(why) => {
                sheet.noted(&place, format!("{:?}: {why}", new.trim()));
                continue;
            }
        };
        let mut rewriter = Table::default();
        rewriter
            .set("old", format!("/{old}/"))
            .set("new", new)
            .set("max", -1);
        sheet.rewriters.push(rewriter);
        sheet.converted();
    }
    Ok(())
}

/// `\1` and `\g<name>` as `${1}` and `${name}`.
fn replacement(text: &str) -> Result<String, String> {
    let mut new = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '$' => new.push_str("$$"),
            '\\' => {
                let named = rest
                    .strip_prefix("g<")
                    .and_then(|rest| rest.split_once('>'));
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count().min(2);
                let (group, after) = match named {
                    Some((name, after)) => (name, after),
                    None => rest.split_at(digits),
                };
                match group.is_empty() {
                    false => new.push_str(&format!("${{{group}}}")),
                    true if rest.starts_with('\\') => {
                        new.push('\\');
                        rest = &rest[1..];
                        continue;
                    }
                    true => return Err("expected a group after the backslash".to_owned()),
                }
                rest = after;
            }
            c => new.push(c),
        }
    }
    Ok(new)
}

/// `aggregation-rules.conf`: lines `output (seconds) = method input`.
pub(super) fn aggregations(
    sheet: &mut Sheet,
    daemon: &Daemon,
    load: &Load,
) -> Result<(), Unreadable> {
    let Some(source) = beside(
        sheet,
        daemon,
        load,
        "AGGREGATION_RULES",
        "aggregation-rules.conf",
    ) else {
        return Ok(());
    };
    for (line, place) in ini::lines(&source) {
        sheet.read();
        match aggregation(line.trim()) {
            Ok(table) => {
                if sheet.aggregations.is_empty() {
                    let text = "here and below: an interval is sent once, two intervals after it began: carbon sends it \
                                again when late points change it";
                    sheet.note(&place, text);
                }
                sheet.aggregations.push(table);
                sheet.converted();
            }
            Err(why) => sheet.noted(&place, why),
        }
    }
    let forwards = daemon.text("FORWARD_ALL", "True");
    if !ini::is_true(&forwards) {
        let place = daemon.place("FORWARD_ALL");
        match &mut sheet.aggregations[..] {
            [only] => {
                only.set("dropRaw", true);
                sheet.note(&place, "FORWARD_ALL = False: what no rule takes in is routed here: block it");
            }
            _ => sheet.note(
                &place,
                "FORWARD_ALL = False: give the route patterns for the aggregates alone: dropRaw would keep names from the next rule",
            ),
        }
    }
    Ok(())
}

fn aggregation(line: &str) -> Result<Table, String> {
    let expected = || format!("expected output (seconds) = method input, found {line:?}");
    let (left, right) = line.split_once('=').ok_or_else(expected)?;
    let (output, seconds) = left
        .trim()
        .strip_suffix(')')
        .and_then(|left| left.rsplit_once('('))
        .ok_or_else(expected)?;
    let seconds: i64 = seconds.trim().parse().map_err(|_| expected())?;
    let (method, input) = right
        .trim()
        .split_once(char::is_whitespace)
        .ok_or_else(expected)?;
    if !(1..=86_400).contains(&seconds) {
        return Err(format!(
            "{seconds} seconds: expected an interval from a second to a day"
        ));
    }
    let function = match method {
        "sum" | "avg" | "min" | "max" | "count" | "last" => method,
        "p50" => "median",
        _ => {
            return Err(format!(
                "{method}: Baton has median, and percentiles (25, 50, 75, 90, 95, 99, each with its suffix): choose one of them"
            ));
        }
    };
    let regex = input_expression(input.trim());
    check(&regex).map_err(|error| {
        format!("{input:?} is no expression that Baton can have ({error}): write it anew")
    })?;
    let mut table = Table::default();
    table.set("function", function).set("regex", regex);
    table.set("format", output_template(output.trim()));
    table.set("interval", seconds).set("wait", 2 * seconds);
    Ok(table)
}

/// The fields in angle brackets and the stars of an input pattern, node by node; the rest is an expression already.
fn input_expression(input: &str) -> String {
    let nodes = input.split('.').map(|node| match node {
        "*" => "[^.]+".to_owned(),
        node => {
            let node = node.replace('*', "[^.]*");
            fields(&node, |name, is_long| match is_long {
                true => format!("(?P<{name}>.+?)"),
                false => format!("(?P<{name}>[^.]+?)"),
            })
        }
    });
    format!("^{}$", nodes.collect::<Vec<_>>().join(r"\."))
}

fn output_template(output: &str) -> String {
    fields(&output.replace('$', "$$"), |name, _| format!("${{{name}}}"))
}

/// Puts something for `<name>` and `<<name>>`.
fn fields(text: &str, put: impl Fn(&str, bool) -> String) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('<') {
        done.push_str(before);
        let (is_long, inner) = match from.strip_prefix('<') {
            Some(inner) => (true, inner),
            None => (false, from),
        };
        let Some((name, after)) = inner.split_once(if is_long { ">>" } else { ">" }) else {
            done.push('<');
            rest = from;
            continue;
        };
        done.push_str(&put(name, is_long));
        rest = after;
    }
    done.push_str(rest);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_expressions() {
        let input = "<env>.applications.<app>.*.<<rest>>.web*";
        let expected =
            r"^(?P<env>[^.]+?)\.applications\.(?P<app>[^.]+?)\.[^.]+\.(?P<rest>.+?)\.web[^.]*$";
        assert_eq!(input_expression(input), expected);
        assert_eq!(
            output_template("<env>.all.$<<rest>>"),
            "${env}.all.$$${rest}"
        );
        assert_eq!(replacement(r"\g<a>.\1x$\\").unwrap(), r"${a}.${1}x$$\");
        assert!(replacement(r"a\q").is_err());
    }
}
