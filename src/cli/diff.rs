//! What is otherwise, line by line, as `diff -u` has it.

use std::io::IsTerminal;

use crate::amend::Difference;

/// Longer texts are shown as one that goes and one that comes.
const MAX_CELLS: usize = 4_000_000;

/// The lines of two texts: ` ` in both, `-` in the first, `+` in the second.
pub fn lines<'t>(before: &'t str, after: &'t str) -> Vec<(char, &'t str)> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let width = new.len() + 1;
    if (old.len() + 1).saturating_mul(width) > MAX_CELLS {
        let gone = old.into_iter().map(|line| ('-', line));
        return gone
            .chain(new.into_iter().map(|line| ('+', line)))
            .collect();
    }
    // How many lines the texts have in common, from these on.
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for (i, one) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            common[i * width + j] = match one == other {
                true => common[(i + 1) * width + j + 1] + 1,
                false => common[(i + 1) * width + j].max(common[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut all = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            all.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len()
            || i < old.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]
        {
            all.push(('-', old[i]));
            i += 1;
        } else {
            all.push(('+', new[j]));
            j += 1;
        }
    }
    all
}

/// Differences for people, a head `@@ kind key @@` before each.
pub fn show(differences: &[Difference], colour: bool) -> String {
    let mut text = String::new();
    for one in differences {
        let Difference {
            kind,
            key,
            before,
            after,
        } = one;
        let moved = before.is_some() && before == after;
        let what = match (before, after) {
            _ if moved => ", which gets another place",
            (None, _) => ", new",
            (_, None) => ", removed",
            _ => "",
        };
        let key = super::columns::shown(key);
        text.push_str(&painted(&format!("@@ {kind} {key}{what} @@"), "36", colour));
        text.push('\n');
        if moved {
            continue;
        }
        let (before, after) = (before.as_deref(), after.as_deref());
        for (sign, line) in lines(before.unwrap_or(""), after.unwrap_or("")) {
            let code = match sign {
                '-' => "31",
                '+' => "32",
                _ => "",
            };
            text.push_str(&painted(&format!("{sign}{line}"), code, colour));
            text.push('\n');
        }
    }
    text
}

fn painted(text: &str, code: &str, colour: bool) -> String {
    match colour && !code.is_empty() {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

/// Whether standard output is one that shows colours, and they are wanted: <https://no-color.org>.
pub fn has_colour() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stdout().is_terminal() && !unwanted && !dumb
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RuleKind;

    #[test]
    fn lines_that_stay_are_found() {
        let all = |a, b| {
            let text: Vec<String> = lines(a, b).iter().map(|(c, l)| format!("{c}{l}")).collect();
            text.join(",")
        };
        assert_eq!(all("a\nb\nc\n", "a\nx\nc\n"), " a,-b,+x, c");
        assert_eq!(all("", "a\nb\n"), "+a,+b");
        assert_eq!(all("a\nb\n", ""), "-a,-b");
        assert_eq!(all("a\nb\nc\nd", "b\nd\ne"), "-a, b,-c, d,+e");
        let long = "x\n".repeat(3000);
        assert_eq!(lines(&long, &format!("{long}y")).len(), 6001);
    }

    #[test]
    fn heads_say_what_happens() {
        let one = |before: Option<&str>, after: Option<&str>| {
            let difference = Difference {
                kind: RuleKind::Route,
                key: "a".to_owned(),
                before: before.map(str::to_owned),
                after: after.map(str::to_owned),
            };
            show(&[difference], false)
        };
        assert_eq!(one(None, Some("x\n")), "@@ route a, new @@\n+x\n");
        assert_eq!(one(Some("x\n"), None), "@@ route a, removed @@\n-x\n");
        assert_eq!(
            one(Some("x\n"), Some("x\n")),
            "@@ route a, which gets another place @@\n"
        );
        assert_eq!(one(Some("x\n"), Some("y\n")), "@@ route a @@\n-x\n+y\n");
    }
}
