//! ApplicationSets and the folders of a commit -> the Applications that they make.
//!
//! Enters: parsed files, bases, and the paths of the commit. Leaves: each Application as if somebody had written it, good
//! or bad; what is wrong with a set as a whole; and which files hide names because of that: their Applications are held,
//! not gone. A pattern that matches nothing is more often a mistake than a wish, and removes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::assemble::declared_twice;
use super::file::{Named, ParsedApp, ParsedFile};
use super::inherit::{Base, Bases, Incomplete, complete, find};
use super::made::{Ingredients, Key, Made, Own};
use super::placeholders::{Filling, filled};
use super::problem::{Position, Problem, Sink, shown};
use super::read::Place;
use super::set::{Generator, Set};
use super::shape::Rule;
use super::shape_set::{APPS_MADE_MAX, INSTANCE};
use super::tree::{Content, Node};
use crate::model::AppName;

/// What sets come to.
#[derive(Debug, Default)]
pub(super) struct Expanded {
    pub(super) made: Made,
    pub(super) problems: Vec<Problem>,
    /// What is wrong with sets as a whole, by file: Applications that the file declared may still be declared.
    pub(super) broken: BTreeMap<String, Vec<Problem>>,
}

/// What an ApplicationVersion gives: its `spec`, its places marked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Version {
    pub(super) spec: Node,
}

/// What making one takes, beside its set.
struct Known<'a> {
    bases: &'a Bases<'a>,
    versions: &'a Versions<'a>,
    before: &'a Made,
}

/// One Application to be made.
struct Instance {
    /// Which generator it is of.
    generator: usize,
    /// Its folder, or which entry it is.
    item: String,
    values: BTreeMap<String, Filling>,
    /// What it is made for, as messages say it.
    note: String,
    /// Where a version of its own would be put.
    folder: Option<String>,
}

/// What ApplicationVersions give, by the name of the Application.
pub(super) type Versions<'a> = BTreeMap<&'a str, Vec<&'a Named<Version>>>;

/// Makes the Applications of all sets.
pub(super) fn expand<'a>(
    files: &BTreeMap<String, Arc<ParsedFile>>,
    bases: &Bases<'_>,
    paths: impl Iterator<Item = &'a str>,
    before: &Made,
) -> Expanded {
    let mut expanded = Expanded::default();
    let mut sets: BTreeMap<&str, Vec<&Named<Set>>> = BTreeMap::new();
    let mut versions: Versions<'_> = BTreeMap::new();
    for file in files.values() {
        file.sets.iter().for_each(|set| sets.entry(&set.name).or_default().push(set));
        file.versions.iter().for_each(|version| versions.entry(&version.name).or_default().push(version));
    }
    if sets.is_empty() && versions.is_empty() {
        return expanded;
    }
    let folders = folders_of(&sets, paths);
    let mut is_whole = true;
    for (name, declared) in &sets {
        let [set] = declared.as_slice() else {
            let places: Vec<_> = declared.iter().map(|set| (set.file.as_str(), set.document, set.at)).collect();
            declared_twice("ApplicationSet", name, &places).into_iter().for_each(|problem| expanded.hide(problem));
            is_whole = false;
            continue;
        };
        let Ok(value) = &set.read else {
            is_whole = false;
            continue;
        };
        let known = Known { bases, versions: &versions, before };
        make(set, value, &folders, &known, &mut expanded);
    }
    if is_whole {
        report_unused(&versions, &mut expanded);
    }
    expanded
}

impl Expanded {
    /// Takes a problem because of which not all names are known.
    fn hide(&mut self, problem: Problem) {
        self.broken.entry(problem.file.clone()).or_default().push(problem.clone());
        self.problems.push(problem);
    }
}

