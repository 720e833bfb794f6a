//! Which fields documents have that complete or make Applications, and policies. Enters: nothing. Leaves: shapes.

use super::API_VERSION;
use super::shape::{APPLICATION_METADATA, APPLICATION_SPEC, IMAGE, IMAGES_MAX, Kind, Rule, Shape, optional, required};

/// An ApplicationBase document.
pub(super) static APPLICATION_BASE: Shape = Shape {
    about: "What several Tidegate Applications have in common: each names it in `spec.base`, and its own fields win.",
    fields: &[
        required("apiVersion", Kind::Text(Rule::Exactly(API_VERSION)), "Version of this format."),
        required("kind", Kind::Text(Rule::Exactly("ApplicationBase")), "What this document declares."),
        required("metadata", Kind::Mapping(&NAMED), "What names it."),
        required("spec", Kind::Partial(&APPLICATION_SPEC), "Fields of an Application, all of them optional."),
    ],
    foreign: &[],
};

/// An ApplicationVersion document.
pub(super) static APPLICATION_VERSION: Shape = Shape {
    about: "The version of an Application that an ApplicationSet makes: the line to bump, and to revert.",
    fields: &[
        required("apiVersion", Kind::Text(Rule::Exactly(API_VERSION)), "Version of this format."),
        required("kind", Kind::Text(Rule::Exactly("ApplicationVersion")), "What this document declares."),
        required("metadata", Kind::Mapping(&APPLICATION_METADATA), "The name of the Application."),
        required("spec", Kind::Mapping(&VERSION_SPEC), "Its version."),
    ],
    foreign: &[],
};

/// The `spec` of an ApplicationVersion.
static VERSION_SPEC: Shape = Shape {
    about: "The version of one Application.",
    fields: &[
        required("version", Kind::Text(Rule::Version), "The version: the line to bump, and to revert."),
        optional("images", Kind::List(&Kind::Mapping(&IMAGE), 0, IMAGES_MAX), "Images to substitute, by name."),
        optional(
            "attempt",
            Kind::Whole(0, u32::MAX),
            "Raise it to free a Release from quarantine for another try. Default 0.",
        ),
    ],
    foreign: &[],
};

/// An ApplicationSet document.
pub(super) static APPLICATION_SET: Shape = Shape {
    about: "Applications made from a template: one per folder that matches, or one per entry of a list.",
    fields: &[
        required("apiVersion", Kind::Text(Rule::Exactly(API_VERSION)), "Version of this format."),
        required("kind", Kind::Text(Rule::Exactly("ApplicationSet")), "What this document declares."),
        required("metadata", Kind::Mapping(&NAMED), "What names it."),
        required("spec", Kind::Mapping(&SET_SPEC), "What is made."),
    ],
    foreign: &[],
};

static SET_SPEC: Shape = Shape {
    about: "What an ApplicationSet makes.",
    fields: &[
        required(
            "generators",
            Kind::List(&Kind::Mapping(&GENERATOR), 1, GENERATORS_MAX),
            "What Applications are made for; each is `folders` or `list`.",
        ),
        required("template", Kind::Mapping(&TEMPLATE), "The Application, with ${...} in its texts."),
    ],
    foreign: &[
        ("goTemplate", "there is no template language: ${...} is replaced in texts"),
        ("syncPolicy", "say it in the template's `spec.sync` and `spec.deletion`"),
    ],
};

/// Generators of one set.
const GENERATORS_MAX: usize = 20;

/// Entries of one list: as many as Applications may be made in all.
const ENTRIES_MAX: usize = APPS_MADE_MAX;

/// Applications that sets may make in a repository.
pub(super) const APPS_MADE_MAX: usize = 5000;

static GENERATOR: Shape = Shape {
    about: "What Applications are made for: `folders` or `list`.",
    fields: &[
        optional("folders", Kind::Mapping(&FOLDERS), "One Application per folder."),
        optional(
            "list",
            Kind::List(&Kind::Labels, 1, ENTRIES_MAX),
            "One Application per entry; its fields are the variables.",
        ),
    ],
    foreign: &[
        ("git", "here it is `folders: {pattern: apps/*}`"),
        ("clusters", "the agent writes to its own cluster"),
        ("matrix", "write one generator after another"),
        ("merge", "write one generator after another"),
    ],
};

