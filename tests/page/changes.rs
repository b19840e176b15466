//! Each change that the page can make, made as a user would; what came of it is asked of the API, and seen on the wire.

use serde_json::{Value, json};

use crate::api::{ask, done};
use crate::browser::Browser;
use crate::relay::{Config, Relay, wait_for};

pub fn open(relay: &Relay, hash: &str) -> Browser {
    Browser::open(&format!("http://127.0.0.1:{}/{hash}", relay.http))
}

pub fn keys(relay: &Relay, collection: &str) -> Vec<String> {
    let rules = done(
        relay.http,
        "GET",
        &format!("/api/v1/{collection}"),
        &Value::Null,
    )
    .body;
    let keys = rules.as_array().unwrap().iter();
    keys.map(|rule| rule["key"].as_str().unwrap().to_owned())
        .collect()
}

/// The preview that is open is applied, and the change is made.
#[track_caller]
pub fn apply(browser: &mut Browser) {
    browser.wait("document.querySelector('#preview[open] .first:not(:disabled)')");
    browser.click("#preview .first");
    browser.wait("!document.querySelector('dialog[open]')");
    browser.wait_text("#outcome", "Done: ");
}

const ALL: &str = "[aria-label$='route all']";

#[test]
fn a_rule_is_added_edited_and_deleted_and_undone() {
    let relay = Relay::start(&Config::to_file());
    let mut browser = open(&relay, "");
    browser.wait_text("#rules-route", "Routes 1");
    // Added.
    browser.click("#add-blocklist");
    browser.type_in("prefix junk.");
    browser.key("Enter", 0);
    browser.wait_text("#preview .diff", "blocklist = [\"prefix junk.\"]");
    assert_eq!(keys(&relay, "blocklist"), [""; 0]);
    apply(&mut browser);
    assert_eq!(keys(&relay, "blocklist"), ["prefix junk."]);
    relay.send(b"junk.a 1 1790000000\nspam.a 1 1790000000\n");
    wait_for("the file", || relay.file("out") == ["spam.a 1 1790000000"]);
    // Edited.
    browser.wait_text("#rules-blocklist", "Blocklist 1");
    browser.click("[aria-label='Edit the blocklist rule prefix junk.']");
    browser.fill("#form input[name=rule]", "prefix spam.");
    browser.key("Enter", 0);
    browser.wait_text("#preview .diff", "prefix spam.");
    apply(&mut browser);
    assert_eq!(keys(&relay, "blocklist"), ["prefix spam."]);
    relay.send(b"junk.b 1 1790000000\nspam.b 1 1790000000\n");
    wait_for("the file", || {
        relay
            .file("out")
            .ends_with(&["junk.b 1 1790000000".to_owned()])
    });
    // Deleted, and that undone at once.
    browser.click("[aria-label='Delete the blocklist rule prefix spam.']");
    apply(&mut browser);
    assert_eq!(keys(&relay, "blocklist"), [""; 0]);
    browser.click("#outcome button");
    browser.wait_text("#preview-title", "Undo change 3");
    apply(&mut browser);
    assert_eq!(keys(&relay, "blocklist"), ["prefix spam."]);
    // And from the history: it knows that it was the page.
    browser.click("a[href='#/history']");
    browser.wait_text("#changes", "by page from 127.0.0.1");
    browser.click("[aria-label='Undo change 2']");
    apply(&mut browser);
    assert_eq!(keys(&relay, "blocklist"), ["prefix junk."]);
    browser.wait_text("#changes", "undo 2");
    relay.check_books();
    browser.check();
}

