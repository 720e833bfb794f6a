//! What is wrong with a declaration, where, and what to do about it.
//!
//! Enters: findings of the readers. Leaves: [`Problem`] values, in the order they were found.

/// One thing that is wrong in a declared file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, relative to the repository's root.
    pub file: String,
    /// Which document of the file, from 1; 0 when the file as a whole is meant.
    pub document: usize,
    /// Line of the offending value, from 1.
    pub line: usize,
    /// Column of the offending value in characters, from 1.
    pub column: usize,
    /// Path of the offending field, such as `spec.waves[1].replicas`; empty when none can be named.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do; empty when the message says it.
    pub hint: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if self.document > 0 {
            write!(f, "document {}: ", self.document)?;
        }
        if !self.field.is_empty() {
            write!(f, "field `{}`: ", self.field)?;
        }
        f.write_str(&self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, " ({})", self.hint) }
    }
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// From 1.
    pub(super) line: usize,
    /// In characters, from 1.
    pub(super) column: usize,
}

impl Position {
    /// Where a file begins.
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// Collects the problems of one document.
#[derive(Debug)]
pub(super) struct Sink<'a> {
    file: &'a str,
    document: usize,
    problems: Vec<Problem>,
}

impl<'a> Sink<'a> {
    /// An empty one for a document of a file.
    pub(super) const fn new(file: &'a str, document: usize) -> Self {
        Self { file, document, problems: Vec::new() }
    }

    /// Adds a problem. A document with a thousand mistakes is not read to its end by anybody: more than
    /// [`PROBLEMS_MAX`] are dropped.
    pub(super) fn report(&mut self, at: Position, field: &str, message: impl Into<String>, hint: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem {
                file: self.file.to_owned(),
                document: self.document,
                line: at.line,
                column: at.column,
                field: field.to_owned(),
                message: message.into(),
                hint: hint.into(),
            });
        }
    }

    /// How many problems there are so far.
    pub(super) const fn count(&self) -> usize {
        self.problems.len()
    }

    /// Ends the collection.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}

/// Problems kept per document: more than a person fixes in one go. A hostile file of 1 MiB holds about 4,000 documents
/// of that many mistakes, at about 300 B each: 24 MB.
const PROBLEMS_MAX: usize = 20;

/// Problems of a file that an app is held with: the first ones are mended first.
pub(super) const PROBLEMS_HELD_MAX: usize = 10;

/// Text of a user's file as messages quote it: one line, without control characters, at most 60 characters.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(60).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    shown
}
