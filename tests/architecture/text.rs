//! Rust files as text: what is code, what is test code, which modules and functions they have.
//!
//! Enters: a file's text. Leaves: the same text with the uninteresting part blanked (line breaks stay, so that line numbers
//! do), or names found in it. A small lexer and no parser: the rules need to be fast, and legible to whoever breaks one.

use std::collections::BTreeSet;

/// The code of a file: comments, strings and character literals are blanked.
pub(crate) fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = end_of_literal(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|&each| if each == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Where the comment, string or character literal that starts at `at` ends; `at` when none starts there.
fn end_of_literal(chars: &[char], at: usize) -> usize {
    let next = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    match chars[at] {
        '/' if next(1) == '/' => position(chars, at, |each| each == '\n'),
        '/' if next(1) == '*' => end_of_block_comment(chars, at),
        'r' if next(1) == '"' || next(1) == '#' => end_of_raw_string(chars, at),
        '"' => end_of_quoted(chars, at, '"'),
        // A lifetime has no closing quote two characters on.
        '\'' if next(1) == '\\' || next(2) == '\'' => end_of_quoted(chars, at, '\''),
        _ => at,
    }
}

fn position(chars: &[char], from: usize, is_wanted: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|&index| is_wanted(chars[index])).unwrap_or(chars.len())
}

fn end_of_block_comment(chars: &[char], at: usize) -> usize {
    let (mut depth, mut index) = (0, at);
    while index + 1 < chars.len() {
        match (chars[index], chars[index + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                index += 1;
                continue;
            }
        }
        index += 2;
        if depth == 0 {
            return index;
        }
    }
    chars.len()
}

fn end_of_raw_string(chars: &[char], at: usize) -> usize {
    let quote = position(chars, at + 1, |each| each != '#');
    let hashes = quote - at - 1;
    if chars.get(quote) != Some(&'"') {
        return at; // a raw identifier such as r#type
    }
    let closes = |index: usize| chars[index] == '"' && chars[index + 1..].iter().take(hashes).all(|&each| each == '#');
    let end = (quote + 1..chars.len()).find(|&index| closes(index));
    end.map_or(chars.len(), |index| (index + 1 + hashes).min(chars.len()))
}

fn end_of_quoted(chars: &[char], at: usize, quote: char) -> usize {
    let mut index = at + 1;
    while index < chars.len() {
        match chars[index] {
            '\\' => index += 2,
            each if each == quote => return index + 1,
            _ => index += 1,
        }
    }
    chars.len()
}

/// The code without items marked `#[cfg(test)]`.
pub(crate) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut rest = code;
    let mut kept = String::with_capacity(code.len());
    while let Some(start) = rest.find(MARK) {
        kept.push_str(&rest[..start]);
        let end = start + MARK.len() + end_of_item(&rest[start + MARK.len()..]);
        kept.extend(rest[start..end].chars().filter(|&each| each == '\n'));
        rest = &rest[end..];
    }
    kept + rest
}

/// Where the item at the start of `code` ends: at a semicolon outside brackets, or at the brace that closes its body.
fn end_of_item(code: &str) -> usize {
    let (mut brackets, mut braces) = (0i32, 0i32);
    for (index, each) in code.char_indices() {
        match each {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces <= 0 {
                    return index + 1;
                }
            }
            ';' if brackets == 0 && braces == 0 => return index + 1,
            _ => {}
        }
    }
    code.len()
}

/// Where `needle` stands in `code` as whole words.
pub(crate) fn words<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |each: char| each.is_alphanumeric() || each == '_';
    code.match_indices(needle).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back();
        let after = code[at + needle.len()..].chars().next();
        let continues_left = needle.starts_with(is_part) && before.is_some_and(is_part);
        let continues_right = needle.ends_with(is_part) && after.is_some_and(is_part);
        !continues_left && !continues_right
    })
}

/// Whether a crate is named: by path or by import.
pub(crate) fn names_crate(code: &str, name: &str) -> bool {
    [format!("{name}::"), format!("use {name}"), format!("extern crate {name}")]
        .iter()
        .any(|needle| words(code, needle).any(|at| !code[..at].ends_with("::")))
}

/// The modules of our own crate that are named by `crate::` paths, groups included.
pub(crate) fn crate_modules(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for at in words(code, "crate::") {
        let rest = code[at + "crate::".len()..].trim_start();
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group)),
            None => found.extend(head(rest)),
        }
    }
    found
}

fn head(path: &str) -> Option<String> {
    let name: String = path.trim_start().chars().take_while(|each| each.is_alphanumeric() || *each == '_').collect();
    // `crate::CONSTANT` and `crate::macro!` are items at the root, not modules.
    name.starts_with(char::is_lowercase).then_some(name)
}

/// First segments of `a::b, c::{d, e}}`.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut heads) = (1, 0, Vec::new());
    for (index, each) in group.char_indices() {
        match each {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if (each == ',' && depth == 1) || depth == 0 {
            heads.extend(head(&group[start..index]));
            start = index + 1;
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

/// Functions with a body: name, line of `fn` (from 1), and length in lines.
pub(crate) fn functions(code: &str) -> Vec<(String, usize, usize)> {
    words(code, "fn")
        .filter_map(|at| {
            let name = head(&code[at + 2..])?;
            let body = &code[at..][..end_of_item(&code[at..])];
            let line = code[..at].matches('\n').count() + 1;
            body.ends_with('}').then(|| (name, line, body.matches('\n').count() + 1))
        })
        .collect()
}

/// A module that a file declares in a file of its own.
pub(crate) struct DeclaredModule {
    /// Its name.
    pub(crate) name: String,
    /// What `#[path]` says.
    pub(crate) path: Option<String>,
    /// Whether it is compiled for tests only.
    pub(crate) is_test: bool,
}

/// The modules that a file declares in files of their own.
pub(crate) fn declared_modules(text: &str) -> Vec<DeclaredModule> {
    let (mut path, mut is_test, mut found) = (None, false, Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("#[path = \"") {
            path = rest.split('"').next().map(str::to_owned);
        } else if line == "#[cfg(test)]" {
            is_test = true;
        } else if !line.starts_with("#[") {
            let item = line.strip_prefix("pub").map_or(line, |rest| rest.split_once(' ').map_or("", |(_, item)| item));
            if let Some(name) = item.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
                found.push(DeclaredModule { name: name.to_owned(), path: path.take(), is_test });
            }
            (path, is_test) = (None, false);
        }
    }
    found
}
