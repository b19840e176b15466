//! What carbon-relay-ng's file means depends on the machine, too.

use std::borrow::Cow;
use std::{env, fs};

use toml::de::{DeTable, DeValue};

use crate::config::read::Report;

/// What a file may ask of the machine.
pub(in crate::config) struct Machine {
    /// Its name, up to the first dot.
    pub(super) host: String,
    /// Whether addresses of IPv6 can be listened at.
    pub(super) has_ipv6: bool,
    /// The environment.
    pub(super) variable: fn(&str) -> Option<String>,
}

/// Where `${name}` may mean a group of an expression, so that no variable is looked for.
const TEMPLATES: [&str; 3] = ["new", "format", "cmds"];

impl Machine {
    pub(in crate::config) fn this() -> Machine {
        let name = nix::unistd::gethostname().ok();
        let name = name.and_then(|name| name.into_string().ok());
        let name = name.unwrap_or_else(|| "unknown".to_owned());
        // The loopback address of IPv6 is enough: whoever has it can bind to [::].
        let addresses = fs::read_to_string("/proc/net/if_inet6");
        Machine {
            host: name.split('.').next().unwrap_or_default().to_owned(),
            has_ipv6: addresses.is_ok_and(|addresses| !addresses.trim().is_empty()),
            variable: |name| env::var(name).ok(),
        }
    }

    /// Puts the machine's name for `$HOST` and `${HOST}`; outside of templates, variables of the environment for
    /// `${NAME}`, too. Variables that aren't set stay, and are told.
    pub(super) fn expand(&self, text: &str, is_template: bool) -> (String, Vec<String>) {
        let (mut expanded, mut unset) = (String::new(), Vec::new());
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let (before, from) = rest.split_at(dollar);
            expanded.push_str(before);
            let (name, length) = name_after_dollar(from);
            let is_braced = from[..length].ends_with('}');
            match (name, (self.variable)(name)) {
                ("HOST", _) => expanded.push_str(&self.host),
                (name, Some(value)) if is_braced && !is_template && !name.is_empty() => {
                    expanded.push_str(&value);
                }
                (name, _) => {
                    if is_braced && !is_template && !name.is_empty() {
                        unset.push(name.to_owned());
                    }
                    expanded.push_str(&from[..length]);
                }
            }
            rest = &from[length..];
        }
        expanded.push_str(rest);
        (expanded, unset)
    }

    /// Does so in all strings of a table.
    pub(super) fn expand_table(&self, report: &mut Report, table: &mut DeTable) {
        for (key, value) in table.iter_mut() {
            let at = value.span().start;
            self.expand_value(report, key.get_ref(), at, value.get_mut());
        }
    }

    fn expand_value(&self, report: &mut Report, key: &str, at: usize, value: &mut DeValue) {
        match value {
            DeValue::String(text) => {
                let (expanded, unset) = self.expand(text, TEMPLATES.contains(&key));
                for name in unset {
                    let message = format!("the environment has no {name}: ${{{name}}} stays");
                    report.warn(Some(at), key, message);
                }
                *text = Cow::Owned(expanded);
            }
            DeValue::Array(list) => {
                for element in list.iter_mut() {
                    let at = element.span().start;
                    self.expand_value(report, key, at, element.get_mut());
                }
            }
            DeValue::Table(table) => self.expand_table(report, table),
            _ => {}
        }
    }
}

/// The name in `$NAME` or `${NAME}`, empty if there is none, and how many bytes that takes.
fn name_after_dollar(text: &str) -> (&str, usize) {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let inner = &text[1..];
    let (start, name) = match inner.strip_prefix('{') {
        Some(inner) => (2, inner),
        None => (1, inner),
    };
    let length = name.bytes().take_while(|b| is_word(*b)).count();
    let name = &name[..length];
    if name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
        return ("", 1);
    }
    match (start, text[start + length..].starts_with('}')) {
        (1, _) => (name, 1 + length),
        (_, true) => (name, start + length + 1),
        (_, false) => ("", 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_put_everywhere_and_variables_outside_of_templates() {
        let machine = Machine {
            host: "web1".to_owned(),
            has_ipv6: false,
            variable: |name| (name == "DC").then(|| "fra".to_owned()),
        };
        let plain = |text| machine.expand(text, false).0;
        let template = |text| machine.expand(text, true).0;
        assert_eq!(plain("$HOST.${HOST}x$HOST"), "web1.web1xweb1");
        assert_eq!(plain("${DC}.$DC"), "fra.$DC");
        assert_eq!(template("${DC}.$HOST"), "${DC}.web1");
        for kept in [
            "$1 ${1} ${1}x $",
            "^a$|b$",
            "a${",
            "${}",
            "$HOSTS",
            "${HOST",
        ] {
            assert_eq!(plain(kept), kept);
            assert_eq!(template(kept), kept);
        }
        assert_eq!(
            machine.expand("${X}", false),
            ("${X}".to_owned(), vec!["X".to_owned()])
        );
        assert_eq!(machine.expand("${X}", true).1, Vec::<String>::new());
    }
}