fn make(set: &Named<Set>, value: &Arc<Set>, folders: &BTreeSet<&str>, known: &Known<'_>, expanded: &mut Expanded) {
    let instances = instances(set, value, folders, expanded);
    let count = expanded.made.apps().count() + instances.len();
    if count > APPS_MADE_MAX {
        let message = format!("{count} Applications would be made");
        let hint = format!("at most {APPS_MADE_MAX} are made in a repository");
        expanded.hide(set.problem(set.at, "spec.generators", message, hint));
        return;
    }
    // One mistake in the template shows in every Application: it is told of the first, with a count.
    let mut told: BTreeMap<(String, usize, usize, String), (Problem, usize)> = BTreeMap::new();
    let mut tell = |problems: &[Problem]| {
        for problem in problems {
            let place = (problem.file.clone(), problem.line, problem.column, problem.field.clone());
            told.entry(place).or_insert_with(|| (problem.clone(), 0)).1 += 1;
        }
    };
    let mut nameless = Vec::new();
    for instance in &instances {
        let (file, document) = (set.file.clone(), set.document);
        let key = Key::Set { file, document, generator: instance.generator, item: instance.item.clone() };
        let own = Own::Set(Arc::clone(value));
        if let Some(again) = known.before.again(&key, &own, known.bases, known.versions) {
            expanded.made.keep(key, again);
            continue;
        }
        match make_one(set, value, instance, known) {
            Ok((app, version, base)) => {
                tell(app.read.as_ref().err().map_or(&[], Vec::as_slice));
                expanded.made.take(key, app, Ingredients { own, version, base });
            }
            Err(problems) => {
                tell(&problems);
                nameless.extend(problems);
            }
        }
    }
    if let Some(first) = nameless.into_iter().next() {
        expanded.broken.entry(set.file.clone()).or_default().push(first);
    }
    expanded.problems.extend(told.into_values().map(|(mut problem, count)| {
        if count > 1 {
            problem.message = format!("{}, and {} more", problem.message, count - 1);
        }
        problem
    }));
}

/// What the generators of a set give, one after another.
fn instances(set: &Named<Set>, value: &Set, folders: &BTreeSet<&str>, expanded: &mut Expanded) -> Vec<Instance> {
    let mut instances = Vec::new();
    for (index, generator) in value.generators.iter().enumerate() {
        match generator {
            Generator::List(entries) => instances.extend(entries.iter().enumerate().map(|(item, entry)| Instance {
                generator: index,
                item: item.to_string(),
                values: entry.values.clone(),
                note: format!("(for the entry in line {})", entry.at.line),
                folder: None,
            })),
            Generator::Folders { pattern, exclude, at } => {
                let before = instances.len();
                for folder in folders {
                    let Some(stars) = matched(pattern, folder) else { continue };
                    if exclude.iter().any(|pattern| matched(pattern, folder).is_some()) {
                        continue;
                    }
                    instances.push(of_folder(index, folder, &stars));
                }
                if instances.len() == before {
                    let field = format!("spec.generators[{index}].folders.pattern");
                    let message = format!("matches no folder: there is none like `{}`", shown(pattern));
                    let hint = "its Applications stay until one does; to remove them, remove the generator";
                    expanded.hide(set.problem(*at, &field, message, hint.to_owned()));
                }
            }
        }
    }
    instances
}

fn of_folder(generator: usize, folder: &str, stars: &[&str]) -> Instance {
    let (parent, name) = folder.rsplit_once('/').unwrap_or(("", folder));
    let own = [("path", folder), ("folder", parent), ("name", name)];
    let mut values: BTreeMap<String, Filling> =
        own.into_iter().map(|(key, value)| (key.to_owned(), (value.to_owned(), None))).collect();
    for (index, star) in stars.iter().enumerate() {
        values.insert((index + 1).to_string(), ((*star).to_owned(), None));
    }
    let note = format!("(for the folder `{}`)", shown(folder));
    Instance { generator, item: folder.to_owned(), values, note, folder: Some(folder.to_owned()) }
}

/// An Application, and what its version and its base were.
type MadeOne = (ParsedApp, Option<Arc<Version>>, Option<(String, Arc<Base>)>);

