//! The functions of expressions: names, what they take, and what they give.
//!
//! All of them give at most as much as they take, so that no text grows faster than steps are counted.

use super::Fault;
use super::evaluate::Run;
use super::term::Term;

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    LowerAscii,
    UpperAscii,
    Trim,
    Int,
    Double,
    String,
}

/// Name, function, and number of arguments, the one before the dot included.
const FUNCTIONS: &[(&str, Function, usize, Style)] = &[
    ("size", Function::Size, 1, Style::Either),
    ("contains", Function::Contains, 2, Style::Member),
    ("startsWith", Function::StartsWith, 2, Style::Member),
    ("endsWith", Function::EndsWith, 2, Style::Member),
    ("lowerAscii", Function::LowerAscii, 1, Style::Member),
    ("upperAscii", Function::UpperAscii, 1, Style::Member),
    ("trim", Function::Trim, 1, Style::Member),
    ("int", Function::Int, 1, Style::Global),
    ("double", Function::Double, 1, Style::Global),
    ("string", Function::String, 1, Style::Global),
];

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// `f(x)`.
    Global,
    /// `x.f()`.
    Member,
    /// Both.
    Either,
}

/// Finds a function by name and by how it is called.
pub(super) fn find(name: &str, is_member: bool, count: usize) -> Option<Function> {
    let fits = |style: Style| match style {
        Style::Global => !is_member,
        Style::Member => is_member,
        Style::Either => true,
    };
    FUNCTIONS.iter().find(|(known, _, takes, style)| *known == name && *takes == count && fits(*style)).map(|row| row.1)
}

/// The names of all functions, for whoever wrote another.
pub(super) fn names() -> String {
    let names: Vec<_> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
    format!("has, all, exists, exists_one, map, filter, matches, {}", names.join(", "))
}

impl Function {
    const fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::LowerAscii => "lowerAscii",
            Self::UpperAscii => "upperAscii",
            Self::Trim => "trim",
            Self::Int => "int",
            Self::Double => "double",
            Self::String => "string",
        }
    }

    /// Calls it.
    pub(super) fn call<'a>(self, arguments: &[Term<'a>], run: &mut Run<'a>) -> Result<Term<'a>, Fault> {
        for argument in arguments {
            run.charge_text(argument)?;
        }
        let texts: Vec<&str> = arguments.iter().filter_map(Term::text).collect();
        match (self, texts.as_slice(), arguments) {
            (Self::Size, [text], _) => Ok(Term::count(text.chars().count())),
            (Self::Size, [], [list]) => {
                list.len().map(Term::count).ok_or_else(|| Term::refused(self.name(), arguments))
            }
            (Self::Contains, [text, part], _) => Ok(Term::Boolean(text.contains(part))),
            (Self::StartsWith, [text, part], _) => Ok(Term::Boolean(text.starts_with(part))),
            (Self::EndsWith, [text, part], _) => Ok(Term::Boolean(text.ends_with(part))),
            (Self::LowerAscii, [text], _) => Ok(Term::made(text.to_ascii_lowercase())),
            (Self::UpperAscii, [text], _) => Ok(Term::made(text.to_ascii_uppercase())),
            (Self::Trim, [text], _) => Ok(Term::made(text.trim().to_owned())),
            (Self::Int, [text], _) => text.parse().map(Term::Whole).map_err(|_| Fault::NotANumber("int")),
            (Self::Double, [text], _) => text.parse().map(Term::Number).map_err(|_| Fault::NotANumber("double")),
            (Self::String, [_], [text]) | (Self::Int, _, [text @ Term::Whole(_)]) => Ok(text.clone()),
            (Self::Double, _, [number @ Term::Number(_)]) => Ok(number.clone()),
            (Self::Int, _, [Term::Number(number)]) => whole(*number),
            (Self::Double, _, [Term::Whole(number)]) => Ok(Term::Number(*number as f64)),
            (Self::String, _, [Term::Whole(number)]) => Ok(Term::made(number.to_string())),
            (Self::String, _, [Term::Boolean(boolean)]) => Ok(Term::made(boolean.to_string())),
            (Self::String, _, [Term::Number(number)]) => Ok(Term::made(number.to_string())),
            (
                Self::Size
                | Self::Contains
                | Self::StartsWith
                | Self::EndsWith
                | Self::LowerAscii
                | Self::UpperAscii
                | Self::Trim
                | Self::Int
                | Self::Double
                | Self::String,
                _,
                _,
            ) => Err(Term::refused(self.name(), arguments)),
        }
    }
}

/// A number without its fraction, when that fits.
fn whole<'a>(number: f64) -> Result<Term<'a>, Fault> {
    // Both bounds are exact powers of two; the upper one is the first number that does not fit.
    let fits = number.is_finite() && number >= i64::MIN as f64 && number < i64::MAX as f64;
    if fits { Ok(Term::Whole(number.trunc() as i64)) } else { Err(Fault::Arithmetic("int")) }
}
