//! One file -> the Applications and plans that it declares, each good or bad.
//!
//! Enters: path and bytes. Leaves: a [`ParsedFile`], which depends on nothing else: whoever has parsed the same bytes
//! under the same path may keep it. Manifests of others that stand in the same file are not judged.

use std::sync::Arc;

use super::application::{PLAN_INLINE, Read, read_application};
use super::expand::Version;
use super::inherit::{Base, Incomplete, mark, read_base};
use super::nearest::nearest;
use super::plan::read_plan;
use super::policy::read_policy;
use super::problem::{Origin, Others, PROBLEMS_HELD_MAX, Position, Problem, Sink, shown};
use super::read::{Mapping, Place};
use super::scalar::{Resolved, resolve};
use super::set::{Set, read_set};
use super::shape::{APPLICATION, Shape};
use super::shape_plan::WAVE_PLAN;
use super::shape_set::{APPLICATION_BASE, APPLICATION_SET, APPLICATION_VERSION, POLICY};
use super::tree::{self, Content, Node, Piece};
use super::{API_VERSION, FILE_BYTES_MAX};
use crate::model::{AppName, Policy, WavePlan};

/// What every document of ours mentions.
const MARK: &str = "tidegate.dev/";

/// The kinds that are declared.
const KINDS: [&str; 6] =
    ["Application", "ApplicationBase", "ApplicationSet", "ApplicationVersion", "Policy", "WavePlan"];

/// Whether a file may declare something of ours: it mentions `tidegate.dev/`. Others are manifests, and not ours to judge.
#[must_use]
pub fn is_candidate(text: &[u8]) -> bool {
    text.windows(MARK.len()).any(|window| window == MARK.as_bytes())
}

/// What one file declares. Valid for one path and one content; keep it by both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParsedFile {
    pub(super) apps: Vec<ParsedApp>,
    /// Applications that name a base: they are whole once it is known.
    pub(super) overlays: Vec<Named<Overlay>>,
    pub(super) bases: Vec<Named<Base>>,
    pub(super) sets: Vec<Named<Set>>,
    pub(super) versions: Vec<Named<Version>>,
    pub(super) plans: Vec<Named<WavePlan>>,
    pub(super) policies: Vec<Named<Policy>>,
    pub(super) problems: Vec<Problem>,
    /// Where reading stopped in a document that does not say whose it is: it is not judged, but an Application that was
    /// declared here may still be.
    pub(super) unclear: Vec<Problem>,
    /// Whether it may declare more than is known: part of it is not YAML, or a document of ours has no readable name.
    pub(super) hides_names: bool,
}

/// An Application that is declared, good or bad.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ParsedApp {
    pub(super) name: AppName,
    pub(super) file: String,
    pub(super) document: usize,
    pub(super) at: Position,
    /// Where in its document it stands, with a dot at its end; empty when it is the document.
    pub(super) prefix: &'static str,
    /// The documents that it was put together from, beside its own.
    pub(super) others: Others,
    pub(super) read: Result<Arc<Read>, Vec<Problem>>,
}

/// An Application that names a base: its whole document.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Overlay {
    pub(super) root: Node,
}

/// Something that a file declares under a name, good or bad.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named<T> {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) document: usize,
    /// Where the name stands.
    pub(super) at: Position,
    pub(super) read: Result<Arc<T>, Vec<Problem>>,
}

impl<T> Named<T> {
    pub(super) fn problem(&self, at: Position, field: &str, message: String, hint: String) -> Problem {
        let (line, column) = (at.line, at.column);
        let (file, field) = (self.file.clone(), field.to_owned());
        Problem { file, document: self.document, line, column, field, message, hint }
    }

    /// Holds it, because part of its file cannot be read.
    fn hold(&mut self, held: &[Problem]) {
        let own = self.read.as_ref().err().into_iter().flatten();
        self.read = Err(held.iter().chain(own).cloned().collect());
    }
}

impl ParsedFile {
    /// A file that declared Applications and cannot be read any more, as when a link took its place.
    #[must_use]
    pub fn refused(path: &str, message: &str, hint: &str) -> Self {
        let (file, message, hint) = (path.to_owned(), message.to_owned(), hint.to_owned());
        let problem = Problem { file, document: 0, line: 1, column: 1, field: String::new(), message, hint };
        Self { problems: vec![problem], hides_names: true, ..Self::default() }
    }

