//! Who is let in, and who isn't: one test for each promise.

use std::os::unix::fs::PermissionsExt;

use baton::drill::{Setup, free_ports};

use crate::client::{Answer, request, tcp, unix};
use crate::relay::{Config, LIMIT, Relay};

const TOKEN: &str = "a-token-of-some-length";
const RULE: &str = r#"{"rule": "prefix x"}"#;

/// A relay whose HTTP other machines could reach, with these keys of `[admin]`.
fn open_relay(admin: &str) -> Relay {
    let config = Config {
        input: format!("[admin]\n{admin}"),
        ..Config::to_file()
    };
    Relay::set_up(&config, |setup| {
        write_token(&setup, TOKEN, 0o600);
        let path = setup.path("baton.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, after) = text.split_once("http = [\"tcp://127.0.0.1:").unwrap();
        std::fs::write(&path, format!("{before}http = [\"tcp://0.0.0.0:{after}")).unwrap();
        setup
    })
}

fn write_token(setup: &Setup, token: &str, mode: u32) {
    let path = setup.path("token");
    std::fs::write(&path, format!("{token}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn with_token() -> Relay {
    open_relay("token_file = \"token\"")
}

fn get(relay: &Relay, path: &str, headers: &str) -> Answer {
    let port = relay.http;
    let headers = format!("Host: 127.0.0.1:{port}\r\n{headers}");
    tcp(port, &request(&format!("GET {path}"), &headers, ""))
}

fn post(relay: &Relay, path: &str, headers: &str, body: &str) -> Answer {
    let port = relay.http;
    let headers = format!("Host: 127.0.0.1:{port}\r\n{headers}");
    tcp(port, &request(&format!("POST {path}"), &headers, body))
}

#[test]
fn without_a_token_others_are_not_listened_to() {
    let mut relay = Relay::start(&Config::to_file());
    let path = relay.instance.path("baton.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let open = text.replace("http = [\"tcp://127.0.0.1:", "http = [\"tcp://0.0.0.0:");
    let mut refused = |text: &str| {
        relay.instance.rewrite(text).unwrap();
        let reload = relay.instance.reload().unwrap();
        let baton::drill::Reload::Refused { reason } = reload else {
            panic!("{reload:?}");
        };
        reason
    };
    let said = refused(&open);
    assert!(
        said.contains("set admin.token_file, or admin.allow_anyone = true"),
        "{said}"
    );
    let said = refused(&open.replace("[input]", "[admin]\ntoken_file = \"none\"\n[input]"));
    assert!(
        said.contains("admin.token_file: ") && said.contains("No such file"),
        "{said}"
    );
    // At start, too.
    let [port] = free_ports().unwrap();
    let text = format!(
        "[supervisor]\ncontrol = \"unix:control.sock\"\n[listen]\nhttp = [\"tcp://0.0.0.0:{port}\"]\n"
    );
    let setup = Setup::new(env!("CARGO_BIN_EXE_baton"), &text).unwrap();
    let error = setup.ready_within(LIMIT).start().unwrap_err();
    let baton::drill::Error::Ended { status, log, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(log.contains("set admin.token_file"), "{log}");
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap_err();
}

#[test]
fn a_token_that_others_could_read_or_guess_is_refused() {
    let mut relay = with_token();
    let token = relay.instance.path("token");
    let refused = |relay: &mut Relay| match relay.instance.reload().unwrap() {
        baton::drill::Reload::Refused { reason } => reason,
        done => panic!("{done:?}"),
    };
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o640)).unwrap();
    let said = refused(&mut relay);
    assert!(said.contains("found mode 640"), "{said}");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&token, "short\n").unwrap();
    let said = refused(&mut relay);
    assert!(said.contains("16 to 4096 bytes"), "{said}");
    // The old worker serves on, with the old token.
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(get(&relay, "/api/v1/table", &bearer).status, 200);
    // A crash is no time to look for tokens: metrics go on, and nobody else is let in.
    std::fs::remove_file(&token).unwrap();
    relay.instance.kill_worker(LIMIT).unwrap();
    relay.instance.wait_serving(LIMIT).unwrap();
    relay.wait_logged("nobody is let in");
    assert_eq!(get(&relay, "/api/v1/table", &bearer).status, 401);
    relay.send(b"a 1 1790000000\n");
    relay.wait_done(1);
}

#[test]
fn the_token_lets_in_as_bearer() {
    let relay = with_token();
    let bare = get(&relay, "/api/v1/table", "");
    assert_eq!(bare.status, 401, "{bare:?}");
    assert_eq!(bare.header("www-authenticate"), "bearer realm=\"baton\"");
    assert_eq!(bare.header("content-type"), "application/problem+json");
    for (given, status) in [
        (format!("Bearer {TOKEN}"), 200),
        (format!("bearer {TOKEN}"), 200),
        (format!("Bearer {TOKEN}x"), 401),
        (format!("Bearer {}", &TOKEN[1..]), 401),
        ("Bearer".to_owned(), 401),
        (format!("Basic {TOKEN}"), 401),
    ] {
        let answer = get(
            &relay,
            "/api/v1/table",
            &format!("Authorization: {given}\r\n"),
        );
        assert_eq!(answer.status, status, "{given}");
    }
    // Its owner needs none on the machine itself.
    let socket = relay.instance.path("api.sock");
    let table = unix(
        &socket,
        &request("GET /api/v1/table", "Host: localhost\r\n", ""),
    );
    assert_eq!(table.status, 200);
    // Machines that scrape have none.
    for open in ["/metrics", "/healthz"] {
        assert_eq!(get(&relay, open, "").status, 200, "{open}");
    }
}

#[test]
fn the_pages_for_machines_can_be_protected() {
    let relay = open_relay("token_file = \"token\"\nprotect_metrics = true");
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for page in ["/metrics", "/healthz"] {
        assert_eq!(get(&relay, page, "").status, 401, "{page}");
        assert_eq!(get(&relay, page, &bearer).status, 200, "{page}");
    }
}

#[test]
fn anyone_is_let_in_if_that_is_what_the_config_says() {
    let relay = open_relay("allow_anyone = true");
    assert_eq!(get(&relay, "/api/v1/table", "").status, 200);
    assert_eq!(post(&relay, "/api/v1/blocklist", "", RULE).status, 201);
}

fn log_in(relay: &Relay, token: &str) -> Answer {
    post(relay, "/login", "", &format!("token={token}"))
}

#[test]
fn a_form_lets_a_browser_in_until_it_logs_out() {
    let mut relay = with_token();
    let page = get(&relay, "/", "Accept: text/html\r\n");
    assert_eq!((page.status, page.header("location")), (303, "/login"));
    let form = get(&relay, "/login", "Accept: text/html\r\n");
    assert!(
        form.status == 200 && form.text.contains("type=\"password\""),
        "{form:?}"
    );
    let wrong = log_in(&relay, "something-else-entirely");
    assert_eq!((wrong.status, wrong.header("set-cookie")), (403, ""));
    assert!(wrong.text.contains("This is not the token"), "{wrong:?}");
    relay.wait_logged("a wrong token");

    let right = log_in(&relay, TOKEN);
    assert_eq!((right.status, right.header("location")), (303, "/"));
    let cookie = right.header("set-cookie").to_owned();
    assert!(cookie.ends_with("; httponly; samesite=strict"), "{cookie}");
    assert!(!cookie.contains(TOKEN));
    let session = cookie.split(';').next().unwrap();
    let with = format!("Cookie: other=1; {session}\r\n");
    assert_eq!(get(&relay, "/", &with).status, 200);
    assert_eq!(post(&relay, "/api/v1/blocklist", &with, RULE).status, 201);
    // Through a restart, and through the end of a worker.
    relay.instance.reload().unwrap();
    assert_eq!(get(&relay, "/api/v1/table", &with).status, 200);
    relay.instance.kill_worker(LIMIT).unwrap();
    relay.instance.wait_serving(LIMIT).unwrap();
    assert_eq!(get(&relay, "/api/v1/table", &with).status, 200);
    // Not with a cookie that somebody made up, and not with another token.
    let forged = with.replace("_", "_0");
    assert_eq!(get(&relay, "/api/v1/table", &forged).status, 401);
    // The page says who is logged in, and may log out.
    let page = |headers: &str| get(&relay, "/", &format!("Accept: text/html\r\n{headers}"));
    let shown = "<form id=\"logout\" method=\"post\" action=\"logout\">";
    assert!(page(&with).text.contains(shown));
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let bare = page(&bearer);
    assert!(!bare.text.contains(shown) && bare.text.contains("action=\"logout\" hidden>"));
    assert_ne!(page(&with).header("etag"), bare.header("etag"));
    // Once out it is out for every copy of the cookie, and for the next worker; others stay.
    let cookie = log_in(&relay, TOKEN).header("set-cookie").to_owned();
    let other = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    let out = post(&relay, "/logout", &with, "");
    assert!(out.header("set-cookie").contains("max-age=0"), "{out:?}");
    let (name, value) = with.rsplit_once('=').unwrap();
    let capitals = format!("{name}={}\r\n", value.trim().to_ascii_uppercase());
    for _ in 0..2 {
        for old in [&with, &capitals] {
            assert_eq!(get(&relay, "/api/v1/table", old).status, 401, "{old}");
        }
        assert_eq!(get(&relay, "/api/v1/table", &other).status, 200);
        relay.instance.reload().unwrap();
    }
    assert_eq!(post(&relay, "/logout", &with, "").status, 303, "once more");
    let with = other;
    std::fs::write(relay.instance.path("token"), "another-token-of-some-length").unwrap();
    relay.instance.reload().unwrap();
    assert_eq!(get(&relay, "/api/v1/table", &with).status, 401);
}

#[test]
fn who_tries_too_often_must_wait() {
    let relay = with_token();
    for _ in 0..5 {
        assert_eq!(log_in(&relay, "something-else-entirely").status, 403);
        let wrong = get(&relay, "/api/v1/table", "Authorization: Bearer no\r\n");
        assert_eq!(wrong.status, 401);
    }
    let waits = log_in(&relay, TOKEN);
    assert_eq!(waits.status, 429, "{waits:?}");
    // People see it in the form.
    assert!(waits.header("content-type").starts_with("text/html"));
    assert!(waits.text.contains("role=\"alert\">Too many wrong tokens"));
    let seconds: u64 = waits.header("retry-after").parse().unwrap();
    assert!((1..=61).contains(&seconds));
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(get(&relay, "/api/v1/table", &bearer).status, 429);
    // Who has no token, or needs none, isn't held up.
    assert_eq!(get(&relay, "/metrics", "").status, 200);
}

#[test]
fn a_name_that_is_not_the_relays_is_refused() {
    let config = Config {
        input: "[admin]\nhosts = [\"Relay1.example\"]".to_owned(),
        ..Config::to_file()
    };
    let relay = Relay::start(&config);
    let ask = |host: &str, page: &str| {
        let headers = format!("Host: {host}\r\n");
        tcp(relay.http, &request(&format!("GET {page}"), &headers, "")).status
    };
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:8081", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:1", 200),
        ("relay1.example", 200),
        ("relay1.example.:80", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ] {
        assert_eq!(ask(host, "/api/v1/table"), status, "{host}");
        assert_eq!(ask(host, "/metrics"), status, "{host}");
    }
    assert_eq!(tcp(relay.http, &request("GET /", "", "")).status, 400);
    let old = "GET /healthz HTTP/1.0\r\n\r\n";
    assert_eq!(tcp(relay.http, old).status, 200);
    // At an address that others reach, Prometheus asks by whatever name it has.
    let relay = open_relay("token_file = \"token\"");
    let headers = "Host: metrics.example\r\n";
    assert_eq!(
        tcp(relay.http, &request("GET /metrics", headers, "")).status,
        200
    );
    let headers = format!("{headers}Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(
        tcp(relay.http, &request("GET /api/v1/table", &headers, "")).status,
        421
    );
}

#[test]
fn pages_of_other_sites_change_nothing() {
    let relay = Relay::start(&Config::to_file());
    let port = relay.http;
    for (headers, good) in [
        (String::new(), true),
        (
            "Sec-Fetch-Site: same-origin\r\nOrigin: http://x\r\n".to_owned(),
            true,
        ),
        ("Sec-Fetch-Site: none\r\n".to_owned(), true),
        ("Sec-Fetch-Site: cross-site\r\n".to_owned(), false),
        ("Sec-Fetch-Site: same-site\r\n".to_owned(), false),
        (format!("Origin: http://127.0.0.1:{port}\r\n"), true),
        ("Origin: http://evil.example\r\n".to_owned(), false),
        ("Origin: http://127.0.0.1:1\r\n".to_owned(), false),
        ("Origin: null\r\n".to_owned(), false),
    ] {
        let kind = "Content-Type: text/plain\r\n";
        let rule = format!("{{\"rule\": {:?}}}", format!("prefix {}", headers.len()));
        let answer = post(
            &relay,
            "/api/v1/blocklist",
            &format!("{headers}{kind}"),
            &rule,
        );
        let expected = if good { 201 } else { 403 };
        assert_eq!(answer.status, expected, "{headers}: {answer:?}");
        for method in ["PUT", "PATCH", "DELETE"] {
            let line = format!("{method} /api/v1/routes/none");
            let headers = format!("Host: localhost\r\n{headers}");
            let answer = tcp(port, &request(&line, &headers, "{}"));
            let is_origin = headers.contains("Origin: http://127.0.0.1");
            assert_eq!(
                answer.status == 403,
                !good || is_origin,
                "{method} {headers}"
            );
        }
        // A WebSocket talks to whoever opened it.
        let upgrade = format!("{headers}Upgrade: websocket\r\n");
        let answer = get(&relay, "/api/v1/table", &upgrade);
        assert_eq!(answer.status == 403, !good, "{headers}");
    }
}

#[test]
fn a_page_on_another_port_of_the_same_name_changes_nothing() {
    let relay = Relay::start(&Config {
        input: "[admin]\nhosts = [\"relay.example\"]".to_owned(),
        ..Config::to_file()
    });
    let port = relay.http;
    let posted = |host: &str, origin: &str| {
        let headers = format!("Host: {host}\r\nOrigin: {origin}\r\n");
        tcp(port, &request("POST /api/v1/reset", &headers, "{}")).status
    };
    // There is nothing to take back: 409.
    for (host, origin, status) in [
        ("relay.example", "http://relay.example", 409),
        ("relay.example:8081", "http://Relay.example:8081", 409),
        ("relay.example:8081", "http://relay.example:3000", 403),
        ("relay.example:8081", "http://relay.example", 403),
        ("relay.example", "https://relay.example", 403),
        ("127.0.0.1", "http://relay.example", 403),
        ("127.0.0.1", "http://localhost", 403),
    ] {
        assert_eq!(posted(host, origin), status, "{origin} to {host}");
    }
}

#[test]
fn other_sites_read_nothing_and_hold_no_stream() {
    let relay = Relay::start(&Config::to_file());
    for (site, mode, dest, status) in [
        ("same-origin", "cors", "empty", 200),
        ("none", "navigate", "document", 200),
        ("cross-site", "navigate", "document", 200),
        ("cross-site", "navigate", "iframe", 403),
        ("cross-site", "no-cors", "image", 403),
        ("cross-site", "cors", "empty", 403),
        ("same-site", "no-cors", "script", 403),
    ] {
        let headers = format!(
            "Sec-Fetch-Site: {site}\r\nSec-Fetch-Mode: {mode}\r\nSec-Fetch-Dest: {dest}\r\n"
        );
        for page in ["/", "/api/v1/status", "/metrics"] {
            let answer = get(&relay, page, &headers);
            assert_eq!(answer.status, status, "{page} {headers}");
        }
        if status == 403 {
            assert_eq!(get(&relay, "/api/v1/events", &headers).status, 403);
        }
    }
}

#[test]
fn the_pages_of_the_log_in_have_the_bounds_and_answers_of_all() {
    let relay = open_relay("token_file = \"token\"\npprof = true");
    let bearer = format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n");
    for page in ["/login", "/logout", "/debug/pprof/profile"] {
        let answer = tcp(relay.http, &request(&format!("PUT {page}"), &bearer, ""));
        assert_eq!(answer.status, 405, "{page}");
        assert_eq!(answer.json()["status"], 405, "{page}");
    }
    let long = format!("token={}", "x".repeat(1 << 20));
    let answer = post(&relay, "/login", "", &long);
    assert_eq!(answer.status, 413);
    assert_eq!(answer.header("content-type"), "application/problem+json");
}

#[test]
fn if_match_takes_a_list_and_no_weak_tag() {
    let relay = Relay::start(&Config::to_file());
    let version = get(&relay, "/api/v1/table", "").header("etag").to_owned();
    let add = |number: u16, headers: &str| {
        let rule = format!("{{\"rule\": \"prefix n{number}\"}}");
        post(&relay, "/api/v1/blocklist", headers, &rule)
    };
    for (tags, status) in [
        (format!("If-Match: W/{version}\r\n"), 412),
        ("If-Match: \"1\", \"2\"\r\n".to_owned(), 412),
        ("If-Match: 1\r\n".to_owned(), 400),
        (format!("If-Match: \"1\", {version}\r\n"), 201),
        // It has another version now.
        (format!("If-Match: \"1\"\r\nIf-Match: {version}\r\n"), 412),
    ] {
        let answer = add(status, &tags);
        assert_eq!(answer.status, status, "{tags}: {answer:?}");
    }
    let now = get(&relay, "/api/v1/table", "").header("etag").to_owned();
    let two = format!("If-Match: \"1\"\r\nIf-Match: {now}\r\n");
    assert_eq!(add(1, &two).status, 201);
    assert_eq!(add(2, "If-Match: *\r\n").status, 201);
}

#[test]
fn who_asks_for_a_restart_is_logged() {
    let relay = Relay::start(&Config::to_file());
    assert_eq!(post(&relay, "/api/v1/restart", "", "").status, 202);
    relay.wait_logged("a restart is asked for");
    let log = relay.instance.log();
    let line = log
        .lines()
        .find(|line| line.contains("a restart is asked for"));
    let line = line.unwrap();
    assert!(
        line.contains("http") && line.contains("127.0.0.1:"),
        "{line}"
    );
}

#[test]
fn every_answer_tells_browsers_what_they_may() {
    let relay = with_token();
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                  connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for (page, status) in [
        ("/metrics", 200),
        ("/", 200),
        ("/nothing", 404),
        ("/api/v1/status", 200),
        ("/login", 200),
    ] {
        for answer in [get(&relay, page, &bearer), get(&relay, page, "")] {
            assert!([status, 401].contains(&answer.status), "{page}: {answer:?}");
            assert_eq!(answer.header("content-security-policy"), policy);
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(answer.header("referrer-policy"), "no-referrer");
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
    }
}
