/// The known word that a misspelt one most likely meant.
///
/// Case doesn't count, a swap of two neighbours is one slip, and a third of the letters may be
/// wrong: with more, a suggestion would be a guess. A word that another one begins with (`reconn`,
/// `reconnect`) is near too.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let slips_allowed = (word.chars().count() / 3).clamp(1, 3);
    let by_slips = known
        .iter()
        .map(|candidate| (slips(&word, &candidate.to_lowercase()), *candidate))
        .filter(|(slips, _)| *slips <= slips_allowed)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate);
    by_slips.or_else(|| {
        known.iter().copied().find(|candidate| {
            let candidate = candidate.to_lowercase();
            word.len().min(candidate.len()) >= 3
                && (word.starts_with(&candidate) || candidate.starts_with(&word))
        })
    })
}

/// The edit distance with insertion, deletion, replacement and the swap of neighbours (optimal
/// string alignment).
fn slips(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(slips("", "abc"), 3);
        assert_eq!(slips("kitten", "sitting"), 3);
        assert_eq!(slips("lsiten", "listen"), 1);
        assert_eq!(slips("same", "same"), 0);
    }

    #[test]
    fn slips_of_the_pen_are_found() {
        let known = [
            "listen",
            "log",
            "route",
            "reconnect",
            "notPrefix",
            "sub",
            "flush",
        ];
        assert_eq!(nearest("lisen", &known), Some("listen"));
        assert_eq!(nearest("not_prefix", &known), Some("notPrefix"));
        assert_eq!(nearest("notprefix", &known), Some("notPrefix"));
        assert_eq!(nearest("rotue", &known), Some("route"));
        assert_eq!(nearest("substr", &known), Some("sub"));
        assert_eq!(nearest("recon", &known), Some("reconnect"));
    }

    #[test]
    fn strangers_are_not() {
        let known = ["listen", "log", "route", "id"];
        assert_eq!(nearest("spool", &known), None);
        assert_eq!(nearest("", &known), None);
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn the_nearer_of_two_wins() {
        assert_eq!(nearest("prefx", &["suffix", "prefix"]), Some("prefix"));
    }
}
