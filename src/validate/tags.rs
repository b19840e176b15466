//! The tags of a name, `;key=value;key2=value2`, as Graphite 1.1 writes them.

/// Whether the tags (what follows the name, from its first `;` on) are well formed: keys and values not empty, no `!`
/// in a key, no `~` at the front of a value. A value may hold further `=`.
pub fn are_well_formed(tags: &[u8]) -> bool {
    tags.is_empty() || tags[0] == b';' && each(tags).all(is_well_formed)
}

/// The tags without their semicolons. An empty last one counts: it makes `;k=v;` malformed.
fn each(tags: &[u8]) -> impl Iterator<Item = &[u8]> {
    tags.split(|&byte| byte == b';').skip(1)
}

fn is_well_formed(tag: &[u8]) -> bool {
    let Some(equals) = memchr::memchr(b'=', tag) else {
        return false;
    };
    let (key, value) = (&tag[..equals], &tag[equals + 1..]);
    !key.is_empty() && !key.contains(&b'!') && !matches!(value, [] | [b'~', ..])
}

/// Room for sorting, kept so that no line allocates.
#[derive(Debug, Default)]
pub struct Sorter {
    /// Start, end of the key and end of each tag.
    tags: Vec<(usize, usize, usize)>,
}

impl Sorter {
    /// Appends well-formed tags to `into`, sorted by the bytes of their keys; of those with one key only the last.
    pub fn sort(&mut self, tags: &[u8], into: &mut Vec<u8>) {
        self.tags.clear();
        // Positions rather than slices: a borrow couldn't outlive this call, and the room must.
        let mut start = 1;
        for tag in each(tags) {
            let key = memchr::memchr(b'=', tag).unwrap_or(tag.len());
            self.tags.push((start, start + key, start + tag.len()));
            start += tag.len() + 1;
        }
        let key = |&(start, equals, _): &(usize, usize, usize)| &tags[start..equals];
        // By position within one key, so that the unstable sort (which allocates nothing) leaves the last one last.
        self.tags
            .sort_unstable_by(|one, other| key(one).cmp(key(other)).then(one.0.cmp(&other.0)));
        for (index, tag) in self.tags.iter().enumerate() {
            let later = self.tags.get(index + 1);
            if later.is_none_or(|later| key(later) != key(tag)) {
                into.push(b';');
                into.extend_from_slice(&tags[tag.0..tag.2]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_needed() {
        for tags in [
            "",
            ";k=v",
            ";k=v;a=b",
            ";k=v=w",
            ";k=v!",
            ";k=a~",
            ";k=\u{e9}",
        ] {
            assert!(are_well_formed(tags.as_bytes()), "{tags}");
        }
        for tags in [
            ";",
            ";;",
            ";k",
            ";k=",
            ";=v",
            ";k=v;",
            ";k!=v",
            ";k=~v",
            ";k=v;;a=b",
        ] {
            assert!(!are_well_formed(tags.as_bytes()), "{tags}");
        }
    }

    #[test]
    fn sorted_by_key_and_the_last_duplicate_wins() {
        let mut sorter = Sorter::default();
        for (tags, sorted) in [
            (";b=1;a=2", ";a=2;b=1"),
            (";a=1;b=2;a=3", ";a=3;b=2"),
            // `a` sorts before `a1`, whatever sorts between `=` and `1`.
            (";a1=1;a=2", ";a=2;a1=1"),
            (";a=1;b=2", ";a=1;b=2"),
        ] {
            let mut into = b"name".to_vec();
            sorter.sort(tags.as_bytes(), &mut into);
            assert_eq!(String::from_utf8_lossy(&into), format!("name{sorted}"));
        }
    }
}
