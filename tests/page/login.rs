//! The form by which one is let in, in a browser.

use std::os::unix::fs::PermissionsExt;

use baton::drill::Setup;

use crate::browser::Browser;
use crate::relay::{Config, Relay};

const TOKEN: &str = "a-token-of-some-length";

fn write_token(setup: &Setup) {
    let path = setup.path("token");
    std::fs::write(&path, TOKEN).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn one_logs_in_by_the_form_and_out_by_the_page() {
    let config = Config {
        input: "[admin]\ntoken_file = \"token\"".to_owned(),
        ..Config::to_file()
    };
    let mut relay = Relay::set_up(&config, |setup| {
        write_token(&setup);
        let path = setup.path("baton.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let open = text.replace("http = [\"tcp://127.0.0.1:", "http = [\"tcp://0.0.0.0:");
        std::fs::write(&path, open).unwrap();
        setup
    });
    let url = format!("http://127.0.0.1:{}/", relay.http);
    let form = "location.pathname === '/login' && document.activeElement?.id === 'token'";
    let mut browser = Browser::start();
    browser.go(&url, form);
    assert_eq!(
        browser.eval("document.querySelector('label[for=token]').control.type"),
        "password"
    );
    browser.type_in("something-else-entirely");
    browser.key("Enter", 0);
    browser.wait_text("[role=alert]", "This is not the token.");
    browser.wait(form);
    browser.type_in(TOKEN);
    browser.key("Enter", 0);
    browser.wait(
        "location.pathname === '/' && document.querySelector('#link')?.textContent === 'live'",
    );
    // Another token: the page finds that it isn't let in any more, and shows where one is.
    std::fs::write(relay.instance.path("token"), "another-token-of-some-length").unwrap();
    relay.instance.reload().unwrap();
    browser.wait(form);
    browser.type_in("another-token-of-some-length");
    browser.key("Enter", 0);
    browser.wait(
        "location.pathname === '/' && document.querySelector('#link')?.textContent === 'live'",
    );
    browser.click("#logout button");
    browser.wait(form);
    browser.go(&url, form);
    // Where nobody is asked, nobody can log out.
    let relay = Relay::start(&Config::to_file());
    let browser = &mut crate::changes::open(&relay, "");
    browser.wait_text("#link", "live");
    browser.wait("!document.querySelector('#logout').checkVisibility()");
    browser.check();
}
