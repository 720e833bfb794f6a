//! One level of inheritance: an Application and the base that it names -> one document that is read as if somebody had
//! written it.
//!
//! Enters: trees. Leaves: a tree in which the own fields win, mappings are merged by key and lists are replaced. Every
//! value knows which document it was written in. A base has no base: whoever reads an environment looks at two files.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::application::read_application;
use super::file::ParsedApp;
use super::nearest::did_you_mean;
use super::problem::{Origin, Others, Position, Problem, Sink, shown};
use super::read::{Mapping, Place};
use super::shape::Shape;
use super::source::from_root;
use super::tree::{Content, Entry, Node};
use crate::model::AppName;

/// What an ApplicationBase gives: the `spec`, its places marked as those of a base.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Base {
    pub(super) spec: Node,
}

/// Bases by name, or what is wrong with each.
pub(super) type Bases<'a> = BTreeMap<&'a str, Result<BaseDocument<'a>, Vec<Problem>>>;

/// A good base, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct BaseDocument<'a> {
    pub(super) file: &'a str,
    pub(super) document: usize,
    pub(super) base: &'a Arc<Base>,
}

/// An Application that was completed, and the base that was used.
pub(super) type Completed = (ParsedApp, Option<(String, Arc<Base>)>);

/// Reads the `spec` of a base. A source path that starts at the base's own folder is written out from the root, because it
/// ends up in documents of other folders.
pub(super) fn read_base(file: &str, spec: &Place<'_>, sink: &mut Sink<'_>) -> Base {
    if let Some(entry) = spec.entry("base") {
        sink.report(entry.key_at, "spec.base", "a base has no base of its own", "write its fields here");
    }
    let mut spec = spec.node.clone();
    if let Some(source) = find_mut(&mut spec, "source") {
        write_out(source, "spec.source", file, sink);
    }
    if let Some(Node { content: Content::Sequence(sources), .. }) = find_mut(&mut spec, "sources") {
        for (index, source) in sources.iter_mut().enumerate() {
            write_out(source, &format!("spec.sources[{index}]"), file, sink);
        }
    }
    mark(&mut spec, Origin::Base);
    Base { spec }
}

/// Writes the paths of one source out from the root.
fn write_out(source: &mut Node, field: &str, file: &str, sink: &mut Sink<'_>) {
    let is_here = find(source, "repository").is_none();
    if let Some(path) = find_mut(source, "path").filter(|_| is_here)
        && let Content::Scalar(scalar) = &mut path.content
        && (scalar.text == "." || scalar.text.starts_with("./"))
    {
        scalar.text = from_root(&scalar.text, file);
        if scalar.text.is_empty() {
            let message = "the root folder cannot be named by a base";
            sink.report(path.at, &format!("{field}.path"), message, "put the manifests into a folder");
        }
    }
    let files = find_mut(source, "helm").and_then(|helm| find_mut(helm, "valuesFiles"));
    if let Some(Node { content: Content::Sequence(files), .. }) = files {
        for file_with_values in files {
            if let Content::Scalar(scalar) = &mut file_with_values.content
                && scalar.text.starts_with("./")
            {
                scalar.text = from_root(&scalar.text, file);
            }
        }
    }
}

/// The value of a field.
pub(super) fn find<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    let Content::Mapping(entries) = &node.content else { return None };
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
}

fn find_mut<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    let Content::Mapping(entries) = &mut node.content else { return None };
    entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
}

/// Says of a whole tree where it was written.
pub(super) fn mark(node: &mut Node, origin: Origin) {
    node.at.origin = origin;
    match &mut node.content {
        Content::Scalar(_) => {}
        Content::Sequence(items) => items.iter_mut().for_each(|item| mark(item, origin)),
        Content::Mapping(entries) => {
            for entry in entries {
                entry.key_at.origin = origin;
                mark(&mut entry.value, origin);
            }
        }
    }
}

