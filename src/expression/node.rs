//! A checked expression: what is left when names, functions and sizes are known to be right.

use regex::Regex;

use super::function::Function;

/// One part of an expression. How deep they nest is bounded by `parse`.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Whole(i64),
    /// A number with a fraction.
    Number(f64),
    /// Text.
    Text(String),
    /// A variable, by its place: first those of the expression, then those of the loops around.
    Variable(usize),
    /// `operand.field`, or `has(operand.field)`.
    Select {
        /// What has the field.
        operand: Box<Node>,
        /// Its name.
        field: String,
        /// Whether only its presence is asked for.
        is_test: bool,
    },
    /// `[...]`.
    List(Vec<Node>),
    /// `{...}`.
    Map(Vec<(Node, Node)>),
    /// `!operand`.
    Not(Box<Node>),
    /// `-operand`.
    Negate(Box<Node>),
    /// `... && ...`, two or more.
    And(Vec<Node>),
    /// `... || ...`, two or more.
    Or(Vec<Node>),
    /// `condition ? first : second`.
    Choice(Box<Node>, Box<Node>, Box<Node>),
    /// Any other operator with two sides.
    Binary(Operator, Box<Node>, Box<Node>),
    /// A function.
    Call(Function, Vec<Node>),
    /// `text.matches(pattern)`, the pattern compiled.
    Matches(Box<Node>, Regex),
    /// A loop over a list, or over the keys of a map.
    Loop(Box<Loop>),
}

/// A loop: `range.all(item, body)` and its like.
#[derive(Clone, Debug)]
pub(super) struct Loop {
    pub(super) kind: LoopKind,
    pub(super) range: Node,
    /// `map` with three arguments, and `filter`: which items are taken.
    pub(super) filter: Option<Node>,
    pub(super) body: Node,
}

/// What a loop is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopKind {
    /// `all`.
    All,
    /// `exists`.
    Exists,
    /// `exists_one`.
    ExistsOne,
    /// `map` and `filter`.
    Collect,
}

/// An operator with two sides that evaluates both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    In,
    Index,
}

impl Operator {
    /// How it is written.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::In => "in",
            Self::Index => "[]",
        }
    }
}
