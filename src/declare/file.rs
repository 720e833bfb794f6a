//! One file -> the Applications and plans that it declares, each good or bad.
//!
//! Enters: path and bytes. Leaves: a [`ParsedFile`], which depends on nothing else: whoever has parsed the same bytes
//! under the same path may keep it. Manifests of others that stand in the same file are not judged.

use std::sync::Arc;

use super::application::{PLAN_INLINE, Read, read_application};
use super::nearest::nearest;
use super::plan::read_plan;
use super::problem::{PROBLEMS_HELD_MAX, Position, Problem, Sink, shown};
use super::read::{Mapping, Place};
use super::scalar::{Resolved, resolve};
use super::shape::{APPLICATION, WAVE_PLAN};
use super::tree::{self, Content, Node, Piece};
use super::{API_VERSION, FILE_BYTES_MAX};
use crate::model::{AppName, WavePlan};

/// What every document of ours mentions.
const MARK: &str = "tidegate.dev/";

/// The kinds that are declared.
const KINDS: [&str; 2] = ["Application", "WavePlan"];

/// Whether a file may declare something of ours: it mentions `tidegate.dev/`. Others are manifests, and not ours to judge.
#[must_use]
pub fn is_candidate(text: &[u8]) -> bool {
    text.windows(MARK.len()).any(|window| window == MARK.as_bytes())
}

/// What one file declares. Valid for one path and one content; keep it by both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParsedFile {
    pub(super) apps: Vec<ParsedApp>,
    pub(super) plans: Vec<ParsedPlan>,
    pub(super) problems: Vec<Problem>,
    /// Whether it may declare more than is known: part of it is not YAML, or a document of ours has no readable name.
    pub(super) hides_names: bool,
}

/// An Application that a file declares, good or bad.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedApp {
    pub(super) name: AppName,
    pub(super) file: String,
    pub(super) document: usize,
    pub(super) at: Position,
    pub(super) read: Result<Arc<Read>, Vec<Problem>>,
}

/// A plan that a file declares, good or bad.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ParsedPlan {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) document: usize,
    pub(super) at: Position,
    pub(super) plan: Result<Arc<WavePlan>, Vec<Problem>>,
}

impl ParsedFile {
    /// Everything that is wrong in this file by itself.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The Applications that it declares.
    #[must_use]
    pub fn apps(&self) -> &[ParsedApp] {
        &self.apps
    }

    /// How many plans it declares, good or bad.
    #[must_use]
    pub const fn plan_count(&self) -> usize {
        self.plans.len()
    }

    /// The plans that are good.
    pub(super) fn good_plans(&self) -> impl Iterator<Item = (String, Arc<WavePlan>)> {
        self.plans.iter().filter_map(|plan| Some((plan.name.clone(), Arc::clone(plan.plan.as_ref().ok()?))))
    }

    /// Ends a document: its problems become the file's too. What is missing from a document that was cut off by a
    /// syntax error is not a problem of its own.
    fn end(&mut self, sink: Sink<'_>, is_cut: bool) -> Vec<Problem> {
        let problems = if is_cut { Vec::new() } else { sink.into_problems() };
        self.problems.extend(problems.iter().cloned());
        problems
    }

    /// Holds everything that the file declares, because part of it cannot be read.
    fn hold_all(&mut self, broken: Vec<Problem>) {
        let held = &broken[..broken.len().min(PROBLEMS_HELD_MAX)];
        for app in &mut self.apps {
            let own = app.read.as_ref().err().into_iter().flatten();
            app.read = Err(held.iter().chain(own).cloned().collect());
        }
        for plan in &mut self.plans {
            let own = plan.plan.as_ref().err().into_iter().flatten();
            plan.plan = Err(held.iter().chain(own).cloned().collect());
        }
        self.problems.extend(broken);
    }
}

impl ParsedApp {
    /// The app's name.
    #[must_use]
    pub const fn name(&self) -> &AppName {
        &self.name
    }

