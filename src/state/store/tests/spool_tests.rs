use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Back(usize, u64),
    Front(usize, u64),
    Through(usize, usize),
    Oldest(usize, usize, u64),
    Purge(usize, usize),
    PurgeAll(usize),
    Sweep(u32),
    Aside(usize, usize),
    ByHand(usize),
    ByHandAll,
    Undone(usize),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let (who, at) = (0usize..2, 0usize..12);
    prop_oneof![
        6 => (who.clone(), 1u64..9).prop_map(|(d, n)| Back(d, n)),
        4 => (who.clone(), 1u64..9).prop_map(|(d, n)| Front(d, n)),
        1 => (who.clone(), at.clone()).prop_map(|(d, i)| Through(d, i)),
        1 => (who.clone(), at.clone(), 0u64..200).prop_map(|(d, i, n)| Oldest(d, i, n)),
        1 => (who.clone(), at.clone()).prop_map(|(d, i)| Purge(d, i)),
        1 => who.clone().prop_map(PurgeAll),
        2 => (0u32..5).prop_map(Sweep),
        1 => (who.clone(), at.clone()).prop_map(|(d, i)| Aside(d, i)),
        1 => at.prop_map(ByHand),
        1 => Just(ByHandAll),
        1 => who.prop_map(Undone),
        1 => Just(Reopen),
    ]
}

const WHO: [&str; 2] = ["one", "two"];

/// What should be there: by destination, in their order, the payloads.
struct Model {
    rows: [Vec<Vec<u8>>; 2],
    made: u64,
}

impl Model {
    fn payload(&mut self, lines: u64) -> Vec<u8> {
        self.made += 1;
        format!("name {} 17\n", self.made)
            .repeat(lines as usize)
            .into()
    }
}

/// The places of a destination, in order.
fn places(store: &Store, destination: &str) -> Vec<i64> {
    let (mut places, mut after) = (Vec::new(), None);
    while let Some(row) = store.next_row(destination, after).unwrap() {
        places.push(row.seq);
        after = Some(row.seq);
    }
    places
}

fn act(place: &Place, store: &mut Store, model: &mut Model, step: Step) {
    let at = |store: &Store, d: usize, i: usize| places(store, WHO[d]).get(i).copied();
    let (d, rows, gone) = match step {
        Step::Back(d, lines) => {
            let payload = model.payload(lines);
            let taken = store.bounds(WHO[d]).unwrap().map(|(_, highest)| highest);
            let seq = taken
                .max(store.purged_through(WHO[d]).unwrap())
                .unwrap_or(0)
                + 1;
            let mut change = store.begin().unwrap();
            change.insert(&row(WHO[d], seq, &payload)).unwrap();
            change.commit().unwrap();
            model.rows[d].push(payload);
            return;
        }
        Step::Front(d, lines) => {
            let payload = model.payload(lines);
            let seq = store
                .bounds(WHO[d])
                .unwrap()
                .map_or(0, |(lowest, _)| lowest)
                - 1;
            let mut change = store.begin().unwrap();
            change.insert(&row(WHO[d], seq, &payload)).unwrap();
            change.commit().unwrap();
            model.rows[d].insert(0, payload);
            return;
        }
        Step::Through(d, i) => {
            let Some(seq) = at(store, d, i) else { return };
            let mut change = store.begin().unwrap();
            let gone = change.delete_through(WHO[d], seq).unwrap();
            change.commit().unwrap();
            (d, 0..i + 1, gone)
        }
        Step::Oldest(d, i, bytes) => {
            let after = i
                .checked_sub(1)
                .map(|i| at(store, d, i).unwrap_or(i64::MAX));
            let mut change = store.begin().unwrap();
            let gone = change.delete_oldest(WHO[d], after, bytes).unwrap();
            change.commit().unwrap();
            let from = i.min(model.rows[d].len());
            let (mut to, mut sum) = (from, 0);
            while to < model.rows[d].len() && (to == from || sum < bytes) {
                sum += model.rows[d][to].len() as u64;
                to += 1;
            }
            (d, from..to, gone)
        }
        Step::Purge(d, i) => {
            let Some(seq) = at(store, d, i) else { return };
            let mut change = store.begin().unwrap();
            let gone = change.purge(WHO[d], seq).unwrap();
            change.commit().unwrap();
            (d, 0..i + 1, gone)
        }
        Step::PurgeAll(d) => {
            let mut change = store.begin().unwrap();
            let gone = change.purge(WHO[d], i64::MAX).unwrap();
            change.commit().unwrap();
            (d, 0..model.rows[d].len(), gone)
        }
        Step::Aside(d, i) => {
            let Some(seq) = at(store, d, i) else { return };
            let mut change = store.begin().unwrap();
            let gone = change.set_aside(WHO[d], seq, "a test").unwrap();
            change.commit().unwrap();
            (d, i..i + 1, gone)
        }
        Step::Sweep(n) => {
            let before = physical(place);
            let more = store.sweep(n).unwrap();
            assert!(before - physical(place) <= i64::from(n));
            assert_eq!(
                more,
                physical(place) > (model.rows[0].len() + model.rows[1].len()) as i64
            );
            return;
        }
        Step::ByHand(i) => {
            let sql =
                "DELETE FROM spool WHERE id IN (SELECT id FROM spool AS s WHERE destination = 'one'
                AND NOT EXISTS (SELECT 1 FROM spool_purged AS p
                    WHERE p.destination = s.destination AND p.through >= s.seq)
                ORDER BY seq LIMIT 2 OFFSET ?1)";
            place.sqlite().execute(sql, [i as i64]).unwrap();
            let end = model.rows[0].len();
            model.rows[0].drain(i.min(end)..(i + 2).min(end));
            return;
        }
        Step::ByHandAll => {
            place
                .sqlite()
                .execute("DELETE FROM spool WHERE destination = 'two'", ())
                .unwrap();
            model.rows[1].clear();
            return;
        }
        Step::Undone(d) => {
            let mut change = store.begin().unwrap();
            insert(&mut change, WHO[d], 1 << 40, 3);
            change.purge(WHO[d], 1 << 40).unwrap();
            return;
        }
        Step::Reopen => {
            *store = place.open();
            return;
        }
    };
    let payloads: Vec<_> = model.rows[d].drain(rows).collect();
    let expected = Deleted {
        rows: payloads.len() as u64,
        lines: payloads.iter().map(|payload| lines_of(payload)).sum(),
        bytes: payloads.iter().map(|payload| payload.len() as u64).sum(),
    };
    assert_eq!(gone, expected);
}

