use super::*;

#[test]
fn rules_get_another_place_or_text_by_number_or_text() {
    let table = Table::new();
    table.done("addBlock sub x");
    table.done("moveBlock 2 before 0");
    table.done("moveBlock prefix junk. last");
    assert_eq!(
        table.rules("addBlock"),
        ["sub x", "regex ^tmp", "prefix junk."]
    );
    table.done("moveBlock 0 after regex ^tmp");
    table.done("modBlock 0 regex ^temp before x");
    let rules = ["regex ^temp before x", "sub x", "prefix junk."];
    assert_eq!(table.rules("addBlock"), rules);
    table.done("moveBlock regex ^temp before x after 1");
    table.done("at first addBlock sub 1");
    table.done("at before 1 addBlock sub 2");
    table.done("at after \"sub x\" addBlock sub 3");
    let rules = [
        "sub 1",
        "sub 2",
        "sub x",
        "sub 3",
        "regex ^temp before x",
        "prefix junk.",
    ];
    assert_eq!(table.rules("addBlock"), rules);
    table.done("addRewriter a b 1");
    table.done("modRewriter 1   c   d -1 not=/x/");
    table.done("moveRewriter c  d  -1 not=/x/ first");
    assert_eq!(table.rules("addRewriter")[0], "c d -1 not=/x/");
    table.done("at before \"c d -1 not=/x/\" addRewriter e f 1");
    assert_eq!(table.rules("addRewriter")[0], "e f 1");
    table.done("addAgg avg ^y\\.(.*) avg.$1 10 20");
    table.done("moveAgg 1 first");
    table.done("modAgg 0 max ^y\\.(.*) max.$1 10 20");
    assert!(table.rules("addAgg")[0].starts_with("max "));
    assert!(table.rules("addAgg")[1].starts_with("sum "));
    table.done("at before one addRoute sendAllMatch zero  h5:1");
    assert!(table.rules("addRoute")[0].starts_with("sendAllMatch zero"));
    for (line, said) in [
        ("moveBlock 0", "first, last, before"),
        ("moveBlock 9 first", "9"),
        ("moveBlock 0 before 9", "9"),
        ("modBlock prefix a", "number in view"),
        ("modBlock 0", "<prefix|"),
        ("modBlock 9 sub y", "9"),
        ("modBlock 0 sub x", "already"),
        ("modRewriter 0 a", "<old> <new> <max>"),
        ("at 0 addBlock sub y", "at: expected first"),
        ("at before", "at: expected first"),
        ("at first delBlock 0", "adds a rule"),
        ("at last view", "at: expected a command"),
        ("at before 9 addBlock sub y", "9"),
        ("at first at last addBlock sub y", "at"),
    ] {
        let told = table.refused(line);
        assert!(told.contains(said), "{line}: {told}");
    }
}

#[test]
fn what_becomes_of_a_backlog_can_be_said_wherever_it_is_asked() {
    let wish = |line: &str| match read(line) {
        Ok(Some(Command::Change(wish))) => wish,
        other => panic!("{line}: {other:?}"),
    };
    for (line, bare) in [
        ("undo 5 drain", "undo 5"),
        ("reset drain", "reset"),
        ("reset route drain", "reset route"),
        ("reset route x drain", "reset route x"),
        ("modDest one 0 id=other drain", "modDest one 0 id=other"),
        ("modRoute one key=other drain", "modRoute one key=other"),
    ] {
        assert_eq!(wish(line).backlog, Some(Backlog::Drain), "{line}");
        assert_eq!(wish(bare).backlog, None, "{bare}");
        assert_eq!(wish(line).what, wish(bare).what, "{line}");
    }
    // It is the end of a text here.
    let reset = wish("reset blocklist sub drain");
    assert_eq!(reset.backlog, None);
    let Wanted::Change(Change::Reset { key, .. }) = reset.what else {
        panic!("{reset:?}");
    };
    assert_eq!(key.as_deref(), Some("sub drain"));
    for line in ["undo 5 now", "reset route x now", "modDest one 0 now"] {
        assert!(read(line).is_err(), "{line}");
    }
}
