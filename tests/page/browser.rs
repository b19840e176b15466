//! A headless Chromium, asked over its DevTools protocol.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::relay::LIMIT;

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// The page is there, and shows something.
const SHOWN: &str = "document.readyState === 'complete' && [...document.querySelectorAll('main > section')].some(s => !s.hidden)";

/// A browser of its own; what is asked is asked of one tab.
pub struct Browser {
    process: Child,
    socket: WebSocket<TcpStream>,
    session: String,
    /// All tabs: their targets and sessions.
    tabs: Vec<(String, String)>,
    next: u64,
    /// What the page complained about: errors, and what its policy forbids.
    pub complaints: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser that shows this address.
    pub fn open(url: &str) -> Browser {
        let mut browser = Browser::start();
        browser.go(url, SHOWN);
        browser
    }

    /// Starts a browser in which these scripts run before those of each page.
    pub fn open_with(url: &str, script: &str) -> Browser {
        let mut browser = Browser::start();
        let script = json!({ "source": script });
        browser.call("Page.addScriptToEvaluateOnNewDocument", script);
        browser.go(url, SHOWN);
        browser
    }

    /// Starts a browser with an empty tab.
    pub fn start() -> Browser {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new("chromium")
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args([
                "--no-first-run",
                "--disable-extensions",
                "--disable-background-networking",
            ])
            .args([
                "--disable-component-update",
                "--disable-sync",
                "--mute-audio",
                "--hide-scrollbars",
            ])
            .arg("--enable-precise-memory-info")
            .arg("--js-flags=--expose-gc")
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .arg("about:blank")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("chromium can be started: apt-get install chromium");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .find_map(|line| {
                line.unwrap()
                    .strip_prefix("DevTools listening on ")
                    .map(str::to_owned)
            })
            .expect("chromium says where it listens");
        // What it says later is of no interest, but must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        let host = address.strip_prefix("ws://").unwrap();
        let host = &host[..host.find('/').unwrap()];
        let stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let (socket, _) = tungstenite::client(address.as_str(), stream).unwrap();
        let mut browser = Browser {
            process,
            socket,
            session: String::new(),
            tabs: Vec::new(),
            next: 0,
            complaints: Vec::new(),
            _folder: folder,
        };
        browser.attach();
        browser
    }

    /// A further tab, which lies before the others.
    pub fn tab(&mut self, url: &str) {
        self.session.clear();
        self.attach();
        self.go(url, SHOWN);
    }

    /// Brings the tab of that number to the front.
    pub fn turn_to(&mut self, tab: usize) {
        let (target, session) = self.tabs[tab].clone();
        self.session.clear();
        self.call("Target.activateTarget", json!({ "targetId": target }));
        self.session = session;
    }

