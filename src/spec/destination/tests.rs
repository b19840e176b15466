use super::super::address::tests::any_address;
use super::super::spool::tests::any_spool;
use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Destination {
    Destination::parse(text, "r").unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn said(text: &str) -> Vec<String> {
    let problems = Destination::parse(text, "r").expect_err(text).0;
    problems.iter().map(BadOption::to_string).collect()
}

fn assert_said(text: &str, words: &[&str]) {
    let said = said(text);
    assert_eq!(said.len(), words.len(), "{text}: {said:#?}");
    for (said, words) in said.iter().zip(words) {
        assert!(
            said.contains(words),
            "{text}: expected {words:?} in {said:?}"
        );
    }
}

#[test]
fn defaults() {
    let expected = Destination {
        id: "r/127.0.0.1:2003".to_owned(),
        address: "127.0.0.1:2003".parse().unwrap(),
        patterns: Patterns::default(),
        queue: 8 << 20,
        resend: 0,
        full: Full::Spool,
        spool: Spool::default(),
        flush: Duration::from_millis(10),
        reconnect: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        bind: None,
        pickle: false,
    };
    assert_eq!(read("127.0.0.1:2003"), expected);
    assert_eq!(read(" \t127.0.0.1:2003 \n"), expected);
    assert_eq!(expected.to_string(), "127.0.0.1:2003 id=r/127.0.0.1:2003");
}

#[test]
fn every_option() {
    let text = "[::1]:2014:b\tid=store  queue=16MiB resend=1MiB full=drop flush=1s reconnect=1m timeout=500ms \
        bind=::2 pickle=true prefix=p. notPrefix=np sub=s notSub=ns regex=\"^a b\" notRegex=nr$";
    let expected = Destination {
        id: "store".to_owned(),
        address: "[::1]:2014:b".parse().unwrap(),
        patterns: Patterns {
            prefix: "p.".to_owned(),
            not_prefix: "np".to_owned(),
            sub: "s".to_owned(),
            not_sub: "ns".to_owned(),
            regex: "^a b".to_owned(),
            not_regex: "nr$".to_owned(),
        },
        queue: 16 << 20,
        resend: 1 << 20,
        full: Full::Drop,
        spool: Spool::default(),
        flush: Duration::from_secs(1),
        reconnect: Duration::from_secs(60),
        timeout: Duration::from_millis(500),
        bind: Some("::2".parse().unwrap()),
        pickle: true,
    };
    assert_eq!(read(text), expected);
}

#[test]
fn default_ids_have_the_instance() {
    assert_eq!(read("host:1:a").id, "r/host:1:a");
    assert_eq!(read("[0::1]:1").id, "r/[::1]:1");
    assert_eq!(read("file:x.out").id, "r/file:x.out");
}

#[test]
fn bare_numbers_are_milliseconds_where_the_family_writes_them() {
    assert_eq!(read("h:1 flush=1000").flush, Duration::from_secs(1));
    assert_eq!(read("h:1 flush=0").flush, Duration::ZERO);
    assert_eq!(read("h:1 reconn=10000").reconnect, Duration::from_secs(10));
    assert_eq!(
        read("h:1 reconnect=1500").reconnect,
        Duration::from_millis(1500)
    );
    assert_said("h:1 timeout=1000", &["timeout: expected a duration"]);
}

#[test]
fn paths_may_hold_blanks_and_equals_signs() {
    assert_eq!(
        read("\"file:my dir/x\" id=a").address,
        Address::File("my dir/x".into())
    );
    assert_eq!(read("file:a=b").address, Address::File("a=b".into()));
    assert_said("\"file:my dir/x\"", &["id: the default"]);
}

#[test]
fn every_problem_is_said_at_once() {
    let text = "host queue=1KiB flush=11s reconn=5ms full=spill bind=eth0 regex=( spool=true id=a\u{1}b word";
    assert_said(
        text,
        &[
            "address: expected host:port",
            "queue: expected a size from 1MiB to 64GiB, found \"1KiB\"",
            "flush: expected a duration from 0s to 10s, found \"11s\"",
            "reconn: expected a duration from 100ms to 1h, found \"5ms\"",
            "full: expected spool, block or drop, found \"spill\"",
            "bind: expected an IP address",
            "regex: ",
            "spool: unknown option",
            "id: expected a name without blanks",
            "expected an option key=value, found \"word\"",
        ],
    );
}

#[test]
fn an_address_comes_first() {
    assert_said("", &["address: missing"]);
    assert_said("queue=1MiB", &["address: expected host:port"]);
    assert_said("h:1 address=h:2", &["address: given twice"]);
    assert_said("h:1 h:2", &["found \"h:2\""]);
}

#[test]
fn nothing_is_given_twice() {
    assert_said("h:1 full=drop full=drop", &["full: given twice"]);
    assert_said(
        "h:1 reconn=1000 reconnect=1s",
        &["reconnect: given twice (reconn is the same)"],
    );
}

#[test]
fn unknown_options_name_the_nearest() {
    assert_said("h:1 que=1MiB", &["did you mean queue?"]);
    assert_said("h:1 substr=x", &["did you mean sub?"]);
    assert_said("h:1 notprefix=x", &["did you mean notPrefix?"]);
    for peer in [
        "spool",
        "connbuf",
        "iobuf",
        "spoolbuf",
        "spoolsleep",
        "unspoolsleep",
        "periodFlush",
    ] {
        assert_said(&format!("h:1 {peer}=1"), &["this version does not have it"]);
    }
}

#[test]
fn pickle_is_true_or_false_and_nothing_for_a_file() {
    assert!(read("h:1 pickle=true").pickle);
    assert!(!read("h:1 pickle=false").pickle);
    assert_said(
        "h:1 pickle=1",
        &["pickle: expected true or false, found \"1\""],
    );
    assert_said("file:x pickle=true", &["pickle: a file has no connection"]);
}

#[test]
fn resend_is_at_most_half_of_the_queue() {
    read("h:1 resend=4MiB");
    read("h:1 queue=2MiB resend=1MiB");
    assert_said(
        "h:1 queue=2MiB resend=1048577",
        &["resend: expected at most half of the queue (1MiB)"],
    );
    assert_said("h:1 queue=oops resend=1GiB", &["queue: expected a size"]);
}

#[test]
fn bind_is_of_the_addresses_family() {
    read("host:1 bind=127.0.0.1");
    assert_said("127.0.0.1:1 bind=::1", &["bind: expected an IPv4 address"]);
    assert_said(
        "[::1]:1 bind=127.0.0.1",
        &["bind: expected an IPv6 address"],
    );
}

#[test]
fn what_a_file_cannot_use_is_refused() {
    assert_said("file:x bind=::1", &["bind: a file has no connection"]);
    assert_said(
        "file:x timeout=1s resend=1MiB",
        &["timeout: a file has", "resend: a file has"],
    );
}

#[test]
fn unclosed_quotes() {
    assert_said("h:1 regex=\"a b", &["closing quote"]);
}

#[test]
fn a_spool_has_two_rings() {
    assert_eq!(read("h:1 queue=1MiB").memory(), 2 << 20);
    assert_eq!(read("h:1 queue=1MiB full=block").memory(), 1 << 20);
    assert_eq!(read("h:1 queue=1MiB full=drop").memory(), 1 << 20);
}

#[test]
fn json_of_other_versions() {
    let newer = r#"{"id":"a","address":"h:1","hash":{"seed":1},"full":"drop","patterns":{"sub":"x","glob":"*"}}"#;
    let read: Destination = serde_json::from_str(newer).unwrap();
    assert_eq!(
        read,
        Destination::parse("h:1 id=a full=drop sub=x", "r").unwrap()
    );
    let without_spools = r#"{"id":"a","address":"h:1","full":"block"}"#;
    let read: Destination = serde_json::from_str(without_spools).unwrap();
    assert_eq!(
        read,
        Destination::parse("h:1 id=a full=block", "r").unwrap()
    );
    assert!(serde_json::from_str::<Destination>(r#"{"id":"a","address":"h:0"}"#).is_err());
}

/// Any destination that a config can prove.
fn any_destination() -> impl Strategy<Value = Destination> {
    let text = "[a-z. \"=\\t]{0,8}";
    let patterns = (text, text, text, text, "[a-z\\. \"]{0,6}", "[a-z^$]{0,6}");
    let patterns =
        patterns.prop_map(
            |(prefix, not_prefix, sub, not_sub, regex, not_regex)| Patterns {
                prefix,
                not_prefix,
                sub,
                not_sub,
                regex,
                not_regex,
            },
        );
    let full = prop::sample::select(vec![Full::Spool, Full::Block, Full::Drop]);
    let limits = (1u64 << 20..=64 << 30, 0u64..=1 << 19, full, any_spool());
    let times = (
        0u64..=10_000_000_000,
        100u64..=3_600_000,
        100u64..=3_600_000,
    );
    let ms = Duration::from_millis;
    (
        "[!-~äö]{1,40}",
        any_address(),
        patterns,
        limits,
        times,
        any::<(bool, bool)>(),
    )
        .prop_map(
            move |(
                id,
                address,
                patterns,
                (queue, resend, full, spool),
                (flush, reconnect, timeout),
                (bind, pickle),
            )| {
                let is_file = matches!(address, Address::File(_));
                let bind = match &address {
                    Address::Tcp { host, .. } if host.contains(':') => "::1",
                    _ => "127.0.0.1",
                }
                .parse()
                .ok()
                .filter(|_| bind && !is_file);
                Destination {
                    id,
                    address,
                    patterns,
                    queue,
                    resend: if is_file { 0 } else { resend },
                    full,
                    spool: match full {
                        Full::Spool => spool,
                        Full::Block | Full::Drop => Spool::default(),
                    },
                    flush: Duration::from_nanos(flush),
                    reconnect: ms(reconnect),
                    timeout: if is_file {
                        draft::default_timeout()
                    } else {
                        ms(timeout)
                    },
                    bind,
                    pickle: pickle && !is_file,
                }
            },
        )
}

proptest! {
    #[test]
    fn a_destination_reads_back(destination in any_destination()) {
        let text = destination.to_string();
        let back = Destination::parse(&text, "another route");
        prop_assert_eq!(back.as_ref(), Ok(&destination), "{}", text);
        let json = serde_json::to_string(&destination).unwrap();
        prop_assert_eq!(serde_json::from_str::<Destination>(&json).unwrap(), destination);
    }

    #[test]
    fn no_text_makes_it_panic(text in "h:1( [a-z]{1,6}=[ -~]{0,6}){0,3}|.{0,20}") {
        let _ = Destination::parse(&text, "r");
    }
}
