//! carbon-c-relay's file: statements of words, each ended by a semicolon.

use super::super::sheet::Place;
use super::super::{Load, Source, Unreadable};

/// A statement, and where its first word stands.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) place: Place,
    words: Vec<Word>,
    at: usize,
}

/// A word; a quoted one is never a keyword.
#[derive(Clone, Debug)]
struct Word {
    text: String,
    is_quoted: bool,
}

/// Files that include each other for ever end here.
const MAX_FILES: usize = 1000;

/// Reads a file and all that it includes. Statements that include are counted, too, and left out.
pub(super) fn statements(
    source: &Source,
    load: &Load,
) -> Result<(Vec<Statement>, usize), Unreadable> {
    let mut open = vec![split(source)?.into_iter()];
    let (mut all, mut files, mut includes) = (Vec::new(), 1, 0);
    while let Some(current) = open.last_mut() {
        let Some(mut statement) = current.next() else {
            open.pop();
            continue;
        };
        if !statement.take("include") {
            all.push(statement);
            continue;
        }
        includes += 1;
        let name = statement.word("a path")?;
        statement.end()?;
        let found = load(&name).map_err(|message| statement.unreadable(message))?;
        let mut inner = Vec::new();
        for source in &found {
            files += 1;
            inner.extend(split(source)?);
        }
        if files > MAX_FILES || open.len() > 20 {
            return Err(statement.unreadable("too many files are included: expected no circle"));
        }
        open.push(inner.into_iter());
    }
    Ok((all, includes))
}

fn split(source: &Source) -> Result<Vec<Statement>, Unreadable> {
    let mut statements = Vec::new();
    let mut words: Vec<Word> = Vec::new();
    let mut first = 1;
    let mut line = 1;
    let mut chars = source.text.chars().peekable();
    let unreadable = |line, message: &str| Unreadable {
        file: source.name.clone(),
        line,
        message: message.to_owned(),
    };
    while let Some(c) = chars.next() {
        if words.is_empty() {
            first = line;
        }
        match c {
            '\n' => line += 1,
            c if c.is_whitespace() => {}
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            ';' => {
                let place = Place {
                    file: source.name.clone(),
                    line: first,
                };
                if words.is_empty() {
                    return Err(unreadable(line, "expected a statement, found a lone ';'"));
                }
                let words = std::mem::take(&mut words);
                statements.push(Statement {
                    place,
                    words,
                    at: 0,
                });
            }
            '"' => {
                let text = quoted(&mut chars)
                    .ok_or_else(|| unreadable(line, "expected a closing quote in the same line"))?;
                words.push(Word {
                    text,
                    is_quoted: true,
                });
            }
            c => {
                let mut text = c.to_string();
                let ends = |c: &char| c.is_whitespace() || matches!(c, ';' | '"' | '#');
                loop {
                    if let Some(c) = chars.next_if(|c| !ends(c)) {
                        text.push(c);
                    // The only escape there is outside quotes; for the expression it is a blank, with or without it.
                    } else if text.ends_with('\\') && chars.next_if_eq(&' ').is_some() {
                        text.push(' ');
                    } else {
                        break;
                    }
                }
                words.push(Word {
                    text,
                    is_quoted: false,
                });
            }
        }
    }
    match words.is_empty() {
        true => Ok(statements),
        false => Err(unreadable(
            first,
            "expected ';' at the end of the statement",
        )),
    }
}

/// To the closing quote. A backslash is for the expression, unless a quote follows.
fn quoted(chars: &mut std::iter::Peekable<std::str::Chars>) -> Option<String> {
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\n' => return None,
            '\\' => match chars.next()? {
                '"' => text.push('"'),
                '\n' => return None,
                c => text.extend(['\\', c]),
            },
            c => text.push(c),
        }
    }
}

impl Statement {
    /// Takes a keyword, if it is next.
    pub(super) fn take(&mut self, keyword: &str) -> bool {
        let is_next = self.is_next(keyword);
        self.at += usize::from(is_next);
        is_next
    }

    pub(super) fn is_next(&self, keyword: &str) -> bool {
        let next = self.words.get(self.at);
        next.is_some_and(|word| !word.is_quoted && word.text == keyword)
    }

    pub(super) fn expect(&mut self, keyword: &str) -> Result<(), Unreadable> {
        match self.take(keyword) {
            true => Ok(()),
            false => Err(self.expected(keyword)),
        }
    }

    /// The next word, whatever it is.
    pub(super) fn word(&mut self, what: &str) -> Result<String, Unreadable> {
        let word = self.words.get(self.at).ok_or_else(|| self.expected(what))?;
        self.at += 1;
        Ok(word.text.clone())
    }

    pub(super) fn number(&mut self, what: &str) -> Result<u64, Unreadable> {
        let text = self.word(what)?;
        text.parse()
            .map_err(|_| self.unreadable(format!("expected {what}, found {text:?}")))
    }

    /// The words up to one of these keywords, or the end: one at least.
    pub(super) fn words_until(
        &mut self,
        keywords: &[&str],
        what: &str,
    ) -> Result<Vec<String>, Unreadable> {
        let mut words = Vec::new();
        while !self.is_over() && !keywords.iter().any(|keyword| self.is_next(keyword)) {
            words.push(self.word(what)?);
        }
        match words.is_empty() {
            true => Err(self.expected(what)),
            false => Ok(words),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.at >= self.words.len()
    }

    pub(super) fn end(&self) -> Result<(), Unreadable> {
        match self.is_over() {
            true => Ok(()),
            false => Err(self.expected("';'")),
        }
    }

    fn expected(&self, what: &str) -> Unreadable {
        match self.words.get(self.at) {
            Some(word) => self.unreadable(format!("expected {what}, found {:?}", word.text)),
            None => self.unreadable(format!("expected {what}, found ';'")),
        }
    }

    pub(super) fn unreadable(&self, message: impl Into<String>) -> Unreadable {
        Unreadable {
            file: self.place.file.clone(),
            line: self.place.line,
            message: message.into(),
        }
    }
}
