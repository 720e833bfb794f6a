//! Which fields there are: one table that the parser obeys and the JSON Schema is made of.
//!
//! Enters: nothing. Leaves: shapes of documents: names, kinds of values, bounds, and a sentence about each. Here is the
//! Application's; those of plans are in `shape_plan`, those that make or complete Applications in `shape_set`.

use super::API_VERSION;
use super::shape_plan::PLAN_SPEC;

/// A mapping of ours.
#[derive(Debug)]
pub(super) struct Shape {
    /// What it is.
    pub(super) about: &'static str,
    /// Its fields. All others are refused.
    pub(super) fields: &'static [Field],
    /// Fields that people bring along from elsewhere, and where they belong here.
    pub(super) foreign: &'static [(&'static str, &'static str)],
}

impl Shape {
    /// The field called `name`.
    pub(super) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// One field of a mapping.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: &'static str,
    /// Whether it must be there.
    pub(super) is_required: bool,
    /// What it may hold.
    pub(super) kind: Kind,
    /// What it says.
    pub(super) about: &'static str,
}

/// What a field may hold.
#[derive(Debug)]
pub(super) enum Kind {
    /// Text under a rule.
    Text(Rule),
    /// One of these words.
    Words(&'static [&'static str]),
    /// A whole number within bounds.
    Whole(u32, u32),
    /// A finite number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A length of time, at least so many milliseconds.
    Duration(u64),
    /// The size of a wave.
    Replicas,
    /// Text by text, freely named.
    Labels,
    /// A mapping that is somebody else's: its fields are taken as they are.
    Free,
    /// A mapping of ours.
    Mapping(&'static Shape),
    /// A mapping of ours whose required fields may come from a base, when it names one in `base`.
    Overlay(&'static Shape),
    /// A mapping of ours without required fields and without `base`: others add what is missing.
    Partial(&'static Shape),
    /// As `Overlay`, with `${...}` in its texts, and without `version` when that is written elsewhere.
    Template(&'static Shape),
    /// The name of a plan, or the plan itself.
    Plan(&'static Shape),
    /// A list of at least and at most so many.
    List(&'static Kind, usize, usize),
}

/// What text must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Exactly this.
    Exactly(&'static str),
    /// A DNS-1123 label of at most so many characters.
    Label(usize),
    /// A version: anything in one word of at most 128 characters.
    Version,
    /// The name of an image, without tag and digest.
    ImageName,
    /// An image tag.
    Tag,
    /// An image digest.
    Digest,
    /// A path from the repository's root, or from the file's folder after `./`.
    Path,
    /// Another Git repository: an `https`, `http` or `ssh` URL without credentials, or `user@host:path`.
    GitRepository,
    /// What of a Git repository is followed.
    Revision,
    /// Where charts are: an `https`, `http` or `oci` URL without credentials.
    ChartRepository,
    /// An exact semantic version.
    ExactVersion,
    /// The path of one value of a chart, such as `image.tag`.
    ValuePath,
    /// Any text of at most so many bytes.
    Any(usize),
    /// A field manager's name: one word of at most 128 characters.
    Manager,
    /// A JSON pointer.
    Pointer,
    /// A query of at most [`QUERY_BYTES_MAX`] bytes, with known placeholders.
    Query,
    /// An API group: a DNS name of at most 253 characters, empty for the core group.
    Group,
    /// The kind of an object, such as `Deployment`.
    ObjectKind,
    /// The name of an object: a DNS name of at most 253 characters.
    ObjectName,
    /// An expression over `object`.
    Expression,
    /// A sentence for people: one line of at most 500 characters.
    Sentence,
}

/// Longest query: several times what a screen shows.
pub(super) const QUERY_BYTES_MAX: usize = 4096;

/// What `${...}` in a query may name.
pub(super) const PLACEHOLDERS: &[&str] =
    &["application", "namespace", "version", "target_hash", "target_pods", "stable_hash", "stable_pods"];

pub(super) const fn required(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, is_required: true, kind, about }
}

pub(super) const fn optional(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, is_required: false, kind, about }
}

/// An Application document.
pub(super) static APPLICATION: Shape = Shape {
    about: "A Tidegate Application: the unit of sync.",
    fields: &[
        required("apiVersion", Kind::Text(Rule::Exactly(API_VERSION)), "Version of this format."),
        required("kind", Kind::Text(Rule::Exactly("Application")), "What this document declares."),
        required("metadata", Kind::Mapping(&APPLICATION_METADATA), "What names it."),
        required("spec", Kind::Overlay(&APPLICATION_SPEC), "What is declared."),
    ],
    foreign: &[("status", "status is written by the agent, never declared")],
};

pub(super) static APPLICATION_METADATA: Shape = Shape {
    about: "What names an Application.",
    fields: &[
        required("name", Kind::Text(Rule::Label(53)), "Name, unique per agent."),
        optional("labels", Kind::Labels, "Labels, for people and tools."),
    ],
    foreign: &[
        ("namespace", "say where the objects go in spec.destination.namespace"),
        ("annotations", "annotations are not read; remove them"),
    ],
};

/// The `spec` of an Application.
pub(super) static APPLICATION_SPEC: Shape = Shape {
    about: "What an Application declares.",
    fields: &[
        optional(
            "base",
            Kind::Text(Rule::Label(63)),
            "Name of an ApplicationBase whose fields count where this Application says nothing.",
        ),
        required("version", Kind::Text(Rule::Version), "The version: the line to bump, and to revert."),
        optional("images", Kind::List(&Kind::Mapping(&IMAGE), 0, IMAGES_MAX), "Images to substitute, by name."),
        optional(
            "attempt",
            Kind::Whole(0, u32::MAX),
            "Raise it to free a Release from quarantine for another try. Default 0.",
        ),
        optional("source", Kind::Mapping(&super::source::SOURCE), super::source::ABOUT),
        optional(
            "sources",
            Kind::List(&Kind::Mapping(&super::source::SOURCE), 1, super::source::SOURCES_MAX),
            "Instead of `source`: several places, whose objects make one Release together.",
        ),
        required("destination", Kind::Mapping(&DESTINATION), "Where the objects go."),
        optional(
            "commonMetadata",
            Kind::Mapping(&super::source::COMMON_METADATA),
            "Labels and annotations that every object gets.",
        ),
        optional("plan", Kind::Plan(&PLAN_SPEC), "Name of a WavePlan, or its spec. Default all-at-once."),
        optional("sync", Kind::Mapping(&SYNC), "How the app is kept in sync."),
        optional(
            "deletion",
            Kind::Words(&["orphan", "cascade"]),
            "What happens to the objects when this Application leaves Git. Default orphan: they stay.",
        ),
        optional(
            "rollback",
            Kind::Words(&["automatic", "manual"]),
            "Whether a shut gate reverts by itself. Default automatic.",
        ),
        optional(
            "pause",
            Kind::Words(&["agent", "user"]),
            "Whether `kubectl rollout pause` is respected (user) or undone (agent). Default agent.",
        ),
        optional(
            "dependsOn",
            Kind::List(&Kind::Mapping(&DEPENDENCY), 0, DEPENDENCIES_MAX),
            "Applications that must stand before a rollout of this one starts.",
        ),
        optional(
            "substitute",
            Kind::Labels,
            "Variables: `${NAME}` in texts of the manifests is replaced by the value. Default: nothing is replaced.",
        ),
        optional(
            "substituteFrom",
            Kind::List(&Kind::Mapping(&SUBSTITUTE_FROM), 0, SUBSTITUTE_FROM_MAX),
            "ConfigMaps and Secrets whose entries are variables too; `substitute` wins, then the later one.",
        ),
        optional("history", Kind::Whole(1, 50), "Past Releases to keep. Default 10."),
        optional(
            "health",
            Kind::List(&Kind::Mapping(&HEALTH_RULE), 0, HEALTH_RULES_MAX),
            "When objects of a kind are healthy; comes before what is built in.",
        ),
    ],
    foreign: &[
        ("syncPolicy", "here it is called `sync`"),
        ("image", "here it is the list `images`"),
        ("namespace", "here it is `destination.namespace`"),
        ("path", "here it is `source.path`"),
        ("project", "there are no projects; remove it"),
        ("strategy", "strategy belongs to the WavePlan: put it into `plan`"),
        ("waves", "waves belong to the WavePlan: put them into `plan`"),
    ],
};

/// Rules of one app, one for a kind: more kinds than any app has.
const HEALTH_RULES_MAX: usize = 50;

static HEALTH_RULE: Shape = Shape {
    about: "When the objects of one kind are healthy: CEL expressions over the live `object`, asked in the order \
            degraded, suspended, healthy, progressing. When none is true it is Progressing.",
    fields: &[
        optional("group", Kind::Text(Rule::Group), "API group of the kind. Default: the core group."),
        required("kind", Kind::Text(Rule::ObjectKind), "The kind, such as Deployment."),
        optional("degraded", Kind::Text(Rule::Expression), "When it failed."),
        optional("suspended", Kind::Text(Rule::Expression), "When it is stopped on purpose."),
        optional("healthy", Kind::Text(Rule::Expression), "When it works as declared."),
        optional("progressing", Kind::Text(Rule::Expression), "When it is on its way."),
    ],
    foreign: &[
        ("apiVersion", "here it is `group`, without a version"),
        ("current", "here it is called `healthy`"),
        ("failed", "here it is called `degraded`"),
        ("inProgress", "here it is called `progressing`"),
        ("health.lua", "Lua is not read; write CEL expressions"),
    ],
};

/// Objects that variables come from: each is read and watched.
const SUBSTITUTE_FROM_MAX: usize = 20;

static SUBSTITUTE_FROM: Shape = Shape {
    about: "An object of the destination's namespace whose entries are variables.",
    fields: &[
        required("kind", Kind::Words(&["ConfigMap", "Secret"]), "ConfigMap or Secret."),
        required("name", Kind::Text(Rule::ObjectName), "Its name."),
        optional("optional", Kind::Boolean, "Whether the object may be missing. Default false."),
    ],
    foreign: &[("namespace", "it is read from the destination's namespace; remove it")],
};

/// Applications that one waits for: each is looked at before a rollout.
const DEPENDENCIES_MAX: usize = 50;

static DEPENDENCY: Shape = Shape {
    about: "An application to wait for.",
    fields: &[
        required("name", Kind::Text(Rule::Label(53)), "Its name."),
        optional(
            "condition",
            Kind::Words(&["healthy", "release"]),
            "healthy: it has completed the Release that Git declares, and is Synced and Healthy. release: it has completed it. Default healthy.",
        ),
    ],
    foreign: &[("namespace", "applications are named alone"), ("ready", "here it is `condition`")],
};

/// Images of one app: each pod template is searched for each.
pub(super) const IMAGES_MAX: usize = 100;

pub(super) static IMAGE: Shape = Shape {
    about: "An image to substitute.",
    fields: &[
        required("name", Kind::Text(Rule::ImageName), "Name as the manifests write it, without tag and digest."),
        optional("tag", Kind::Text(Rule::Tag), "The tag. Default: the Application's version."),
        optional("digest", Kind::Text(Rule::Digest), "The digest; wins over the tag."),
    ],
    foreign: &[
        ("newTag", "here it is called `tag`"),
        ("newName", "an image keeps its name; change it in the manifest"),
    ],
};

static DESTINATION: Shape = Shape {
    about: "Where objects go.",
    fields: &[
        required("namespace", Kind::Text(Rule::Label(63)), "Namespace for objects that name none."),
        optional("cluster", Kind::Words(&["in-cluster"]), "The cluster that the agent runs in; there is no other yet."),
        optional(
            "serviceAccount",
            Kind::Text(Rule::Label(253)),
            "Service account of that namespace on whose behalf objects are written. Default: the agent's own.",
        ),
    ],
    foreign: &[
        ("server", "the agent writes to its own cluster; remove it"),
        ("name", "the agent writes to its own cluster; remove it"),
    ],
};

static SYNC: Shape = Shape {
    about: "How an app is kept in sync.",
    fields: &[
        optional("automated", Kind::Boolean, "Whether changes in Git are applied unasked. Default true."),
        optional("prune", Kind::Boolean, "Whether objects that left Git are deleted. Default false."),
        optional("selfHeal", Kind::Boolean, "Whether drift is corrected. Default true."),
        optional(
            "adopt",
            Kind::List(&Kind::Text(Rule::Manager), 0, 50),
            "Field managers whose objects and fields are taken over.",
        ),
        optional(
            "confirmPrune",
            Kind::Boolean,
            "Whether every deletion waits for a person's `confirm`. Default false.",
        ),
        optional(
            "protect",
            Kind::List(&Kind::Text(Rule::Manager), 0, 100),
            "Kinds that are never deleted, as Kind or Kind.group. Default: Namespace, PersistentVolumeClaim, CustomResourceDefinition.apiextensions.k8s.io.",
        ),
        optional("deletionCap", Kind::Mapping(&DELETION_CAP), "How many deletions at once wait for a person."),
        optional(
            "conflicts",
            Kind::Words(&["force", "fail"]),
            "What an apply does about fields that others apply: take them over (force), or fail and name them. Default force.",
        ),
        optional(
            "replaceImmutable",
            Kind::Boolean,
            "Whether an object with a change in an immutable field is deleted and made anew. Default false.",
        ),
        optional("ignore", Kind::List(&Kind::Mapping(&IGNORE), 0, 100), "Fields that are left to others."),
    ],
    foreign: &[("syncOptions", "there are none; the switches are fields of spec.sync")],
};

static DELETION_CAP: Shape = Shape {
    about: "Deletions of more than so many objects and more than so much of the app at once wait for a person.",
    fields: &[
        optional("objects", Kind::Whole(0, 10_000), "Objects. Default 5."),
        optional("percent", Kind::Whole(0, 100), "Percent of the app's objects. Default 20."),
    ],
    foreign: &[],
};

pub(super) static IGNORE: Shape = Shape {
    about: "Fields that are left to others, of the objects that all given conditions hold for.",
    fields: &[
        optional("group", Kind::Text(Rule::Group), "API group; the core group is an empty text."),
        optional("kind", Kind::Text(Rule::Manager), "Kind."),
        optional("name", Kind::Text(Rule::Manager), "Name."),
        optional("namespace", Kind::Text(Rule::Manager), "Namespace."),
        optional(
            "jsonPointers",
            Kind::List(&Kind::Text(Rule::Pointer), 0, 50),
            "JSON pointers (RFC 6901) into the object as it is declared.",
        ),
        optional("managers", Kind::List(&Kind::Text(Rule::Manager), 0, 50), "Field managers: what they own is theirs."),
        optional(
            "when",
            Kind::Text(Rule::Expression),
            "A condition on the object as it is declared, in CEL over `object`.",
        ),
    ],
    foreign: &[
        ("managedFieldsManagers", "here they are `managers`"),
        ("jqPathExpressions", "give `jsonPointers` instead"),
    ],
};