    /// A problem with its source path, found by somebody who can see the files.
    #[must_use]
    pub fn source_problem(&self, message: &str, hint: &str) -> Problem {
        let at = self.read.as_ref().map_or(self.at, |read| read.source_at);
        self.problem(at, "spec.source.path", message.to_owned(), hint.to_owned())
    }

    pub(super) fn problem(&self, at: Position, field: &str, message: String, hint: String) -> Problem {
        let Position { line, column } = at;
        let (file, field) = (self.file.clone(), field.to_owned());
        Problem { file, document: self.document, line, column, field, message, hint }
    }
}

/// Reads one file of the repository; `path` is relative to its root.
#[must_use]
pub fn parse_file(path: &str, text: &[u8]) -> ParsedFile {
    let mut parsed = ParsedFile::default();
    let text = match as_text(path, text) {
        Ok(text) => text,
        Err(problem) => {
            parsed.hides_names = true;
            parsed.problems.push(*problem);
            return parsed;
        }
    };
    let mut broken: Vec<Problem> = Vec::new();
    let mut documents = 0;
    for piece in tree::pieces(text).into_iter().filter(|piece| !is_blank(piece)) {
        let trees = tree::read(piece);
        let is_broken = trees.stop.is_some();
        let last = trees.documents.len().saturating_sub(1);
        for (index, root) in trees.documents.iter().enumerate() {
            let is_cut = is_broken && index == last;
            parse_document(path, documents + 1 + index, root, is_cut, &mut parsed);
        }
        documents += trees.documents.len().max(1);
        let is_of_others = trees.documents.last().is_some_and(|root| whose(root) == Whose::Others);
        if let Some(stop) = trees.stop.filter(|_| !is_of_others && claims_to_be_ours(&piece)) {
            let mut sink = Sink::new(path, documents);
            sink.report(stop.at, "", stop.message, stop.hint);
            broken.extend(sink.into_problems());
        }
    }
    if !broken.is_empty() {
        parsed.hides_names = true;
        parsed.hold_all(broken);
    }
    parsed.problems.sort_by_key(|problem| (problem.line, problem.column));
    parsed
}

fn as_text<'a>(path: &str, text: &'a [u8]) -> Result<&'a str, Box<Problem>> {
    let problem = |at: Position, message: String, hint: &str| {
        let (line, column) = (at.line, at.column);
        let (file, field, hint) = (path.to_owned(), String::new(), hint.to_owned());
        Box::new(Problem { file, document: 0, line, column, field, message, hint })
    };
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file has more than {FILE_BYTES_MAX} bytes");
        return Err(problem(Position::START, message, "split it"));
    }
    let text = std::str::from_utf8(text).map_err(|error| {
        let before = String::from_utf8_lossy(&text[..error.valid_up_to()]);
        problem(end_of(&before), "not UTF-8".to_owned(), "save the file as UTF-8")
    })?;
    // The parser takes a NUL for the end of the text: what stands behind it would be dropped without a word.
    match text.find('\0') {
        Some(index) => Err(problem(end_of(&text[..index]), "a NUL character".to_owned(), "remove it")),
        None => Ok(text),
    }
}

/// Where the next character after `text` stands.
fn end_of(text: &str) -> Position {
    let line = text.matches('\n').count() + 1;
    Position { line, column: text.rsplit('\n').next().unwrap_or_default().chars().count() + 1 }
}

/// Whether a piece holds nothing but its marker, comments and white space.
fn is_blank(piece: &Piece<'_>) -> bool {
    let text = piece.text.strip_prefix("---").unwrap_or(piece.text);
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#'))
}

/// Whether a piece that is no YAML was meant for us.
fn claims_to_be_ours(piece: &Piece<'_>) -> bool {
    piece.text.lines().any(|line| line.contains("apiVersion") && line.contains("tidegate"))
}

/// Whose document it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// A manifest, or something else that is not ours to judge.
    Others,
    /// Ours: an Application, or meant to be one.
    Application,
    /// Ours: a WavePlan, or meant to be one.
    Plan,
    /// Ours, of a kind that is not known.
    Unknown,
}