    /// Everything that is wrong in this file by itself.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether it makes Applications for folders, so that the paths of the commit are needed.
    #[must_use]
    pub fn wants_paths(&self) -> bool {
        !self.sets.is_empty()
    }

    /// Whether all that it declares are good Applications that are whole by themselves.
    pub(super) fn is_plain(&self) -> bool {
        let Self { apps, overlays, bases, sets, versions, plans, policies, problems, unclear, hides_names } = self;
        let has_names = !overlays.is_empty() || !bases.is_empty() || !sets.is_empty() || !versions.is_empty();
        let has_rules = !plans.is_empty() || !policies.is_empty();
        let is_clear = problems.is_empty() && unclear.is_empty() && !hides_names;
        is_clear && !has_names && !has_rules && apps.iter().all(|app| app.read.is_ok())
    }

    /// How many plans it declares, good or bad.
    #[must_use]
    pub const fn plan_count(&self) -> usize {
        self.plans.len()
    }

    /// The plans that are good.
    pub(super) fn good_plans(&self) -> impl Iterator<Item = (String, Arc<WavePlan>)> {
        self.plans.iter().filter_map(|plan| Some((plan.name.clone(), Arc::clone(plan.read.as_ref().ok()?))))
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
        self.overlays.iter_mut().for_each(|it| it.hold(held));
        self.bases.iter_mut().for_each(|it| it.hold(held));
        self.sets.iter_mut().for_each(|it| it.hold(held));
        self.versions.iter_mut().for_each(|it| it.hold(held));
        self.plans.iter_mut().for_each(|it| it.hold(held));
        self.policies.iter_mut().for_each(|it| it.hold(held));
        self.problems.extend(broken);
    }
}

impl ParsedApp {
    /// A problem with the path of one of its sources, found by somebody who can see the files.
    pub(super) fn source_problem(&self, source: usize, message: &str, hint: &str) -> Problem {
        let read = self.read.as_ref().ok();
        let at = read.and_then(|read| read.sources_at.get(source)).copied().unwrap_or(self.at);
        let is_listed = read.is_some_and(|read| read.application.spec.get("sources").is_some());
        let field = if is_listed { format!("spec.sources[{source}].path") } else { "spec.source.path".to_owned() };
        self.problem(at, &field, message.to_owned(), hint.to_owned())
    }

    /// One that was not read.
    pub(super) fn unread(app: &Incomplete<'_>) -> Self {
        Self {
            name: app.name.clone(),
            file: app.file.to_owned(),
            document: app.document,
            at: app.at,
            prefix: app.prefix,
            others: Others { base: None, version: app.version.clone() },
            read: Err(Vec::new()),
        }
    }