/// Makes one Application; an error when not even its name is known.
fn make_one(set: &Named<Set>, value: &Set, instance: &Instance, known: &Known<'_>) -> Result<MadeOne, Vec<Problem>> {
    let Known { bases, versions, before: _ } = known;
    let mut root = filled(&value.template, &instance.values);
    let no_others = super::problem::Others::default();
    let mut sink = Sink::of_several(&set.file, set.document, &no_others, &instance.note);
    let name = find(&root, "metadata").and_then(|metadata| find(metadata, "name"));
    let place = name.map(|node| Place { node, field: "spec.template.metadata.name".to_owned() });
    let (name, at) = match place.map(|place| (place.text(Rule::Label(53), &mut sink), place.node.at)) {
        Some((Some(name), at)) => (AppName::from(name), at),
        Some((None, _)) | None => return Err(sink.into_problems()),
    };
    let declared = versions.get(name.as_str()).map_or(&[][..], Vec::as_slice);
    let problem = take_version(&mut root, declared, instance, name.as_str(), bases);
    let version = declared.first().map(|version| (version.file.clone(), version.document));
    let app = Incomplete {
        name: &name,
        file: &set.file,
        document: set.document,
        at,
        root: &root,
        shape: &INSTANCE,
        prefix: "spec.template.",
        note: &instance.note,
        version,
    };
    let (mut app, base) = match problem {
        None => complete(&app, bases),
        // What follows from a version that is missing is not worth telling.
        Some(_) => (ParsedApp::unread(&app), None),
    };
    if let Some((at, message, hint)) = problem {
        let message = format!("{message} {}", instance.note);
        app.read = Err(vec![app.problem(at, "spec.version", message, hint)]);
    }
    let version = declared.first().and_then(|version| version.read.as_ref().ok()).cloned();
    Ok((app, version, base))
}

/// Puts the version where the template has none; gives what is wrong instead.
///
/// There is one place for an app's version: in the template (which an entry of a list fills), or in an
/// ApplicationVersion. Were one a default for the other, a file that cannot be read would go out as another version.
fn take_version(
    root: &mut Node,
    declared: &[&Named<Version>],
    instance: &Instance,
    name: &str,
    bases: &Bases<'_>,
) -> Option<(Position, String, String)> {
    let Content::Mapping(parts) = &mut root.content else { return None };
    let spec = parts.iter_mut().find(|part| part.key == "spec").map(|part| &mut part.value)?;
    let of_base = find(spec, "base").and_then(|base| match &base.content {
        Content::Scalar(scalar) => bases.get(scalar.text.as_str())?.as_ref().ok().map(|base| &base.base.spec),
        Content::Sequence(_) | Content::Mapping(_) => None,
    });
    let stands = find(spec, "version").or_else(|| find(of_base?, "version"));
    let at = spec.at;
    match (declared, stands) {
        ([], Some(_)) => None,
        ([], None) => {
            let file = instance.folder.as_ref().map(|folder| format!(", such as {folder}/version.yaml"));
            let hint = format!(
                "declare it in an ApplicationVersion called `{}`{}",
                shown(name),
                file.unwrap_or_else(|| ", or in the entry, with `version: ${version}` in the template".to_owned())
            );
            Some((at, format!("nothing says which version `{}` has", shown(name)), hint))
        }
        ([first], Some(_)) => Some((
            at,
            format!("the version stands here, and in {}:{} too", first.file, first.at.line),
            "remove one of them".to_owned(),
        )),
        ([first], None) => {
            let Ok(version) = &first.read else {
                let why = first.read.as_ref().err().and_then(|problems| problems.first());
                let why = why.map(|first| format!(": {first}")).unwrap_or_default();
                return Some((at, format!("its ApplicationVersion has problems{why}"), String::new()));
            };
            let Content::Mapping(entries) = &mut spec.content else { return None };
            let Content::Mapping(own) = &version.spec.content else { return None };
            entries.retain(|entry| !own.iter().any(|own| own.key == entry.key));
            entries.extend_from_slice(own);
            None
        }
        (several, _) => {
            let places: Vec<String> = several.iter().map(|it| format!("{}:{}", it.file, it.at.line)).collect();
            let message = format!("its version is declared {} times: {}", places.len(), places.join(", "));
            Some((at, message, "remove all but one".to_owned()))
        }
    }
}