fn whose(root: &Node) -> Whose {
    let word = |key: &str| {
        let Content::Mapping(entries) = &root.content else { return None };
        match &entries.iter().find(|entry| entry.key == key)?.value.content {
            Content::Scalar(scalar) if resolve(scalar) != Resolved::Null => Some(scalar.text.as_str()),
            Content::Scalar(_) | Content::Sequence(_) | Content::Mapping(_) => None,
        }
    };
    let kind = word("kind").and_then(|kind| nearest(kind, KINDS));
    let is_ours = match word("apiVersion") {
        Some(version) if version.starts_with(MARK) => true,
        Some(version) => kind.is_some() && nearest(version, [API_VERSION]).is_some(),
        None => word("kind").is_some_and(|kind| KINDS.contains(&kind)),
    };
    match kind {
        _ if !is_ours => Whose::Others,
        Some("Application") => Whose::Application,
        Some(_) => Whose::Plan,
        None => Whose::Unknown,
    }
}

fn parse_document(path: &str, document: usize, root: &Node, is_cut: bool, parsed: &mut ParsedFile) {
    let mut sink = Sink::new(path, document);
    let place = Place { node: root, field: String::new() };
    let shape = match whose(root) {
        Whose::Others => return,
        Whose::Application => &APPLICATION,
        Whose::Plan => &WAVE_PLAN,
        Whose::Unknown => {
            parsed.hides_names = true;
            if !is_cut {
                report_unknown_kind(&place, &mut sink);
                parsed.problems.extend(sink.into_problems());
            }
            return;
        }
    };
    let Some(mapping) = Mapping::open(&place, shape, &mut sink) else { return };
    mapping.text("apiVersion", &mut sink);
    mapping.text("kind", &mut sink);
    let name = read_name(&mapping, &mut sink);
    parsed.hides_names |= name.is_none();
    // A document without a name is read for its mistakes all the same.
    let (name, at) = name.unzip();
    let at = at.unwrap_or(root.at);
    let named = name.unwrap_or_default();
    if mapping.is(&APPLICATION) {
        let read = read_application(named, path, &mapping, &mut sink);
        let problems = parsed.end(sink, is_cut);
        let read = read.filter(|_| problems.is_empty() && !is_cut).map(Arc::new).ok_or(problems);
        if let Some(name) = name {
            parsed.apps.push(ParsedApp { name: AppName::from(name), file: path.to_owned(), document, at, read });
        }
    } else {
        let plan = mapping.mapping("spec", &mut sink).map(|spec| read_plan(named, &spec, &mut sink));
        let problems = parsed.end(sink, is_cut);
        let plan = plan.filter(|_| problems.is_empty() && !is_cut).map(Arc::new).ok_or(problems);
        if let Some(name) = name {
            parsed.plans.push(ParsedPlan { name: name.to_owned(), file: path.to_owned(), document, at, plan });
        }
    }
}

/// The name that a document declares, and where it stands.
fn read_name<'a>(document: &Mapping<'a>, sink: &mut Sink<'_>) -> Option<(&'a str, Position)> {
    let metadata = document.mapping("metadata", sink)?;
    metadata.check_labels("labels", sink);
    let name = metadata.text("name", sink)?;
    let place = metadata.get("name")?;
    if name == PLAN_INLINE && document.is(&WAVE_PLAN) {
        place.report(sink, format!("`{PLAN_INLINE}` is what plans inside an Application are called"), "choose another");
    }
    Some((name, place.node.at))
}

fn report_unknown_kind(place: &Place<'_>, sink: &mut Sink<'_>) {
    let Content::Mapping(entries) = &place.node.content else { return };
    let hint = format!("known are {}", KINDS.join(", "));
    match entries.iter().find(|entry| entry.key == "kind") {
        None => sink.report(place.node.at, "kind", "`kind` is missing", hint),
        Some(entry) => {
            let kind = match &entry.value.content {
                Content::Scalar(scalar) => shown(&scalar.text),
                Content::Sequence(_) | Content::Mapping(_) => "not a word".to_owned(),
            };
            sink.report(entry.value.at, "kind", format!("kind `{kind}` is not in this version"), hint);
        }
    }
}
