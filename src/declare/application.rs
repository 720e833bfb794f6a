//! An Application document -> [`Application`], its plan resolved when it is written inline.
//!
//! Enters: the opened document. Leaves: the Application, which plan it names, and where its source path stands; what is
//! wrong goes to the sink.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use super::plan::read_plan;
use super::problem::{Position, Sink, shown};
use super::read::{Mapping, Place};
use super::rule::is_tag;
use super::scalar::to_json;
use super::shape::IGNORE;
use super::shape_plan::PLAN_SPEC;
use super::source::{read_common, read_sources};
use super::tree::Content;
use crate::expression::Expression;
use crate::model::{
    AppName, Application, Body, Deletion, DeletionCap, Dependency, DependencyCondition, GroupKind, HealthRule,
    IgnoreRule, ImageOverride, PausePolicy, RollbackPolicy, Substitute, SubstituteFrom, SubstituteKind, SyncPolicy,
    WavePlan,
};

/// Which plan an Application takes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum PlanChoice {
    /// It is written inline, and in the Application already.
    Inline,
    /// By name; `at` is where the name stands, or the app's name when it names none.
    Named { name: String, at: Position },
}

/// What an Application document says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Read {
    pub(super) application: Arc<Application>,
    pub(super) plan: PlanChoice,
    /// Where the path of each source stands.
    pub(super) sources_at: Vec<Position>,
    pub(super) version_at: Position,
    /// Where the names in `dependsOn` stand.
    pub(super) depends_at: Vec<Position>,
}

/// What an Application gets that names no plan.
pub(super) const PLAN_DEFAULT: &str = "all-at-once";

/// The name of a plan that is written inline.
pub(super) const PLAN_INLINE: &str = "inline";

/// Reads the document of the Application `name`; `None` when something required is missing. What it returns is valid
/// only when nothing was reported.
pub(super) fn read_application(name: &str, file: &str, document: &Mapping<'_>, sink: &mut Sink<'_>) -> Option<Read> {
    let name_at = document.mapping("metadata", &mut Sink::new("", 0)).and_then(|metadata| metadata.get("name"));
    let spec_node = document.get("spec")?;
    let spec = document.mapping("spec", sink)?;
    spec.text("base", sink);
    let substitute = read_substitute(&spec, sink);
    let version = spec.text("version", sink);
    let version_at = spec.get("version").map(|place| place.node.at);
    let images = read_images(version, &spec, sink);
    let attempt = spec.whole("attempt", sink).unwrap_or(0);
    let sources = read_sources(&spec, file, sink);
    let common = read_common(&spec, sink);
    let destination = spec.mapping("destination", sink);
    let namespace = destination.as_ref().and_then(|destination| destination.text("namespace", sink));
    let service_account =
        destination.as_ref().and_then(|destination| destination.text("serviceAccount", sink)).map(str::to_owned);
    if let Some(destination) = &destination {
        destination.word("cluster", &[()], sink);
    }
    let (choice, plan) = read_choice(&spec, name_at.map_or(Position::START, |place| place.node.at), sink);
    let sync = read_sync(&spec, sink);
    let deletion = spec.word("deletion", &[Deletion::Orphan, Deletion::Cascade], sink);
    let rollback = spec.word("rollback", &[RollbackPolicy::Automatic, RollbackPolicy::Manual], sink);
    let pause = spec.word("pause", &[PausePolicy::Agent, PausePolicy::User], sink);
    let health = read_health(&spec, sink);
    let (depends_on, depends_at) = read_dependencies(&spec, sink);
    let history_max = spec.whole("history", sink).unwrap_or(HISTORY_DEFAULT);
    let sources = sources?;
    let application = Application {
        name: AppName::from(name),
        version: version?.to_owned(),
        images,
        attempt,
        sources: sources.sources,
        common,
        namespace: namespace?.to_owned(),
        service_account,
        plan,
        sync,
        deletion: deletion.unwrap_or(Deletion::Orphan),
        rollback: rollback.unwrap_or(RollbackPolicy::Automatic),
        pause: pause.unwrap_or(PausePolicy::Agent),
        health,
        depends_on,
        substitute,
        history_max,
        declared_in: file.to_owned(),
        spec: at_rest(to_json(spec_node.node)),
    };
    Some(Read {
        application: Arc::new(application),
        plan: choice,
        sources_at: sources.at,
        version_at: version_at?,
        depends_at,
    })
}