#[test]
fn a_route_and_its_destinations_are_changed() {
    let relay = Relay::start(&Config::to_file());
    let mut browser = open(&relay, "#/table");
    browser.click("#add-route");
    browser.fill("#form input[name=key]", "new");
    browser.fill("#form input[name=prefix]", "new.");
    browser.fill(
        "#form textarea[name=destinations]",
        "file:new id=new flush=1ms",
    );
    browser.click("#form .first");
    browser.wait_text("#preview", "Destinations that come");
    apply(&mut browser);
    assert_eq!(keys(&relay, "routes"), ["all", "new"]);
    relay.send(b"new.a 1 1790000000\n");
    wait_for("the file", || relay.file("new").len() == 1);
    browser.wait_text("#rules .badge", "added");
    // One more destination.
    browser.click("[aria-label='Add a destination to the route new']");
    browser.type_in("file:more id=more flush=1ms");
    browser.key("Enter", 0);
    apply(&mut browser);
    relay.send(b"new.b 1 1790000000\n");
    wait_for("the file", || relay.file("more").len() == 1);
    // Its options.
    browser.click("[aria-label='Edit the destination more']");
    browser.fill("#form textarea[name=options]", "flush=1ms\nprefix=new.c");
    browser.click("#form .first");
    browser.wait_text("#preview .diff", "prefix=new.c");
    apply(&mut browser);
    relay.send(b"new.b 1 1790000000\nnew.c 1 1790000000\n");
    wait_for("the file", || {
        relay
            .file("more")
            .ends_with(&["new.c 1 1790000000".to_owned()])
    });
    assert_eq!(relay.file("more").len(), 2);
    // It goes.
    browser.click("[aria-label='Delete the destination more']");
    browser.wait_text("#preview", "Destinations that go");
    apply(&mut browser);
    // The file's own route is removed, and brought back.
    browser.click("[aria-label='Delete the route all']");
    apply(&mut browser);
    assert_eq!(keys(&relay, "routes"), ["new"]);
    browser.wait_text("#rules .badge", "removed");
    browser.click("[aria-label='Bring back: route all']");
    apply(&mut browser);
    assert_eq!(keys(&relay, "routes"), ["all", "new"]);
    // All is put back as the file has it.
    browser.click("#table-reset");
    apply(&mut browser);
    assert_eq!(keys(&relay, "routes"), ["all"]);
    browser.wait_text("#table-reset", "As the file has it");
    browser.check();
}

#[test]
fn the_keyboard_is_enough_to_reorder() {
    let relay = Relay::start(&Config::to_file());
    for name in ["a", "b", "c"] {
        done(
            relay.http,
            "POST",
            "/api/v1/blocklist",
            &json!({"rule": format!("prefix {name}")}),
        );
    }
    let mut browser = open(&relay, "#/table");
    browser.wait_text("#rules-blocklist", "Blocklist 3");
    browser.eval("document.querySelector('li[aria-label=\"blocklist rule prefix c\"]').focus()");
    browser.key("ArrowUp", 1);
    browser.wait_text("#preview", "gets another place");
    browser.wait("document.activeElement.matches('#preview .first')");
    browser.key("Enter", 0);
    browser.wait("!document.querySelector('dialog[open]')");
    wait_for("the order", || {
        keys(&relay, "blocklist") == ["prefix a", "prefix c", "prefix b"]
    });
    // The focus is where it was, and the rule can go on.
    browser.wait("document.activeElement.ariaLabel === 'blocklist rule prefix c'");
    browser.wait("document.querySelectorAll('.rules')[0].children[1].ariaLabel === 'blocklist rule prefix c'");
    browser.key("ArrowUp", 1);
    browser.wait_text("#preview", "gets another place");
    browser.wait("document.activeElement.matches('#preview .first')");
    browser.key("Enter", 0);
    wait_for("the order", || {
        keys(&relay, "blocklist") == ["prefix c", "prefix a", "prefix b"]
    });
    // Escape changes nothing.
    browser.wait("document.activeElement.ariaLabel === 'blocklist rule prefix c'");
    browser.wait("document.querySelectorAll('.rules')[0].children[0].ariaLabel === 'blocklist rule prefix c'");
    browser.key("ArrowDown", 1);
    browser.wait("document.activeElement.matches('#preview .first')");
    browser.key("Escape", 0);
    browser.wait("!document.querySelector('dialog[open]')");
    assert_eq!(
        keys(&relay, "blocklist"),
        ["prefix c", "prefix a", "prefix b"]
    );
    // And by buttons, and to where one wants.
    browser.click("[aria-label='Move down: blocklist rule prefix c']");
    apply(&mut browser);
    assert_eq!(
        keys(&relay, "blocklist"),
        ["prefix a", "prefix c", "prefix b"]
    );
    browser.click("[aria-label='Move the blocklist rule prefix b elsewhere']");
    browser.choose("#form select", "before");
    browser.fill("#form input", "prefix a");
    browser.click("#form .first");
    apply(&mut browser);
    assert_eq!(
        keys(&relay, "blocklist"),
        ["prefix b", "prefix a", "prefix c"]
    );
    browser.check();
}

