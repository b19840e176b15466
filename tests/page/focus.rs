//! Where the focus is after a change: never at the beginning of the page again.

use serde_json::{Value, json};

use crate::api::done;
use crate::browser::Browser;
use crate::changes::open;
use crate::relay::{Config, Relay};

fn rules(relay: &Relay, names: &[&str]) {
    for name in names {
        let rule = json!({"rule": format!("prefix {name}")});
        done(relay.http, "POST", "/api/v1/blocklist", &rule);
    }
}

fn focus(browser: &mut Browser, selector: &str) {
    browser.wait(&format!("document.querySelector({})", json!(selector)));
    browser.eval(&format!(
        "document.querySelector({}).focus()",
        json!(selector)
    ));
}

/// Waits until what has the focus is called that.
#[track_caller]
fn wait_focus(browser: &mut Browser, label: &str) {
    let label = json!(label);
    browser.wait(&format!(
        "(document.activeElement.ariaLabel || document.activeElement.textContent) === {label}"
    ));
}

/// Presses the button that has the focus, and applies the preview that comes.
#[track_caller]
fn enter_and_apply(browser: &mut Browser) {
    browser.key("Enter", 0);
    apply(browser);
}

#[track_caller]
fn apply(browser: &mut Browser) {
    browser.wait("document.activeElement.matches('#preview .first')");
    browser.key("Enter", 0);
    browser.wait("!document.querySelector('dialog[open]')");
}

#[test]
fn a_rule_that_is_deleted_gives_it_to_the_next() {
    let relay = Relay::start(&Config::to_file());
    rules(&relay, &["a", "b", "c"]);
    let mut browser = open(&relay, "#/table");
    for (rule, next) in [
        ("b", "blocklist rule prefix c"),
        ("c", "blocklist rule prefix a"),
        ("a", "Add a blocklist rule"),
    ] {
        focus(
            &mut browser,
            &format!("[aria-label='Delete the blocklist rule prefix {rule}']"),
        );
        enter_and_apply(&mut browser);
        wait_focus(&mut browser, next);
    }
    browser.check();
}

#[test]
fn what_is_edited_keeps_it_though_its_row_is_another() {
    let relay = Relay::start(&Config::to_file());
    rules(&relay, &["a", "b", "c"]);
    let mut browser = open(&relay, "#/table");
    focus(
        &mut browser,
        "[aria-label='Edit the blocklist rule prefix b']",
    );
    browser.key("Enter", 0);
    browser.wait("document.activeElement.matches('#form input[name=rule]')");
    browser.eval("document.activeElement.select()");
    browser.type_in("prefix z");
    enter_and_apply(&mut browser);
    wait_focus(&mut browser, "blocklist rule prefix z");
    // Destinations are rows of their route.
    let add = "Add a destination to the route all";
    focus(&mut browser, &format!("[aria-label='{add}']"));
    browser.key("Enter", 0);
    browser.wait("document.activeElement.matches('#form input')");
    browser.type_in("file:more id=more");
    enter_and_apply(&mut browser);
    wait_focus(&mut browser, add);
    focus(&mut browser, "[aria-label='Edit the destination more']");
    browser.key("Enter", 0);
    browser.wait("document.querySelector('#form textarea')");
    browser.fill("#form textarea", "prefix=m");
    browser.click("#form .first");
    apply(&mut browser);
    wait_focus(&mut browser, "Edit the destination more");
    focus(&mut browser, "[aria-label='Delete the destination more']");
    enter_and_apply(&mut browser);
    wait_focus(&mut browser, add);
    // And of all: to the heading, when there is nothing left to take back.
    focus(&mut browser, "#table-reset");
    enter_and_apply(&mut browser);
    wait_focus(&mut browser, "Table");
    browser.check();
}

#[test]
fn others_do_not_take_it_away() {
    let relay = Relay::start(&Config::to_file());
    rules(&relay, &["a", "b", "c"]);
    let mut browser = open(&relay, "#/table");
    focus(
        &mut browser,
        "[aria-label='Edit the blocklist rule prefix b']",
    );
    rules(&relay, &["d"]);
    browser.wait_text("#rules-blocklist", "Blocklist 4");
    wait_focus(&mut browser, "Edit the blocklist rule prefix b");
    done(
        relay.http,
        "DELETE",
        "/api/v1/blocklist/prefix%20b",
        &Value::Null,
    );
    browser.wait_text("#rules-blocklist", "Blocklist 3");
    wait_focus(&mut browser, "blocklist rule prefix c");
    browser.check();
}

#[test]
fn the_history_is_brought_up_to_date_and_not_made_anew() {
    let relay = Relay::start(&Config::to_file());
    let names: Vec<String> = (1..=120).map(|n| format!("n{n}.")).collect();
    rules(
        &relay,
        &names.iter().map(|name| &name[..]).collect::<Vec<_>>(),
    );
    let mut browser = open(&relay, "#/history");
    let number =
        |number: usize| format!("document.querySelectorAll('#changes li').length === {number}");
    browser.wait(&number(50));
    // However often one clicks, rows come once.
    browser.eval("(e => { e.click(); e.click(); })(document.querySelector('#older'))");
    browser.wait(&number(100));
    browser.click("#older");
    browser.wait(&number(120));
    browser.wait("document.querySelector('#older').hidden");
    assert_eq!(
        browser.eval("new Set([...document.querySelectorAll('#changes .number')].map(e => e.textContent)).size"),
        120
    );
    focus(&mut browser, "[aria-label='Undo change 5']");
    rules(&relay, &["other"]);
    browser.wait(&number(121));
    wait_focus(&mut browser, "Undo change 5");
    enter_and_apply(&mut browser);
    browser.wait(&number(122));
    browser.wait_text("#changes", "undo 5");
    // At the button, or where it was.
    browser.wait("document.activeElement.closest('#changes li')?.textContent.startsWith('5 ')");
    browser.check();
}
