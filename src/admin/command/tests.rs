mod places;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::admin::charts::Charts;
use crate::admin::desk::{Asked, Desk, Outcome, Refusal, TableView, What};
use crate::admin::view::View;
use crate::amend::{Document, rows_from_json, rows_to_json};
use crate::config::Config;
use crate::intake::Sample;
use crate::pipeline::trace::Trace;
use crate::state::PastChange;
use crate::validate::Reason;

const FILE: &str = r#"
blocklist = ["prefix junk.", "regex ^tmp"]
[[rewriter]]
old = "a"
new = "b"
max = -1
[[aggregation]]
function = "sum"
regex = "^x\\.(.*)"
format = "sum.$1"
interval = 10
wait = 20
[[route]]
key = "one"
prefix = "one."
destinations = ["h1:1", "h2:1 queue=16MiB"]
[[route]]
key = "two"
type = "carbon_ch"
destinations = ["h3:1:a", "h3:1:b"]
"#;

/// A table that nothing is sent through.
struct Table(Mutex<(Document, Vec<String>)>);

impl Table {
    fn new() -> Table {
        let config = Config::compile(Path::new("/etc/baton.toml"), FILE.as_bytes()).unwrap();
        Table(Mutex::new((
            Document::new(config, BTreeMap::new()),
            Vec::new(),
        )))
    }

    fn amend(&self, asked: &Asked, keep: bool) -> Result<Outcome, Refusal> {
        let mut own = self.0.lock().unwrap();
        let change = match &asked.what {
            What::Change(change) => change.clone(),
            What::Undo(id) => {
                let undo = own.1.get(*id as usize).ok_or(Refusal::NoSuchChange(*id))?;
                Change::Restore {
                    rows: rows_from_json(undo).unwrap(),
                }
            }
        };
        let amended = own.0.amend(&change, asked.volatile, 7)?;
        let mut id = None;
        if keep {
            id = (!asked.volatile).then_some(own.1.len() as u64);
            own.1.push(rows_to_json(&amended.undo));
            own.0 = amended.document;
        }
        Ok(Outcome {
            version: String::new(),
            id,
            preview: amended.preview,
            backlog: Vec::new(),
        })
    }

    /// What a session is told.
    fn tell(&self, line: &str) -> String {
        match read(line) {
            Ok(Some(command)) => answer(self, &command, "me").to_text(),
            Ok(None) => String::new(),
            Err(error) => Answer::error(error).to_text(),
        }
    }

    #[track_caller]
    fn done(&self, line: &str) -> String {
        let told = self.tell(line);
        assert!(told.ends_with("OK\n"), "{line}: {told}");
        told
    }

    #[track_caller]
    fn refused(&self, line: &str) -> String {
        let before = self.tell("view");
        let told = self.tell(line);
        let reason = told
            .strip_prefix("ERR ")
            .unwrap_or_else(|| panic!("{line}: {told}"));
        assert_eq!(reason.lines().count(), 1, "{line}: {told}");
        assert_eq!(self.tell("view"), before, "{line}");
        reason.trim_end().to_owned()
    }

    /// The rules of this command, as `view` has them.
    fn rules(&self, command: &str) -> Vec<String> {
        let view = self.tell("view");
        let own = view
            .lines()
            .skip_while(|line| !line.ends_with(command))
            .skip(1);
        let own = own.take_while(|line| line.starts_with(|c: char| c.is_ascii_digit()));
        let text = |line: &str| {
            let at = line
                .find("file")
                .or(line.find("added"))
                .or(line.find("changed"))
                .unwrap();
            line[at..]
                .split_once("  ")
                .unwrap()
                .1
                .trim_start()
                .to_owned()
        };
        own.map(text).collect()
    }
}

impl Desk for Table {
    fn view(&self) -> View {
        View::default()
    }

    fn rejected(&self, _: Option<Reason>) -> Vec<Sample> {
        Vec::new()
    }

    fn trace(&self, _: &[Vec<u8>]) -> Vec<Trace> {
        Vec::new()
    }

    fn is_serving(&self) -> bool {
        true
    }

