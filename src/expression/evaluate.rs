//! A checked expression and the values of its variables -> true, false or a fault, under a count of steps.
//!
//! Each part of the expression is a step each time it is evaluated; whatever looks at or copies more than one value is
//! as many steps as it looks at. The depth of the recursion is that of the expression, which `parse` bounds, or that of
//! an object.

use std::cmp::Ordering;
use std::rc::Rc;

use serde_json::Value;

use super::node::{Loop, LoopKind, Node, Operator};
use super::term::Term;
use super::{Fault, STEPS_MAX};

/// Bytes of text that one step may look at.
const BYTES_PER_STEP: usize = 16;

/// Items of a list that one step may copy.
const ITEMS_PER_STEP: usize = 8;

/// Deepest nesting of values that are compared: JSON is read to 128, and an expression adds fewer than it has parts.
const DEPTH_MAX: usize = 256;

/// Evaluates an expression, and says how many steps it took.
pub(super) fn evaluate(root: &Node, values: &[&Value]) -> (Result<bool, Fault>, u64) {
    let mut run = Run { steps: 0, scope: values.iter().map(|value| Term::of(value)).collect() };
    let result = run.evaluate(root).and_then(|term| match term {
        Term::Boolean(boolean) => Ok(boolean),
        Term::Null
        | Term::Whole(_)
        | Term::Number(_)
        | Term::Text(_)
        | Term::Made(_)
        | Term::Json(_)
        | Term::List(_)
        | Term::Map(_) => Err(Fault::NotABoolean(term.kind())),
    });
    (result, run.steps)
}

/// An evaluation under way.
pub(super) struct Run<'a> {
    steps: u64,
    scope: Vec<Term<'a>>,
}

impl<'a> Run<'a> {
    /// Counts steps.
    fn charge(&mut self, steps: usize) -> Result<(), Fault> {
        self.steps = self.steps.saturating_add(steps as u64);
        if self.steps > STEPS_MAX { Err(Fault::TooLong) } else { Ok(()) }
    }

    /// Counts the steps of looking at a text.
    pub(super) fn charge_text(&mut self, term: &Term<'_>) -> Result<(), Fault> {
        self.charge(term.text().map_or(0, str::len) / BYTES_PER_STEP)
    }

    fn evaluate(&mut self, node: &'a Node) -> Result<Term<'a>, Fault> {
        self.charge(1)?;
        match node {
            Node::Null => Ok(Term::Null),
            Node::Boolean(boolean) => Ok(Term::Boolean(*boolean)),
            Node::Whole(whole) => Ok(Term::Whole(*whole)),
            Node::Number(number) => Ok(Term::Number(*number)),
            Node::Text(text) => Ok(Term::Text(text)),
            Node::Variable(place) => {
                Ok(self.scope.get(*place).cloned().expect("every name was found to be in scope when it was read"))
            }
            Node::Select { operand, field, is_test } => self.select(operand, field, *is_test),
            Node::List(items) => {
                let items = items.iter().map(|item| self.evaluate(item)).collect::<Result<_, _>>()?;
                Ok(Term::List(Rc::new(items)))
            }
            Node::Map(entries) => self.map(entries),
            Node::Not(operand) => Ok(Term::Boolean(!self.boolean(operand, "!")?)),
            Node::Negate(operand) => match self.evaluate(operand)? {
                Term::Whole(whole) => whole.checked_neg().map(Term::Whole).ok_or(Fault::Arithmetic("-")),
                Term::Number(number) => Ok(Term::Number(-number)),
                other => Err(Term::refused("-", &[other])),
            },
            Node::And(sides) => self.decide(sides, "&&", false),
            Node::Or(sides) => self.decide(sides, "||", true),
            Node::Choice(condition, first, second) => {
                if self.boolean(condition, "? :")? {
                    self.evaluate(first)
                } else {
                    self.evaluate(second)
                }
            }
            Node::Binary(operator, left, right) => {
                let (left, right) = (self.evaluate(left)?, self.evaluate(right)?);
                self.binary(*operator, &left, &right)
            }
            Node::Call(function, arguments) => {
                let arguments = arguments.iter().map(|each| self.evaluate(each)).collect::<Result<Vec<_>, _>>()?;
                function.call(&arguments, self)
            }
            Node::Matches(operand, pattern) => {
                let operand = self.evaluate(operand)?;
                let Some(text) = operand.text() else { return Err(Term::refused("matches", &[operand])) };
                // A pattern may look at each byte from each of its own parts.
                self.charge(text.len())?;
                Ok(Term::Boolean(pattern.is_match(text)))
            }
            Node::Loop(each) => self.go_round(each),
        }
    }

    fn boolean(&mut self, node: &'a Node, operation: &'static str) -> Result<bool, Fault> {
        match self.evaluate(node)? {
            Term::Boolean(boolean) => Ok(boolean),
            other => Err(Term::refused(operation, &[other])),
        }
    }

    /// `&&` and `||`: the side that decides, decides, even when another one has no value.
    fn decide(&mut self, sides: &'a [Node], operation: &'static str, decides: bool) -> Result<Term<'a>, Fault> {
        let mut fault = None;
        for side in sides {
            match self.boolean(side, operation) {
                Err(Fault::TooLong) => return Err(Fault::TooLong),
                Ok(side) if side == decides => return Ok(Term::Boolean(decides)),
                Ok(_) => {}
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        fault.map_or(Ok(Term::Boolean(!decides)), Err)
    }

    fn select(&mut self, operand: &'a Node, field: &'a str, is_test: bool) -> Result<Term<'a>, Fault> {
        let operand = self.evaluate(operand)?;
        if !operand.is_map() {
            return Err(Term::refused(if is_test { "has" } else { "." }, &[operand]));
        }
        match operand.field(field) {
            found if is_test => Ok(Term::Boolean(found.is_some())),
            Some(value) => Ok(value),
            None => Err(Fault::NoSuchField(field.to_owned())),
        }
    }

    fn map(&mut self, nodes: &'a [(Node, Node)]) -> Result<Term<'a>, Fault> {
        let mut entries = Vec::new();
        for (key, value) in nodes {
            let key = self.evaluate(key)?;
            if key.text().is_none() {
                return Err(Term::refused("{}", &[key]));
            }
            entries.push((key, self.evaluate(value)?));
        }
        Ok(Term::Map(Rc::new(entries)))
    }

    fn binary(&mut self, operator: Operator, left: &Term<'a>, right: &Term<'a>) -> Result<Term<'a>, Fault> {
        match operator {
            Operator::Equal => Ok(Term::Boolean(self.is_equal(left, right, 0)?)),
            Operator::NotEqual => Ok(Term::Boolean(!self.is_equal(left, right, 0)?)),
            Operator::Less => self.ordered(operator, left, right, Ordering::is_lt),
            Operator::LessOrEqual => self.ordered(operator, left, right, Ordering::is_le),
            Operator::Greater => self.ordered(operator, left, right, Ordering::is_gt),
            Operator::GreaterOrEqual => self.ordered(operator, left, right, Ordering::is_ge),
            Operator::Add if left.text().is_some() && right.text().is_some() => self.concatenate(left, right),
            Operator::Add if left.is_list() && right.is_list() => {
                self.charge((left.len().unwrap_or(0) + right.len().unwrap_or(0)) / ITEMS_PER_STEP)?;
                let items = [left, right].into_iter().filter_map(Term::members).flatten().collect();
                Ok(Term::List(Rc::new(items)))
            }
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
                arithmetic(operator, left, right)
            }
            Operator::In => self.is_in(left, right),
            Operator::Index => index(left, right),
        }
    }

