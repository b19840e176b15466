//! What each subcommand does.

use serde_json::{Value, json};

use crate::bed::Bed;
use crate::relay::wait_for;

#[test]
fn a_route_comes_is_seen_edited_moved_and_goes() {
    let bed = Bed::start();
    let added = bed.done(&[
        "route",
        "add",
        "new",
        "--prefix",
        "new.",
        "--not-sub",
        "x y",
        "--first",
        "file:new",
        "id=new",
        "flush=1ms",
    ]);
    assert!(added.contains("route new added\n"), "{added}");
    assert!(added.contains("baton history undo 1"), "{added}");
    assert_eq!(bed.routes(), ["new", "all"]);
    bed.relay.send(b"new.a 1 1790000000\n");
    wait_for("the file", || {
        bed.relay.file("new") == ["new.a 1 1790000000"]
    });
    let list = bed.done(&["route", "list"]);
    let own = list.lines().nth(1).unwrap();
    assert!(list.starts_with("KEY  TYPE"), "{list}");
    for cell in [
        "new ",
        "sendAllMatch",
        "1/1 up",
        "added",
        "prefix=new. notSub=x y",
    ] {
        assert!(own.contains(cell), "{cell:?}: {own}");
    }
    let changed = bed.done(&[
        "route",
        "edit",
        "new",
        "--set",
        "prefix=n.",
        "--unset",
        "notSub",
    ]);
    assert!(changed.contains("route new changed"), "{changed}");
    let rule = bed.json(&["route", "show", "new"]);
    assert_eq!(rule["spec"]["prefix"], "n.");
    assert_eq!(rule["spec"].get("notSub"), None);
    let shown = bed.done(&["route", "show", "new"]);
    let version = rule["version"].as_str().unwrap();
    assert!(
        shown.starts_with(&format!("# origin added; version {version}\n[[route]]\n")),
        "{shown}"
    );
    assert!(
        bed.done(&["route", "move", "new", "--last"])
            .contains("route new moved")
    );
    assert_eq!(bed.routes(), ["all", "new"]);
    bed.done(&[
        "route",
        "move",
        "new",
        "--before",
        "all",
        "--if-version",
        &version_of(&bed),
    ]);
    assert_eq!(bed.routes(), ["new", "all"]);
    assert!(
        bed.done(&["route", "del", "new"])
            .contains("route new removed")
    );
    assert_eq!(bed.routes(), ["all"]);
}

fn version_of(bed: &Bed) -> String {
    let list = bed.json(&["route", "list"]);
    list["version"].as_str().unwrap().to_owned()
}

#[test]
fn each_kind_of_rule_is_changed_and_does_what_it_says() {
    let bed = Bed::start();
    bed.done(&["blocklist", "add", "prefix", "junk."]);
    bed.done(&["rewriter", "add", r"/^a\.(.*)/", "b.${1}"]);
    bed.done(&[
        "aggregation",
        "add",
        "sum",
        "all.$1",
        "--regex",
        r"^x\.[^.]+\.(.*)",
        "--interval",
        "1",
        "--wait",
        "2s",
        "--drop-raw",
    ]);
    bed.relay
        .send(b"junk.a 1 1790000000\na.b 1 1790000000\nx.h.m 1 1790000000\n");
    wait_for("the file", || {
        bed.relay
            .file("out")
            .contains(&"b.b 1 1790000000".to_owned())
    });
    assert_eq!(bed.relay.file("out"), ["b.b 1 1790000000"]);
    for (kind, said) in [
        ("blocklist", "0  added   prefix junk."),
        ("rewriter", "0  added   "),
        ("aggregation", "0  added   sum"),
    ] {
        let list = bed.done(&[kind, "list"]);
        assert!(list.contains(said), "{kind}: {list}");
        assert!(bed.done(&[kind, "show", "0"]).contains("# origin added"));
        assert_eq!(
            bed.json(&[kind, "list"])["rules"].as_array().unwrap().len(),
            1
        );
    }
    bed.done(&["rewriter", "edit", "0", "--set", "not=x"]);
    assert_eq!(bed.json(&["rewriter", "show", "0"])["spec"]["not"], "x");
    bed.done(&[
        "aggregation",
        "edit",
        "0",
        "--set",
        "wait=5",
        "--set",
        "dropRaw=false",
    ]);
    bed.done(&["blocklist", "edit", "prefix junk.", "--set", "rule=sub 1"]);
    bed.done(&["blocklist", "add", "sub 2", "--first"]);
    bed.done(&["blocklist", "move", "1", "--first"]);
    let keys = bed.json(&["blocklist", "list"]);
    assert_eq!(keys["rules"][0]["key"], "sub 1");
    bed.done(&["blocklist", "del", "1"]);
    for kind in ["blocklist", "rewriter", "aggregation"] {
        bed.done(&[kind, "del", "0"]);
        assert!(bed.done(&[kind, "list"]).contains("there is no "));
    }
    bed.relay.check_books();
}

