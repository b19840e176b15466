//! Whether everybody can use the page: names, labels, contrast, room. Asked of each section and dialog, light and dark,
//! wide and narrow.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::changes::open;
use crate::relay::{Config, Relay};

/// Says all that is wrong with what can be seen now.
const AUDIT: &str = r#"(() => {
  const wrong = [];
  const modal = [...document.querySelectorAll('dialog[open]')].pop();
  const all = [...(modal || document.body).querySelectorAll('*')].filter((e) => e.checkVisibility());
  const say = (what, e) => wrong.push(`${what}: ${e.outerHTML.slice(0, 160)}`);
  const ids = new Set();
  for (const e of document.querySelectorAll('[id]')) ids.has(e.id) ? say('id twice', e) : ids.add(e.id);
  for (const e of all) {
    if (e.matches('input, select, textarea') && !e.labels.length && !e.ariaLabel) say('no label', e);
    if (e.matches('button, a') && !(e.ariaLabel || e.textContent.trim())) say('no name', e);
    for (const name of ['aria-labelledby', 'aria-describedby'])
      for (const id of (e.getAttribute(name) || '').split(' ').filter(Boolean))
        if (!document.getElementById(id)) say(`${name} leads nowhere`, e);
    if (e.matches('[role=row] > *') && !/cell|header/.test(e.getAttribute('role'))) say('no cell', e);
    if (e.matches('button, input, select, textarea, a') && !e.closest('.heard, .skip')) {
      const box = e.getBoundingClientRect();
      if (box.height < (e.matches('[type=radio], [type=checkbox]') ? 12 : 22)) say(`only ${box.height} px high`, e);
      if (box.right > innerWidth + 1 || box.left < -1) if (!e.closest('.skip')) say('beside the window', e);
    }
  }
  const number = (color) => (color.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const color = number(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] > 0.99) return color;
    }
    return [255, 255, 255];
  };
  let texts = 0;
  for (const e of all) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    if (e.closest('.heard, .skip, [aria-hidden]') || e.disabled) continue;
    const [a, b] = [light(number(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) say(`contrast ${contrast.toFixed(1)}`, e);
    texts += 1;
  }
  if (texts < 3) wrong.push(`only ${texts} texts were looked at`);
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) wrong.push(`scrolls sideways: ${wide} > ${innerWidth}`);
  const levels = [...document.querySelectorAll('h1, h2, h3, h4')].filter((e) => e.checkVisibility()).map((e) => +e.tagName[1]);
  levels.forEach((level, i) => i && level > levels[i - 1] + 1 && wrong.push(`h${level} below h${levels[i - 1]}`));
  return wrong;
})()"#;

#[track_caller]
pub fn audit(browser: &mut Browser, what: &str) {
    let wrong = browser.eval(AUDIT);
    assert_eq!(wrong, json!([]), "{what}: {wrong:#}");
}

#[test]
fn every_section_and_dialog_is_usable_light_and_dark_wide_and_narrow() {
    let relay = Relay::start(&Config::to_file());
    crate::looks::furnish(&relay);
    let mut browser = open(&relay, "#/table");
    browser.wait_text("#link", "live");
    for (scheme, width) in [
        ("light", 1280),
        ("dark", 1280),
        ("light", 320),
        ("dark", 320),
    ] {
        browser.scheme(scheme);
        browser.size(width, 800);
        for section in [
            "table",
            "destinations",
            "inputs",
            "history",
            "trace?metric=servers.web1.cpu",
            "tail",
        ] {
            browser.eval(&format!("location.hash = '#/{section}'"));
            browser.wait(&format!(
                "!document.querySelector('#{}').hidden",
                section.split('?').next().unwrap()
            ));
            if section == "destinations" {
                browser.wait_text("#destinations-table", "file:");
            }
            audit(&mut browser, &format!("{section} {scheme} {width}"));
        }
        browser.eval("location.hash = '#/table'");
        for (opener, dialog) in [
            ("#add-route", "#form"),
            ("#add-aggregation", "#form"),
            ("[aria-label$='route all']", "#preview"),
        ] {
            let opener = if dialog == "#preview" {
                "[aria-label='Delete the route all']"
            } else {
                opener
            };
            browser.click(opener);
            browser.wait(&format!(
                "document.querySelector('{dialog}[open] .first:not(:disabled)')"
            ));
            audit(&mut browser, &format!("{opener} {scheme} {width}"));
            browser.key("Escape", 0);
            browser.wait("!document.querySelector('dialog[open]')");
            // The focus is back at what opened it.
            browser.wait(&format!(
                "document.activeElement.matches({})",
                Value::from(opener)
            ));
        }
    }
    browser.check();
}

#[test]
fn the_keyboard_comes_everywhere_and_its_place_can_be_seen() {
    let relay = Relay::start(&Config::to_file());
    let mut browser = open(&relay, "#/destinations");
    browser.wait_text("#link", "live");
    browser.eval("document.activeElement.blur()");
    let mut names = Vec::new();
    loop {
        browser.key("Tab", 0);
        if browser.eval("document.activeElement === document.body") == true {
            break; // Behind the last is the browser's own.
        }
        let seen = browser.eval(
            "(e => [e.id || e.textContent, getComputedStyle(e).outlineStyle !== 'none'])(document.activeElement)",
        );
        assert_eq!(seen[1], true, "{seen} has no outline");
        names.push(seen[0].as_str().unwrap().to_owned());
    }
    for wanted in [
        "Skip to the content",
        "Table",
        "Tail",
        "destinations-q",
        "destinations-sort",
    ] {
        assert!(
            names.iter().any(|name| name == wanted),
            "{wanted}: {names:?}"
        );
    }
    // A section that is gone to has the focus on its heading, so that it is read.
    browser.eval("document.querySelector('a[href=\"#/trace\"]').focus()");
    browser.key("Enter", 0);
    browser.wait("document.activeElement.id === 'trace-title'");
    browser.key("Tab", 0);
    browser.type_in("some.metric");
    browser.key("Enter", 0);
    browser.wait_text("#trace-result", "file:");
    browser.check();
}
