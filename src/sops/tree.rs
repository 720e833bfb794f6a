//! The text of an encrypted file -> its fields in the order of the file, scalars as SOPS takes them.
//!
//! Anchors, aliases, merge keys and tags are refused: SOPS writes none, so a file that has them was edited behind its back.

use std::collections::BTreeSet;
use std::fmt;

use granit_parser::{Event, Parser, ScalarStyle, Tag};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::scalar::{float_text, plain};
use super::{SopsError, TEXT_BYTES_MAX};

/// Depth of nesting: as for manifests.
const DEPTH_MAX: usize = 100;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Fields in order.
    Map(Vec<(String, Self)>),
    /// Items in order.
    List(Vec<Self>),
    /// A text, perhaps an encrypted value.
    Text(String),
    /// A number, a truth value or a time: the bytes that the MAC covers.
    Plain(String),
    /// Nothing: SOPS neither encrypts nor covers it.
    Null,
}

impl Node {
    /// A field of a mapping.
    pub(super) fn get(&self, wanted: &str) -> Option<&Self> {
        match self {
            Self::Map(fields) => fields.iter().find(|(key, _)| key == wanted).map(|(_, node)| node),
            Self::List(_) | Self::Text(_) | Self::Plain(_) | Self::Null => None,
        }
    }
}

fn broken(at: String, problem: &str) -> SopsError {
    SopsError::Broken { field: at, problem: problem.to_owned() }
}

fn text_of(bytes: &[u8]) -> Result<&str, SopsError> {
    if bytes.len() > TEXT_BYTES_MAX {
        let problem = format!("an encrypted file may have {TEXT_BYTES_MAX} bytes, this one has {}", bytes.len());
        return Err(SopsError::Unsupported(problem));
    }
    std::str::from_utf8(bytes).map_err(|_| broken("the file".to_owned(), "it is not UTF-8"))
}

/// Reads JSON.
pub(super) fn from_json(bytes: &[u8]) -> Result<Node, SopsError> {
    let mut reader = serde_json::Deserializer::from_str(text_of(bytes)?);
    // What is wrong is not told: the message may hold a value.
    let node = Ordered { depth: 0 }.deserialize(&mut reader);
    let at = |error: &serde_json::Error| format!("line {}, column {}", error.line(), error.column());
    let node = node.map_err(|error| broken(at(&error), "the JSON of an encrypted file is not readable"))?;
    reader.end().map_err(|error| broken(at(&error), "there is something behind the JSON document"))?;
    Ok(node)
}

/// Reads a JSON value; numbers become floats, as they do in SOPS.
#[derive(Clone, Copy)]
struct Ordered {
    depth: usize,
}

impl Ordered {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom("too deep"));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Ordered {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Ordered {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Plain(if value { "True" } else { "False" }.to_owned()))
    }

    #[expect(clippy::cast_precision_loss, reason = "SOPS loses it too, and its MAC is over what is left")]
    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        self.visit_f64(value as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "SOPS loses it too, and its MAC is over what is left")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Plain(float_text(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let (inner, mut list) = (self.deeper()?, Vec::new());
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let (inner, mut fields, mut seen) = (self.deeper()?, Vec::new(), BTreeSet::new());
        while let Some(key) = entries.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom("a key twice"));
            }
            fields.push((key, entries.next_value_seed(inner)?));
        }
        Ok(Node::Map(fields))
    }
}

/// Reads the documents of a YAML file.
pub(super) fn from_yaml(bytes: &[u8]) -> Result<Vec<Node>, SopsError> {
    let mut options = granit_parser::options! {
        flow_nesting_limit: 2 * DEPTH_MAX,
        block_nesting_limit: 2 * DEPTH_MAX,
    };
    options.set_emit_comments(false);
    let (mut documents, mut open) = (Vec::new(), Vec::new());
    for next in Parser::new_from_str_with_options(text_of(bytes)?, options) {
        let not_yaml = |line| broken(format!("line {line}"), "the YAML of an encrypted file is not readable");
        let (event, span) = next.map_err(|error| not_yaml(error.marker().line()))?;
        let at = || format!("line {}", span.start.line());
        let refuse = |problem| Err(broken(at(), problem));
        let finished = match event {
            Event::Scalar(text, style, anchor, tag) => {
                if anchor != 0 {
                    return refuse("SOPS writes no anchors (`&name`)");
                }
                Some(Finished { node: scalar(&text, style, tag.as_deref(), at)?, text: text.into_owned() })
            }
            Event::SequenceStart(_, anchor, tag) | Event::MappingStart(_, anchor, tag)
                if anchor != 0 || tag.is_some() =>
            {
                return refuse("SOPS writes no anchors (`&name`) and no tags (`!name`)");
            }
            Event::SequenceStart(..) => {
                open.push(Frame::List(Vec::new()));
                None
            }
            Event::MappingStart(..) => {
                open.push(Frame::Map { fields: Vec::new(), seen: BTreeSet::new(), key: None });
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(Frame::close),
            Event::Alias(_) => return refuse("SOPS writes no aliases (`*name`)"),
            _ => None,
        };
        if open.len() > DEPTH_MAX {
            return refuse("it is nested too deeply");
        }
        let Some(finished) = finished else { continue };
        match open.last_mut() {
            None => documents.push(finished.node),
            Some(frame) => frame.add(finished, at)?,
        }
    }
    Ok(documents)
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, at: impl Fn() -> String) -> Result<Node, SopsError> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema_tag("str") => Err(broken(at(), "SOPS writes no tags (`!name`)")),
        None if style == ScalarStyle::Plain => Ok(plain(text)),
        Some(_) | None => Ok(Node::Text(text.to_owned())),
    }
}

/// A node that is complete; as a key, its text counts.
struct Finished {
    node: Node,
    text: String,
}

/// A collection that is still open.
enum Frame {
    List(Vec<Node>),
    Map { fields: Vec<(String, Node)>, seen: BTreeSet<String>, key: Option<String> },
}

impl Frame {
    fn add(&mut self, finished: Finished, at: impl Fn() -> String) -> Result<(), SopsError> {
        match self {
            Self::List(items) => items.push(finished.node),
            Self::Map { fields, seen, key } => match key.take() {
                Some(key) => fields.push((key, finished.node)),
                None if !matches!(finished.node, Node::Text(_)) => {
                    return Err(broken(at(), "SOPS knows only texts as keys: put it in quotes"));
                }
                None if finished.text == "<<" => return Err(broken(at(), "SOPS writes no merge keys (`<<`)")),
                None if !seen.insert(finished.text.clone()) => return Err(broken(at(), "a key stands here twice")),
                None => *key = Some(finished.text),
            },
        }
        Ok(())
    }

    fn close(self) -> Finished {
        let node = match self {
            Self::List(items) => Node::List(items),
            Self::Map { fields, .. } => Node::Map(fields),
        };
        Finished { node, text: String::new() }
    }
}
