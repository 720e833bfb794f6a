//! The parsed files of a Revision together -> every app and plan that Git declares.
//!
//! Enters: parsed files by path, and which file declared each known app before. Leaves: [`Declarations`]. An app is
//! held when something that it depends on is wrong, and only then; it is gone only when that is certain.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::application::PlanChoice;
use super::built_in::built_in_plans;
use super::dependencies;
use super::expand::expand;
use super::file::{Named, Overlay, ParsedApp, ParsedFile};
use super::inherit::{Base, BaseDocument, Bases, Incomplete, complete};
use super::made::{Ingredients, Key, Made, Own, Planned};
use super::nearest::did_you_mean;
use super::problem::{Others, PROBLEMS_HELD_MAX, Position, Problem, shown};
use super::shape::APPLICATION;
use super::version::VersionPlace;
use crate::model::{AppName, Application, Policy, WavePlan};

/// What Git declares at a Revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declarations {
    /// Every app: its Application, or what holds it. An app that was known and is not here was removed.
    pub apps: BTreeMap<AppName, Result<Arc<Application>, Vec<Problem>>>,
    /// Everything that is wrong, file by file.
    pub problems: Vec<Problem>,
    /// Every good plan, the built-in ones included.
    pub plans: BTreeMap<String, Arc<WavePlan>>,
    /// Every good policy.
    pub policies: BTreeMap<String, Arc<Policy>>,
    /// Applications that are whole by more than their own document: they have a base, or a set made them.
    pub made: Made,
    /// Whether a set makes Applications for folders, so that the paths of the commit count.
    pub(super) wants_paths: bool,
}

impl Declarations {
    /// A problem with the path of one of an app's sources, found by somebody who can see the files; `files` are those that
    /// were put together.
    #[must_use]
    pub fn source_problem(
        &self,
        files: &BTreeMap<String, Arc<ParsedFile>>,
        name: &AppName,
        source: usize,
        message: &str,
        hint: &str,
    ) -> Option<Problem> {
        Some(self.parsed(files, name)?.source_problem(source, message, hint))
    }

    /// Where the version of a good app stands; `files` are those that were put together.
    #[must_use]
    pub fn version_place(&self, files: &BTreeMap<String, Arc<ParsedFile>>, name: &AppName) -> Option<VersionPlace> {
        VersionPlace::of(self.parsed(files, name)?)
    }

    fn parsed<'a>(&'a self, files: &'a BTreeMap<String, Arc<ParsedFile>>, name: &AppName) -> Option<&'a ParsedApp> {
        files.values().flat_map(|file| &file.apps).chain(self.made.apps()).find(|app| app.name == *name)
    }
}

/// Puts files together. `files` are the candidates at the Revision by path, `known` the apps that exist, by the file that
/// declared them, `paths` those of all files of the Revision: they are looked at only when a set asks for folders.
/// `before` is what was put together last time: what did not change is taken from there.
#[must_use]
pub fn assemble<'a>(
    files: &BTreeMap<String, Arc<ParsedFile>>,
    known: &BTreeMap<AppName, &str>,
    paths: impl IntoIterator<Item = &'a str>,
    before: &Made,
) -> Declarations {
    let mut problems: Vec<Problem> = files.values().flat_map(|file| file.problems.iter().cloned()).collect();
    let plans = resolve_plans(files, &mut problems);
    let bases = resolve_bases(files, &mut problems);
    let expanded = expand(files, &bases, paths.into_iter(), before);
    problems.extend(expanded.problems);
    let mut made = expanded.made;
    let mut bad: Vec<ParsedApp> = Vec::new();
    for overlay in files.values().flat_map(|file| &file.overlays) {
        if let Some(app) = overlay_on(overlay, &bases, before, &mut made) {
            problems.extend(app.read.as_ref().err().into_iter().flatten().cloned());
            bad.push(app);
        }
    }
    let mut declared: BTreeMap<&AppName, Vec<&ParsedApp>> = BTreeMap::new();
    for app in files.values().flat_map(|file| &file.apps).chain(made.apps()).chain(&bad) {
        declared.entry(&app.name).or_default().push(app);
    }
    let mut unmet = dependencies::check(&declared);
    let mut apps = BTreeMap::new();
    let mut planned = BTreeMap::new();
    for (name, declarations) in declared {
        let mut result = resolve_app(&declarations, &plans, before, &mut planned, &mut problems);
        if let Some(unmet) = unmet.remove(name) {
            problems.extend(unmet.iter().cloned());
            result = Err(result.err().into_iter().flatten().chain(unmet).collect());
        }
        apps.insert(name.clone(), result);
    }
    made.plan(planned);
    let hiding = files.values().find(|file| file.hides_names).and_then(|file| file.problems.first());
    let hiding = hiding.or_else(|| expanded.broken.values().flatten().next());
    for (name, declared_in) in known {
        let of_sets = expanded.broken.get(*declared_in).map_or(&[][..], Vec::as_slice);
        let of_file = files.get(*declared_in).map_or(&[][..], |file| match file.problems.as_slice() {
            [] => file.unclear.as_slice(),
            problems => problems,
        });
        if !apps.contains_key(name)
            && let Some(held) = not_certainly_removed(name, declared_in, &[of_file, of_sets].concat(), hiding)
        {
            apps.insert(name.clone(), Err(held));
        }
    }
    let plans = plans.into_iter().filter_map(|(name, plan)| Some((name, plan.ok()?))).collect();
    let policies = resolve_policies(files, &mut problems);
    problems.sort();
    problems.dedup();
    let wants_paths = files.values().any(|file| file.wants_paths());
    Declarations { apps, problems, plans, policies, made, wants_paths }
}

