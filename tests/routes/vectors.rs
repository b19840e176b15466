//! Placements computed by the original relays: each of them is reproduced.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use super::*;
use baton::route::hash::{Hash, fnv1a_32, fnv1a_64, folded, md5_16};

/// The rows of a table, without its heading.
fn rows(file: &str) -> Vec<Vec<String>> {
    let path = format!("{}/tests/vectors/{file}.csv", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let fields = |line: &str| line.split(',').map(str::to_owned).collect();
    let rows: Vec<Vec<String>> = text.lines().skip(1).map(fields).collect();
    assert!(rows.len() > 100, "{path}");
    rows
}

/// The members of each ring, in their order.
fn rings() -> BTreeMap<String, Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/rings.csv");
    let mut rings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in fs::read_to_string(path).unwrap().lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let ring = rings.entry(fields[0].to_owned()).or_default();
        assert_eq!(fields[1], ring.len().to_string());
        ring.push(fields[2].to_owned());
    }
    assert_eq!(rings.len(), 9);
    rings
}

fn without_instance(texts: &[String]) -> Vec<&str> {
    let address = |text: &'_ String| text.split('=').next().unwrap().len();
    texts.iter().map(|text| &text[..address(text)]).collect()
}

/// Compares every row of a file, whose columns for ring, name and nodes are these, with what `kind` chooses. Returns how many rows
/// didn't agree.
fn disagreements(file: &str, kind: RouteKind, (name, nodes): (usize, usize)) -> usize {
    let rings = rings();
    let mut choosers = HashMap::new();
    let mut wrong = 0;
    let rows = rows(file);
    for row in &rows {
        // carbon-c-relay's FNV extends the sign of such bytes: an accident of its compiler.
        if file.starts_with("ccr_") && kind != RouteKind::ConsistentHashing && !row[name].is_ascii()
        {
            continue;
        }
        let ring = &rings[&row[0]];
        let expected: Vec<&str> = row[nodes].split('|').collect();
        let key = (row[0].clone(), expected.len());
        let chooser = choosers.entry(key).or_insert_with(|| {
            let replication = expected.len();
            let options = ChoiceOptions {
                replication,
                ..ChoiceOptions::default()
            };
            chooser(kind, ring, options)
        });
        let addresses = without_instance(ring);
        let found: Vec<&str> = chosen(chooser, &row[name], &[])
            .into_iter()
            .map(|at| match expected[0].contains('=') {
                true => &ring[at][..],
                false => addresses[at],
            })
            .collect();
        if found != expected {
            wrong += 1;
            if wrong < 5 {
                eprintln!("{file}: {row:?}: {found:?}");
            }
        }
    }
    let of_rings: std::collections::BTreeSet<_> = rows.iter().map(|row| &row[0]).collect();
    assert_eq!(of_rings.len(), rings.len(), "{file} has every ring");
    wrong
}

#[test]
fn case_24_the_hashes_themselves() {
    for (text, position) in [
        ("a.b.c.d", 54437),
        ("", 54301),
        ("servers.web17.cpu.user", 15487),
        ("foo.bar;k=v", 32114),
        ("('127.0.0.1', 'a'):0", 24043),
        ("('127.0.0.1', None):0", 52941),
    ] {
        assert_eq!(md5_16(text.as_bytes()), position, "{text}");
    }
    assert_eq!(fnv1a_32(b"foo.bar"), 0xcb94_2ef4);
    assert_eq!(fnv1a_64(b"foo.bar"), 0xa932_87dd_f705_0214);
    for (text, position) in [
        ("foo.bar", 58720),
        ("servers.web17.cpu.user", 26747),
        // As FNV is defined, not as carbon-c-relay computes it.
        ("größe", 14754),
    ] {
        assert_eq!(folded(fnv1a_32(text.as_bytes())), position, "{text}");
    }
}

#[test]
fn case_24_carbon_ch_is_carbons() {
    assert_eq!(disagreements("carbon_ch", RouteKind::CarbonCh, (2, 4)), 0);
    for row in rows("carbon_ch") {
        assert_eq!(md5_16(row[2].as_bytes()).to_string(), row[3]);
    }
}

#[test]
fn case_24_consistent_hashing_is_carbon_relay_ngs() {
    let kind = RouteKind::ConsistentHashing;
    assert_eq!(disagreements("crng_consistentHashing", kind, (1, 2)), 0);
    let kind = RouteKind::ConsistentHashingV2;
    assert_eq!(disagreements("crng_consistentHashing_v2", kind, (1, 2)), 0);
}