/// Versions that no set asks for.
fn report_unused(versions: &Versions<'_>, expanded: &mut Expanded) {
    let made: BTreeSet<&str> = expanded.made.apps().map(|app| app.name.as_str()).collect();
    let unused = versions.iter().filter(|(name, _)| !made.contains(*name)).flat_map(|(_, versions)| versions);
    let problems: Vec<Problem> = unused
        .map(|version| {
            let message = format!("no ApplicationSet makes an Application called `{}`", shown(&version.name));
            version.problem(version.at, "metadata.name", message, "correct the name, or remove the file".to_owned())
        })
        .collect();
    expanded.problems.extend(problems);
}

/// The folders that patterns may match: those of their depths.
fn folders_of<'a>(sets: &BTreeMap<&str, Vec<&Named<Set>>>, paths: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let generators = sets.values().flatten().filter_map(|set| set.read.as_ref().ok()).flat_map(|set| &set.generators);
    let depths: BTreeSet<usize> = generators
        .filter_map(|generator| match generator {
            Generator::Folders { pattern, .. } => Some(pattern.split('/').count()),
            Generator::List(_) => None,
        })
        .collect();
    let mut folders = BTreeSet::new();
    if depths.is_empty() {
        return folders;
    }
    for path in paths {
        for (count, (at, _)) in path.match_indices('/').enumerate() {
            if depths.contains(&(count + 1)) {
                folders.insert(&path[..at]);
            }
        }
    }
    folders
}

/// What the `*` of a pattern are in a folder that it matches. A `*` is no `/`, and no name that begins with a dot.
fn matched<'a>(pattern: &str, folder: &'a str) -> Option<Vec<&'a str>> {
    let (mut patterns, mut names) = (pattern.split('/'), folder.split('/'));
    let mut stars = Vec::new();
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return Some(stars),
            (Some(pattern), Some(name)) => stars.extend(matched_name(pattern, name)?),
            (Some(_), None) | (None, Some(_)) => return None,
        }
    }
}

fn matched_name<'a>(pattern: &str, name: &'a str) -> Option<Vec<&'a str>> {
    let mut pieces = pattern.split('*');
    let mut rest = name.strip_prefix(pieces.next()?)?;
    if name.starts_with('.') && !pattern.starts_with('.') {
        return None;
    }
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty().then(Vec::new) };
    let mut stars = Vec::new();
    for piece in middle {
        let (star, after) = rest.split_once(piece)?;
        stars.push(star);
        rest = after;
    }
    stars.push(rest.strip_suffix(last)?);
    Some(stars)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_part_of_one_name() {
        for (pattern, folder, expected) in [
            ("apps/*", "apps/web", Some(vec!["web"])),
            ("apps/*", "apps/web/m", None),
            ("apps/*", "apps", None),
            ("apps/*", "apps/.hidden", None),
            ("apps/.*", "apps/.hidden", Some(vec!["hidden"])),
            ("envs/*/apps/*", "envs/prod/apps/web", Some(vec!["prod", "web"])),
            ("a/team-*-x*", "a/team-one-xyz", Some(vec!["one", "yz"])),
            ("a/team-*-x*", "a/team-one", None),
            ("apps/web", "apps/web", Some(vec![])),
            ("apps/web", "apps/webb", None),
            ("*", "apps", Some(vec!["apps"])),
        ] {
            assert_eq!(matched(pattern, folder), expected, "{pattern} {folder}");
        }
    }
}