    fn table(&self) -> TableView {
        TableView::of(&self.0.lock().unwrap().0, "1".to_owned())
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn config(&self) -> String {
        crate::config::print(&self.0.lock().unwrap().0.config())
    }

    fn preview(&self, asked: &Asked) -> Result<Outcome, Refusal> {
        self.amend(asked, false)
    }

    fn change(&self, asked: &Asked) -> Result<Outcome, Refusal> {
        self.amend(asked, true)
    }

    fn history(&self, _: Option<u64>, _: u32) -> Result<Vec<PastChange>, String> {
        Ok(Vec::new())
    }

    fn restart(&self, _: &str, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn subscribe(&self, wanted: &tap::Wanted) -> Result<tap::Subscription, String> {
        std::sync::Arc::new(tap::Tap::new()).subscribe(wanted)
    }

    fn charts(&self) -> Charts {
        Charts::default()
    }
}

#[test]
fn the_first_versions_commands() {
    let table = Table::new();
    table.done("route add dev ^dev\\. h9:1");
    table.done("route add rest h8:1");
    let routes = table.rules("addRoute");
    assert_eq!(routes[2], "sendAllMatch dev regex=^dev\\.  h9:1");
    assert_eq!(routes[3], "sendAllMatch rest  h8:1");
    table.done("route patt dev ^test\\.");
    assert_eq!(
        table.rules("addRoute")[2],
        "sendAllMatch dev regex=^test\\.  h9:1"
    );
    table.done("route patt dev");
    table.done("route patt one \"\"");
    let routes = table.rules("addRoute");
    assert_eq!(routes[2], "sendAllMatch dev  h9:1");
    assert!(
        routes[0].starts_with("sendAllMatch one  h1:1"),
        "{routes:?}"
    );
    table.done("route del dev");
    assert!(
        table
            .refused("route del dev")
            .contains("there is no route \"dev\"")
    );
    assert!(table.refused("route add one h7:1").contains("already"));
    assert!(table.refused("route add x fo( h7:1").contains("regex"));
    assert!(table.refused("route add x h7").contains("host:port"));
    assert!(
        table
            .refused("route patt nope x")
            .contains("there is no route")
    );
    assert!(table.refused("route lst").contains("did you mean list?"));
    assert!(
        table
            .refused("route del one now")
            .contains("drain, discard or keep")
    );
}

#[test]
fn routes_with_two_blanks_before_each_destination() {
    let table = Table::new();
    table.done(
        "addRoute sendFirstMatch p prefix=\"p q\"  h5:1 spool=true pickle=1  h6:1 sub=\"a  b\"",
    );
    let added = "sendFirstMatch p prefix=\"p q\"  h5:1 pickle=true  h6:1 sub=\"a  b\"";
    assert_eq!(table.rules("addRoute")[2], added);
    table.done("addRoute carbon_ch c replication=2 hash_tags=false  h5:2  h6:2");
    let added = "carbon_ch c replication=2 hash_tags=false  h5:2  h6:2";
    assert_eq!(table.rules("addRoute")[3], added);
    for (line, said) in [
        ("addRoute sendAllMatch x h5:1", "two blanks"),
        (
            "addRoute sendAllmatch x  h5:3",
            "did you mean sendAllMatch?",
        ),
        (
            "addRoute sendAllMatch x prefx=a  h5:3",
            "did you mean prefix=…?",
        ),
        (
            "addRoute carbon_ch x replication=a  h5:3  h6:3",
            "replication",
        ),
        (
            "addRoute sendAllMatch x  h5:3 spool=perhaps",
            "true or false",
        ),
        ("addRoute sendAllMatch x  h5:3 quue=1MiB", "queue"),
    ] {
        let told = table.refused(line);
        assert!(told.contains(said), "{line}: {told}");
    }
    // What view shows is what adds it.
    for route in table.rules("addRoute") {
        let key = route.split(' ').nth(1).unwrap();
        table.done(&format!("delRoute {key}"));
        table.done(&format!("addRoute {route}"));
        assert_eq!(table.rules("addRoute").last(), Some(&route));
    }
}

#[test]
fn routes_and_destinations_are_edited() {
    let table = Table::new();
    table.done("modRoute one prefix= regex=^a type=sendFirstMatch");
    assert_eq!(
        table.rules("addRoute")[0],
        "sendFirstMatch one regex=^a  h1:1  h2:1 queue=16MiB"
    );
    table.done("modDest one 1 addr=h9:9 queue= flush=50ms spool=false");
    let route = table.rules("addRoute")[0].clone();
    assert!(
        route.contains("h9:9") && route.contains("id=one/h2:1"),
        "{route}"
    );
    assert!(
        route.contains("flush=50ms") && route.contains("full=drop"),
        "{route}"
    );
    assert!(!route.contains("queue"), "{route}");
    table.done("addDest one h7:7 pickle=true");
    table.done("delDest one h1:1 keep");
    table.done("moveRoute one after two");
    let routes = table.rules("addRoute");
    assert!(
        routes[1].starts_with("sendFirstMatch one regex=^a  h9:9"),
        "{routes:?}"
    );
    assert!(routes[1].ends_with("h7:7 pickle=true"), "{routes:?}");
    table.done("reset route one");
    assert!(table.rules("addRoute")[0].starts_with("sendAllMatch one prefix=one."));
    for (line, said) in [
        ("modRoute one", "<option>=<value>"),
        ("modRoute one prefix", "prefix"),
        ("modDest one 7 flush=1s", "h1:1"),
        ("modDest one 0 flsh=1s", "did you mean flush=…?"),
        ("modDest one 0 addr=", "host:port"),
        ("delDest one", "id, address or number"),
        ("delDest two 9", "h3:1:a"),
        ("addDest one", "host:port"),
        ("addDest one h1:1", "h1:1"),
        ("moveRoute one nowhere", "first, last"),
        ("moveRoute one before none", "none"),
        ("reset routes", "did you mean route?"),
        ("undo x", "number of a change"),
        ("undo 99", "no change 99"),
    ] {
        let told = table.refused(line);
        assert!(told.contains(said), "{line}: {told}");
    }
}

#[test]
fn the_other_rules_by_text_and_by_number() {
    let table = Table::new();
    table.done("addBlack sub x");
    assert_eq!(
        table.rules("addBlock"),
        ["prefix junk.", "regex ^tmp", "sub x"]
    );
    table.done("delBlock 0");
    table.done("delBlock sub x");
    assert_eq!(table.rules("addBlock"), ["regex ^tmp"]);
    table.done("addRewriter \"a b\" c 1 not=/x/");
    assert_eq!(table.rules("addRewriter")[1], "\"a b\" c 1 not=/x/");
    table.done("delRewriter   \"a b\"   c 1 not=/x/");
    table.done("delRewriter 0");
    table.done("addAgg avg ^y\\.(.*) avg.$1 10 20 cache=true dropRaw=true");
    let added = table.rules("addAgg")[1].clone();
    table.done(&format!("delAgg {added}"));
    table.done("delAgg 0");
    for (line, said) in [
        ("addBlock prefx a", "prefix"),
        ("delBlock", "number"),
        ("delBlock 7", "7"),
        ("addRewriter a b", "<old> <new> <max>"),
        ("addRewriter /a(/ b -1", "regular expression"),
        ("addAgg sum x 10", "<interval>"),
        ("addAgg summ x 10 20", "did you mean sum?"),
        ("delAgg 0", "there are none"),
    ] {
        let told = table.refused(line);
        assert!(told.contains(said), "{line}: {told}");
    }
}

#[test]
fn volatile_and_dry_run_are_words_before_a_command() {
    let table = Table::new();
    let before = table.tell("view");
    let told = table.done("dry-run delRoute one");
    assert!(told.contains("route one goes\n  - [[route]]\n"), "{told}");
    assert!(told.contains("destination one/h2:1 goes\n"), "{told}");
    assert_eq!(table.tell("view"), before);
    let told = table.done("volatile addBlock sub y");
    assert!(told.contains("volatile"), "{told}");
    assert!(table.tell("view").contains("added, volatile"));
    assert!(table.refused("volatile view").contains("changes the table"));
    assert!(table.refused("dry-run").contains("changes the table"));
    let id = table.done("addBlock sub z");
    let id = id.split(['\n', ' ']).nth(1).unwrap().to_owned();
    table.done(&format!("undo {id}"));
    assert!(!table.tell("view").contains("sub z"));
}

#[test]
fn nothing_told_before_the_end_looks_like_it() {
    let answer = Answer {
        lines: vec!["OK".into(), "ERR x".into(), "a\u{1b}[2J\nb".into()],
        end: Err("one\n  two\n".into()),
    };
    assert_eq!(
        answer.to_text(),
        " OK\n ERR x\na\\u{1b}[2J\\nb\nERR one; two\n"
    );
    let long = Answer {
        lines: vec!["x".repeat(MAX_ANSWER)],
        ..Answer::ok()
    };
    assert!(long.to_text().starts_with("ERR the answer has"));
}

#[test]
fn lines_that_ask_for_nothing_or_for_what_isnt_there() {
    assert_eq!(read(" \t"), Ok(None));
    assert_eq!(read("quit"), Ok(Some(Command::Quit)));
    assert!(read("quit now").unwrap_err().contains("nothing behind it"));
    assert!(
        read("addroute")
            .unwrap_err()
            .contains("did you mean addRoute?")
    );
    assert!(read("history 0").unwrap_err().contains("number from 1"));
    assert!(read("trace").unwrap_err().contains("metric"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn no_text_makes_it_panic_and_what_is_refused_changes_nothing(
        lines in prop::collection::vec(
            (
                prop::sample::select(help::names()),
                prop::collection::vec(prop::sample::select(vec![
                    "one", "two", "add", "del", "patt", "h9:1", "  h8:1", "\"", "\"a b\"", "=", "regex=(", "prefix=",
                    "type=failover", "0", "1", "-1", "99999999999999999999", "sum", "x.$1", "10", "drain", "sub", "/a(/",
                    "after", "first", "route", "é", "addr=h7:1", "queue=1", "spool=true", "\u{0}", "sendAllMatch",
                ]), 0..7),
                ".{0,6}",
            ), 1..6),
    ) {
        let table = Table::new();
        for (name, words, tail) in lines {
            let line = format!("{name} {} {tail}", words.join(" "));
            let before = table.tell("view");
            let told = table.tell(&line);
            let ends = told.lines().filter(|line| line.starts_with("OK") || line.starts_with("ERR"));
            prop_assert_eq!(ends.count(), usize::from(!told.is_empty()), "{}: {}", line, told);
            if told.contains("ERR ") {
                prop_assert_eq!(table.tell("view"), before, "{}", line);
            }
        }
    }
}