    /// A problem with a field of it, in the document that the place is of.
    pub(super) fn problem(&self, at: Position, field: &str, message: String, hint: String) -> Problem {
        let Position { line, column, origin } = at;
        let own = (self.file.clone(), self.document);
        let (file, document) = self.others.of(at).cloned().unwrap_or(own);
        let field = if origin == Origin::Own { format!("{}{field}", self.prefix) } else { field.to_owned() };
        Problem { file, document, line, column, field, message, hint }
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
        let is_of_others = trees.documents.last().is_some_and(|root| whose(root) == Whose::Others && says_whose(root));
        if let Some(stop) = trees.stop.filter(|_| !is_of_others) {
            let mut sink = Sink::new(path, documents);
            sink.report(stop.at, "", stop.message, stop.hint);
            let into = if claims_to_be_ours(&piece) { &mut broken } else { &mut parsed.unclear };
            into.extend(sink.into_problems());
        }
    }
    if !broken.is_empty() {
        parsed.hides_names = true;
        parsed.hold_all(broken);
    }
    parsed.problems.sort_by_key(|problem| (problem.line, problem.column));
    // Most files declare one, and a list that grew to one has room for four.
    parsed.apps.shrink_to_fit();
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
    Position::new(line, text.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
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
    /// Ours: another kind, or meant to be one.
    Other(&'static str),
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
        Some(kind) => Whose::Other(kind),
        None => Whose::Unknown,
    }
}

/// Whether a document was read far enough to say whose it is. Ours are mappings; in one that was cut off before its
/// `apiVersion` and `kind` these may still have followed.
fn says_whose(root: &Node) -> bool {
    match &root.content {
        Content::Mapping(entries) => entries.iter().any(|entry| matches!(entry.key.as_str(), "apiVersion" | "kind")),
        Content::Scalar(_) | Content::Sequence(_) => true,
    }
}

fn parse_document(path: &str, document: usize, root: &Node, is_cut: bool, parsed: &mut ParsedFile) {
    let mut sink = Sink::new(path, document);
    let place = Place { node: root, field: String::new() };
    let shape = match whose(root) {
        Whose::Others => return,
        Whose::Application => &APPLICATION,
        Whose::Other(kind) => shape_of(kind),
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
    let head = Head { path, document, name, at: at.unwrap_or(root.at), is_cut };
    let named = name.unwrap_or_default();
    if mapping.is(&APPLICATION) {
        parse_application(&head, root, &mapping, sink, parsed);
    } else if mapping.is(&WAVE_PLAN) {
        let plan = mapping.mapping("spec", &mut sink).map(|spec| read_plan(named, &spec, &mut sink));
        let plan = head.end(plan, sink, parsed);
        parsed.plans.extend(plan);
    } else if mapping.is(&POLICY) {
        let policy = mapping.mapping("spec", &mut sink).map(|spec| read_policy(named, &spec, &mut sink));
        let policy = head.end(policy, sink, parsed);
        parsed.policies.extend(policy);
    } else if mapping.is(&APPLICATION_SET) {
        let set = read_set(path, &mapping, &mut sink);
        let set = head.end(set, sink, parsed);
        // One that cannot be read may make any Application.
        parsed.hides_names |= set.as_ref().is_none_or(|set| set.read.is_err());
        parsed.sets.extend(set);
    } else if mapping.is(&APPLICATION_BASE) {
        read_application("", path, &mapping, &mut sink);
        let base = mapping.get("spec").map(|spec| read_base(path, &spec, &mut sink));
        let base = head.end(base, sink, parsed);
        parsed.bases.extend(base);
    } else {
        let spec = mapping.mapping("spec", &mut sink);
        spec.iter().for_each(|spec| check_version(spec, &mut sink));
        let version = mapping.get("spec").map(|spec| {
            let mut spec = spec.node.clone();
            mark(&mut spec, Origin::Version);
            Version { spec }
        });
        let version = head.end(version, sink, parsed);
        parsed.versions.extend(version);
    }
}

fn shape_of(kind: &str) -> &'static Shape {
    match kind {
        "ApplicationBase" => &APPLICATION_BASE,
        "ApplicationSet" => &APPLICATION_SET,
        "ApplicationVersion" => &APPLICATION_VERSION,
        "Policy" => &POLICY,
        _ => &WAVE_PLAN,
    }
}

/// What is known of a document before its `spec`.
struct Head<'a> {
    path: &'a str,
    document: usize,
    name: Option<&'a str>,
    at: Position,
    is_cut: bool,
}

impl Head<'_> {
    /// Ends a document; nothing when it has no name.
    fn end<T>(&self, value: Option<T>, sink: Sink<'_>, parsed: &mut ParsedFile) -> Option<Named<T>> {
        let problems = parsed.end(sink, self.is_cut);
        let read = value.filter(|_| problems.is_empty() && !self.is_cut).map(Arc::new).ok_or(problems);
        let (file, document) = (self.path.to_owned(), self.document);
        Some(Named { name: self.name?.to_owned(), file, document, at: self.at, read })
    }
}

fn parse_application(head: &Head<'_>, root: &Node, mapping: &Mapping<'_>, mut sink: Sink<'_>, parsed: &mut ParsedFile) {
    let read = read_application(head.name.unwrap_or_default(), head.path, mapping, &mut sink);
    let has_base = mapping.get("spec").is_some_and(|spec| spec.entry("base").is_some());
    if has_base {
        let overlay = head.end(Some(Overlay { root: root.clone() }), sink, parsed);
        parsed.overlays.extend(overlay);
        return;
    }
    let Some(Named { name, file, document, at, read }) = head.end(read, sink, parsed) else { return };
    let (name, others) = (AppName::from(name.as_str()), Others::default());
    parsed.apps.push(ParsedApp { name, file, document, at, prefix: "", others, read });
}

/// Reads the fields that an ApplicationVersion has for their mistakes.
fn check_version(spec: &Mapping<'_>, sink: &mut Sink<'_>) {
    let version = spec.text("version", sink);
    super::application::read_images(version, spec, sink);
    spec.whole("attempt", sink);
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
