//! Help, completions and man pages.

use std::path::Path;
use std::process::{Command, Output};

fn baton(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_baton"))
        .args(args)
        .output()
        .unwrap()
}

#[track_caller]
fn said(args: &[&str]) -> String {
    let output = baton(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The subcommands that a help names.
fn below(help: &str) -> Vec<String> {
    let commands = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = commands.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

fn each(words: &[&str], found: &mut Vec<String>) {
    let mut args = words.to_vec();
    args.push("--help");
    let help = said(&args);
    let names = below(&help);
    if names.is_empty() || words == ["history"] {
        assert!(
            help.contains("Example"),
            "{words:?} names no example: {help}"
        );
        assert!(
            help.contains(&format!("baton {}", words.join(" "))),
            "{words:?}: {help}"
        );
    }
    found.push(words.join(" "));
    for name in &names {
        let mut words = words.to_vec();
        words.push(name);
        each(&words, found);
    }
}

#[test]
fn the_help_of_each_subcommand_names_an_example() {
    let mut found = Vec::new();
    each(&[], &mut found);
    for wanted in [
        "route add",
        "destination edit",
        "blocklist del",
        "rewriter list",
        "aggregation move",
        "history undo",
        "config export",
        "top",
    ] {
        assert!(found.iter().any(|one| one == wanted), "{wanted}: {found:?}");
    }
}

#[test]
fn completions_are_scripts_of_their_shells() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&["completions", shell]);
        assert!(
            script.contains("blocklist") && !script.contains("A worker, which"),
            "{shell}"
        );
    }
    assert_eq!(baton(&["completions", "sh"]).status.code(), Some(2));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("baton.bash");
    std::fs::write(&path, said(&["completions", "bash"])).unwrap();
    let checked = Command::new("bash").arg("-n").arg(&path).output().unwrap();
    assert!(
        checked.status.success() && checked.stderr.is_empty(),
        "{checked:?}"
    );
    // What the shell would offer.
    let script = format!(
        "source {}; COMP_WORDS=(baton route ''); COMP_CWORD=2; _baton baton '' route; echo \"${{COMPREPLY[@]}}\"",
        path.display()
    );
    let offered = Command::new("bash").args(["-c", &script]).output().unwrap();
    let offered = String::from_utf8_lossy(&offered.stdout).into_owned();
    for word in ["list", "add", "del", "edit", "move"] {
        assert!(offered.contains(word), "{offered}");
    }
}

#[test]
fn there_is_a_man_page_for_each_subcommand() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("man1");
    said(&["man", to.to_str().unwrap()]);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&to).unwrap() {
        let path = entry.unwrap().path();
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        has_no_warnings(&path);
    }
    for name in [
        "baton.1",
        "baton-route-add.1",
        "baton-history-undo.1",
        "baton-spool-list.1",
        "baton.toml.5",
    ] {
        assert!(names.iter().any(|one| one == name), "{name}: {names:?}");
    }
    assert!(
        !names.iter().any(|name| name.contains("worker")),
        "{names:?}"
    );
    let page = std::fs::read_to_string(to.join("baton-route-add.1")).unwrap();
    assert!(page.contains("baton route add servers"), "{page}");
    assert!(said(&["man"]).starts_with(".ie"), "the first page");
    let taken = folder.path().join("file");
    std::fs::write(&taken, "").unwrap();
    assert_eq!(
        baton(&["man", taken.to_str().unwrap()]).status.code(),
        Some(1)
    );
}

/// What is behind a name, as `.TP` has it.
fn terms(page: &str) -> Vec<String> {
    let terms = page.split(".TP\n\\fB").skip(1);
    let terms = terms.filter_map(|term| term.split_once("\\fR"));
    terms.map(|(term, _)| term.replace('\\', "")).collect()
}

#[test]
fn the_first_page_says_what_people_look_for() {
    let page = said(&["man"]);
    let section = |name: &str| {
        let (_, rest) = page.split_once(&format!("\n.SH {name}\n")).expect(name);
        rest.split("\n.SH ").next().unwrap().to_owned()
    };
    // As README's tables have it.
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let rows = |head: &str| {
        let (_, table) = readme.split_once(head).expect(head);
        let rows = table
            .lines()
            .skip(2)
            .map_while(|row| row.strip_prefix("| "));
        let rows = rows.filter_map(|row| row.split(" | ").next());
        rows.map(str::to_owned).collect::<Vec<_>>()
    };
    let statuses = terms(&section("\"EXIT STATUS\""));
    assert_eq!(statuses, rows("| exit status | means |"));
    let signals = terms(&section("SIGNALS"));
    assert_eq!(signals, rows("| signal to the supervisor | what it does |"));
    assert!(section("ENVIRONMENT").contains("BATON_CONFIG"));
    assert!(section("FILES").contains("/var/lib/baton/baton.db"));
    assert!(section("\"SEE ALSO\"").contains("baton.toml(5)"));
}

#[test]
fn pages_of_subcommands_have_values_and_examples() {
    let folder = tempfile::tempdir().unwrap();
    said(&["man", folder.path().to_str().unwrap()]);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let page = read("baton-run.1");
    assert!(page.contains("[OPTIONS] \\-\\-config <FILE>\n"), "{page}");
    let examples = ".SH EXAMPLES\n.EX\nbaton run \\-\\-config /etc/baton/baton.toml\n.EE\n";
    assert!(page.contains(examples), "{page}");
    assert!(!page.contains("EXTRA"), "{page}");
    // Each key, with its comment.
    let config = read("baton.toml.5");
    let probation = ".TP\n\\fBprobation = \"5s\"\\fR\nHow long a new worker is watched;";
    assert!(config.contains(probation), "{config}");
    assert!(config.contains("\n.SS [[route.destination]]\n"), "{config}");
}

/// As groff reads it, where there is one.
fn has_no_warnings(page: &Path) {
    let formatted = Command::new("groff")
        .args(["-man", "-Tutf8", "-ww", "-z"])
        .arg(page)
        .output();
    if let Ok(output) = formatted {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.is_empty(),
            "{}: {said}",
            page.display()
        );
    }
}
