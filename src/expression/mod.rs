//! Expressions that people declare: a bounded part of CEL, the Common Expression Language.
//!
//! Enters: the source of an expression, and the values of the variables that it may name. Leaves: true or false, or a
//! [`Fault`] that says why neither could be told.
//!
//! Expressions come from Git and run inside a pass, so none of them may take the process down or hold it up: how deep
//! they nest is bounded when a declaration is read, and how long they run is counted in steps. That is why they are
//! read and evaluated here, in a thousand lines: the `cel` crate recurses as deep as an expression does, its parser by
//! 200 KiB of stack for each bracket, and evaluates without end.
//!
//! Not in it: unsigned numbers, bytes, messages, optional values, types as values, and times (a pass has no clock that
//! an expression could ask).

mod evaluate;
mod function;
mod node;
mod parse;
mod pattern;
mod term;
#[cfg(test)]
mod tests;
mod token;

use serde_json::Value;

use node::Node;

/// Longest source of an expression, in bytes: a dozen lines.
pub const SOURCE_BYTES_MAX: usize = 1024;

/// Steps of one evaluation. A step is about 20 ns, so no evaluation takes more than a few milliseconds; looking for a
/// condition among twenty takes about 200 steps.
pub const STEPS_MAX: u64 = 50_000;

/// An expression that was read and found to be within bounds.
#[derive(Clone, Debug)]
pub struct Expression {
    source: String,
    root: Node,
}

impl PartialEq for Expression {
    /// Expressions are equal when they are written in the same way.
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

/// Why some text is no expression that can be used here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What to do; empty when the message says it.
    pub hint: String,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A field or key is not there.
    #[error("no such field `{0}`; ask with has() whether it is there")]
    NoSuchField(String),
    /// An operator or function does not take such values.
    #[error("`{operation}` does not take {operands}")]
    NoSuchOverload {
        /// The operator or function.
        operation: &'static str,
        /// The types it was given.
        operands: String,
    },
    /// A list has no such index.
    #[error("index {0} is out of bounds")]
    OutOfBounds(i64),
    /// A number does not fit, or was divided by zero.
    #[error("`{0}` overflows or divides by zero")]
    Arithmetic(&'static str),
    /// Text that is no number.
    #[error("`{0}` of text that is no number")]
    NotANumber(&'static str),
    /// The whole expression is neither true nor false.
    #[error("it gives {0}, not true or false")]
    NotABoolean(&'static str),
    /// The evaluation was broken off.
    #[error("it needs more than {STEPS_MAX} steps")]
    TooLong,
}

impl Expression {
    /// Reads an expression that may name `variables`.
    ///
    /// # Errors
    /// When it is no expression, uses what is not supported, or is too large to be evaluated safely.
    pub fn parse(source: &str, variables: &[&str]) -> Result<Self, Problem> {
        let root = parse::parse(source, variables)?;
        Ok(Self { source: source.to_owned(), root })
    }

    /// The source that it was read from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Evaluates it; `values` stand for the variables that it was read with, in their order.
    ///
    /// # Errors
    /// When it gives neither true nor false, because a field is missing for example, or would take too long.
    pub fn evaluate(&self, values: &[&Value]) -> Result<bool, Fault> {
        evaluate::evaluate(&self.root, values).0
    }

    /// How many steps an evaluation takes.
    #[cfg(test)]
    pub(crate) fn steps(&self, values: &[&Value]) -> u64 {
        evaluate::evaluate(&self.root, values).1
    }
}
