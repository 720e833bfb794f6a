//! The source of an expression -> its words, numbers, texts and signs, each with its place.

use super::Problem;

/// A token and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// In characters, from 1.
    pub(super) column: usize,
    /// From 1.
    pub(super) line: usize,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A name, or a word of the language.
    Word(String),
    /// A whole number, without its sign.
    Whole(u64),
    /// A number with a fraction or an exponent.
    Number(f64),
    /// Text, what is escaped resolved.
    Text(String),
    /// An operator or a bracket.
    Sign(&'static str),
    /// The end of the source.
    End,
}

/// Longer ones first.
const SIGNS: &[&str] = &[
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")", "[", "]",
    "{", "}",
];

/// A problem at a place of the source.
pub(super) fn problem_at(line: usize, column: usize, message: &str, hint: &str) -> Problem {
    Problem { message: format!("line {line}, column {column}: {message}"), hint: hint.to_owned() }
}

/// Takes a source apart.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, Problem> {
    let mut scanner = Scanner { rest: source, line: 1, column: 1 };
    let mut tokens = Vec::new();
    loop {
        scanner.skip_blank();
        let (line, column) = (scanner.line, scanner.column);
        let kind = scanner.next()?;
        let is_end = kind == Kind::End;
        tokens.push(Token { kind, column, line });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
    column: usize,
}

impl<'a> Scanner<'a> {
    /// Takes so many bytes, which end at the end of a character.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        for c in taken.chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, holds: impl Fn(char) -> bool) -> &'a str {
        self.take(self.rest.find(|c| !holds(c)).unwrap_or(self.rest.len()))
    }

    fn take_char(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.take(c.len_utf8());
        Some(c)
    }

    fn problem(&self, message: &str, hint: &str) -> Problem {
        problem_at(self.line, self.column, message, hint)
    }

    fn skip_blank(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if !self.rest.starts_with("//") {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    fn next(&mut self) -> Result<Kind, Problem> {
        let Some(first) = self.rest.chars().next() else { return Ok(Kind::End) };
        let is_digit = |index: usize| self.rest.as_bytes().get(index).is_some_and(u8::is_ascii_digit);
        if first.is_ascii_digit() || (first == '.' && is_digit(1)) {
            return self.number();
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let length = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
            let is_quoted = self.rest[length..].starts_with(['"', '\'']);
            return match &self.rest[..length] {
                "r" | "R" if is_quoted => {
                    self.take(length);
                    self.text(true)
                }
                "b" | "B" | "br" | "rb" | "bR" | "Rb" | "BR" | "RB" | "rB" | "Br" if is_quoted => {
                    Err(self.problem("bytes are not in expressions here", "leave the `b` out"))
                }
                _ => Ok(Kind::Word(self.take(length).to_owned())),
            };
        }
        if matches!(first, '"' | '\'') {
            return self.text(false);
        }
        match SIGNS.iter().find(|sign| self.rest.starts_with(**sign)) {
            Some(sign) => {
                self.take(sign.len());
                Ok(Kind::Sign(sign))
            }
            None if first == '=' => Err(self.problem("`=` is no operator", "write ==")),
            None => Err(self.problem("a character that is no part of an expression", "")),
        }
    }

    fn number(&mut self) -> Result<Kind, Problem> {
        let start = self.problem("a number that cannot be read", "write it in digits");
        let too_large = self.problem("a number that is too large", "");
        let kind = if let Some(rest) = self.rest.strip_prefix("0x").or_else(|| self.rest.strip_prefix("0X")) {
            let length = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
            let digits = &self.take(2 + length)[2..];
            Kind::Whole(u64::from_str_radix(digits, 16).map_err(|_| start.clone())?)
        } else {
            let text = &self.rest[..self.number_length()];
            self.take(text.len());
            if text.bytes().all(|byte| byte.is_ascii_digit()) {
                Kind::Whole(text.parse().map_err(|_| too_large)?)
            } else {
                Kind::Number(text.parse().map_err(|_| start.clone())?)
            }
        };
        match self.rest.chars().next() {
            Some('u' | 'U') => Err(self.problem("unsigned numbers are not in expressions here", "leave the `u` out")),
            Some(c) if c.is_alphanumeric() || c == '_' => Err(start),
            Some(_) | None => Ok(kind),
        }
    }

    /// The length of digits, with a fraction and an exponent where they follow.
    fn number_length(&self) -> usize {
        let bytes = self.rest.as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut length = digits(0);
        if bytes.get(length) == Some(&b'.') && digits(length + 1) > 0 {
            length += 1 + digits(length + 1);
        }
        if matches!(bytes.get(length), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
            let exponent = bytes.get(length + 1 + sign).map_or(0, |_| digits(length + 1 + sign));
            if exponent > 0 {
                length += 1 + sign + exponent;
            }
        }
        length
    }

    fn text(&mut self, is_raw: bool) -> Result<Kind, Problem> {
        let open = self.problem("text that is not closed", "end it with the quote that it starts with");
        let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| self.rest.starts_with(quote));
        let quote = quote.expect("the caller saw a quote");
        self.take(quote.len());
        let mut text = String::new();
        loop {
            if self.rest.starts_with(quote) {
                self.take(quote.len());
                return Ok(Kind::Text(text));
            }
            match self.take_char() {
                None => return Err(open),
                Some('\n' | '\r') if quote.len() == 1 => return Err(open),
                Some('\\') if is_raw => {
                    text.push('\\');
                    text.extend(self.take_char());
                }
                Some('\\') => text.push(self.escaped()?),
                Some(c) => text.push(c),
            }
        }
    }

    /// The character after a backslash.
    fn escaped(&mut self) -> Result<char, Problem> {
        let unknown = self.problem("an unknown escape in text", "write \\\\ for a backslash, or r\"...\"");
        let code = |digits: Option<&str>, base: u32| {
            digits.and_then(|digits| u32::from_str_radix(digits, base).ok()).and_then(char::from_u32)
        };
        let c = match self.take_char() {
            Some('a') => Some('\u{7}'),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('v') => Some('\u{b}'),
            Some(c @ ('\\' | '\'' | '"' | '`' | '?')) => Some(c),
            Some('x' | 'X') => code(self.digits(2), 16),
            Some('u') => code(self.digits(4), 16),
            Some('U') => code(self.digits(8), 16),
            Some(first @ '0'..='3') => {
                let rest = self.digits(2).unwrap_or_default();
                let octal = format!("{first}{rest}");
                code(Some(octal.as_str()).filter(|octal| octal.len() == 3), 8)
            }
            Some(_) | None => None,
        };
        c.ok_or(unknown)
    }

    /// Exactly so many digits.
    fn digits(&mut self, count: usize) -> Option<&'a str> {
        let digits = self.rest.get(..count)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        Some(self.take(count))
    }
}
