//! Each point, each filter.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

use baton::drill::free_ports;

use crate::client::{Events, ask};
use crate::relay::{Config, Relay, hang_up};

#[test]
fn each_point_shows_lines_as_they_are_there() {
    let [pickle] = free_ports().unwrap();
    let mut config = Config::to_file();
    config.top = "blocklist = [\"prefix blocked.\"]".to_owned();
    config.listen = format!("pickle = [\"tcp://127.0.0.1:{pickle}\"]");
    config.routes = format!(
        "\
         [[rewriter]]\nold = \"before.\"\nnew = \"after.\"\nmax = -1\n\
         [[aggregation]]\nfunction = \"sum\"\nregex = \"^sum\\\\.[a-z]+$\"\nformat = \"total\"\ninterval = 10\nwait = 20\ndropRaw = true\n\
         {}[[route]]\nkey = \"second\"\ndestinations = [\"file:second id=second\"]\n",
        config.routes
    );
    let relay = Relay::start(&config);
    let open = |query| {
        let events = Events::open(relay.http, query);
        assert!(events.is_begun());
        events
    };
    let (mut came, mut routed, mut rejected) = (open("at=in"), open(""), open("at=rejected"));
    // The window of this one is over soon, and not yet.
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() - 5;
    let sum = format!("sum.a 2 {now}\n");
    let lines = format!(
        "two.routes  1 1790000000\nblocked.a 1 1790000000\nbefore.a 1 1790000000\nbad x 1790000000\n{sum}bad\u{e9}\t1\r\n"
    );
    relay.send(&lines);
    assert_eq!(
        came.lines(6),
        [
            "two.routes  1 1790000000",
            "blocked.a 1 1790000000",
            "before.a 1 1790000000",
            "bad x 1790000000",
            sum.trim_end(),
            "bad\u{e9}\\t1\\r",
        ]
    );
    assert_eq!(
        rejected.lines(2),
        ["value: bad x 1790000000", "fields: bad\u{e9}\\t1\\r"]
    );
    // Each once, though two routes take it; then what the aggregation made.
    let minute = now - now % 10;
    assert_eq!(
        routed.lines(3),
        [
            "two.routes 1 1790000000".to_owned(),
            "after.a 1 1790000000".to_owned(),
            format!("total 2 {minute}"),
        ]
    );
    relay.udp().send(b"by.udp 1 1790000000\nbad").unwrap();
    assert_eq!(came.lines(2), ["by.udp 1 1790000000", "bad"]);
    assert_eq!(routed.lines(1), ["by.udp 1 1790000000"]);
    assert_eq!(rejected.lines(1), ["fields: bad"]);
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, pickle)).unwrap();
    let frame = b"(lp0\n(S'by.pickle'\np1\n(I1790000000\nI5\ntp2\ntp3\na.";
    client
        .write_all(&(frame.len() as u32).to_be_bytes())
        .unwrap();
    client.write_all(frame).unwrap();
    client.write_all(&[0, 0, 0, 1, b'!']).unwrap();
    hang_up(client);
    assert_eq!(came.lines(1), ["by.pickle 5 1790000000"]);
    assert_eq!(routed.lines(1), ["by.pickle 5 1790000000"]);
    let bad = rejected.lines(1);
    assert!(bad[0].starts_with("pickle: "), "{bad:?}");
    drop((came, routed, rejected));
    relay.check_books();
}

#[test]
fn each_filter_shows_what_matches() {
    let relay = Relay::start(&Config::to_file());
    let all = [
        "servers.a.cpu 1 1790000000",
        "servers.b.cpu.idle 1 1790000000",
        "servers.a.mem;host=x 1 1790000000",
        "routers.a.cpu 1 1790000000",
    ];
    let queries: [(&str, &[usize]); 9] = [
        ("prefix=servers.", &[0, 1, 2]),
        ("notPrefix=servers.", &[3]),
        ("sub=cpu", &[0, 1, 3]),
        ("notSub=cpu", &[2]),
        ("regex=cpu%24", &[0, 3]),
        ("notRegex=cpu%24", &[1, 2]),
        ("glob=*.%7Ba%2Cc%7D.%5Ba-c%5Dpu", &[0, 3]),
        ("glob=servers.**&sub=a.&sample=1", &[0, 2]),
        ("at=in&prefix=routers&sub=cpu", &[3]),
    ];
    let mut opened = queries.map(|(query, expected)| (Events::open(relay.http, query), expected));
    let text = all.join("\n") + "\n";
    // What doesn't match would be seen before the second round.
    for _ in 0..2 {
        relay.send(&text);
        for (events, expected) in &mut opened {
            let expected: Vec<&str> = expected.iter().map(|at| all[*at]).collect();
            assert_eq!(events.lines(expected.len()), expected);
        }
    }
    drop(opened);
    relay.check_books();
}

#[test]
fn a_sample_is_one_of_so_many() {
    let relay = Relay::start(&Config::to_file());
    let mut sample = Events::open(relay.http, "sample=100");
    let mut end = Events::open(relay.http, "prefix=end");
    let line = |n| format!("many.{n} 1 1790000000\n");
    relay.send((0..50_000).map(line).collect::<String>());
    relay.send("end 1 1790000000\n");
    end.lines(1);
    // So that the sample comes to an end.
    let mut seen = Vec::new();
    while !seen.iter().any(|line: &String| line.starts_with("last")) {
        relay.send("last 1 1790000000\n".repeat(200));
        seen.extend(sample.lines(1));
    }
    let many = seen.iter().filter(|line| line.starts_with("many.")).count();
    assert!(many.abs_diff(500) < 150, "{many}");
    drop((sample, end));
    relay.check_books();
}

#[test]
fn what_cant_be_is_refused_in_words() {
    let relay = Relay::start(&Config::to_file());
    for (query, said) in [
        ("at=out", "expected in, routed or rejected"),
        ("regex=a(", "is not a regular expression"),
        ("glob=a%7B", "a { isn't closed"),
        ("sample=0", "from 1 to"),
        ("globs=a", "no parameter"),
    ] {
        let (head, mut body) = ask(
            relay.http,
            &format!("/api/v1/subscribe?{query}"),
            "Connection: close\r\n",
        );
        assert!(head.starts_with("HTTP/1.1 400 "), "{query}: {head}");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut body, &mut text).unwrap();
        assert!(text.contains(said), "{query}: {text}");
    }
    relay.check_books();
}
