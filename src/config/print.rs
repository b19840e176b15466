//! A config in its canonical form: what differs from the defaults, and the routes.

use std::path::Path;

use super::{Config, Instrumentation, ListenAddress, Listener};
use crate::route::RouteKind;
use crate::spec::{ByteSize, Choice, Destination, Route, quoted, show_duration};
use crate::validate::{Level, LevelM20};

/// Lines `key = value`.
type Lines = Vec<(&'static str, String)>;

/// Writes a config as TOML that compiles to the same one, with absolute paths.
pub fn print(config: &Config) -> String {
    // What isn't written depends on the machine, as the defaults do.
    let usual = match Config::compile(&config.path, b"") {
        Ok(usual) => usual,
        Err(_) => config.clone(),
    };
    let mut text = String::new();
    section(&mut text, "", root(config, &usual));
    section(&mut text, "listen", listen(config));
    section(&mut text, "admin", admin(config));
    section(&mut text, "supervisor", supervisor(config, &usual));
    section(&mut text, "state", state(config, &usual));
    section(&mut text, "input", input(config, &usual));
    section(&mut text, "validation", validation(config, &usual));
    section(&mut text, "log", log(config, &usual));
    section(
        &mut text,
        "instrumentation",
        instrumentation(config, &usual),
    );
    let rewriters = config.rewriters.iter().map(|rule| rule.to_toml());
    for rule in rewriters.chain(config.aggregations.iter().map(|rule| rule.to_toml())) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&rule);
    }
    for each in &config.routes {
        section(&mut text, "[route]", route(each));
    }
    text
}

/// A route as the only one of a file.
pub(super) fn one_route(one: &Route) -> String {
    let mut text = String::new();
    section(&mut text, "[route]", route(one));
    text
}