/// Takes an Application and its base up as one; gives it back when something is wrong.
fn overlay_on(overlay: &Named<Overlay>, bases: &Bases<'_>, before: &Made, made: &mut Made) -> Option<ParsedApp> {
    let name = AppName::from(overlay.name.as_str());
    let own = match &overlay.read {
        Ok(own) => own,
        Err(problems) => {
            let (file, document, at) = (overlay.file.clone(), overlay.document, overlay.at);
            let (others, read) = (Others::default(), Err(problems.clone()));
            return Some(ParsedApp { name, file, document, at, prefix: "", others, read });
        }
    };
    let key = Key::Overlay { file: overlay.file.clone(), document: overlay.document };
    let declared = Own::Overlay(Arc::clone(own));
    if let Some(again) = before.again(&key, &declared, bases, &BTreeMap::new()) {
        made.keep(key, again);
        return None;
    }
    let incomplete = Incomplete {
        name: &name,
        file: &overlay.file,
        document: overlay.document,
        at: overlay.at,
        root: &own.root,
        shape: &APPLICATION,
        prefix: "",
        note: "",
        version: None,
    };
    let (app, base) = complete(&incomplete, bases);
    if app.read.is_err() {
        return Some(app);
    }
    made.take(key, app, Ingredients { own: declared, version: None, base });
    None
}

/// What is declared once, or what is wrong, by name.
fn resolve_named<'a, T>(
    kind: &str,
    all: impl Iterator<Item = &'a Named<T>>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'a str, Result<&'a Named<T>, Vec<Problem>>> {
    let mut declared: BTreeMap<&str, Vec<&Named<T>>> = BTreeMap::new();
    for one in all {
        declared.entry(&one.name).or_default().push(one);
    }
    let mut resolved = BTreeMap::new();
    for (name, declarations) in declared {
        let own = declarations.iter().filter_map(|one| one.read.as_ref().err()).flatten().cloned();
        let result = match declarations.as_slice() {
            [only] if only.read.is_ok() => Ok(*only),
            [_] => Err(own.collect()),
            several => {
                let places: Vec<_> = several.iter().map(|one| (one.file.as_str(), one.document, one.at)).collect();
                let twice = declared_twice(kind, name, &places);
                problems.extend(twice.iter().cloned());
                Err(twice.into_iter().chain(own).collect())
            }
        };
        resolved.insert(name, result);
    }
    resolved
}

fn resolve_bases<'a>(files: &'a BTreeMap<String, Arc<ParsedFile>>, problems: &mut Vec<Problem>) -> Bases<'a> {
    let bases = resolve_named("ApplicationBase", files.values().flat_map(|file| &file.bases), problems);
    let value = |base: &'a Named<Base>| {
        let value = base.read.as_ref().map_err(Clone::clone)?;
        Ok(BaseDocument { file: &base.file, document: base.document, base: value })
    };
    bases.into_iter().map(|(name, base)| (name, base.and_then(value))).collect()
}

