//! YAML with positions, within limits.
//!
//! Enters: the text of a file. Leaves: its documents as trees in which every key and value knows its line and column,
//! or where reading stopped, with the part that was read before. It gives no meaning to anything.
//!
//! A line that starts with `---` is a document marker wherever it stands (YAML 1.2, `c-forbidden`), so a file is cut
//! there first: a syntax error in one document cannot hide the next one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};

use super::problem::Position;
use super::{DEPTH_MAX, NODES_MAX, TEXT_BYTES_MAX};

/// A value and where it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) content: Content,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A scalar as written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Neither quoted, nor a block, nor tagged as a string: it may be a number, a boolean or nothing at all.
    pub(super) is_plain: bool,
}

/// A key and its value. Keys may repeat: whoever reads the mapping refuses that.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: Position,
    pub(super) value: Node,
}

/// One piece of a file between two document markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Lines of the file before it.
    pub(super) lines_before: usize,
    /// Its text, the marker that opens it included.
    pub(super) text: &'a str,
}

/// Where reading stopped, and why.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stop {
    pub(super) at: Position,
    pub(super) message: String,
    pub(super) hint: &'static str,
}

/// Documents of a piece, and why reading stopped before its end; then the last document is only what was read so far.
#[derive(Debug)]
pub(super) struct Trees {
    pub(super) documents: Vec<Node>,
    pub(super) stop: Option<Stop>,
}

/// Cuts a file at its document markers.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let is_marker =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if is_marker && offset > start {
            pieces.push(Piece { lines_before: start_line, text: &text[start..offset] });
            (start, start_line) = (offset, number);
        }
        offset += line.len();
    }
    pieces.push(Piece { lines_before: start_line, text: &text[start..] });
    pieces
}

/// Reads the documents of a piece; usually one, none when it holds only comments.
pub(super) fn read(piece: Piece<'_>) -> Trees {
    let mut options = granit_parser::options! {
        disallow_directives: true,
        // Ours is reported first and reads better; these are the parser's own walls behind it.
        flow_nesting_limit: 2 * DEPTH_MAX,
        block_nesting_limit: 2 * DEPTH_MAX,
    };
    options.set_emit_comments(false);
    let mut builder = Builder { lines_before: piece.lines_before, ..Builder::default() };
    for next in Parser::new_from_str_with_options(piece.text, options) {
        let stop = match next {
            Ok((event, span)) => builder.take(event, span).err(),
            Err(error) => Some(builder.syntax(*error.marker(), &error.info(), piece.text)),
        };
        if let Some(stop) = stop {
            builder.close_all();
            return Trees { documents: builder.documents, stop: Some(stop) };
        }
    }
    Trees { documents: builder.documents, stop: None }
}

/// A collection that is still open.
enum Frame {
    Sequence { at: Position, anchor: usize, items: Vec<Node> },
    Mapping { at: Position, anchor: usize, entries: Vec<Entry>, key: Option<(String, Position)> },
}