fn section(text: &mut String, name: &str, lines: Lines) {
    if lines.is_empty() {
        return;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    if !name.is_empty() {
        text.push_str(&format!("[{name}]\n"));
    }
    for (key, value) in lines {
        text.push_str(&format!("{key} = {value}\n"));
    }
}

fn string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// One element a line, but for a single short one.
fn list(elements: impl IntoIterator<Item = String>) -> String {
    let elements: Vec<String> = elements.into_iter().map(|text| string(&text)).collect();
    match &elements[..] {
        [one] if one.len() < 80 => format!("[{one}]"),
        all => format!("[\n    {},\n]", all.join(",\n    ")),
    }
}

/// A key whose value isn't the usual one.
fn differs<T: PartialEq + ?Sized>(
    lines: &mut Lines,
    key: &'static str,
    (value, usual): (&T, &T),
    show: impl Fn(&T) -> String,
) {
    if value != usual {
        lines.push((key, show(value)));
    }
}

fn path(path: &Path) -> String {
    string(&path.display().to_string())
}

fn root(config: &Config, usual: &Config) -> Lines {
    let mut lines = Lines::new();
    if !config.blocklist.is_empty() {
        lines.push(("blocklist", list(config.blocklist.iter().cloned())));
    }
    differs(
        &mut lines,
        "first_only",
        (&config.first_only, &false),
        bool::to_string,
    );
    let windows = (&config.max_windows, &usual.max_windows);
    differs(&mut lines, "max_windows", windows, usize::to_string);
    lines
}

fn listen(config: &Config) -> Lines {
    let mut kinds = Vec::new();
    // The API's socket is there without being named, if it is the usual one and the only one.
    let usual = ListenAddress::Unix(super::admin::usual_socket(&config.supervisor.control));
    let mut sockets = config.listen.iter().filter(|one| super::admin::is_api(one));
    let unnamed = sockets
        .next()
        .filter(|one| one.address == usual && sockets.next().is_none());
    let named = |one: &&Listener| Some(*one) != unnamed;
    for listener in config.listen.iter().filter(named) {
        if !kinds.contains(&listener.kind) {
            kinds.push(listener.kind);
        }
    }
    let of = |kind| {
        let own = config
            .listen
            .iter()
            .filter(named)
            .filter(move |listener| listener.kind == kind);
        list(own.map(|listener| listener.address.to_string()))
    };
    kinds
        .into_iter()
        .map(|kind| (kind.as_str(), of(kind)))
        .collect()
}

fn admin(config: &Config) -> Lines {
    let own = &config.admin;
    let mut lines = Lines::new();
    let api = config.api_socket().is_some();
    differs(&mut lines, "api", (&api, &true), bool::to_string);
    if let Some(token_file) = &own.token_file {
        lines.push(("token_file", path(token_file)));
    }
    for (key, value) in [
        ("allow_anyone", own.allow_anyone),
        ("protect_metrics", own.protect_metrics),
        ("pprof", own.pprof),
    ] {
        differs(&mut lines, key, (&value, &false), bool::to_string);
    }
    if !own.hosts.is_empty() {
        lines.push(("hosts", list(own.hosts.iter().cloned())));
    }
    lines
}

fn supervisor(config: &Config, usual: &Config) -> Lines {
    let (own, usual) = (&config.supervisor, &usual.supervisor);
    let mut lines = Lines::new();
    differs(
        &mut lines,
        "control",
        (&own.control, &usual.control),
        |path| string(&ListenAddress::Unix(path.clone()).to_string()),
    );
    let time = |time: &_| string(&show_duration(*time));
    differs(
        &mut lines,
        "ready_timeout",
        (&own.ready_timeout, &usual.ready_timeout),
        time,
    );
    differs(
        &mut lines,
        "probation",
        (&own.probation, &usual.probation),
        time,
    );
    differs(
        &mut lines,
        "stop_timeout",
        (&own.stop_timeout, &usual.stop_timeout),
        time,
    );
    lines
}

fn state(config: &Config, usual: &Config) -> Lines {
    let (own, usual) = (&config.state, &usual.state);
    let mut lines = Lines::new();
    differs(&mut lines, "path", (&own.path, &usual.path), |file| {
        path(file)
    });
    differs(
        &mut lines,
        "synchronous",
        (&own.synchronous, &usual.synchronous),
        |mode| string(mode.as_str()),
    );
    differs(
        &mut lines,
        "max_size",
        (&own.max_size, &usual.max_size),
        size,
    );
    differs(
        &mut lines,
        "events_kept",
        (&own.events_kept, &usual.events_kept),
        u64::to_string,
    );
    lines
}

fn size(bytes: &u64) -> String {
    string(&ByteSize(*bytes).to_string())
}

fn input(config: &Config, usual: &Config) -> Lines {
    let (own, usual) = (&config.input, &usual.input);
    let mut lines = Lines::new();
    differs(
        &mut lines,
        "max_line",
        (&own.max_line, &usual.max_line),
        |bytes| size(&(*bytes as u64)),
    );
    differs(
        &mut lines,
        "max_frame",
        (&own.max_frame, &usual.max_frame),
        |bytes| size(&(*bytes as u64)),
    );
    let most = (&own.max_connections, &usual.max_connections);
    differs(&mut lines, "max_connections", most, usize::to_string);
    differs(
        &mut lines,
        "idle_timeout",
        (&own.idle_timeout, &usual.idle_timeout),
        |time| string(&show_duration(time.unwrap_or_default())),
    );
    lines
}

fn validation(config: &Config, usual: &Config) -> Lines {
    let (own, usual) = (&config.rules, &usual.rules);
    let mut lines = Lines::new();
    differs(&mut lines, "level", (&own.level, &usual.level), |level| {
        string(match level {
            Level::None => "none",
            Level::Medium => "medium",
            Level::Strict => "strict",
        })
    });
    differs(
        &mut lines,
        "level_m20",
        (&own.level_m20, &usual.level_m20),
        |level| {
            string(match level {
                LevelM20::None => "none",
                LevelM20::Medium => "medium",
            })
        },
    );
    differs(
        &mut lines,
        "clean_dots",
        (&own.clean_dots, &usual.clean_dots),
        bool::to_string,
    );
    differs(
        &mut lines,
        "sort_tags",
        (&own.sort_tags, &usual.sort_tags),
        bool::to_string,
    );
    if let Some(names) = config.order {
        lines.push(("order", "true".to_owned()));
        lines.push(("order_names", names.to_string()));
    }
    lines
}

fn log(config: &Config, usual: &Config) -> Lines {
    let (own, usual) = (&config.log, &usual.log);
    let mut lines = Lines::new();
    differs(&mut lines, "level", (&own.level, &usual.level), |level| {
        string(level.as_str())
    });
    differs(
        &mut lines,
        "format",
        (&own.format, &usual.format),
        |format| string(format.as_str()),
    );
    lines
}

fn instrumentation(config: &Config, usual: &Config) -> Lines {
    let mut lines = Lines::new();
    let (own, usual) = match (&config.instrumentation, &usual.instrumentation) {
        (Some(own), Some(usual)) => (own, usual),
        (Some(Instrumentation { prefix, interval }), None) => {
            return vec![
                ("prefix", string(prefix)),
                ("interval", string(&show_duration(*interval))),
            ];
        }
        (None, _) => return vec![("interval", string("0s"))],
    };
    differs(
        &mut lines,
        "prefix",
        (&own.prefix, &usual.prefix),
        |prefix| string(prefix),
    );
    differs(
        &mut lines,
        "interval",
        (&own.interval, &usual.interval),
        |time| string(&show_duration(*time)),
    );
    lines
}

fn route(route: &Route) -> Lines {
    let mut lines = vec![("key", string(&route.key))];
    let kind = (&route.kind, &RouteKind::SendAllMatch);
    differs(&mut lines, "type", kind, |kind| string(kind.as_str()));
    for (key, pattern) in route.patterns.named() {
        differs(&mut lines, key, (pattern, ""), string);
    }
    let (own, usual) = (&route.choice, &Choice::default());
    let copies = (&own.replication, &usual.replication);
    differs(&mut lines, "replication", copies, usize::to_string);
    let tags = (&own.hash_tags, &usual.hash_tags);
    differs(&mut lines, "hash_tags", tags, bool::to_string);
    let dynamic = (&own.dynamic, &usual.dynamic);
    differs(&mut lines, "dynamic", dynamic, bool::to_string);
    let failback = (&own.failback, &usual.failback);
    differs(&mut lines, "failback", failback, |time| {
        string(&show_duration(*time))
    });
    let destinations = route.destinations.iter();
    let texts = destinations.map(|one| destination(one, &route.key));
    lines.push(("destinations", list(texts)));
    lines
}

/// As it displays, without the id that it has by default.
fn destination(destination: &Destination, route: &str) -> String {
    let text = destination.to_string();
    let address = destination.address.to_string();
    if destination.id != format!("{route}/{address}") {
        return text;
    }
    let id = format!("{} id={}", quoted(&address), quoted(&destination.id));
    match text.strip_prefix(&id) {
        Some(options) => format!("{}{options}", quoted(&address)),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All but where it was read.
    fn meaning(config: &Config) -> String {
        let mut config = config.clone();
        (config.source, config.warnings) = (Vec::new(), Vec::new());
        format!("{config:#?}")
    }

    fn assert_read_back(path: &str, text: &str) {
        let config = Config::compile(Path::new(path), text.as_bytes()).unwrap();
        let printed = print(&config);
        let again = Config::compile(Path::new(path), printed.as_bytes());
        let again = again.unwrap_or_else(|problems| panic!("{problems}\n{printed}"));
        assert_eq!(meaning(&again), meaning(&config), "{printed}");
        assert_eq!(print(&again), printed);
    }

    #[test]
    fn every_key_reads_back() {
        assert_read_back(
            "/etc/c.toml",
            include_str!("../../tests/configs/good/everything.toml"),
        );
        assert_read_back(
            "/etc/c.toml",
            include_str!("../../tests/configs/good/dotted.toml"),
        );
        assert_read_back("/etc/c.toml", include_str!("../../config.example.toml"));
        assert_read_back("/etc/c.toml", "");
    }

    #[test]
    fn defaults_are_left_out() {
        let text = "[input]\nmax_line = 16384\n[[route]]\nkey = \"a\"\ndestinations = [\"h:1 id=a/h:1 full=spool\"]";
        let config = Config::compile(Path::new("/c.toml"), text.as_bytes()).unwrap();
        assert_eq!(
            print(&config),
            "[[route]]\nkey = \"a\"\ndestinations = [\"h:1\"]\n"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_patterns_read_back(
            key in "[a-z\"'\\\\=]{1,9}",
            pattern in "[a-z\"' =\t\\\\;$]{0,9}",
            file in "[a-z\"' =\\\\]{0,8}[a-z]",
        ) {
            let texts = [&key, &pattern, &format!("file:{file}")].map(|text| string(text));
            let [key, pattern, file] = texts;
            let text = format!(
                "[[route]]\nkey = {key}\nsub = {pattern}\nnotPrefix = {pattern}\n\
                 [[route.destination]]\naddress = {file}\nid = \"x\"\nprefix = {pattern}\n\
                 [[route.destination]]\naddress = \"h:1\"\nnotSub = {pattern}\n"
            );
            if Config::compile(Path::new("/c.toml"), text.as_bytes()).is_ok() {
                assert_read_back("/c.toml", &text);
            }
        }
    }
}