    fn concatenate(&mut self, left: &Term<'a>, right: &Term<'a>) -> Result<Term<'a>, Fault> {
        self.charge_text(left)?;
        self.charge_text(right)?;
        Ok(Term::made([left, right].into_iter().filter_map(Term::text).collect()))
    }

    fn ordered(
        &mut self,
        operator: Operator,
        left: &Term<'a>,
        right: &Term<'a>,
        holds: fn(Ordering) -> bool,
    ) -> Result<Term<'a>, Fault> {
        self.charge_text(left)?;
        let is_ordered = !matches!((left, right), (Term::Null, _) | (_, Term::Null));
        match left.compare(right).filter(|_| is_ordered) {
            Some(ordering) => Ok(Term::Boolean(holds(ordering))),
            // Not a number is neither more nor less than any.
            None if matches!(left, Term::Number(_)) && matches!(right, Term::Number(_) | Term::Whole(_)) => {
                Ok(Term::Boolean(false))
            }
            None => Err(Term::refused(operator.sign(), &[left.clone(), right.clone()])),
        }
    }

    /// Whether two values are equal, lists and maps by their contents.
    fn is_equal(&mut self, left: &Term<'a>, right: &Term<'a>, depth: usize) -> Result<bool, Fault> {
        self.charge(1)?;
        self.charge_text(left)?;
        if depth > DEPTH_MAX {
            return Err(Fault::TooLong);
        }
        if left.len() != right.len() || left.is_list() != right.is_list() {
            return Ok(false);
        }
        if left.is_list() {
            for index in 0..left.len().unwrap_or(0) {
                if let (Some(one), Some(two)) = (left.item(index), right.item(index))
                    && !self.is_equal(&one, &two, depth + 1)?
                {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        if left.is_map() {
            self.charge(left.len().unwrap_or(0))?;
            for key in left.members().unwrap_or_default() {
                let name = key.text().unwrap_or_default();
                self.charge(look_up(right))?;
                let (Some(one), Some(two)) = (left.field(name), right.field(name)) else { return Ok(false) };
                if !self.is_equal(&one, &two, depth + 1)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        Ok(left.compare(right) == Some(Ordering::Equal))
    }

    fn is_in(&mut self, left: &Term<'a>, right: &Term<'a>) -> Result<Term<'a>, Fault> {
        let is_no_key = left.is_list() || left.is_map() || matches!(left, Term::Null);
        if right.is_map() && !is_no_key {
            self.charge(look_up(right))?;
            return Ok(Term::Boolean(left.text().is_some_and(|name| right.field(name).is_some())));
        }
        if !right.is_list() {
            return Err(Term::refused(Operator::In.sign(), &[left.clone(), right.clone()]));
        }
        for index in 0..right.len().unwrap_or(0) {
            if let Some(item) = right.item(index)
                && self.is_equal(left, &item, 0)?
            {
                return Ok(Term::Boolean(true));
            }
        }
        Ok(Term::Boolean(false))
    }

    fn go_round(&mut self, each: &'a Loop) -> Result<Term<'a>, Fault> {
        let range = self.evaluate(&each.range)?;
        self.charge(range.len().unwrap_or(0) / ITEMS_PER_STEP)?;
        let Some(members) = range.members() else { return Err(Term::refused("a loop", &[range])) };
        let mut taken = Vec::new();
        let mut count = 0;
        let mut fault = None;
        for member in members {
            self.charge(1)?;
            self.scope.push(member);
            let outcome = self.turn(each, &mut taken);
            self.scope.pop();
            match (each.kind, outcome) {
                (_, Err(Fault::TooLong)) => return Err(Fault::TooLong),
                (LoopKind::All, Ok(false)) => return Ok(Term::Boolean(false)),
                (LoopKind::Exists, Ok(true)) => return Ok(Term::Boolean(true)),
                (LoopKind::ExistsOne, Ok(true)) => count += 1,
                (LoopKind::All | LoopKind::Exists, Err(error)) => fault = Some(error),
                (LoopKind::ExistsOne | LoopKind::Collect, Err(error)) => return Err(error),
                (LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne | LoopKind::Collect, Ok(_)) => {}
            }
        }
        match (fault, each.kind) {
            (Some(fault), _) => Err(fault),
            (None, LoopKind::All) => Ok(Term::Boolean(true)),
            (None, LoopKind::Exists) => Ok(Term::Boolean(false)),
            (None, LoopKind::ExistsOne) => Ok(Term::Boolean(count == 1)),
            (None, LoopKind::Collect) => Ok(Term::List(Rc::new(taken))),
        }
    }

    /// One turn of a loop; what is collected goes to `taken`.
    fn turn(&mut self, each: &'a Loop, taken: &mut Vec<Term<'a>>) -> Result<bool, Fault> {
        if let Some(filter) = &each.filter
            && !self.boolean(filter, "filter")?
        {
            return Ok(false);
        }
        if each.kind == LoopKind::Collect {
            taken.push(self.evaluate(&each.body)?);
            return Ok(true);
        }
        self.boolean(&each.body, "a loop")
    }
}

/// Steps to look up a field: maps that were made are searched from front to back.
fn look_up(map: &Term<'_>) -> usize {
    if matches!(map, Term::Map(_)) { map.len().unwrap_or(0) } else { 1 }
}

fn index<'a>(container: &Term<'a>, index: &Term<'a>) -> Result<Term<'a>, Fault> {
    match index {
        Term::Whole(whole) if container.is_list() => {
            let item = usize::try_from(*whole).ok().and_then(|index| container.item(index));
            item.ok_or(Fault::OutOfBounds(*whole))
        }
        Term::Text(_) | Term::Made(_) if container.is_map() => {
            let name = index.text().unwrap_or_default();
            container.field(name).ok_or_else(|| Fault::NoSuchField(name.chars().take(60).collect()))
        }
        Term::Null
        | Term::Boolean(_)
        | Term::Whole(_)
        | Term::Number(_)
        | Term::Text(_)
        | Term::Made(_)
        | Term::Json(_)
        | Term::List(_)
        | Term::Map(_) => Err(Term::refused(Operator::Index.sign(), &[container.clone(), index.clone()])),
    }
}

/// Arithmetic, which is between numbers of one kind, as CEL has it.
fn arithmetic<'a>(operator: Operator, left: &Term<'a>, right: &Term<'a>) -> Result<Term<'a>, Fault> {
    let refused = || Err(Term::refused(operator.sign(), &[left.clone(), right.clone()]));
    match (left, right) {
        (Term::Whole(one), Term::Whole(two)) => {
            let result = match operator {
                Operator::Add => one.checked_add(*two),
                Operator::Subtract => one.checked_sub(*two),
                Operator::Multiply => one.checked_mul(*two),
                Operator::Divide => one.checked_div(*two),
                Operator::Remainder => one.checked_rem(*two),
                Operator::Equal
                | Operator::NotEqual
                | Operator::Less
                | Operator::LessOrEqual
                | Operator::Greater
                | Operator::GreaterOrEqual
                | Operator::In
                | Operator::Index => return refused(),
            };
            result.map(Term::Whole).ok_or(Fault::Arithmetic(operator.sign()))
        }
        (Term::Number(one), Term::Number(two)) => match operator {
            Operator::Add => Ok(Term::Number(one + two)),
            Operator::Subtract => Ok(Term::Number(one - two)),
            Operator::Multiply => Ok(Term::Number(one * two)),
            Operator::Divide => Ok(Term::Number(one / two)),
            Operator::Remainder
            | Operator::Equal
            | Operator::NotEqual
            | Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual
            | Operator::In
            | Operator::Index => refused(),
        },
        _ => refused(),
    }
}