/// Turns events into trees.
#[derive(Default)]
struct Builder {
    lines_before: usize,
    open: Vec<Frame>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    text_bytes: usize,
    documents: Vec<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let at = self.position(span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && !is_string(tag.as_deref());
                self.refuse_tag(tag.as_ref(), at)?;
                self.count(1, text.len(), at)?;
                let scalar = Scalar { text: text.into_owned(), is_plain };
                self.add(Node { at, content: Content::Scalar(scalar) }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_ref(), at)?;
                self.open(Frame::Sequence { at, anchor, items: Vec::new() }, at)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_ref(), at)?;
                self.open(Frame::Mapping { at, anchor, entries: Vec::new(), key: None }, at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(stop(at, "this alias contains itself", "write the value out"));
                };
                let (nodes, bytes) = size(&node);
                self.count(nodes, bytes, at)?;
                self.add(node, 0)
            }
            Event::DocumentEnd => {
                self.anchors.clear();
                (self.nodes, self.text_bytes) = (0, 0);
                Ok(())
            }
            // Events of streams, comments and metadata carry no values; the parser's enum is open.
            _ => Ok(()),
        }
    }

    fn position(&self, marker: Marker) -> Position {
        Position::new(marker.line() + self.lines_before, marker.col() + 1)
    }

    fn refuse_tag(&self, tag: Option<&Cow<'_, Tag>>, at: Position) -> Result<(), Stop> {
        match tag {
            Some(tag) if !is_string(Some(tag)) => {
                Err(stop(at, format!("the tag `{}` is not read here", tag.original()), "remove the tag"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn count(&mut self, nodes: usize, bytes: usize, at: Position) -> Result<(), Stop> {
        self.nodes += nodes;
        self.text_bytes += bytes;
        if self.nodes > NODES_MAX {
            return Err(stop(at, format!("the document has more than {NODES_MAX} values"), "split the file"));
        }
        if self.text_bytes > TEXT_BYTES_MAX {
            let message = format!("the document has more than {TEXT_BYTES_MAX} bytes of text, aliases expanded");
            return Err(stop(at, message, "split the file"));
        }
        Ok(())
    }

    fn open(&mut self, frame: Frame, at: Position) -> Result<(), Stop> {
        self.count(1, 0, at)?;
        if self.open.len() == DEPTH_MAX {
            return Err(too_deep(at));
        }
        self.open.push(frame);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Stop> {
        let Some(frame) = self.open.pop() else { return Ok(()) };
        let (node, anchor) = match frame {
            Frame::Sequence { at, anchor, items } => (Node { at, content: Content::Sequence(items) }, anchor),
            // A key without a value at this point means that reading stopped there: the key is dropped.
            Frame::Mapping { at, anchor, entries, key: _ } => (Node { at, content: Content::Mapping(entries) }, anchor),
        };
        self.add(node, anchor)
    }

    fn close_all(&mut self) {
        while !self.open.is_empty() {
            // A complex key that was cut off fails here: what encloses it is still worth having.
            let _ = self.close();
        }
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.documents.push(node),
            Some(Frame::Sequence { items, .. }) => items.push(node),
            Some(Frame::Mapping { entries, key, .. }) => match (key.take(), node.content) {
                (Some((key, key_at)), content) => {
                    // A value that is not there has no place of its own: its key's is the one to look at.
                    let at = if is_absent(&content) { key_at } else { node.at };
                    entries.push(Entry { key, key_at, value: Node { at, content } });
                }
                (None, Content::Scalar(scalar)) => *key = Some((scalar.text, node.at)),
                (None, Content::Sequence(_) | Content::Mapping(_)) => {
                    let hint = "quote the key, or the whole value if it holds `{{ }}`: templates are not read";
                    return Err(stop(node.at, "a key must be one word", hint));
                }
            },
        }
        Ok(())
    }

    fn syntax(&self, marker: Marker, message: &str, text: &str) -> Stop {
        if message.contains("recursion limit") {
            return too_deep(self.position(marker));
        }
        let line = text.lines().nth(marker.line().saturating_sub(1)).unwrap_or_default();
        let indentation = &line[..line.len() - line.trim_start().len()];
        let hint = if indentation.contains('\t') || message.contains("tab") {
            "YAML is indented with spaces, not with tabs"
        } else if ["<<<<<<<", "=======", ">>>>>>>"].iter().any(|mark| line.starts_with(mark)) {
            "a merge conflict was committed: resolve it"
        } else if message.contains("directive") {
            "remove the line that starts with `%`"
        } else {
            "look at the indentation, colons, quotes and brackets here and just above"
        };
        stop(self.position(marker), format!("not valid YAML: {message}"), hint)
    }
}

fn stop(at: Position, message: impl Into<String>, hint: &'static str) -> Stop {
    Stop { at, message: message.into(), hint }
}

fn too_deep(at: Position) -> Stop {
    stop(at, format!("values are nested more than {DEPTH_MAX} deep"), "")
}

fn is_string(tag: Option<&Tag>) -> bool {
    tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"))
}

fn is_absent(content: &Content) -> bool {
    matches!(content, Content::Scalar(Scalar { text, is_plain: true }) if text.is_empty() || text == "~")
}

/// Values and bytes of text below and including `node`.
fn size(node: &Node) -> (usize, usize) {
    match &node.content {
        Content::Scalar(scalar) => (1, scalar.text.len()),
        Content::Sequence(items) => items.iter().map(size).fold((1, 0), sum),
        Content::Mapping(entries) => {
            entries.iter().map(|entry| sum((1, entry.key.len()), size(&entry.value))).fold((1, 0), sum)
        }
    }
}

const fn sum(left: (usize, usize), right: (usize, usize)) -> (usize, usize) {
    (left.0 + right.0, left.1 + right.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(text: &str) -> Vec<Trees> {
        pieces(text).into_iter().map(read).collect()
    }

    fn find<'a>(node: &'a Node, key: &str) -> &'a Node {
        let Content::Mapping(entries) = &node.content else { panic!("not a mapping: {node:?}") };
        &entries.iter().find(|entry| entry.key == key).expect("the key is there").value
    }

    #[test]
    fn values_know_their_line_and_column_in_the_whole_file() {
        let trees = documents("# first\na: 1\n---\nb:\n  c: x\n  d:\n  e: [1, é, z]\n");
        let root = &trees[1].documents[0];
        assert_eq!(root.at, Position::new(4, 1));
        assert_eq!(find(root, "b").at, Position::new(5, 3));
        assert_eq!(find(find(root, "b"), "c").at, Position::new(5, 6));
        assert_eq!(find(find(root, "b"), "d").at, Position::new(6, 3));
        let Content::Sequence(items) = &find(find(root, "b"), "e").content else { panic!("not a list") };
        assert_eq!(items[2].at, Position::new(7, 13));
    }

    #[test]
    fn a_syntax_error_does_not_hide_the_next_document_and_keeps_what_was_read() {
        let trees = documents("a: 1\nb: [1, 2\nc: }\n---\nd: 1\n");
        assert!(trees[0].stop.is_some());
        assert_eq!(find(&trees[0].documents[0], "a").at.line, 1);
        assert!(trees[1].stop.is_none());
        assert_eq!(find(&trees[1].documents[0], "d").at.line, 5);
    }

    #[test]
    fn bombs_are_refused_within_the_limits() {
        let aliases = |count: usize, text: &str| format!("a: &a {text}\nb: [{}]\n", "*a,".repeat(count));
        let nest = |count: usize| format!("a: {}{}\n", "[".repeat(count), "]".repeat(count));
        for (text, message) in [
            (aliases(100, &"x".repeat(100_000)), "bytes of text"),
            (aliases(20_000, "[1, 2, 3]"), "more than 50000 values"),
            (nest(31), ""),
            (nest(32), "nested more than 32"),
            (nest(100_000), "nested more than 32"),
            ("a: &a [*a]\n".to_owned(), "contains itself"),
            ("a: !Ref x\n".to_owned(), "tag `!Ref`"),
            ("%YAML 1.2\n---\na: 1\n".to_owned(), "not valid YAML"),
            ("? [a, b]\n: 1\n".to_owned(), "a key must be one word"),
        ] {
            let stop = documents(&text).into_iter().find_map(|trees| trees.stop);
            let found = stop.map(|stop| stop.message).unwrap_or_default();
            assert!(found.contains(message) && found.is_empty() == message.is_empty(), "{message}: {found}");
        }
    }
}
