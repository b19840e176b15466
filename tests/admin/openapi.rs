//! The document that describes the API, held against the API.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::client::{Answer, request, unix};
use crate::relay::{Config, Relay};

const HOST: &str = "Host: localhost\r\n";
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

struct Api {
    relay: Relay,
    socket: PathBuf,
    document: Value,
    /// What was asked: method and path of the document.
    asked: BTreeSet<(String, String)>,
}

impl Api {
    fn start() -> Api {
        let relay = Relay::start(&Config::to_file());
        let socket = relay.instance.path("api.sock");
        let document = unix(&socket, &request("GET /api/v1/openapi.json", HOST, "")).json();
        Api {
            relay,
            socket,
            document,
            asked: BTreeSet::new(),
        }
    }

    fn raw(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let line = format!("{method} /api/v1{path}");
        unix(&self.socket, &request(&line, HOST, &body))
    }

    /// Asks, and holds the answer against what the document says of it.
    fn ask(&mut self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let answer = self.raw(method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        let bare = path.split('?').next().unwrap();
        let (template, operations) = self.operations(bare);
        let operation = &operations[method.to_lowercase()];
        assert!(operation.is_object(), "{method} {template}");
        let described = &operation["responses"];
        let described = match described.get(status.to_string()) {
            Some(response) => response,
            None if status >= 400 => &described["default"],
            None => panic!("{method} {template}: {status} isn't described"),
        };
        let described = self.resolved(described);
        let Some(content) = described["content"].as_object() else {
            assert_eq!(answer.text, "", "{method} {path}");
            self.asked.insert((method.to_lowercase(), template));
            return Value::Null;
        };
        let (kind, content) = content.iter().next().unwrap();
        let header = answer.header("content-type").split(';').next().unwrap();
        assert_eq!(header, kind, "{method} {path}");
        if described["headers"]["ETag"].is_object() {
            assert!(
                answer.header("etag").starts_with('"'),
                "{method} {path}: {answer:?}"
            );
        }
        let value = match kind.ends_with("json") {
            true => answer.json(),
            false => Value::String(answer.text),
        };
        let mut wrong = Vec::new();
        self.check(&content["schema"], &value, "", &mut wrong);
        assert!(wrong.is_empty(), "{method} {path}: {wrong:?}\n{value:#}");
        self.asked.insert((method.to_lowercase(), template));
        value
    }

    /// The path of the document that this one is an instance of: the one with the fewest parameters.
    fn operations(&self, path: &str) -> (String, Value) {
        let parts: Vec<&str> = path.split('/').collect();
        let fits = |template: &&String| {
            let template: Vec<&str> = template.split('/').collect();
            let same = |(a, b): (&&str, &&str)| a == b || a.starts_with('{');
            template.len() == parts.len() && template.iter().zip(&parts).all(same)
        };
        let paths = self.document["paths"].as_object().unwrap();
        let mut found: Vec<_> = paths.keys().filter(fits).collect();
        found.sort_by_key(|template| template.matches('{').count());
        let template = found
            .first()
            .unwrap_or_else(|| panic!("{path} isn't described"));
        (template.to_string(), paths[*template].clone())
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(place) => self.document.pointer(&place[1..]).unwrap(),
            None => value,
        }
    }

    /// The part of JSON Schema that the document uses; a word that isn't known here is a failure.
    fn check(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        let schema = self.resolved(schema).as_object().unwrap();
        for (word, says) in schema {
            match &word[..] {
                "description" => {}
                "type" => {
                    let types = says.as_array().cloned();
                    let types = types.unwrap_or_else(|| vec![says.clone()]);
                    if !types.iter().any(|one| is_a(one.as_str().unwrap(), value)) {
                        wrong.push(format!("{at}: expected {says}, found {value}"));
                    }
                }
                "enum" => {
                    if !says.as_array().unwrap().contains(value) {
                        wrong.push(format!("{at}: expected one of {says}, found {value}"));
                    }
                }
                "minimum" | "maximum" => {
                    let (limit, is) = (says.as_f64().unwrap(), value.as_f64());
                    let beyond = |is| {
                        if word == "minimum" {
                            is < limit
                        } else {
                            is > limit
                        }
                    };
                    if is.is_some_and(beyond) {
                        wrong.push(format!("{at}: {word} {says}, found {value}"));
                    }
                }
                "items" => {
                    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(says, item, &format!("{at}/{n}"), wrong);
                    }
                }
                "properties" => {
                    for (key, value) in value.as_object().into_iter().flatten() {
                        if let Some(schema) = says.get(key) {
                            self.check(schema, value, &format!("{at}/{key}"), wrong);
                        }
                    }
                }
                "required" => {
                    for key in says.as_array().unwrap() {
                        if value.is_object() && value.get(key.as_str().unwrap()).is_none() {
                            wrong.push(format!("{at}: {key} is missing"));
                        }
                    }
                }
                "additionalProperties" => {
                    for (key, value) in value.as_object().into_iter().flatten() {
                        let is_known = schema
                            .get("properties")
                            .is_some_and(|p| p.get(key).is_some());
                        match says {
                            _ if is_known => {}
                            Value::Bool(true) => {}
                            Value::Bool(false) => wrong.push(format!("{at}/{key} isn't described")),
                            says => self.check(says, value, &format!("{at}/{key}"), wrong),
                        }
                    }
                }
                "oneOf" => {
                    let fits = |schema: &&Value| {
                        let mut wrong = Vec::new();
                        self.check(schema, value, at, &mut wrong);
                        wrong.is_empty()
                    };
                    if says.as_array().unwrap().iter().filter(fits).count() != 1 {
                        wrong.push(format!("{at}: not one of {says}: {value}"));
                    }
                }
                other => panic!("{at}: the test doesn't know {other}"),
            }
        }
    }
}

