//! Destination strings of carbon-relay-ng, in files and in commands.

use super::words::{Word, quoted, split};

/// Options of its buffers and of the files it spools to: Baton's queue and spool have their own.
const NOT_NEEDED: &[&str] = &[
    "connbuf",
    "iobuf",
    "spoolbuf",
    "spoolmaxbytesperfile",
    "spoolsyncevery",
    "spoolsyncperiod",
    "spoolsleep",
    "unspoolsleep",
];

/// A destination string in Baton's words, and what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    /// As [`Destination::parse`](super::Destination::parse) reads it.
    pub text: String,
    /// What can be run and is most likely not meant.
    pub warnings: Vec<String>,
    /// What does nothing, with nothing missing.
    pub notes: Vec<String>,
}

/// Translates one: `spool` becomes `full`, `pickle` is a flag as Go reads it, and what is about its buffers goes. A string that
/// is Baton's own stays what it is.
///
/// # Errors
/// What can't be read.
pub fn destination_of_relay_ng(text: &str) -> Result<Translated, String> {
    let mut options = Vec::new();
    let (mut address, mut without) = (String::new(), Vec::new());
    let (mut warnings, mut notes) = (Vec::new(), Vec::new());
    for word in split(text)? {
        let (key, value) = match word {
            Word::Plain(word) if address.is_empty() => {
                address = quoted(&word).into_owned();
                continue;
            }
            // The compiler says what is wrong with it.
            Word::Plain(word) => {
                options.push(quoted(&word).into_owned());
                continue;
            }
            Word::Option { key, value } => (key, value),
        };
        match &key[..] {
            "spool" => {
                options.push(match flag(&key, &value)? {
                    true => "full=spool".to_owned(),
                    false => "full=drop".to_owned(),
                });
                if options.last().is_some_and(|last| last == "full=drop") {
                    let message = "spool=false: lines are dropped while it is down or full; spool=true keeps them";
                    warnings.push(message.to_owned());
                }
            }
            "pickle" => {
                if flag(&key, &value)? {
                    options.push("pickle=true".to_owned());
                }
            }
            name if NOT_NEEDED.contains(&name) => without.push(key),
            _ => options.push(format!("{key}={}", quoted(&value))),
        }
    }
    if !without.is_empty() {
        let verb = if without.len() == 1 { "is" } else { "are" };
        let message = format!(
            "{} {verb} not needed: queue and spool_max say how much is kept",
            without.join(", ")
        );
        notes.push(message);
    }
    options.insert(0, address);
    let text = options.join(" ");
    Ok(Translated {
        text,
        warnings,
        notes,
    })
}

/// As Go's strconv.ParseBool reads it.
fn flag(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("{key}: expected true or false, found {value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_options_become_batons() {
        for (text, expected, warned) in [
            (
                "127.0.0.1:2003 spool=true pickle=false",
                "127.0.0.1:2003 full=spool",
                0,
            ),
            ("127.0.0.1:2003", "127.0.0.1:2003", 0),
            (
                "h:1 spool=false pickle=true",
                "h:1 full=drop pickle=true",
                1,
            ),
            (
                "h:1:a regex=^a=b$ flush=10 reconn=5000",
                "h:1:a regex=^a=b$ flush=10 reconn=5000",
                0,
            ),
            ("h:1 connbuf=30000 iobuf=2000000 sub=x", "h:1 sub=x", 1),
            (
                "h:1 sub==  unspoolsleep=10 spool=0",
                "h:1 sub== full=drop",
                2,
            ),
        ] {
            let translated = destination_of_relay_ng(text).unwrap();
            assert_eq!(translated.text, expected);
            let said = translated.warnings.len() + translated.notes.len();
            assert_eq!(said, warned, "{text}");
        }
        assert!(destination_of_relay_ng("h:1 spool=yes").is_err());
        assert!(destination_of_relay_ng("h:1 regex=\"a").is_err());
    }
}
