//! The source of an expression -> nodes whose names and functions are known, and whose depth is bounded.
//!
//! The grammar is CEL's. The parser recurses once for each bracket and each `? :`, the evaluation once for each level of
//! nodes; both are counted here, so that nothing that was read can overflow a stack.

use super::node::{Loop, LoopKind, Node, Operator};
use super::token::{Kind, Token, problem_at, tokens};
use super::{Problem, SOURCE_BYTES_MAX, function, pattern};

/// Brackets and choices that may be open at once.
const LEVELS_MAX: usize = 16;

/// Depth of the nodes.
const HEIGHT_MAX: usize = 48;

/// Loops within loops.
const LOOPS_MAX: usize = 2;

/// Operators with two sides by how strongly they bind, weakest first; `||` and `&&` bind less than all of them.
const OPERATORS: [&[(&str, Operator)]; 3] = [
    &[
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<", Operator::Less),
        ("<=", Operator::LessOrEqual),
        (">", Operator::Greater),
        (">=", Operator::GreaterOrEqual),
        ("in", Operator::In),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)],
];

/// A node and how many levels it has.
type Tree = (Node, usize);

/// Reads an expression that may name `variables`.
pub(super) fn parse(source: &str, variables: &[&str]) -> Result<Node, Problem> {
    if source.trim().is_empty() {
        let hint = "write an expression that is true or false".to_owned();
        return Err(Problem { message: "is empty".to_owned(), hint });
    }
    if source.len() > SOURCE_BYTES_MAX {
        let hint = format!("at most {SOURCE_BYTES_MAX} are read");
        return Err(Problem { message: format!("has {} bytes", source.len()), hint });
    }
    let scope: Vec<String> = variables.iter().map(|name| (*name).to_owned()).collect();
    let mut parser = Parser { tokens: tokens(source)?, place: 0, variables: scope.clone(), scope, levels: 0, loops: 0 };
    let (root, _) = parser.expression()?;
    match parser.peek() {
        Kind::End => Ok(root),
        _ => Err(parser.problem("an operator is missing before this", "")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    place: usize,
    variables: Vec<String>,
    /// Names, innermost last; a variable is its place here.
    scope: Vec<String>,
    levels: usize,
    loops: usize,
}

impl Parser {
    fn token(&self) -> &Token {
        self.tokens.get(self.place).or(self.tokens.last()).expect("the last token is the end of the source")
    }

    fn peek(&self) -> &Kind {
        &self.token().kind
    }

    fn problem(&self, message: &str, hint: &str) -> Problem {
        let token = self.token();
        problem_at(token.line, token.column, message, hint)
    }

    /// Takes the sign when it is next.
    fn takes(&mut self, sign: &str) -> bool {
        let is_next = matches!(self.peek(), Kind::Sign(next) if *next == sign);
        self.place += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, sign: &str) -> Result<(), Problem> {
        if self.takes(sign) { Ok(()) } else { Err(self.problem(&format!("`{sign}` is missing"), "")) }
    }

    /// A node above others, unless that makes it too deep.
    fn grown(&self, node: Node, height: usize) -> Result<Tree, Problem> {
        if height >= HEIGHT_MAX {
            return Err(self.problem("too many operators within each other", &format!("at most {HEIGHT_MAX}")));
        }
        Ok((node, height + 1))
    }

    /// A whole expression; each bracket and each choice comes by here.
    fn expression(&mut self) -> Result<Tree, Problem> {
        if self.levels >= LEVELS_MAX {
            return Err(self.problem("too many brackets within each other", &format!("at most {LEVELS_MAX}")));
        }
        self.levels += 1;
        let (condition, height) = self.either()?;
        let tree = if self.takes("?") {
            let (first, first_height) = self.either()?;
            self.expect(":")?;
            let (second, second_height) = self.expression()?;
            let height = height.max(first_height).max(second_height);
            self.grown(Node::Choice(Box::new(condition), Box::new(first), Box::new(second)), height)?
        } else {
            (condition, height)
        };
        self.levels -= 1;
        Ok(tree)
    }

    fn either(&mut self) -> Result<Tree, Problem> {
        self.chain("||", Self::both, Node::Or)
    }

    fn both(&mut self) -> Result<Tree, Problem> {
        self.chain("&&", |parser| parser.binary(0), Node::And)
    }

    fn chain(
        &mut self,
        sign: &str,
        side: fn(&mut Self) -> Result<Tree, Problem>,
        node: fn(Vec<Node>) -> Node,
    ) -> Result<Tree, Problem> {
        let (first, mut height) = side(self)?;
        let mut sides = vec![first];
        while self.takes(sign) {
            let (next, next_height) = side(self)?;
            height = height.max(next_height);
            sides.push(next);
        }
        match sides.pop() {
            Some(only) if sides.is_empty() => Ok((only, height)),
            last => {
                sides.extend(last);
                self.grown(node(sides), height)
            }
        }
    }

    fn binary(&mut self, strength: usize) -> Result<Tree, Problem> {
        let Some(operators) = OPERATORS.get(strength) else { return self.unary() };
        let (mut left, mut height) = self.binary(strength + 1)?;
        while let Some((_, operator)) = operators.iter().find(|(sign, _)| match self.peek() {
            Kind::Sign(next) => next == sign,
            Kind::Word(next) => next == sign,
            Kind::Whole(_) | Kind::Number(_) | Kind::Text(_) | Kind::End => false,
        }) {
            self.place += 1;
            let (right, right_height) = self.binary(strength + 1)?;
            (left, height) =
                self.grown(Node::Binary(*operator, Box::new(left), Box::new(right)), height.max(right_height))?;
        }
        Ok((left, height))
    }

    fn unary(&mut self) -> Result<Tree, Problem> {
        for (sign, node) in [("!", Node::Not as fn(Box<Node>) -> Node), ("-", Node::Negate)] {
            let mut count: usize = 0;
            while self.takes(sign) {
                count += 1;
            }
            if count == 0 {
                continue;
            }
            // The smallest whole number can be written only as one with its sign.
            if sign == "-" && *self.peek() == Kind::Whole(i64::MIN.unsigned_abs()) {
                self.place += 1;
                count -= 1;
                let literal = (Node::Whole(i64::MIN), 1);
                return (0..count).try_fold(literal, |(below, height), _| self.grown(node(Box::new(below)), height));
            }
            let operand = self.member()?;
            return (0..count).try_fold(operand, |(below, height), _| self.grown(node(Box::new(below)), height));
        }
        self.member()
    }

    fn member(&mut self) -> Result<Tree, Problem> {
        let (mut node, mut height) = self.primary()?;
        loop {
            if self.takes("[") {
                let (index, index_height) = self.expression()?;
                self.expect("]")?;
                let index = Node::Binary(Operator::Index, Box::new(node), Box::new(index));
                (node, height) = self.grown(index, height.max(index_height))?;
            } else if self.takes(".") {
                let name = self.name("the name of a field")?;
                if self.takes("(") {
                    (node, height) = self.call(&name, Some((node, height)))?;
                } else {
                    let select = Node::Select { operand: Box::new(node), field: name, is_test: false };
                    (node, height) = self.grown(select, height)?;
                }
            } else {
                return Ok((node, height));
            }
        }
    }

    fn name(&mut self, wanted: &str) -> Result<String, Problem> {
        match self.peek() {
            Kind::Word(word) if !matches!(word.as_str(), "in" | "true" | "false" | "null") => {
                let word = word.clone();
                self.place += 1;
                Ok(word)
            }
            Kind::Word(_) | Kind::Whole(_) | Kind::Number(_) | Kind::Text(_) | Kind::Sign(_) | Kind::End => {
                Err(self.problem(&format!("{wanted} is missing"), ""))
            }
        }
    }

    fn primary(&mut self) -> Result<Tree, Problem> {
        let leaf = match self.peek().clone() {
            Kind::Sign("(") => {
                self.place += 1;
                let tree = self.expression()?;
                self.expect(")")?;
                return Ok(tree);
            }
            Kind::Sign("[") => {
                self.place += 1;
                let (items, height) = self.listed("]", Self::expression)?;
                return self.grown(Node::List(items), height);
            }
            Kind::Sign("{") => {
                self.place += 1;
                return self.map();
            }
            Kind::Whole(whole) => {
                let whole = i64::try_from(whole).map_err(|_| self.problem("a number that is too large", ""))?;
                Node::Whole(whole)
            }
            Kind::Number(number) => Node::Number(number),
            Kind::Text(text) => Node::Text(text),
            Kind::Word(word) => match word.as_str() {
                "true" => Node::Boolean(true),
                "false" => Node::Boolean(false),
                "null" => Node::Null,
                _ => return self.named(),
            },
            Kind::Sign(_) | Kind::End => return Err(self.problem("a value is missing", "")),
        };
        self.place += 1;
        Ok((leaf, 1))
    }

    /// A variable, or a function that is called without a dot.
    fn named(&mut self) -> Result<Tree, Problem> {
        let unknown_at = self.problem("", "");
        let name = self.name("a name")?;
        if self.takes("(") {
            return self.call(&name, None);
        }
        match self.scope.iter().rposition(|known| *known == name) {
            Some(place) => Ok((Node::Variable(place), 1)),
            None => {
                let shown: String = name.chars().take(60).collect();
                let known: Vec<_> = self.variables.iter().map(|name| format!("`{name}`")).collect();
                let message = format!("{}unknown name `{shown}`", unknown_at.message);
                Err(Problem { message, hint: format!("known is {}", known.join(", ")) })
            }
        }
    }

    /// Items up to a closing bracket, separated by commas; one comma may end them.
    fn listed<T>(
        &mut self,
        close: &str,
        item: fn(&mut Self) -> Result<(T, usize), Problem>,
    ) -> Result<(Vec<T>, usize), Problem> {
        let (mut items, mut height) = (Vec::new(), 0);
        while !self.takes(close) {
            let (next, next_height) = item(self)?;
            items.push(next);
            height = height.max(next_height);
            if !self.takes(",") {
                self.expect(close)?;
                break;
            }
        }
        Ok((items, height))
    }

    fn map(&mut self) -> Result<Tree, Problem> {
        let (entries, height) = self.listed("}", |parser| {
            let (key, key_height) = parser.expression()?;
            parser.expect(":")?;
            let (value, value_height) = parser.expression()?;
            Ok(((key, value), key_height.max(value_height)))
        })?;
        self.grown(Node::Map(entries), height)
    }

    /// A call, its opening bracket taken; `target` stands before the dot.
    fn call(&mut self, name: &str, target: Option<Tree>) -> Result<Tree, Problem> {
        let at = self.problem("", "").message;
        let is_member = target.is_some();
        let (target, height) = match (name, target) {
            ("all", Some(range)) => return self.turns(LoopKind::All, name, range),
            ("exists", Some(range)) => return self.turns(LoopKind::Exists, name, range),
            ("exists_one" | "existsOne", Some(range)) => return self.turns(LoopKind::ExistsOne, name, range),
            ("map" | "filter", Some(range)) => return self.turns(LoopKind::Collect, name, range),
            (_, Some((target, height))) => (Some(target), height),
            (_, None) => (None, 0),
        };
        let (arguments, arguments_height) = self.listed(")", Self::expression)?;
        let height = height.max(arguments_height);
        let mut values: Vec<Node> = target.into_iter().chain(arguments).collect();
        match (name, values.as_mut_slice()) {
            ("has", [Node::Select { is_test, .. }]) if !is_member => {
                *is_test = true;
                Ok((values.remove(0), height))
            }
            ("has", _) => {
                let hint = "write has(object.status.field)".to_owned();
                Err(Problem { message: format!("{at}has() asks for a field"), hint })
            }
            ("matches", [_, Node::Text(text)]) => {
                let pattern = pattern::compile(text)?;
                self.grown(Node::Matches(Box::new(values.remove(0)), pattern), height)
            }
            ("matches", [_, _]) => {
                let message = format!("{at}the pattern of `matches` is computed");
                Err(Problem { message, hint: "write it out, in quotes".to_owned() })
            }
            (_, _) => match function::find(name, is_member, values.len()) {
                Some(function) => self.grown(Node::Call(function, values), height),
                None => {
                    let shown: String = name.chars().take(60).collect();
                    let message = format!("{at}unknown function `{shown}` of {} values", values.len());
                    Err(Problem { message, hint: format!("known are {}", function::names()) })
                }
            },
        }
    }

    /// The inside of a loop: a name, perhaps a filter, and what is asked of each item.
    fn turns(&mut self, kind: LoopKind, name: &str, (range, height): Tree) -> Result<Tree, Problem> {
        if self.loops >= LOOPS_MAX {
            return Err(self.problem(&format!("more than {LOOPS_MAX} loops within each other"), "ask for less at once"));
        }
        let item = self.name("the name of the item")?;
        self.expect(",")?;
        self.loops += 1;
        self.scope.push(item);
        let place = self.scope.len() - 1;
        let (first, first_height) = self.expression()?;
        let second = if name == "map" && self.takes(",") { Some(self.expression()?) } else { None };
        self.scope.pop();
        self.loops -= 1;
        self.expect(")")?;
        let height = height.max(first_height).max(second.as_ref().map_or(0, |(_, height)| *height));
        let (filter, body) = match (name, second) {
            ("filter", _) => (Some(first), Node::Variable(place)),
            (_, Some((second, _))) => (Some(first), second),
            (_, None) => (None, first),
        };
        self.grown(Node::Loop(Box::new(Loop { kind, range, filter, body })), height)
    }
}
