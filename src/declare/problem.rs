//! What is wrong with a declaration, where, and what to do about it.
//!
//! Enters: findings of the readers. Leaves: [`Problem`] values, in the order they were found.

use std::collections::BTreeSet;

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
    /// Which document it is a place of.
    pub(super) origin: Origin,
}

impl Position {
    /// Where a file begins.
    pub(super) const START: Self = Self::new(1, 1);

    /// A place in the document that is read.
    pub(super) const fn new(line: usize, column: usize) -> Self {
        Self { line, column, origin: Origin::Own }
    }
}

/// Which document a value was written in: an Application may be put together from several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The document that declares it.
    Own,
    /// Its base.
    Base,
    /// The ApplicationVersion that gives its version.
    Version,
}

/// A document: its file, and which one of it.
pub(super) type Document = (String, usize);

/// The documents that something was put together from, beside its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Others {
    /// Its base.
    pub(super) base: Option<Document>,
    /// The ApplicationVersion that gives its version.
    pub(super) version: Option<Document>,
}

impl Others {
    /// The document that a place is in, when it is not the own one.
    pub(super) fn of(&self, at: Position) -> Option<&Document> {
        match at.origin {
            Origin::Own => None,
            Origin::Base => self.base.as_ref(),
            Origin::Version => self.version.as_ref(),
        }
    }
}

/// Collects the problems of one document.
#[derive(Debug)]
pub(super) struct Sink<'a> {
    file: &'a str,
    document: usize,
    problems: Vec<Problem>,
    others: Option<&'a Others>,
    note: &'a str,
    muted: Option<&'a BTreeSet<(usize, usize)>>,
}

impl<'a> Sink<'a> {
    /// An empty one for a document of a file.
    pub(super) const fn new(file: &'a str, document: usize) -> Self {
        Self { file, document, problems: Vec::new(), others: None, note: "", muted: None }
    }

    /// One for something that was put together from several documents; `note` is added to each message.
    pub(super) fn of_several(file: &'a str, document: usize, others: &'a Others, note: &'a str) -> Self {
        Self { others: Some(others), note, ..Self::new(file, document) }
    }

    /// One that hears nothing of what stands at these lines and columns.
    pub(super) fn muted(&self, muted: &'a BTreeSet<(usize, usize)>) -> Self {
        Self { muted: Some(muted), ..Self::new(self.file, self.document) }
    }

    /// Takes what another one collected.
    pub(super) fn absorb(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
    }

    /// Adds a problem. A document with a thousand mistakes is not read to its end by anybody: more than
    /// [`PROBLEMS_MAX`] are dropped.
    pub(super) fn report(&mut self, at: Position, field: &str, message: impl Into<String>, hint: impl Into<String>) {
        let is_muted = self.muted.is_some_and(|muted| muted.contains(&(at.line, at.column)));
        if self.problems.len() < PROBLEMS_MAX && !is_muted {
            let other = self.others.and_then(|others| others.of(at));
            let (file, document) = other.map_or((self.file, self.document), |(file, document)| (file, *document));
            let message: String = message.into();
            self.problems.push(Problem {
                file: file.to_owned(),
                document,
                line: at.line,
                column: at.column,
                field: field.to_owned(),
                message: if self.note.is_empty() { message } else { format!("{message} {}", self.note) },
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