#[test]
fn who_comes_second_sees_what_the_first_did_and_loses_nothing() {
    let relay = Relay::start(&Config::to_file());
    let mut browser = open(&relay, "#/table");
    browser.click("[aria-label='Edit the route all']");
    browser.fill("#form input[name=sub]", "typed");
    // Meanwhile somebody else is faster.
    done(
        relay.http,
        "PATCH",
        "/api/v1/routes/all",
        &json!({"prefix": "theirs."}),
    );
    browser.click("#form .first");
    browser.wait_text("#preview", "Somebody else changed the table");
    browser.wait_text("#preview ins", "prefix = \"theirs.\"");
    browser.picture("conflict");
    // Nothing was overwritten, and what was typed is there.
    let rule = done(relay.http, "GET", "/api/v1/routes/all", &Value::Null).body;
    assert_eq!(rule["spec"]["prefix"], "theirs.");
    browser.key("Escape", 0);
    browser.wait("!document.querySelector('#preview[open]')");
    assert_eq!(
        browser.eval("document.querySelector('#form input[name=sub]').value"),
        "typed"
    );
    browser.click("#form .first");
    browser.wait_text("#preview ins", "sub = \"typed\"");
    apply(&mut browser);
    let rule = done(relay.http, "GET", "/api/v1/routes/all", &Value::Null).body;
    assert_eq!(
        (&rule["spec"]["prefix"], &rule["spec"]["sub"]),
        (&json!("theirs."), &json!("typed"))
    );
    // Between a preview and its apply, too.
    browser.wait_text("#rules", "sub=typed");
    browser.click("[aria-label='Delete the route all']");
    browser.wait("document.querySelector('#preview[open] .first:not(:disabled)')");
    done(
        relay.http,
        "POST",
        "/api/v1/blocklist",
        &json!({"rule": "prefix x"}),
    );
    browser.click("#preview .first");
    browser.wait_text("#preview", "Somebody else changed the table");
    assert_eq!(keys(&relay, "routes"), ["all"]);
    browser.key("Enter", 0);
    browser.wait_text("#preview del", "key = \"all\"");
    apply(&mut browser);
    assert_eq!(keys(&relay, "routes"), [""; 0]);
    browser.check();
}

#[test]
fn what_is_wrong_is_said_beside_the_field_and_a_backlog_is_asked_about() {
    let [to, other] = [(); 2].map(|()| crate::relay::free_address());
    let config = Config::to(&["file:out id=out flush=1ms"]);
    let routes = format!(
        "{}[[route]]\nkey = \"gone\"\nprefix = \"gone.\"\ndestinations = [\"{to} id=gone\", \"{other} id=other prefix=none\"]\n",
        config.routes
    );
    let mut relay = Relay::start(&Config { routes, ..config });
    relay.send(b"gone.a 1 1790000000\ngone.b 1 1790000000\n");
    relay.wait("the backlog", |status| {
        let of = |name| status.of_destination("gone", name).unwrap_or(0);
        of("queued") + of("spooled") == 2
    });
    let mut browser = open(&relay, "#/table");
    browser.click("[aria-label='Edit the route all']");
    browser.fill("#form input[name=regex]", "(");
    browser.click("#form .first");
    browser.wait_text("#form .error", "regex");
    browser.wait("document.activeElement.name === 'regex'");
    browser.picture("wrong");
    browser.key("Escape", 0);
    // Lines that would go: nothing happens without a word.
    browser.click("[aria-label='Delete the destination gone']");
    browser.wait_text("#preview", " spooled");
    browser.wait("document.querySelector('#preview .first:not(:disabled)')");
    browser.picture("backlog");
    browser.click("#preview .first");
    browser.wait("document.querySelector('#preview[open] input:invalid')");
    let table = done(relay.http, "GET", "/api/v1/routes/gone", &Value::Null).body;
    assert_eq!(table["spec"]["destinations"].as_array().unwrap().len(), 2);
    browser.click("#preview input[value=discard]");
    apply(&mut browser);
    let table = done(relay.http, "GET", "/api/v1/routes/gone", &Value::Null).body;
    assert_eq!(table["spec"]["destinations"].as_array().unwrap().len(), 1);
    // Volatile: it ends with the worker.
    browser.click("#add-blocklist");
    browser.type_in("prefix v");
    browser.key("Enter", 0);
    browser.click("#preview input[type=checkbox]");
    apply(&mut browser);
    browser.wait_text("#rules .badge", "added, volatile");
    let volatile = ask(relay.http, "GET", "/api/v1/blocklist", "", &Value::Null).body;
    assert_eq!(volatile[0]["volatile"], true);
    browser.check();
}

