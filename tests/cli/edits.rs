//! A rule in an editor.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::bed::{Bed, command};

impl Bed {
    /// An editor that is a shell script; the file is `$1`.
    fn editor(&self, script: &str) -> String {
        let path = self.folder.join("editor");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn edit(&self, script: &str, args: &[&str]) -> (Option<i32>, String) {
        let mut all = vec!["route", "edit", "all"];
        all.extend(args);
        let editor = self.editor(script);
        let output = command(&self.folder, &all)
            .env("EDITOR", editor)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }
}

const PREFIX: &str = "sed -i 's/^key.*/&\\nprefix = \"a.\"/' \"$1\"";

#[test]
fn what_the_editor_wrote_is_put_in_force() {
    let bed = Bed::start();
    let (status, said) = bed.edit(PREFIX, &["--dry-run"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("@@ route all @@") && said.contains("+prefix = \"a.\""),
        "{said}"
    );
    assert_eq!(bed.done(&["config", "diff"]), "");
    let (status, said) = bed.edit(PREFIX, &["--yes"]);
    assert_eq!(
        (status, said.contains("route all changed")),
        (Some(0), true),
        "{said}"
    );
    assert_eq!(bed.json(&["route", "show", "all"])["spec"]["prefix"], "a.");
    let (status, said) = bed.edit("sed -i 's/\"a\\.\"/\"b.\"/' \"$1\"", &["--yes", "--json"]);
    assert_eq!(status, Some(0), "{said}");
    serde_json::from_str::<serde_json::Value>(&said).unwrap();
}

#[test]
fn what_cant_be_is_refused_and_nothing_is_left_behind() {
    let bed = Bed::start();
    for (script, said) in [
        ("true", "nothing was changed"),
        ("echo > \"$1\"", "nothing was changed"),
        ("false", "failed (exit status: 1): nothing was changed"),
        ("echo '[[' > \"$1\"", "TOML parse error"),
        ("echo 'first_only = true' >> \"$1\"", "route"),
        ("sed -i 's/^key.*/&\\nregex = \"(\"/' \"$1\"", "route.regex"),
        (
            "cat \"$1\" \"$1\" > x; mv x \"$1\"; sed -i 's/^\\[\\[route/\\n&/' \"$1\"",
            "expected one table [[route]]",
        ),
    ] {
        let (status, text) = bed.edit(script, &["--yes"]);
        assert_eq!(status, Some(1), "{script}: {text}");
        assert!(text.contains(said), "{script}: {text}");
    }
    assert_eq!(bed.done(&["history"]), "nothing was changed\n");
}

/// Somebody else's change between reading and writing isn't overwritten.
#[test]
fn a_change_meanwhile_is_not_overwritten() {
    let bed = Bed::start();
    let binary = env!("CARGO_BIN_EXE_baton");
    let other = format!("{binary} route edit all --set sub=other --config baton.toml; {PREFIX}");
    let (status, said) = bed.edit(&other, &["--yes"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("was changed meanwhile"), "{said}");
    assert_eq!(bed.json(&["route", "show", "all"])["spec"]["sub"], "other");
}

#[test]
fn on_a_terminal_it_shows_and_asks() {
    let bed = Bed::start();
    let editor = bed.editor(PREFIX);
    let edit = format!(
        "route edit all --set sub=x; EDITOR={editor} {} route edit all",
        env!("CARGO_BIN_EXE_baton")
    );
    let edit = edit.replacen("--set sub=x;", "--set sub=x --config baton.toml;", 1);
    let (ok, shown) = bed.on_a_terminal(&edit, "n\n");
    assert!(!ok && shown.contains("Make this change? [y/N]"), "{shown}");
    assert!(shown.contains("\x1b[32m+prefix = \"a.\"\x1b[0m"), "{shown}");
    let again = format!(
        "route show all --config baton.toml; EDITOR={editor} {} route edit all",
        env!("CARGO_BIN_EXE_baton")
    );
    let (ok, shown) = bed.on_a_terminal(&again, "y\n");
    assert!(ok && shown.contains("route all changed"), "{shown}");
    // What is wrong is told, and the text is kept: the second time the editor mends it.
    let mending = "grep -q '^#! ' \"$1\" && sed -i '/^regex/d; s/\"a\\./\"c./' \"$1\" || sed -i 's/^key.*/&\\nregex = \"(\"/' \"$1\"";
    let editor = bed.editor(mending);
    let mend = format!(
        "route show all --config baton.toml; EDITOR={editor} {} route edit all",
        env!("CARGO_BIN_EXE_baton")
    );
    let (ok, shown) = bed.on_a_terminal(&mend, "y\ny\n");
    assert!(ok && shown.contains("Edit it again? [Y/n]"), "{shown}");
    assert_eq!(bed.json(&["route", "show", "all"])["spec"]["prefix"], "c.");
}
