//! What commands there are.

/// A command, for people.
struct Entry {
    /// How it is written.
    usage: &'static str,
    /// What it does, in one line.
    what: &'static str,
    /// As someone would type it.
    example: &'static str,
}

const fn entry(usage: &'static str, what: &'static str, example: &'static str) -> Entry {
    Entry {
        usage,
        what,
        example,
    }
}

const ENTRIES: &[Entry] = &[
    entry(
        "help [command]",
        "all commands, or one with an example",
        "help addRoute",
    ),
    entry(
        "view",
        "all rules in force, in the order in which a line meets them",
        "view",
    ),
    entry(
        "status",
        "the state of inputs and destinations, as baton status tells it",
        "status",
    ),
    entry(
        "route list",
        "the routes and how their destinations are",
        "route list",
    ),
    entry(
        "route add <key> [pattern] <addr>",
        "a route to one destination, for the names that a regular expression matches, or for all",
        "route add dev ^dev\\. 127.0.0.1:2013",
    ),
    entry(
        "route patt <key> [pattern]",
        "another regular expression for a route; without one it takes all names",
        "route patt dev ^(dev|test)\\.",
    ),
    entry(
        "route del <key> [drain|discard|keep]",
        "a route goes; the word says what becomes of lines that wait",
        "route del dev drain",
    ),
    entry(
        "addRoute <type> <key> [option=value ...]  <dest>  <dest> ...",
        "a route; two blanks before each destination, which may have options",
        "addRoute sendAllMatch prod prefix=prod.  10.0.0.1:2003 spool=true  10.0.0.2:2004 pickle=true",
    ),
    entry(
        "modRoute <key> <option>=<value> ... [drain|discard|keep]",
        "options of a route; without a value: the default",
        "modRoute prod prefix=production. regex=",
    ),
    entry(
        "moveRoute <key> first|last|before <key>|after <key>",
        "another place among the routes",
        "moveRoute prod before dev",
    ),
    entry(
        "delRoute <key> [drain|discard|keep]",
        "as route del",
        "delRoute prod keep",
    ),
    entry(
        "addDest <key> <host:port> [option=value ...]",
        "one more destination of a route",
        "addDest prod 10.0.0.3:2003 queue=64MiB",
    ),
    entry(
        "modDest <key> <id|address|number> addr=<host:port> <option>=<value> ... [drain|discard|keep]",
        "options of a destination, which keeps its id, queue and spool; without a value: the default",
        "modDest prod 0 addr=10.0.0.9:2003 replay_rate=5000",
    ),
    entry(
        "delDest <key> <id|address|number> [drain|discard|keep]",
        "a destination goes; the word says what becomes of lines that wait",
        "delDest prod 10.0.0.3:2003 drain",
    ),
    entry(
        "addBlock <prefix|notPrefix|sub|notSub|regex|notRegex> <pattern>",
        "lines with such names are dropped (addBlack is the same)",
        "addBlock prefix junk.",
    ),
    entry(
        "modBlock <number> <kind> <pattern>",
        "another rule in the place of the one that has this number in view, from 0",
        "modBlock 0 prefix trash.",
    ),
    entry(
        "moveBlock <number|text> first|last|before <number|text>|after <number|text>",
        "another place in the blocklist",
        "moveBlock 2 before 0",
    ),
    entry(
        "delBlock <kind> <pattern> | <number>",
        "a rule of the blocklist goes, by its text or its number in view",
        "delBlock 0",
    ),
    entry(
        "addRewriter <old> <new> <max> [not=<text>]",
        "names are rewritten; /old/ is a regular expression, max -1 is all",
        "addRewriter /^srv-(\\d+)/ servers.${1} -1",
    ),
    entry(
        "modRewriter <number> <old> <new> <max> [not=<text>]",
        "another rewriter in the place of the one that has this number in view, from 0",
        "modRewriter 0 /^srv-(\\d+)/ hosts.${1} -1",
    ),
    entry(
        "moveRewriter <number|text> first|last|before <number|text>|after <number|text>",
        "another place among the rewriters",
        "moveRewriter 1 first",
    ),
    entry(
        "delRewriter <number> | <old> <new> <max> [not=<text>]",
        "a rewriter goes, by its number in view or its text",
        "delRewriter 0",
    ),
    entry(
        "addAgg <function> [regex=|prefix=|sub=|...] <format> <interval> <wait> [dropRaw=true]",
        "points become new ones: avg, sum, max, percentiles and others",
        "addAgg sum regex=^web\\.(.*)\\.hits$ web.sum.$1 10 20 dropRaw=true",
    ),
    entry(
        "modAgg <number> <function> [regex=|prefix=|sub=|...] <format> <interval> <wait> [dropRaw=true]",
        "another aggregation in the place of the one that has this number in view, from 0",
        "modAgg 0 sum regex=^web\\.(.*)\\.hits$ web.sum.$1 60 90",
    ),
    entry(
        "moveAgg <number|text> first|last|before <number|text>|after <number|text>",
        "another place among the aggregations",
        "moveAgg 0 last",
    ),
    entry(
        "delAgg <number> | <text>",
        "an aggregation goes, by its number in view or its text",
        "delAgg 0",
    ),
    entry(
        "history [n]",
        "the last changes, the newest first",
        "history 20",
    ),
    entry(
        "undo <id> [drain|discard|keep]",
        "what the change of this number did is undone",
        "undo 12",
    ),
    entry(
        "reset [blocklist|rewriter|aggregation|route [key]] [drain|discard|keep]",
        "what was changed at run time is forgotten: the config file's rules are in force",
        "reset route prod",
    ),
    entry("spool list", "what is in the spools", "spool list"),
    entry(
        "trace <metric>",
        "what becomes of a metric",
        "trace prod.web.cpu 1 1790000000",
    ),
    entry(
        "subscribe [at=in|routed|rejected] [prefix=|sub=|regex=|glob=...] [sample=N]",
        "what flows, live, until you press Enter; sample=N: about one line of N",
        "subscribe at=in glob=prod.*.cpu",
    ),
    entry(
        "at first|last|before <key|number>|after <key|number> <add command>",
        "what is added gets this place; a text with blanks is in quotes",
        "at before 0 addBlock prefix junk.",
    ),
    entry(
        "volatile <command>",
        "the change isn't written: it ends with the next restart",
        "volatile addBlock prefix junk.",
    ),
    entry(
        "dry-run <command>",
        "nothing happens, it is told what would change",
        "dry-run delRoute prod",
    ),
    entry(
        "restart",
        "starts the binary and the config on disk; answers when they serve",
        "restart",
    ),
    entry("quit", "ends the session", "quit"),
];