static FOLDERS: Shape = Shape {
    about: "Folders of the repository.",
    fields: &[
        required(
            "pattern",
            Kind::Text(Rule::Path),
            "Path from the repository's root, or from this file's folder after `./`; `*` is any part of one name.",
        ),
        optional("exclude", Kind::List(&Kind::Text(Rule::Path), 0, 100), "Patterns of folders to leave out."),
    ],
    foreign: &[("path", "here it is `pattern`"), ("directories", "here it is `pattern`")],
};

/// The template of an ApplicationSet, as it stands there.
pub(super) static TEMPLATE: Shape = Shape {
    about: "The Application that is made.",
    fields: &[
        required("metadata", Kind::Template(&APPLICATION_METADATA), "What names it, such as `name: ${name}`."),
        required("spec", Kind::Template(&APPLICATION_SPEC), "What it declares."),
    ],
    foreign: &[],
};

/// The template of an ApplicationSet with its variables filled in.
pub(super) static INSTANCE: Shape = Shape {
    about: "An Application that was made.",
    fields: &[
        required("metadata", Kind::Mapping(&APPLICATION_METADATA), "What names it."),
        required("spec", Kind::Overlay(&APPLICATION_SPEC), "What it declares."),
    ],
    foreign: &[],
};

/// What names a document that others refer to.
static NAMED: Shape = Shape {
    about: "What names it.",
    fields: &[
        required("name", Kind::Text(Rule::Label(63)), "Name, unique in the repository among its kind."),
        optional("labels", Kind::Labels, "Labels, for people and tools."),
    ],
    foreign: &[("namespace", "it has none; remove it"), ("annotations", "annotations are not read; remove them")],
};

/// A Policy document.
pub(super) static POLICY: Shape = Shape {
    about: "A Tidegate Policy: rules over what is about to be applied.",
    fields: &[
        required("apiVersion", Kind::Text(Rule::Exactly(API_VERSION)), "Version of this format."),
        required("kind", Kind::Text(Rule::Exactly("Policy")), "What this document declares."),
        required("metadata", Kind::Mapping(&NAMED), "What names it."),
        required("spec", Kind::Mapping(&POLICY_SPEC), "The rules."),
    ],
    foreign: &[("status", "a policy has no status; remove it")],
};

static POLICY_SPEC: Shape = Shape {
    about: "The rules of a Policy.",
    fields: &[required(
        "rules",
        Kind::List(&Kind::Mapping(&POLICY_RULE), 1, 100),
        "The rules; each is judged by itself.",
    )],
    foreign: &[("validationFailureAction", "each rule says it in `when`"), ("validations", "here they are `rules`")],
};

static POLICY_RULE: Shape = Shape {
    about: "A rule: what must hold for the objects that it matches.",
    fields: &[
        required("name", Kind::Text(Rule::Label(63)), "Name, unique in this Policy."),
        required("match", Kind::Mapping(&POLICY_MATCH), "Which objects it is about."),
        optional(
            "when",
            Kind::Words(&["deny", "warn"]),
            "What follows when it does not hold: the Release is refused (deny), or it is told (warn). Default deny.",
        ),
        required("expression", Kind::Text(Rule::Expression), "What must hold, in CEL over `object`."),
        required("message", Kind::Text(Rule::Sentence), "What people are told when it does not."),
    ],
    foreign: &[
        ("validate", "say it in `expression` and `message`"),
        ("cel", "here it is `expression`"),
        ("action", "here it is `when`"),
    ],
};

static POLICY_MATCH: Shape = Shape {
    about: "Which objects a rule is about.",
    fields: &[
        optional("group", Kind::Text(Rule::Group), "API group of the kind. Default: the core group."),
        required("kind", Kind::Text(Rule::ObjectKind), "The kind, such as Deployment."),
    ],
    foreign: &[("apiVersion", "here it is `group`, without a version"), ("kinds", "write a rule for each `kind`")],
};