/// As a segment of a path.
fn escaped(text: &Value) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.as_str().unwrap().bytes().map(escape).collect()
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("a type {other}?"),
    }
}

/// Every answer of a day in the life of a relay is as the document says.
#[test]
fn every_answer_is_as_described() {
    let mut api = Api::start();
    let none = Value::Null;
    api.relay
        .send(b"a.b 1 1790000000\nnonsense\nx 1 1790000000\n");
    api.ask("GET", "/status", &none, 200);
    api.ask("GET", "/rejected", &none, 200);
    api.ask("GET", "/rejected?reason=nothing", &none, 400);
    api.ask(
        "GET",
        "/trace?metric=a.b&metric=nonsense%201%202%203",
        &none,
        200,
    );
    api.ask("GET", "/config", &none, 200);
    api.ask("GET", "/openapi.json", &none, 200);
    api.ask("GET", "/table", &none, 200);
    for (collection, rule, key, patch) in [
        (
            "blocklist",
            json!({"rule": "prefix x"}),
            "prefix%20x",
            json!({"rule": "prefix xy"}),
        ),
        (
            "rewriters",
            json!({"old": "a", "new": "b"}),
            "",
            json!({"max": 1}),
        ),
        (
            "aggregations",
            json!({"function": "sum", "prefix": "a", "format": "s", "interval": 10, "wait": 20}),
            "",
            json!({"wait": 30}),
        ),
        (
            "routes",
            json!({"key": "new", "destinations": ["file:new id=new full=drop"]}),
            "new",
            json!({"prefix": "n"}),
        ),
    ] {
        let all = format!("/{collection}");
        api.ask("POST", &format!("{all}?dry_run=true"), &rule, 200);
        api.ask("POST", &all, &rule, 201);
        api.ask("POST", &all, &rule, 409);
        let listed = api.ask("GET", &all, &none, 200);
        let found = listed.as_array().unwrap().last().unwrap()["key"].clone();
        let key = match key {
            "" => escaped(&found),
            key => key.to_owned(),
        };
        let one = format!("/{collection}/{key}");
        api.ask("GET", &one, &none, 200);
        api.ask("GET", &format!("{all}/none"), &none, 404);
        // Of the others there is one, which can't be elsewhere.
        let moved = if collection == "routes" { 200 } else { 409 };
        api.ask("POST", &format!("{one}/move?place=first"), &none, moved);
        api.ask("POST", &format!("{one}/move?place=nowhere"), &none, 400);
        api.ask("PUT", &one, &rule, 409);
        api.ask("PATCH", &one, &patch, 200);
        // What has no key of its own is known by its text, which is another now.
        let listed = api.ask("GET", &all, &none, 200);
        let last = listed.as_array().unwrap().iter();
        let last = last.rev().find(|rule| rule["key"] != "all").unwrap();
        let key = escaped(&last["key"]);
        api.ask("PUT", &format!("/{collection}/{key}"), &rule, 200);
        api.ask("PATCH", &format!("{all}/none"), &json!({}), 404);
    }
    let destinations = "/routes/new/destinations";
    let second = json!({"destination": "file:second id=second full=drop"});
    api.ask("POST", destinations, &second, 201);
    api.ask("POST", destinations, &json!({"destination": "what?"}), 422);
    api.ask(
        "PATCH",
        &format!("{destinations}/second"),
        &json!({"flush": "1s"}),
        200,
    );
    api.ask("DELETE", &format!("{destinations}/second"), &none, 200);
    api.ask("DELETE", "/routes/new", &none, 200);
    for collection in ["blocklist", "rewriters", "aggregations"] {
        let listed = api.ask("GET", &format!("/{collection}"), &none, 200);
        let key = escaped(&listed[0]["key"]);
        api.ask("DELETE", &format!("/{collection}/{key}"), &none, 200);
    }
    let history = api.ask("GET", "/history?limit=5", &none, 200);
    api.ask(
        "POST",
        &format!("/history/{}/undo", history[0]["id"]),
        &none,
        200,
    );
    api.ask("POST", "/history/999999/undo", &none, 404);
    api.ask("POST", "/history/word/undo", &none, 400);
    api.ask("POST", "/reset", &none, 200);
    api.ask("GET", "/charts", &none, 200);
    api.ask("GET", "/subscribe?at=nowhere", &none, 400);
    for stream in ["/events", "/subscribe"] {
        let head = api.raw("HEAD", stream, &none);
        assert_eq!(
            (head.status, head.header("content-type")),
            (200, "text/event-stream")
        );
        api.asked.insert(("get".to_owned(), stream.to_owned()));
    }
    api.ask("POST", "/restart", &none, 202);

    let described: BTreeSet<(String, String)> = described(&api.document)
        .into_iter()
        .flat_map(|(path, methods)| methods.into_iter().map(move |m| (m, path.clone())))
        .collect();
    let left: Vec<_> = described.difference(&api.asked).collect();
    assert!(left.is_empty(), "never asked: {left:?}");
}

