//! An ApplicationSet document -> generators and a template. Enters: the opened document. Leaves: a [`Set`] whose template is
//! sound as far as that can be told before its variables have values, and uses only variables that its generators give.
//!
//! Variables are filled in after YAML was read, into texts alone, so a folder's name can never become structure.

use std::collections::{BTreeMap, BTreeSet};

use super::application::read_application;
use super::placeholders::{Filling, used};
use super::problem::{Position, Sink, shown};
use super::read::{Mapping, Place};
use super::source::from_root;
use super::tree::{Content, Node};

/// What an ApplicationSet declares.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Set {
    pub(super) generators: Vec<Generator>,
    /// The mapping with `metadata` and `spec`.
    pub(super) template: Node,
}

/// What Applications are made for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Generator {
    /// One per folder; patterns are from the repository's root.
    Folders { pattern: String, exclude: Vec<String>, at: Position },
    /// One per entry.
    List(Vec<ListEntry>),
}

/// An entry of a list: its fields, with their places.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ListEntry {
    pub(super) at: Position,
    pub(super) values: BTreeMap<String, Filling>,
}

/// What every folder has.
pub(super) const FOLDER_VARIABLES: [&str; 3] = ["folder", "name", "path"];

/// Reads a set; what it returns is valid only when nothing was reported.
pub(super) fn read_set(file: &str, document: &Mapping<'_>, sink: &mut Sink<'_>) -> Option<Set> {
    let spec = document.mapping("spec", sink)?;
    let template_place = spec.get("template")?;
    let template = spec.mapping("template", sink)?;
    let variables = used(template_place.node);
    for (variable, at) in &variables {
        if let Err(message) = variable {
            sink.report(*at, "spec.template", message.as_str(), "write `$${` for a `${` that is to stay");
        }
    }
    let names: Vec<(&str, Position)> =
        variables.iter().filter_map(|(name, at)| Some((*name.as_ref().ok()?, *at))).collect();
    let generators = read_generators(file, &spec, &names, sink);
    // What a text with a variable may be is known once the variable is: until then it is not judged.
    let open: BTreeSet<(usize, usize)> = variables.iter().map(|(_, at)| (at.line, at.column)).collect();
    let mut judged = sink.muted(&open);
    if let Some(metadata) = template.mapping("metadata", &mut judged) {
        metadata.check_labels("labels", &mut judged);
        metadata.text("name", &mut judged);
    }
    read_application("", file, &template, &mut judged);
    sink.absorb(judged.into_problems());
    Some(Set { generators: generators?, template: template_place.node.clone() })
}

fn read_generators(
    file: &str,
    spec: &Mapping<'_>,
    names: &[(&str, Position)],
    sink: &mut Sink<'_>,
) -> Option<Vec<Generator>> {
    let mut generators = Vec::new();
    for generator in spec.mappings("generators", sink) {
        match (generator.get("folders"), generator.get("list")) {
            (Some(place), None) => generators.extend(read_folders(file, &place, &generator, names, sink)),
            (None, Some(_)) => generators.push(read_list(&generator, names, sink)),
            (Some(_), Some(place)) => {
                place.report(sink, "stands beside `folders`", "write two generators, each with its own `- `");
            }
            (None, None) => {
                let field = format!("{}.folders", generator.path_of());
                sink.report(generator.at(), &field, "a generator is `folders` or `list`", "write one of them");
            }
        }
    }
    Some(generators)
}

fn read_folders(
    file: &str,
    place: &Place<'_>,
    generator: &Mapping<'_>,
    names: &[(&str, Position)],
    sink: &mut Sink<'_>,
) -> Option<Generator> {
    let folders = generator.mapping("folders", sink)?;
    let pattern = folders.text("pattern", sink)?;
    let pattern_place = folders.get("pattern")?;
    if pattern.split('/').any(|part| part.contains("**")) {
        pattern_place.report(sink, "`**` is not read", "each `*` is a part of one name: write apps/*, or apps/*/*");
    }
    let pattern = from_root(pattern, file);
    let exclude = folders.texts("exclude", sink).into_iter().map(|(_, pattern)| from_root(pattern, file)).collect();
    let stars = pattern.matches('*').count();
    for (name, at) in names {
        let is_star = name.parse().is_ok_and(|number: usize| (1..=stars).contains(&number));
        if !FOLDER_VARIABLES.contains(name) && !is_star {
            let hint = format!("a folder has {}, and ${{1}} for what the first `*` is", FOLDER_VARIABLES.join(", "));
            sink.report(*at, "spec.template", format!("no variable is called `{}`", shown(name)), hint);
        }
    }
    if pattern.is_empty() {
        pattern_place.report(sink, "names the root folder", "name the folders, such as apps/*");
    }
    Some(Generator::Folders { pattern, exclude, at: place.entry("pattern").map_or(place.node.at, |it| it.value.at) })
}

fn read_list(generator: &Mapping<'_>, names: &[(&str, Position)], sink: &mut Sink<'_>) -> Generator {
    let mut entries = Vec::new();
    for place in generator.items("list", sink) {
        let mut values = BTreeMap::new();
        for (entry, text) in place.texts_by_name(sink) {
            values.insert(entry.key.clone(), (text.to_owned(), Some(entry.value.at)));
        }
        let mut missing: BTreeSet<&str> = BTreeSet::new();
        let has = |name: &str| {
            let Content::Mapping(entries) = &place.node.content else { return true };
            entries.iter().any(|entry| entry.key == name)
        };
        for (name, at) in names {
            if !has(name) && missing.insert(name) {
                let message = format!("has no `{}`, which the template uses in line {}", shown(name), at.line);
                place.report(sink, message, "add it to the entry");
            }
        }
        entries.push(ListEntry { at: place.node.at, values });
    }
    Generator::List(entries)
}
