//! The parsed files of a Revision together -> every app and plan that Git declares.
//!
//! Enters: parsed files by path, and which file declared each known app before. Leaves: [`Declarations`]. An app is
//! held when something that it depends on is wrong, and only then; it is gone only when that is certain.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::application::PlanChoice;
use super::built_in::built_in_plans;
use super::dependencies;
use super::file::{ParsedApp, ParsedFile, ParsedPlan};
use super::nearest::did_you_mean;
use super::problem::{PROBLEMS_HELD_MAX, Position, Problem, shown};
use crate::model::{AppName, Application, WavePlan};

/// What Git declares at a Revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declarations {
    /// Every app: its Application, or what holds it. An app that was known and is not here was removed.
    pub apps: BTreeMap<AppName, Result<Arc<Application>, Vec<Problem>>>,
    /// Everything that is wrong, file by file.
    pub problems: Vec<Problem>,
    /// Every good plan, the built-in ones included.
    pub plans: BTreeMap<String, Arc<WavePlan>>,
}

/// Puts files together. `files` are the candidates at the Revision by path, `known` the apps that exist, by the file that
/// declared them.
#[must_use]
pub fn assemble(files: &BTreeMap<String, Arc<ParsedFile>>, known: &BTreeMap<AppName, String>) -> Declarations {
    let mut problems: Vec<Problem> = files.values().flat_map(|file| file.problems.iter().cloned()).collect();
    let plans = resolve_plans(files, &mut problems);
    let mut declared: BTreeMap<&AppName, Vec<&ParsedApp>> = BTreeMap::new();
    for app in files.values().flat_map(|file| &file.apps) {
        declared.entry(&app.name).or_default().push(app);
    }
    let mut unmet = dependencies::check(&declared);
    let mut apps = BTreeMap::new();
    for (name, declarations) in declared {
        let mut result = resolve_app(&declarations, &plans, &mut problems);
        if let Some(unmet) = unmet.remove(name) {
            problems.extend(unmet.iter().cloned());
            result = Err(result.err().into_iter().flatten().chain(unmet).collect());
        }
        apps.insert(name.clone(), result);
    }
    let hiding = files.values().find(|file| file.hides_names);
    for (name, declared_in) in known {
        if !apps.contains_key(name)
            && let Some(held) = not_certainly_removed(name, declared_in, files.get(declared_in), hiding)
        {
            apps.insert(name.clone(), Err(held));
        }
    }
    problems.sort();
    problems.dedup();
    let plans = plans.into_iter().filter_map(|(name, plan)| Some((name, plan.ok()?))).collect();
    Declarations { apps, problems, plans }
}

/// Plans by name, or what is wrong with each.
type Plans = BTreeMap<String, Result<Arc<WavePlan>, Vec<Problem>>>;

fn resolve_plans(files: &BTreeMap<String, Arc<ParsedFile>>, problems: &mut Vec<Problem>) -> Plans {
    let mut declared: BTreeMap<&str, Vec<&ParsedPlan>> = BTreeMap::new();
    for plan in files.values().flat_map(|file| &file.plans) {
        declared.entry(&plan.name).or_default().push(plan);
    }
    let mut plans: Plans = built_in_plans().into_iter().map(|(name, plan)| (name, Ok(plan))).collect();
    for (name, declarations) in declared {
        let places: Vec<_> = declarations.iter().map(|plan| (plan.file.as_str(), plan.document, plan.at)).collect();
        let result = match declarations.as_slice() {
            [only] => only.plan.clone(),
            several => {
                let twice = declared_twice("WavePlan", name, &places);
                problems.extend(twice.iter().cloned());
                let own = several.iter().filter_map(|plan| plan.plan.as_ref().err()).flatten().cloned();
                Err(twice.into_iter().chain(own).collect())
            }
        };
        plans.insert(name.to_owned(), result);
    }
    plans
}

fn resolve_app(
    declarations: &[&ParsedApp],
    plans: &Plans,
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
        PlanChoice::Inline => Ok(Arc::new(read.application.clone())),
        PlanChoice::Named { name, at } => match resolve_plan(app, name, *at, plans) {
            Ok(plan) => Ok(Arc::new(Application { plan: WavePlan::clone(plan), ..read.application.clone() })),
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
fn declared_twice(kind: &str, name: &str, places: &[(&str, usize, Position)]) -> Vec<Problem> {
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
    own: Option<&Arc<ParsedFile>>,
    hiding: Option<&Arc<ParsedFile>>,
) -> Option<Vec<Problem>> {
    if let Some(file) = own.filter(|file| !file.problems.is_empty()) {
        return Some(file.problems.iter().take(PROBLEMS_HELD_MAX).cloned().collect());
    }
    let first = hiding?.problems.first()?;
    let mut problem = first.clone();
    problem.message = format!("Application `{name}` left {declared_in} and may be declared here: {}", first.message);
    Some(vec![problem])
}