fn lines_of(payload: &[u8]) -> u64 {
    payload.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn physical(place: &Place) -> i64 {
    let conn = place.sqlite();
    conn.query_row("SELECT count(*) FROM spool", (), |row| row.get(0))
        .unwrap()
}

fn check(place: &Place, store: &Store, model: &Model) {
    let totals = store.totals().unwrap();
    for (destination, expected) in WHO.iter().zip(&model.rows) {
        let (mut found, mut after) = (Vec::new(), None);
        let mut ends = Vec::new();
        while let Some(row) = store.next_row(destination, after).unwrap() {
            assert_eq!(row.lines, lines_of(&row.payload));
            ends.push((row.seq, row.first_at_ms, row.last_at_ms));
            after = Some(row.seq);
            found.push(row.payload);
        }
        assert_eq!(&found, expected, "{destination}");
        let bounds = store.bounds(destination).unwrap();
        let total = totals
            .iter()
            .find(|total| total.destination == *destination);
        let Some(first) = ends.first() else {
            assert_eq!((bounds, total), (None, None));
            continue;
        };
        let last = ends.last().unwrap();
        assert_eq!(bounds, Some((first.0, last.0)));
        let total = total.unwrap();
        assert_eq!(total.rows, expected.len() as u64);
        assert_eq!(
            total.lines,
            expected.iter().map(|p| lines_of(p)).sum::<u64>()
        );
        assert_eq!(
            total.bytes,
            expected.iter().map(|p| p.len() as u64).sum::<u64>()
        );
        assert_eq!(
            (total.oldest_ms, total.newest_ms),
            (Some(first.1), Some(last.2))
        );
        let summary: (i64, i64, String) = place
            .sqlite()
            .query_row(
                "SELECT rows, bytes, oldest FROM spool_summary WHERE destination = ?1",
                [destination],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .unwrap();
        assert_eq!(
            summary,
            (total.rows as i64, total.bytes as i64, time::iso(first.1))
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn totals_are_what_lives(steps in prop::collection::vec(step(), 1..60)) {
        let place = Place::new();
        let mut store = place.open();
        let mut model = Model { rows: [Vec::new(), Vec::new()], made: 0 };
        for step in steps {
            act(&place, &mut store, &mut model, step);
            check(&place, &store, &model);
        }
        while store.sweep(3).unwrap() {}
        check(&place, &store, &model);
        prop_assert_eq!(physical(&place), (model.rows[0].len() + model.rows[1].len()) as i64);
        store.quick_check().unwrap();
    }
}

#[test]
fn a_place_that_is_taken_is_refused_and_the_change_goes_on() {
    let place = Place::new();
    let mut store = place.open();
    let mut change = store.begin().unwrap();
    insert(&mut change, "a", 1, 1);
    let again = change.insert(&row("a", 1, b"two 2 2\n"));
    assert!(
        matches!(again, Err(StoreError::Unavailable(_))),
        "{again:?}"
    );
    insert(&mut change, "a", 2, 1);
    change.commit().unwrap();
    assert_eq!(store.totals().unwrap()[0].rows, 2);
}

#[test]
fn a_row_below_what_was_purged_lives() {
    let place = Place::new();
    let mut store = place.open();
    let mut change = store.begin().unwrap();
    (1..=9).for_each(|seq| insert(&mut change, "a", seq, 1));
    change.purge("a", 9).unwrap();
    change.commit().unwrap();
    assert_eq!(store.purged_through("a").unwrap(), Some(9));
    let mut change = store.begin().unwrap();
    insert(&mut change, "a", 10, 1);
    insert(&mut change, "a", 9, 1);
    insert(&mut change, "a", 7, 1);
    change.commit().unwrap();
    assert_eq!(store.purged_through("a").unwrap(), Some(6));
    assert_eq!(places(&store, "a"), [7, 9, 10]);
    assert_eq!(store.totals().unwrap()[0].rows, 3);
    while store.sweep(100).unwrap() {}
    assert_eq!(physical(&place), 3);
}

#[test]
fn positions_keep_all_their_bits() {
    let place = Place::new();
    let mut store = place.open();
    assert_eq!(store.position("a").unwrap(), None);
    for position in [
        Position {
            ring: u64::MAX,
            position: 1 << 63,
        },
        Position {
            ring: 0,
            position: 7,
        },
    ] {
        let mut change = store.begin().unwrap();
        change.set_position("a", position).unwrap();
        assert_eq!(change.position("a").unwrap(), Some(position));
        change.commit().unwrap();
        assert_eq!(store.position("a").unwrap(), Some(position));
    }
}
