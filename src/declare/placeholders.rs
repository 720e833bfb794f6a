//! `${name}` in the texts of a template, after YAML was read: what a variable holds can never become structure.
//!
//! Enters: a tree, and values by name. Leaves: the names that it uses, or the tree with the values in place. `$${` stands
//! for `${`. Keys of mappings are left alone.

use std::collections::BTreeMap;

use super::problem::Position;
use super::tree::{Content, Entry, Node, Scalar};

/// A value for a variable, and where it was written, if it was.
pub(super) type Filling = (String, Option<Position>);

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Variable(&'a str),
}

/// A variable, or what is wrong with one, and where its text stands.
pub(super) type Used<'a> = (Result<&'a str, String>, Position);

/// Every variable that a tree uses, in order.
pub(super) fn used(node: &Node) -> Vec<Used<'_>> {
    let mut found = Vec::new();
    collect(node, &mut found);
    found
}

fn collect<'a>(node: &'a Node, found: &mut Vec<Used<'a>>) {
    match &node.content {
        Content::Scalar(scalar) => match parts(&scalar.text) {
            Ok(parts) => found.extend(parts.into_iter().filter_map(|part| match part {
                Part::Variable(name) => Some((Ok(name), node.at)),
                Part::Text(_) => None,
            })),
            Err(message) => found.push((Err(message), node.at)),
        },
        Content::Sequence(items) => items.iter().for_each(|item| collect(item, found)),
        Content::Mapping(entries) => entries.iter().for_each(|entry| collect(&entry.value, found)),
    }
}

/// The tree with values for its variables; those that are not known stay as they are. A text that is one variable and
/// nothing else stands where the value was written: that is the place to look at, and to edit.
pub(super) fn filled(node: &Node, values: &BTreeMap<String, Filling>) -> Node {
    match &node.content {
        Content::Scalar(scalar) => filled_scalar(node, scalar, values),
        Content::Sequence(items) => {
            let items = items.iter().map(|item| filled(item, values)).collect();
            Node { at: node.at, content: Content::Sequence(items) }
        }
        Content::Mapping(entries) => {
            let fill = |entry: &Entry| Entry { value: filled(&entry.value, values), ..entry.clone() };
            Node { at: node.at, content: Content::Mapping(entries.iter().map(fill).collect()) }
        }
    }
}

fn filled_scalar(node: &Node, scalar: &Scalar, values: &BTreeMap<String, Filling>) -> Node {
    let Some(parts) = parts(&scalar.text).ok().filter(|_| scalar.text.contains("${")) else { return node.clone() };
    let mut at = node.at;
    if let [Part::Variable(name)] = parts.as_slice() {
        at = values.get(*name).and_then(|(_, written_at)| *written_at).unwrap_or(at);
    }
    let text = parts
        .into_iter()
        .map(|part| match part {
            Part::Text(text) => text,
            Part::Variable(name) => values.get(name).map_or("", |(value, _)| value),
        })
        .collect();
    // Text it is, whatever it looks like: a version 1.10 is no number.
    Node { at, content: Content::Scalar(Scalar { text, is_plain: false }) }
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            // `$${`: the first `$` goes, `${` stays.
            parts.extend([Part::Text(&rest[..at - 1]), Part::Text("${")]);
            rest = &rest[at + 2..];
            continue;
        }
        let (name, after) = rest[at + 2..].split_once('}').ok_or("`${` is not closed")?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(format!("`${{{}}}` is no variable", super::problem::shown(name)));
        }
        parts.extend([Part::Text(&rest[..at]), Part::Variable(name)]);
        rest = after;
    }
    parts.push(Part::Text(rest));
    parts.retain(|part| *part != Part::Text(""));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_escapes_are_not_and_nonsense_is_named() {
        for (text, expected) in [
            ("plain $5", Ok(vec![Part::Text("plain $5")])),
            ("${a}", Ok(vec![Part::Variable("a")])),
            ("x-${a_1}.y", Ok(vec![Part::Text("x-"), Part::Variable("a_1"), Part::Text(".y")])),
            ("$${a} ${b}", Ok(vec![Part::Text("${"), Part::Text("a} "), Part::Variable("b")])),
            ("${a", Err("`${` is not closed".to_owned())),
            ("${a.b}", Err("`${a.b}` is no variable".to_owned())),
            ("${}", Err("`${}` is no variable".to_owned())),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }
}