#[test]
fn names_that_look_like_markup_are_texts() {
    let relay = Relay::start(&Config::to_file());
    let evil = "prefix <img/src=x/onerror=window.hurt=1>";
    done(
        relay.http,
        "POST",
        "/api/v1/blocklist",
        &json!({"rule": evil}),
    );
    let route = json!({"key": "<script>window.hurt=1</script>", "prefix": "\"><svg/onload=window.hurt=1>",
        "destinations": ["file:evil id=<b>bold</b>"]});
    done(relay.http, "POST", "/api/v1/routes", &route);
    relay.send(b"<img/src=x/onerror=window.hurt=1> no number\n");
    let mut browser = open(&relay, "#/table");
    browser.wait_text("#rules", evil);
    browser.wait_text("#rules", "<script>window.hurt=1</script>");
    browser.click("[aria-label='Edit the route <script>window.hurt=1</script>']");
    browser.wait_text("#form-title", "<script>");
    browser.fill("#form input[name=sub]", "</textarea><i>");
    browser.click("#form .first");
    browser.wait_text("#preview .diff", "</textarea><i>");
    apply(&mut browser);
    for (section, text) in [
        ("destinations", "<b>bold</b>"),
        ("history", "onerror"),
        ("inputs", "<img/src=x/onerror=window.hurt=1> no number"),
        (
            "trace?metric=%3Cimg%2Fsrc%3Dx%2Fonerror%3Dwindow.hurt%3D1%3E",
            "<img/src=x/onerror=window.hurt=1>",
        ),
    ] {
        browser.eval(&format!("location.hash = '#/{section}'"));
        browser.wait_text("main", text);
    }
    assert_eq!(browser.eval("window.hurt === undefined"), true);
    assert_eq!(
        browser.eval("document.querySelectorAll('main img, main script, main b b, main i').length"),
        0
    );
    browser.check();
}

#[test]
fn all_rules_can_be_found_again_by_their_address() {
    let relay = Relay::start(&Config::to_file());
    for n in 0..120 {
        done(
            relay.http,
            "POST",
            "/api/v1/blocklist?volatile=true",
            &json!({"rule": format!("prefix n{n}.")}),
        );
    }
    let mut browser = open(&relay, "#/table?q=n7");
    browser.wait("document.querySelectorAll('.rules')[0].children.length === 11");
    browser.fill("#table-q", "n77");
    browser.wait("document.querySelectorAll('.rules')[0].children.length === 1 && location.hash === '#/table?q=n77'");
    browser.fill("#table-q", "");
    browser.wait("document.querySelectorAll('.rules')[0].children.length === 50");
    browser.click("[aria-label='Next page of blocklist']");
    browser.wait_text(".pager", "51–100 of 120");
    assert_eq!(
        browser.eval(&format!(
            "document.querySelectorAll({}).length > 0",
            json!(ALL)
        )),
        true
    );
    browser.check();
}