/// It is only looked at when the custom resource is compared with it, and there may be thousands.
fn at_rest(spec: serde_json::Value) -> Body {
    let mut spec = Body::from(spec);
    spec.rest();
    spec
}

/// Ten Releases: two weeks of daily bumps, at about 10 KB each compressed.
const HISTORY_DEFAULT: u32 = 10;

pub(super) fn read_images(version: Option<&str>, spec: &Mapping<'_>, sink: &mut Sink<'_>) -> Vec<ImageOverride> {
    let mut images: Vec<ImageOverride> = Vec::new();
    for mapping in spec.mappings("images", sink) {
        let name = mapping.text("name", sink);
        let tag = mapping.text("tag", sink);
        let digest = mapping.text("digest", sink);
        let (Some(name), Some(place)) = (name, mapping.get("name")) else { continue };
        if images.iter().any(|earlier| earlier.name == name) {
            place.report(sink, format!("image `{}` stands twice", shown(name)), "remove one of them");
        }
        let is_tagged_by_version = mapping.get("tag").is_none() && mapping.get("digest").is_none();
        if let Some(version) = version.filter(|version| is_tagged_by_version && !is_tag(version)) {
            let message = format!("gets the version as its tag, and `{}` is no image tag", shown(version));
            place.report(sink, message, "give the image a `tag`");
        }
        images.push(ImageOverride {
            name: name.to_owned(),
            tag: tag.or(version).unwrap_or_default().to_owned(),
            digest: digest.map(str::to_owned),
        });
    }
    images
}

fn read_health(spec: &Mapping<'_>, sink: &mut Sink<'_>) -> Vec<HealthRule> {
    let mut rules: Vec<HealthRule> = Vec::new();
    for mapping in spec.mappings("health", sink) {
        let group = mapping.text("group", sink).unwrap_or_default();
        let Some(kind) = mapping.text("kind", sink) else { continue };
        let kind = GroupKind::new(group, kind);
        let mut expression = |name: &str| {
            let source = mapping.text(name, sink)?;
            Expression::parse(source, &HealthRule::VARIABLES).ok()
        };
        let rule = HealthRule {
            kind,
            degraded: expression("degraded"),
            suspended: expression("suspended"),
            healthy: expression("healthy"),
            progressing: expression("progressing"),
        };
        let Some(place) = mapping.get("kind") else { continue };
        if rules.iter().any(|earlier| earlier.kind == rule.kind) {
            place.report(sink, format!("{} has two rules", rule.kind), "put them into one");
        }
        if mapping.get("healthy").is_none() {
            place.report(sink, "its objects would never be healthy", "say when they are in `healthy`");
        }
        rules.push(rule);
    }
    rules
}

fn read_choice(spec: &Mapping<'_>, name_at: Position, sink: &mut Sink<'_>) -> (PlanChoice, Arc<WavePlan>) {
    // Until the one that is named takes its place.
    static NONE: LazyLock<Arc<WavePlan>> = LazyLock::new(|| Arc::new(WavePlan::all_at_once()));
    let named = |name: &str, at| (PlanChoice::Named { name: name.to_owned(), at }, Arc::clone(&NONE));
    let Some(place) = spec.get("plan") else { return named(PLAN_DEFAULT, name_at) };
    if matches!(place.node.content, Content::Mapping(_)) {
        let mapping = spec.below(&place, &PLAN_SPEC, sink);
        let plan = mapping.map(|mapping| read_plan(PLAN_INLINE, &mapping, sink));
        return (PlanChoice::Inline, plan.map_or_else(|| Arc::clone(&NONE), Arc::new));
    }
    let name = place.text(super::shape::Rule::Label(63), sink);
    named(name.unwrap_or(PLAN_DEFAULT), place.node.at)
}

fn read_substitute(spec: &Mapping<'_>, sink: &mut Sink<'_>) -> Substitute {
    let mut values = BTreeMap::new();
    if let Some(place) = spec.get("substitute") {
        for (entry, text) in place.texts_by_name(sink) {
            if !is_variable(&entry.key) {
                let field = format!("{}.{}", place.field, shown(&entry.key));
                let message = format!("`{}` is no name of a variable", shown(&entry.key));
                sink.report(entry.key_at, &field, message, "letters, digits and `_`, not beginning with a digit");
            }
            values.insert(entry.key.clone(), text.to_owned());
        }
    }
    let mut from: Vec<SubstituteFrom> = Vec::new();
    for mapping in spec.mappings("substituteFrom", sink) {
        let kind = mapping.word("kind", &[SubstituteKind::ConfigMap, SubstituteKind::Secret], sink);
        let is_optional = mapping.boolean("optional", sink).unwrap_or(false);
        let (Some(kind), Some(name), Some(place)) = (kind, mapping.text("name", sink), mapping.get("name")) else {
            continue;
        };
        if from.iter().any(|earlier| earlier.kind == kind && earlier.name == name) {
            place.report(sink, format!("{} `{}` stands twice", kind.as_str(), shown(name)), "remove one of them");
        }
        from.push(SubstituteFrom { kind, name: name.to_owned(), is_optional });
    }
    Substitute { values, from }
}