/// carbon-c-relay's `carbon_ch`, replicas too, is the same ring.
#[test]
fn case_24_consistent_hashing_is_carbon_c_relays_carbon_ch() {
    let kind = RouteKind::ConsistentHashing;
    assert_eq!(disagreements("ccr_carbon_ch", kind, (1, 3)), 0);
}

#[test]
fn case_24_fnv1a_ch_is_carbon_c_relays() {
    assert_eq!(disagreements("ccr_fnv1a_ch", RouteKind::Fnv1aCh, (1, 3)), 0);
}

#[test]
fn case_24_jump_fnv1a_ch_is_carbon_c_relays() {
    let kind = RouteKind::JumpFnv1aCh;
    assert_eq!(disagreements("ccr_jump_fnv1a_ch", kind, (1, 3)), 0);
}

/// Members without instances keep their order, so the bucket's number is the member's.
#[test]
fn case_24_jump_is_nanotubes_too() {
    let mut hashes = HashMap::new();
    for row in rows("nanotube_jump_lb") {
        let size: usize = row[0].parse().unwrap();
        let hash = hashes.entry(size).or_insert_with(|| {
            let hosts: Vec<String> = (0..size).map(|at| format!("h{at}:1")).collect();
            Hash::jump(&members(&hosts))
        });
        assert_eq!(hash.first(row[1].as_bytes()).to_string(), row[2], "{row:?}");
        let index = fnv1a_64(row[1].as_bytes()) % size as u64;
        assert_eq!(index.to_string(), row[3], "{row:?}");
    }
}

#[test]
fn case_23_any_of_is_carbon_c_relays() {
    assert_eq!(disagreements("ccr_any_of", RouteKind::AnyOf, (1, 3)), 0);
}

#[test]
fn case_24_every_entry_of_every_ring() {
    let rings = rings();
    let mut found: BTreeMap<(String, String), Vec<(String, String)>> = BTreeMap::new();
    for (file, kinds) in [
        ("carbon_ch_rings", &["carbon_ch"][..]),
        ("crng_rings", &["consistentHashing", "consistentHashing-v2"]),
    ] {
        for row in rows(file) {
            if kinds.contains(&&row[0][..]) {
                let entries = found.entry((row[0].clone(), row[1].clone())).or_default();
                entries.push((row[2].clone(), row[3].clone()));
            }
        }
    }
    assert_eq!(found.len(), 3 * 6);
    for ((kind, ring), expected) in found {
        let members = members(&rings[&ring]);
        let hash = match &kind[..] {
            "carbon_ch" => Hash::carbon(&members),
            "consistentHashing" => Hash::ng(&members),
            _ => Hash::ng_v2(&members),
        };
        let (texts, addresses) = (&rings[&ring], without_instance(&rings[&ring]));
        let with_instance = expected[0].1.contains('=');
        let entries = hash.entries().unwrap().map(|(position, member)| {
            let node = match with_instance {
                true => texts[member].clone(),
                false => addresses[member].to_owned(),
            };
            (position.to_string(), node)
        });
        assert_eq!(entries.collect::<Vec<_>>(), expected, "{kind} {ring}");
    }
}

/// From the daemon as it ran: the key ends before the tags.
#[test]
fn case_24_without_tags_as_carbon_c_relays_daemon() {
    let rows = rows("ccr_live_carbon_ch_tags");
    let ring: Vec<String> = rows[0][0].split('|').map(str::to_owned).collect();
    let options = |hash_tags| ChoiceOptions {
        hash_tags,
        ..ChoiceOptions::default()
    };
    let without = chooser(RouteKind::ConsistentHashing, &ring, options(false));
    let with = chooser(RouteKind::ConsistentHashing, &ring, options(true));
    let addresses = without_instance(&ring);
    let mut others = 0;
    for row in &rows {
        // As it was sent: carbon-c-relay replaces bytes that it doesn't allow before it hashes.
        let name = row[2].split(' ').next().unwrap();
        assert_eq!(addresses[chosen(&without, name, &[])[0]], row[3], "{row:?}");
        others += usize::from(addresses[chosen(&with, name, &[])[0]] != row[3]);
    }
    assert!(others > rows.len() / 2, "the tags make a difference");
}