impl Entry {
    fn name(&self) -> &'static str {
        self.usage.split(' ').next().unwrap_or_default()
    }
}

/// The names of all commands, once.
pub(super) fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = ENTRIES.iter().map(Entry::name).collect();
    names.dedup();
    names
}

/// All commands; of one that is named, what it does, with an example.
///
/// # Errors
/// There is no such command.
pub(super) fn help(of: Option<&str>) -> Result<Vec<String>, String> {
    let Some(of) = of else {
        return Ok(ENTRIES
            .iter()
            .flat_map(|entry| [entry.usage.to_owned(), format!("    {}", entry.what)])
            .collect());
    };
    let alias = match of {
        "addBlack" => "addBlock",
        "delBlack" => "delBlock",
        of => of,
    };
    let is_it =
        |entry: &&Entry| entry.name() == alias || entry.usage.split(" <").next() == Some(alias);
    let meant: Vec<&Entry> = ENTRIES.iter().filter(is_it).collect();
    if meant.is_empty() {
        return Err(super::unknown(of));
    }
    let lines = meant.iter().flat_map(|entry| {
        [
            entry.usage.to_owned(),
            format!("    {}", entry.what),
            format!("    example: {}", entry.example),
        ]
    });
    Ok(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    #[test]
    fn every_example_is_a_command() {
        for entry in ENTRIES {
            let command = read(entry.example);
            assert!(
                matches!(command, Ok(Some(_))),
                "{}: {command:?}",
                entry.example
            );
            let helped = help(Some(entry.name())).unwrap();
            assert!(helped.contains(&entry.usage.to_owned()), "{}", entry.usage);
        }
        assert_eq!(help(Some("route add")).unwrap().len(), 3);
        assert!(
            help(Some("addRout"))
                .unwrap_err()
                .contains("did you mean addRoute?")
        );
    }
}