/// Whether `${...}` may hold this.
fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn read_dependencies(spec: &Mapping<'_>, sink: &mut Sink<'_>) -> (Vec<Dependency>, Vec<Position>) {
    let (mut dependencies, mut places) = (Vec::<Dependency>::new(), Vec::new());
    for mapping in spec.mappings("dependsOn", sink) {
        let condition = mapping.word("condition", &[DependencyCondition::Healthy, DependencyCondition::Release], sink);
        let (Some(name), Some(place)) = (mapping.text("name", sink), mapping.get("name")) else { continue };
        let app = AppName::from(name);
        if dependencies.iter().any(|earlier| earlier.app == app) {
            place.report(sink, format!("application `{}` stands twice", shown(name)), "remove one of them");
        }
        dependencies.push(Dependency { app, condition: condition.unwrap_or(DependencyCondition::Healthy) });
        places.push(place.node.at);
    }
    (dependencies, places)
}

fn read_sync(spec: &Mapping<'_>, sink: &mut Sink<'_>) -> SyncPolicy {
    let sync = spec.mapping("sync", sink);
    let mut boolean = |name: &str| sync.as_ref().and_then(|sync| sync.boolean(name, sink));
    let default = SyncPolicy::default();
    let is_automated = boolean("automated").unwrap_or(default.is_automated);
    let prunes = boolean("prune").unwrap_or(default.prunes);
    let confirms_prunes = boolean("confirmPrune").unwrap_or(default.confirms_prunes);
    let self_heals = boolean("selfHeal").unwrap_or(default.self_heals);
    let replaces_immutable = boolean("replaceImmutable").unwrap_or(default.replaces_immutable);
    let Some(sync) = sync else { return default };
    let texts = |name: &str, sink: &mut Sink<'_>| -> BTreeSet<String> {
        sync.texts(name, sink).into_iter().map(|(_, text)| text.to_owned()).collect()
    };
    let adopt = texts("adopt", sink);
    let protected = if sync.get("protect").is_some() { texts("protect", sink) } else { default.protected };
    let cap = sync.mapping("deletionCap", sink);
    let deletion_cap = DeletionCap {
        objects: cap.as_ref().and_then(|cap| cap.whole("objects", sink)).unwrap_or(default.deletion_cap.objects),
        percent: cap.as_ref().and_then(|cap| cap.whole("percent", sink)).unwrap_or(default.deletion_cap.percent),
    };
    let forces_conflicts = sync.word("conflicts", &[true, false], sink).unwrap_or(default.forces_conflicts);
    let rules = sync.items("ignore", sink);
    let ignore = rules.iter().filter_map(|place| read_ignore(place, sink)).collect();
    SyncPolicy {
        is_automated,
        prunes,
        self_heals,
        adopt,
        confirms_prunes,
        protected,
        deletion_cap,
        forces_conflicts,
        replaces_immutable,
        ignore,
    }
}

fn read_ignore(place: &Place<'_>, sink: &mut Sink<'_>) -> Option<IgnoreRule> {
    let rule = Mapping::open(place, &IGNORE, sink)?;
    let mut text = |name: &str| rule.text(name, sink).map(str::to_owned);
    let (group, kind, name, namespace) = (text("group"), text("kind"), text("name"), text("namespace"));
    let mut texts = |name: &str| rule.texts(name, sink).into_iter().map(|(_, text)| text.to_owned()).collect();
    let (pointers, managers): (Vec<String>, Vec<String>) = (texts("jsonPointers"), texts("managers"));
    let when = rule.text("when", sink).and_then(|source| Expression::parse(source, &HealthRule::VARIABLES).ok());
    if pointers.is_empty() && managers.is_empty() {
        place.report(sink, "ignores nothing", "give `jsonPointers`, `managers`, or both");
    }
    Some(IgnoreRule { group, kind, name, namespace, pointers, managers, when })
}