#[test]
fn destinations_are_added_edited_and_removed() {
    let bed = Bed::start();
    bed.done(&[
        "destination",
        "add",
        "all",
        "file:more",
        "id=more",
        "flush=1ms",
    ]);
    bed.relay.send(b"a 1 1790000000\n");
    wait_for("the file", || bed.relay.file("more").len() == 1);
    let list = bed.done(&["destination", "list"]);
    assert!(
        list.lines().nth(2).unwrap().starts_with("all    more "),
        "{list}"
    );
    assert_eq!(
        bed.json(&["destination", "list", "all"])
            .as_array()
            .unwrap()
            .len(),
        2
    );
    bed.done(&[
        "destination",
        "edit",
        "more",
        "address=file:other",
        "queue=2MiB",
        "--unset",
        "flush",
    ]);
    let rule = bed.json(&["route", "show", "all"]);
    let text = rule["spec"]["destinations"][1].as_str().unwrap().to_owned();
    assert!(
        text.contains("other") && text.contains("queue=2MiB") && !text.contains("flush"),
        "{text}"
    );
    // By its number, too.
    bed.done(&[
        "destination",
        "del",
        "1",
        "--route",
        "all",
        "--backlog",
        "drain",
    ]);
    wait_for("it has gone", || {
        bed.json(&["destination", "list"]).as_array().unwrap().len() == 1
    });
}

#[test]
fn what_was_changed_is_in_the_history_and_undone() {
    let bed = Bed::start();
    assert_eq!(bed.done(&["history"]), "nothing was changed\n");
    assert_eq!(bed.json(&["history"]), json!([]));
    bed.done(&["blocklist", "add", "prefix a."]);
    bed.done(&["blocklist", "add", "prefix b."]);
    let history = bed.json(&["history", "--limit", "1"]);
    assert_eq!(history[0]["id"], 2);
    assert_eq!(history[0]["via"], "cli");
    let text = bed.done(&["history", "--before", "2"]);
    assert!(
        text.contains("add blocklist") && text.lines().count() == 2,
        "{text}"
    );
    let dry = bed.done(&["history", "undo", "1", "--dry-run"]);
    assert!(
        dry.contains("@@ blocklist prefix a., removed @@\n-blocklist"),
        "{dry}"
    );
    bed.done(&["history", "undo", "1"]);
    let keys = bed.json(&["blocklist", "list"]);
    assert_eq!(keys["rules"][0]["key"], "prefix b.");
}

#[test]
fn what_a_later_change_built_on_is_not_undone_under_it() {
    let bed = Bed::start();
    bed.done(&["route", "add", "new", "--prefix", "a.", "file:new"]);
    bed.done(&["route", "edit", "new", "--set", "prefix=b."]);
    bed.done(&["blocklist", "add", "prefix c."]);
    bed.done(&["route", "edit", "new", "--set", "prefix=d."]);
    let refused = bed.failed(1, &["history", "undo", "2"]);
    assert!(refused.contains('4') && !refused.contains('3'), "{refused}");
    assert_eq!(bed.json(&["route", "show", "new"])["spec"]["prefix"], "d.");
    // The last one first.
    bed.done(&["history", "undo", "4"]);
    assert_eq!(bed.json(&["route", "show", "new"])["spec"]["prefix"], "b.");
    bed.done(&["history", "undo", "2"]);
    assert_eq!(bed.json(&["route", "show", "new"])["spec"]["prefix"], "a.");
}