/// The own value where there is one, the base's elsewhere. Mappings are merged by key; everything else is replaced.
pub(super) fn merged(own: &Node, base: &Node) -> Node {
    let (Content::Mapping(own_entries), Content::Mapping(base_entries)) = (&own.content, &base.content) else {
        return own.clone();
    };
    let mut entries: Vec<Entry> = Vec::new();
    for entry in base_entries {
        match find(own, &entry.key) {
            Some(value) => entries.push(Entry { value: merged(value, &entry.value), ..entry.clone() }),
            None => entries.push(entry.clone()),
        }
    }
    let is_new = |entry: &&Entry| !base_entries.iter().any(|known| known.key == entry.key);
    entries.extend(own_entries.iter().filter(is_new).cloned());
    Node { at: own.at, content: Content::Mapping(entries) }
}

/// An Application that is not complete by its own document.
pub(super) struct Incomplete<'a> {
    pub(super) name: &'a AppName,
    pub(super) file: &'a str,
    pub(super) document: usize,
    /// Where its name stands.
    pub(super) at: Position,
    /// The mapping with `metadata` and `spec`.
    pub(super) root: &'a Node,
    /// The shape of `root`.
    pub(super) shape: &'static Shape,
    /// The path of `root`, with a dot at its end; empty for a document.
    pub(super) prefix: &'static str,
    /// What is added to messages.
    pub(super) note: &'a str,
    /// The ApplicationVersion that was merged in.
    pub(super) version: Option<(String, usize)>,
}

/// Adds what the base gives, and reads the whole.
pub(super) fn complete(app: &Incomplete<'_>, bases: &Bases<'_>) -> Completed {
    let mut others = Others { base: None, version: app.version.clone() };
    let mut root = app.root.clone();
    let named = find(&root, "spec").and_then(|spec| find(spec, "base")).cloned();
    let (mut read, mut used) = (Ok(()), None);
    if let Some(Node { at, content: Content::Scalar(scalar) }) = named {
        match find_base(&scalar.text, bases) {
            Ok(base) => {
                others.base = Some((base.file.to_owned(), base.document));
                used = Some((scalar.text, Arc::clone(base.base)));
                if let Some(spec) = find_mut(&mut root, "spec") {
                    *spec = without_base(&merged(spec, &base.base.spec));
                }
            }
            Err((message, hint)) => read = Err((at, message, hint)),
        }
    }
    let mut sink = Sink::of_several(app.file, app.document, &others, app.note);
    let place = Place { node: &root, field: app.prefix.trim_end_matches('.').to_owned() };
    let mut whole = None;
    match read {
        Ok(()) => {
            whole = Mapping::open(&place, app.shape, &mut sink)
                .and_then(|mapping| read_application(app.name.as_str(), app.file, &mapping, &mut sink));
        }
        Err((at, message, hint)) => sink.report(at, &format!("{}spec.base", app.prefix), message, hint),
    }
    let problems = sink.into_problems();
    let read = whole.filter(|_| problems.is_empty()).map(Arc::new).ok_or(problems);
    let (name, file, document) = (app.name.clone(), app.file.to_owned(), app.document);
    (ParsedApp { name, file, document, at: app.at, prefix: app.prefix, others, read }, used)
}

fn without_base(spec: &Node) -> Node {
    let Content::Mapping(entries) = &spec.content else { return spec.clone() };
    let entries = entries.iter().filter(|entry| entry.key != "base").cloned().collect();
    Node { at: spec.at, content: Content::Mapping(entries) }
}

fn find_base<'a>(name: &str, bases: &Bases<'a>) -> Result<BaseDocument<'a>, (String, String)> {
    match bases.get(name) {
        Some(Ok(base)) => Ok(*base),
        Some(Err(problems)) => {
            let first = problems.first().map(|first| format!(": {first}")).unwrap_or_default();
            Err((format!("base `{}` has problems{first}", shown(name)), "mend the base".to_owned()))
        }
        None => {
            let hint = did_you_mean(name, bases.keys().copied())
                .unwrap_or_else(|| "declare an ApplicationBase of that name".to_owned());
            Err((format!("no ApplicationBase is called `{}`", shown(name)), hint))
        }
    }
}