    fn attach(&mut self) {
        let made = self.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = made["targetId"].as_str().unwrap();
        let attached = self.call(
            "Target.attachToTarget",
            json!({"targetId": target, "flatten": true}),
        );
        self.session = attached["sessionId"].as_str().unwrap().to_owned();
        self.tabs.push((target.to_owned(), self.session.clone()));
        for domain in ["Page", "Runtime", "Log"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
        self.size(1280, 900);
    }

    /// Goes to an address, and waits until an expression is true.
    #[track_caller]
    pub fn go(&mut self, url: &str, until: &str) {
        self.call("Page.navigate", json!({"url": url}));
        self.wait(until);
    }

    /// One command of the protocol.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket
            .send(Message::text(message.to_string()))
            .unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else {
                continue;
            };
            let heard: Value = serde_json::from_str(&text).unwrap();
            if heard["id"] == self.next {
                assert!(heard["error"].is_null(), "{method}: {}", heard["error"]);
                return heard["result"].clone();
            }
            self.hear(&heard);
        }
    }

    fn hear(&mut self, event: &Value) {
        let said = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => &event["params"]["exceptionDetails"],
            Some("Log.entryAdded") if event["params"]["entry"]["source"] == "security" => {
                &event["params"]["entry"]
            }
            _ => return,
        };
        self.complaints.push(said.to_string());
    }

    /// What an expression of JavaScript gives.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", asked);
        let wrong = &answer["exceptionDetails"];
        assert!(wrong.is_null(), "{expression}: {wrong}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait(&mut self, expression: &str) {
        let deadline = Instant::now() + LIMIT;
        while self.eval(&format!("Boolean({expression})")) != json!(true) {
            if Instant::now() > deadline {
                let text = self.eval("document.body.innerText");
                let text = text.as_str().unwrap_or_default();
                panic!(
                    "waited in vain for {expression}; the page shows:\n{text}\n{:?}",
                    self.complaints
                );
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until something that can be seen says this.
    #[track_caller]
    pub fn wait_text(&mut self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.wait(&format!(
            "[...document.querySelectorAll({selector})].some(e => e.checkVisibility() && e.innerText.includes({text}))"
        ));
    }

    /// The text of an element.
    #[track_caller]
    pub fn text(&mut self, selector: &str) -> String {
        let text = self.eval(&format!(
            "document.querySelector({}).innerText",
            json!(selector)
        ));
        text.as_str().unwrap().to_owned()
    }

    /// Clicks with the mouse in the middle of an element, as soon as it can be clicked.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        self.wait(&format!(
            "(e => e && e.checkVisibility() && !e.disabled)(document.querySelector({}))",
            json!(selector)
        ));
        // What comes in moves things: where it is twice in a row it will be hit.
        self.wait(&format!(
            "(e => {{ e.scrollIntoView({{block: 'center'}}); const now = JSON.stringify(e.getBoundingClientRect());
                const still = window.lastPlace === now; window.lastPlace = now; return still; }})(document.querySelector({}))",
            json!(selector)
        ));
        let place = self.eval(&format!(
            "(e => {{ e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect();
                const at = [r.x + r.width / 2, r.y + r.height / 2];
                const hit = document.elementFromPoint(...at);
                return e === hit || e.contains(hit) || hit.contains(e) ? at : hit.outerHTML.slice(0, 300); }})
             (document.querySelector({}))",
            json!(selector)
        ));
        let [x, y] = [&place[0], &place[1]];
        assert!(place.is_array(), "{selector} lies below {place}");
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Types into what has the focus.
    pub fn type_in(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Clicks into a field, and puts this there instead of what it has.
    #[track_caller]
    pub fn fill(&mut self, selector: &str, text: &str) {
        self.click(selector);
        self.eval(&format!(
            "document.querySelector({}).select()",
            json!(selector)
        ));
        if text.is_empty() {
            self.key("Delete", 0);
        } else {
            self.type_in(text);
        }
    }

    /// Chooses an option, as the menu of the browser does.
    #[track_caller]
    pub fn choose(&mut self, selector: &str, value: &str) {
        let (selector, value) = (json!(selector), json!(value));
        self.eval(&format!(
            "(e => {{ e.value = {value}; for (const n of ['input', 'change']) e.dispatchEvent(new Event(n, {{bubbles: true}})); }})
             (document.querySelector({selector}))"
        ));
    }

    /// Presses a key; `modifiers`: 1 Alt, 2 Control, 8 Shift.
    pub fn key(&mut self, key: &str, modifiers: u8) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            " " => 32,
            "ArrowUp" => 38,
            "ArrowDown" => 40,
            "Delete" => 46,
            other => panic!("{other} has no code here"),
        };
        let text = match key {
            "Enter" => "\r",
            " " => " ",
            _ => "",
        };
        let down = if text.is_empty() {
            "rawKeyDown"
        } else {
            "keyDown"
        };
        for kind in [down, "keyUp"] {
            let name = if key == " " { "Space" } else { key };
            let event = json!({"type": kind, "key": key, "code": name, "text": if kind == "keyUp" { "" } else { text },
                "windowsVirtualKeyCode": code, "modifiers": modifiers});
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// The size of the window.
    pub fn size(&mut self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Light or dark.
    pub fn scheme(&mut self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.call("Emulation.setEmulatedMedia", json!({"features": [feature]}));
    }

    /// Puts a picture of what can be seen into `target/tmp/page`.
    pub fn picture(&mut self, name: &str) {
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
        std::fs::create_dir_all(&folder).unwrap();
        let bytes = decoded(shot["data"].as_str().unwrap());
        std::fs::write(folder.join(format!("{name}.png")), bytes).unwrap();
    }

    /// The end of every test: the page had nothing to complain about.
    #[track_caller]
    pub fn check(&mut self) {
        self.eval("1");
        assert!(self.complaints.is_empty(), "{:#?}", self.complaints);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

/// Base64, as the protocol has it.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    bytes
}