#[test]
fn the_config_in_force_is_compared_with_the_file_and_reset() {
    let bed = Bed::start();
    assert_eq!(bed.done(&["config", "diff"]), "");
    assert_eq!(bed.json(&["config", "diff"])["differences"], json!([]));
    bed.done(&["route", "edit", "all", "--set", "prefix=a."]);
    bed.done(&["blocklist", "add", "prefix b."]);
    let diff = bed.done(&["config", "diff"]);
    for line in [
        "--- the config file\n+++ in force\n",
        "@@ blocklist prefix b., new @@\n+blocklist = [\"prefix b.\"]\n",
        "@@ route all @@\n [[route]]\n key = \"all\"\n+prefix = \"a.\"\n",
    ] {
        assert!(diff.contains(line), "{line}: {diff}");
    }
    assert!(!diff.contains('\x1b'), "{diff}");
    let json = bed.json(&["config", "diff"]);
    assert_eq!(json["differences"].as_array().unwrap().len(), 2);
    let dry = bed.done(&["config", "reset", "route", "--dry-run"]);
    assert!(
        dry.contains("-prefix = \"a.\"") && !dry.contains("blocklist"),
        "{dry}"
    );
    bed.done(&["config", "reset", "route", "all"]);
    assert_eq!(
        bed.json(&["config", "diff"])["differences"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    bed.done(&["config", "reset"]);
    assert_eq!(bed.done(&["config", "diff"]), "");
    bed.done(&["route", "add", "x", "file:x"]);
    bed.done(&["route", "del", "all"]);
    assert!(
        bed.done(&["route", "list"])
            .contains("removed, though the file has it: all")
    );
    assert!(
        bed.done(&["config", "diff"])
            .contains("@@ route all, removed @@\n-[[route]]")
    );
}

#[test]
fn what_is_exported_is_what_is_in_force() {
    let bed = Bed::start();
    bed.done(&["route", "add", "b", "--prefix", "b.", "file:b"]);
    bed.done(&["blocklist", "add", "prefix a."]);
    let text = bed.done(&["config", "export"]);
    let path = bed.folder.join("exported.toml");
    std::fs::write(&path, &text).unwrap();
    bed.done(&["check"]);
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table["blocklist"], toml::Value::from(vec!["prefix a."]));
    assert_eq!(table["route"].as_array().unwrap().len(), 2);
    assert_eq!(bed.json(&["config", "export"])["route"][1]["key"], "b");
    // As the file of the next worker it is the same table, and nothing differs from it any more.
    std::fs::write(bed.folder.join("baton.toml"), text).unwrap();
    bed.done(&["reload"]);
    bed.done(&["config", "reset"]);
    assert_eq!(bed.routes(), ["all", "b"]);
}

#[test]
fn a_dry_run_shows_and_changes_nothing_and_volatile_ends_with_the_worker() {
    let mut bed = Bed::start();
    let dry = bed.done(&["blocklist", "add", "prefix a.", "--dry-run"]);
    assert_eq!(
        dry,
        "@@ blocklist prefix a., new @@\n+blocklist = [\"prefix a.\"]\n"
    );
    let dry = bed.json(&["blocklist", "add", "prefix a.", "--dry-run"]);
    assert_eq!(
        (&dry["id"], &dry["differences"][0]["before"]),
        (&Value::Null, &Value::Null)
    );
    assert!(
        bed.done(&["blocklist", "list"])
            .contains("there is no blocklist rule")
    );
    let said = bed.done(&["blocklist", "add", "prefix a.", "--volatile"]);
    assert!(said.contains("until the next restart"), "{said}");
    assert!(bed.done(&["blocklist", "list"]).contains("added, volatile"));
    bed.relay.instance.reload().unwrap();
    assert!(
        bed.done(&["blocklist", "list"])
            .contains("there is no blocklist rule")
    );
}

#[test]
fn a_change_as_json_has_its_number_and_version() {
    let bed = Bed::start();
    let made = bed.json(&["route", "add", "a/b", "file:x"]);
    assert_eq!(made["id"], 1);
    let version = made["version"].as_str().unwrap();
    let made = bed.json(&[
        "route",
        "edit",
        "a/b",
        "--set",
        "prefix=1",
        "--if-version",
        version,
    ]);
    assert_eq!(made["differences"][0]["key"], "a/b");
    bed.json(&["route", "del", "a/b"]);
    assert_eq!(bed.routes(), ["all"]);
}

#[test]
fn a_change_waits_for_the_end_of_a_restart() {
    let mut bed = Bed::start();
    std::thread::scope(|scope| {
        let folder = bed.folder.clone();
        let changes = scope.spawn(move || {
            for n in 0..30 {
                let rule = format!("prefix x{n}.");
                let output = crate::bed::command(&folder, &["blocklist", "add", &rule])
                    .output()
                    .unwrap();
                // What was under way when the worker changed may be asked again, and says so.
                assert!(matches!(output.status.code(), Some(0 | 75)), "{output:?}");
            }
        });
        for _ in 0..3 {
            bed.relay.instance.reload().unwrap();
        }
        changes.join().unwrap();
    });
    bed.relay.check_books();
}
