//! Queries, strictly: what isn't known or can't be read is an error, not ignored.

/// The values of the only parameter that a page has, in order; no query is no values.
///
/// # Errors
/// In words: there is another parameter, or an escape that is none.
pub(super) fn values(query: Option<&str>, parameter: &str) -> Result<Vec<Vec<u8>>, String> {
    let parts = query.unwrap_or_default().split('&');
    let mut values = Vec::new();
    for part in parts.filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if decoded(name)? != parameter.as_bytes() {
            return Err(format!(
                "there is no parameter {name:?} here: expected {parameter}="
            ));
        }
        values.push(decoded(value)?);
    }
    Ok(values)
}

/// Parameters that each may come once, as text.
pub(super) struct Query(Vec<(String, Vec<u8>)>);

impl Query {
    /// Reads a query that may have these parameters.
    ///
    /// # Errors
    /// In words: there is another, or one twice, or an escape that is none.
    pub fn read(query: Option<&str>, known: &[&str]) -> Result<Query, String> {
        let parts = query.unwrap_or_default().split('&');
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = String::from_utf8_lossy(&decoded(name)?).into_owned();
            if !known.contains(&&name[..]) {
                let known = known.join(", ");
                return Err(format!(
                    "there is no parameter {name:?} here: expected {known}"
                ));
            }
            if found.iter().any(|(there, _)| *there == name) {
                return Err(format!("{name}: given twice"));
            }
            found.push((name, decoded(value)?));
        }
        Ok(Query(found))
    }

    /// The value of a parameter, if it was given.
    ///
    /// # Errors
    /// It isn't UTF-8.
    pub fn take(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some(at) = self.0.iter().position(|(there, _)| there == name) else {
            return Ok(None);
        };
        let text = String::from_utf8(self.0.swap_remove(at).1);
        text.map(Some)
            .map_err(|_| format!("{name}: expected UTF-8"))
    }
}

/// Without its escapes; `+` is a blank, as in a form (application/x-www-form-urlencoded).
fn decoded(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = text.bytes();
    let mut all = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        all.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let digits = (digit(bytes.next()), digit(bytes.next()));
                let (Some(high), Some(low)) = digits else {
                    return Err(format!(
                        "{text:?}: expected two hexadecimal digits behind %"
                    ));
                };
                (high * 16 + low) as u8
            }
            byte => byte,
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_as_bytes() {
        let of = |query| values(Some(query), "metric").unwrap();
        assert_eq!(
            of("metric=a%20b+c&metric=%ff%3B=&"),
            [&b"a b c"[..], b"\xff;="]
        );
        assert_eq!(of("m%65tric"), [b""]);
        assert_eq!(of(""), [[0; 0]; 0]);
        assert_eq!(values(None, "metric").unwrap(), [[0; 0]; 0]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (query, said) in [
            ("metrics=a", "no parameter \"metrics\""),
            ("metric=a&b", "no parameter \"b\""),
            ("metric=%4", "two hexadecimal digits"),
            ("metric=%+1", "two hexadecimal digits"),
            ("metric=%é", "two hexadecimal digits"),
        ] {
            let error = values(Some(query), "metric").unwrap_err();
            assert!(error.contains(said), "{query}: {error}");
        }
    }
}