fn described(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let paths = document["paths"].as_object().unwrap().iter();
    let methods = |operations: &Value| {
        let words = operations.as_object().unwrap().keys();
        let known = words.filter(|word| METHODS.contains(&&word[..]));
        known.cloned().collect()
    };
    paths
        .map(|(path, of)| (path.clone(), methods(of)))
        .collect()
}

/// Each path that is described answers exactly the methods that are.
#[test]
fn every_path_and_method_is_served() {
    let api = Api::start();
    for (path, methods) in described(&api.document) {
        let instance = path.replace("{id}", "1").replace(['{', '}'], "");
        let refused = api.raw("TRACE", &instance, &Value::Null);
        assert_eq!(refused.status, 405, "{path}: {refused:?}");
        assert_eq!(refused.header("content-type"), "application/problem+json");
        let allowed = refused.header("allow").split(',');
        let allowed: BTreeSet<String> = allowed.map(|word| word.trim().to_owned()).collect();
        let mut expected = methods;
        if expected.contains("get") {
            expected.insert("head".to_owned());
        }
        assert_eq!(allowed, expected, "{path}");
    }
}

/// Each path that the source routes is described.
#[test]
fn every_path_that_is_served_is_described() {
    let api = Api::start();
    let described = described(&api.document);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/http");
    let source = std::fs::read_to_string(folder.join("v1.rs")).unwrap();
    let mut routed = Vec::new();
    for call in source.split(".route(").skip(1) {
        let path = call
            .split('"')
            .nth(1)
            .unwrap()
            .replace("{{", "{")
            .replace("}}", "}");
        match path.contains("{name}") {
            true => {
                let all = ["blocklist", "rewriters", "aggregations", "routes"];
                routed.extend(all.map(|name| path.replace("{name}", name)));
            }
            false => routed.push(path),
        }
    }
    assert!(routed.len() > 20, "{routed:?}");
    for path in routed {
        assert!(described.contains_key(&path), "{path} isn't described");
    }
}

#[test]
fn what_is_too_long_or_not_there_is_a_problem() {
    let api = Api::start();
    let long = json!({"rule": "x".repeat(1 << 20)});
    let answer = api.raw("POST", "/blocklist", &long);
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_eq!(answer.json()["detail"], "expected a body of at most 1 MiB");
    let fits = json!({"rule": "x".repeat((1 << 20) - 20)});
    assert_ne!(api.raw("POST", "/blocklist", &fits).status, 413);
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("DELETE", "/table", 405),
        ("POST", "/history/word/undo", 400),
    ] {
        let answer = api.raw(method, path, &Value::Null);
        assert_eq!(answer.status, status, "{method} {path}");
        let problem = answer.json();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().unwrap().len() > 10, "{problem}");
    }
}

/// HEAD is GET without a body, wherever there is GET.
#[test]
fn head_is_get_without_a_body() {
    let api = Api::start();
    for page in ["/table", "/config", "/openapi.json", "/trace?metric=a"] {
        let (head, get) = (
            api.raw("HEAD", page, &Value::Null),
            api.raw("GET", page, &Value::Null),
        );
        assert_eq!((head.status, &head.text[..]), (200, ""), "{page}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert_eq!(head.header("content-length"), get.header("content-length"));
        assert_eq!(head.header("etag"), get.header("etag"));
    }
}
