//! An example for each subcommand, at the end of its help and of its man page.

use clap::Command;

/// By the words of the subcommand: what someone types.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("run", &["baton run --config /etc/baton/baton.toml"]),
    ("check", &["baton check --config baton.toml"]),
    (
        "config convert",
        &["baton config convert --from carbon-c-relay relay.conf > baton.toml"],
    ),
    ("config diff", &["baton config diff"]),
    (
        "config export",
        &[
            "baton config export --out new.toml",
            "baton config export --out /etc/baton/baton.toml --force",
        ],
    ),
    (
        "config reset",
        &[
            "baton config reset --dry-run",
            "baton config reset route servers",
        ],
    ),
    ("reload", &["baton reload"]),
    ("status", &["baton status --json"]),
    ("trace", &["baton trace servers.web1.cpu"]),
    (
        "tail",
        &[
            "baton tail --prefix servers.",
            "baton tail --at rejected",
            "baton tail --glob 'servers.*.cpu.{user,idle}' --sample 100 --json",
        ],
    ),
    ("spool list", &["baton spool list"]),
    ("spool show", &["baton spool show store --head 3"]),
    (
        "spool export",
        &["baton spool export store --out store.lines"],
    ),
    (
        "spool replay",
        &["baton spool replay store.lines --to store"],
    ),
    ("spool purge", &["baton spool purge store"]),
    ("spool assign", &["baton spool assign old-store --to store"]),
    ("drill", &["baton drill --help"]),
    (
        "route list",
        &[
            "baton route list",
            "baton route list --json | jq -r '.rules[].key'",
        ],
    ),
    ("route show", &["baton route show servers"]),
    (
        "route add",
        &[
            "baton route add servers --prefix servers. 10.0.0.1:2003",
            "baton route add ring --type consistentHashing --first a.example:2003 queue=64MiB b.example:2003",
        ],
    ),
    ("route del", &["baton route del servers --backlog drain"]),
    (
        "route edit",
        &[
            "baton route edit servers",
            "baton route edit servers --set prefix=srv. --unset regex --dry-run",
        ],
    ),
    ("route move", &["baton route move servers --before all"]),
    ("blocklist list", &["baton blocklist list"]),
    ("blocklist show", &["baton blocklist show 1"]),
    (
        "blocklist add",
        &["baton blocklist add prefix collectd.localhost"],
    ),
    (
        "blocklist del",
        &["baton blocklist del prefix collectd.localhost"],
    ),
    (
        "blocklist edit",
        &["baton blocklist edit 1 --set 'rule=sub .localhost.'"],
    ),
    ("blocklist move", &["baton blocklist move 3 --first"]),
    ("rewriter list", &["baton rewriter list"]),
    ("rewriter show", &["baton rewriter show 1"]),
    (
        "rewriter add",
        &["baton rewriter add '/^server\\.([^.]+)/' 'servers.${1}.collectd'"],
    ),
    ("rewriter del", &["baton rewriter del 1 --dry-run"]),
    ("rewriter edit", &["baton rewriter edit 1 --set new=hosts"]),
    ("rewriter move", &["baton rewriter move 2 --first"]),
    ("aggregation list", &["baton aggregation list"]),
    ("aggregation show", &["baton aggregation show 1"]),
    (
        "aggregation add",
        &[
            "baton aggregation add sum 'all.${1}' --regex '^servers\\.[^.]+\\.(.*)' --interval 10s --wait 20s",
        ],
    ),
    ("aggregation del", &["baton aggregation del 1"]),
    (
        "aggregation edit",
        &["baton aggregation edit 1 --set wait=30s"],
    ),
    ("aggregation move", &["baton aggregation move 2 --last"]),
    ("destination list", &["baton destination list servers"]),
    (
        "destination add",
        &["baton destination add servers 10.0.0.2:2003 queue=64MiB full=spool"],
    ),
    (
        "destination del",
        &["baton destination del 10.0.0.2:2003 --backlog keep"],
    ),
    (
        "destination edit",
        &["baton destination edit 10.0.0.2:2003 address=10.0.0.3:2003 --unset queue"],
    ),
    (
        "history",
        &["baton history --limit 5", "baton history undo 12"],
    ),
    ("history undo", &["baton history undo 12 --dry-run"]),
    (
        "top",
        &["baton top", "baton top --once --sort spool --filter store"],
    ),
    (
        "completions",
        &["baton completions bash > /usr/share/bash-completion/completions/baton"],
    ),
    (
        "tail",
        &[
            "baton tail --prefix servers.",
            "baton tail --at rejected --count 10",
        ],
    ),
    ("man", &["baton man /usr/share/man/man1"]),
];

/// The same command, and those below it, with their examples.
pub fn with_examples(command: Command) -> Command {
    below(command, "")
}

fn below(command: Command, path: &str) -> Command {
    let found = EXAMPLES.iter().find(|(own, _)| *own == path);
    let command = match found {
        Some((_, [one])) => command.after_help(format!("Example:\n  {one}")),
        Some((_, several)) => command.after_help(format!("Examples:\n  {}", several.join("\n  "))),
        None => command,
    };
    command.mut_subcommands(|sub| {
        let name = sub.get_name().to_owned();
        let path = if path.is_empty() {
            name
        } else {
            format!("{path} {name}")
        };
        below(sub, &path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(command: &Command, path: &str, found: &mut Vec<String>) {
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let path = format!("{path} {}", sub.get_name()).trim().to_owned();
            if !sub.has_subcommands() {
                assert!(sub.get_after_help().is_some(), "{path} has no example");
                found.push(path.clone());
            }
            leaves(sub, &path, found);
        }
    }

    /// Each subcommand has one, and each that begins with a subcommand's name can be read as such a command.
    #[test]
    fn every_subcommand_has_an_example_that_can_be_read() {
        let command = crate::cli::command();
        let mut found = Vec::new();
        leaves(&command, "", &mut found);
        for (path, examples) in EXAMPLES {
            assert!(
                found.iter().any(|leaf| leaf == path) || *path == "history",
                "{path}"
            );
            for example in *examples {
                let typed = example.split(" > ").next().unwrap_or_default();
                let typed = typed.split(" | ").next().unwrap_or_default();
                let words = words(typed);
                let read = command.clone().try_get_matches_from(&words);
                let shown =
                    |error: &clap::Error| error.kind() == clap::error::ErrorKind::DisplayHelp;
                assert!(read.as_ref().err().is_none_or(shown), "{example}: {read:?}");
            }
        }
    }

    /// As a shell splits them, as far as the examples need it.
    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (at, part) in text.split('\'').enumerate() {
            match at % 2 {
                0 => words.extend(part.split_whitespace().map(str::to_owned)),
                _ => words.push(part.to_owned()),
            }
        }
        words
    }
}