fn resolve_policies(
    files: &BTreeMap<String, Arc<ParsedFile>>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Arc<Policy>> {
    let policies = resolve_named("Policy", files.values().flat_map(|file| &file.policies), problems);
    let good = |(name, policy): (&str, Result<&Named<Policy>, _>)| {
        Some((name.to_owned(), Arc::clone(policy.ok()?.read.as_ref().ok()?)))
    };
    policies.into_iter().filter_map(good).collect()
}

/// Plans by name, or what is wrong with each.
type Plans = BTreeMap<String, Result<Arc<WavePlan>, Vec<Problem>>>;

fn resolve_plans(files: &BTreeMap<String, Arc<ParsedFile>>, problems: &mut Vec<Problem>) -> Plans {
    let mut plans: Plans = built_in_plans().into_iter().map(|(name, plan)| (name, Ok(plan))).collect();
    for (name, plan) in resolve_named("WavePlan", files.values().flat_map(|file| &file.plans), problems) {
        plans.insert(name.to_owned(), plan.and_then(|plan| plan.read.clone()));
    }
    plans
}

fn resolve_app(
    declarations: &[&ParsedApp],
    plans: &Plans,
    before: &Made,
    planned: &mut BTreeMap<AppName, Planned>,
    problems: &mut Vec<Problem>,
) -> Result<Arc<Application>, Vec<Problem>> {
    let [app] = declarations else {
        let places: Vec<_> = declarations.iter().map(|app| (app.file.as_str(), app.document, app.at)).collect();
        let name = declarations.first().map_or("", |app| app.name.as_str());
        let twice = declared_twice("Application", name, &places);
        problems.extend(twice.iter().cloned());
        let own = declarations.iter().filter_map(|app| app.read.as_ref().err()).flatten().cloned();
        return Err(twice.into_iter().chain(own).collect());
    };
    let read = app.read.as_ref().map_err(Clone::clone)?;
    match &read.plan {
        PlanChoice::Inline => Ok(Arc::clone(&read.application)),
        PlanChoice::Named { name, at } => match resolve_plan(app, name, *at, plans) {
            Ok(plan) => {
                let now = before.planned(&app.name, read, plan);
                let application = Arc::clone(&now.application);
                planned.insert(app.name.clone(), now);
                Ok(application)
            }
            Err(problem) => {
                problems.push(problem.clone());
                Err(vec![problem])
            }
        },
    }
}

fn resolve_plan<'a>(app: &ParsedApp, name: &str, at: Position, plans: &'a Plans) -> Result<&'a Arc<WavePlan>, Problem> {
    match plans.get(name) {
        Some(Ok(plan)) => Ok(plan),
        Some(Err(problems)) => {
            let message = match problems.first() {
                Some(first) => format!("plan `{}` has problems: {first}", shown(name)),
                None => format!("plan `{}` has problems", shown(name)),
            };
            Err(app.problem(at, "spec.plan", message, "mend the plan, or name another".to_owned()))
        }
        None => {
            let names = || plans.keys().map(String::as_str);
            let hint = did_you_mean(name, names())
                .unwrap_or_else(|| format!("there are {}", names().take(20).collect::<Vec<_>>().join(", ")));
            Err(app.problem(at, "spec.plan", format!("no plan is called `{}`", shown(name)), hint))
        }
    }
}

/// One problem for each place that declares the same name, naming another one.
pub(super) fn declared_twice(kind: &str, name: &str, places: &[(&str, usize, Position)]) -> Vec<Problem> {
    let problem = |(index, (file, document, at)): (usize, &(&str, usize, Position))| {
        let (other_file, _, other) = places[usize::from(index == 0)];
        Problem {
            file: (*file).to_owned(),
            document: *document,
            line: at.line,
            column: at.column,
            field: "metadata.name".to_owned(),
            message: format!("{kind} `{name}` is also declared at {other_file}:{}:{}", other.line, other.column),
            hint: "rename or remove one of them; until then neither is used".to_owned(),
        }
    };
    places.iter().enumerate().map(problem).collect()
}

/// Why an app that no file seems to declare any more may still be declared; `None` when it was removed.
///
/// Its own file may have a problem that hides it. And it may have moved: while any other file cannot be read to the last
/// name, nothing counts as removed, because removing may delete.
fn not_certainly_removed(
    name: &AppName,
    declared_in: &str,
    own: &[Problem],
    hiding: Option<&Problem>,
) -> Option<Vec<Problem>> {
    if !own.is_empty() {
        return Some(own.iter().take(PROBLEMS_HELD_MAX).cloned().collect());
    }
    let first = hiding?;
    let mut problem = first.clone();
    problem.message = format!("Application `{name}` left {declared_in} and may be declared here: {}", first.message);
    Some(vec![problem])
}
