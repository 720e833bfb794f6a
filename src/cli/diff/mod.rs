//! `tidegate diff`: what a working tree or a revision would change, in the cluster or since another revision. Enters: a
//! folder, and the caller's kubeconfig when it is compared with the cluster. Leaves: a unified diff per object. It asks the
//! API server by dry run alone and changes nothing.
//!
//! `side` reads what is declared, `live` and `offline` compare, `difference` is one object fit to be shown, `text` shows it.

mod difference;
mod live;
mod offline;
mod side;
mod text;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};

use self::difference::Difference;
use self::side::Side;
use super::connection::{Connection, ConnectionArgs, name};
use super::output::{self, complain};
use super::rendering::CheckoutArgs;
use super::{DONE, FAILED, NO};
use crate::edge::cluster::Cluster;
use crate::model::{AppName, ClusterName, Object};
use crate::store::application::{self, Stored};

/// Requests to the API server at once.
const REQUESTS_IN_FLIGHT_MAX: usize = 8;

/// What `--against` means unless it is a revision.
const LIVE: &str = "live";

#[derive(Debug, clap::Args)]
pub(super) struct DiffArgs {
    /// Only these apps [default: all that are declared]
    #[arg(value_name = "APP", value_parser = name)]
    apps: Vec<String>,
    /// Folder of a clone to look for declarations in
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    path: PathBuf,
    /// Where source paths start [default: the repository's root]
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
    #[command(flatten)]
    checkouts: CheckoutArgs,
    /// Compare this revision of the clone instead of its working tree
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// What to compare with: `live` for the cluster, or a revision of the clone, which needs no cluster
    #[arg(long, value_name = "REVISION", default_value = LIVE)]
    against: String,
    /// How to print
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: super::validate::Output,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// What the two sides are called.
struct Labels {
    before: String,
    after: String,
    is_live: bool,
}

/// What was found.
#[derive(Default)]
struct Outcome {
    differences: Vec<Difference>,
    /// Things worth knowing that are no object's.
    notes: Vec<String>,
    /// Apps that could not be compared, and why.
    errors: Vec<String>,
    /// Whether an app is not declared any more.
    has_left: bool,
    /// How many apps were compared.
    apps: usize,
    /// How many objects they have.
    objects: usize,
}

/// Which apps are asked for.
#[derive(Clone, Copy, Default)]
struct Wanted<'a>(&'a [String]);

impl Wanted<'_> {
    fn has(&self, app: &AppName) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| wanted == app.as_str())
    }

    /// That each app that was named is declared on one of the sides.
    fn are_in(&self, sides: &[&Side]) -> anyhow::Result<()> {
        let is_declared =
            |wanted: &&String| sides.iter().any(|side| side.apps.contains_key(&AppName::from(wanted.as_str())));
        match self.0.iter().find(|wanted| !is_declared(wanted)) {
            None => Ok(()),
            Some(missing) => {
                let labels: Vec<&str> = sides.iter().map(|side| side.label.as_str()).collect();
                Err(anyhow!("no Application is called `{missing}` in {}", labels.join(" or ")))
            }
        }
    }
}

/// Compares. Exit codes are those of `diff`: 0 nothing differs, 1 something does, 2 something could not be compared.
pub(super) async fn run(arguments: &DiffArgs) -> anyhow::Result<u8> {
    let wanted = Wanted(&arguments.apps);
    let (path, root, checkouts) = (&arguments.path, arguments.root.as_deref(), &arguments.checkouts);
    let mut after = match &arguments.revision {
        None => side::working_tree(path, root, checkouts)?,
        Some(revision) => side::revision(path, root, revision, checkouts)?,
    };
    let remarks = std::mem::take(&mut after.remarks);
    let is_live = arguments.against == LIVE;
    let (mut outcome, before) = if is_live {
        wanted.are_in(&[&after])?;
        let settings = super::connection::settings(&arguments.connection).await?;
        (against_live(arguments, settings, &after, wanted).await?, LIVE.to_owned())
    } else {
        let before = side::revision(path, root, &arguments.against, checkouts)?;
        wanted.are_in(&[&before, &after])?;
        (offline::compare(&before, &after, &wanted), before.label)
    };
    outcome.notes.splice(0..0, remarks);
    let labels = Labels { before, after: after.label, is_live };
    output::print(&match arguments.output {
        super::validate::Output::Text => text::answer(&outcome, &labels, is_coloured())?,
        super::validate::Output::Json => {
            outcome.notes.iter().for_each(|note| complain(&format!("note: {note}")));
            output::json(&outcome.differences.iter().map(Difference::document).collect())
        }
    });
    outcome.errors.iter().for_each(|error| complain(&format!("error: {error}")));
    Ok(code(&outcome))
}

fn code(outcome: &Outcome) -> u8 {
    if !outcome.errors.is_empty() || live::has_unchecked(&outcome.differences) {
        FAILED
    } else if outcome.has_left || !outcome.differences.is_empty() {
        NO
    } else {
        DONE
    }
}

/// Colour is for terminals, and for people who want it (no-color.org).
fn is_coloured() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

async fn against_live(
    arguments: &DiffArgs,
    settings: kube::Config,
    after: &Side,
    wanted: Wanted<'_>,
) -> anyhow::Result<Outcome> {
    let connection = Connection::with(settings.clone(), &arguments.connection)?;
    let cluster = Cluster::connect(settings, REQUESTS_IN_FLIGHT_MAX)?;
    let mut outcome = Outcome::default();
    let stored = stored(&connection, &mut outcome).await?;
    let kinds = cluster.kinds().await.context("failed to ask the API server for its kinds")?;
    let against = live::Against { cluster: &cluster, kinds: &kinds, namespace: connection.namespace() };
    for (name, (application, contents)) in after.apps.iter().filter(|(name, _)| wanted.has(name)) {
        let known = stored.iter().find(|stored| stored.name == *name);
        live::compare(&against, application, contents, known, &mut outcome)
            .await
            .with_context(|| format!("failed to compare {name}"))?;
    }
    let has_left = |stored: &&Stored| {
        after.is_whole
            && wanted.0.is_empty()
            && !stored.declared_in.is_empty()
            && !after.apps.contains_key(&stored.name)
    };
    for stored in stored.iter().filter(has_left) {
        live::orphans(&cluster, stored, &after.label, &mut outcome)
            .await
            .with_context(|| format!("failed to compare {}", stored.name))?;
    }
    Ok(outcome)
}

/// The Application resources; none where Tidegate is not installed yet.
async fn stored(connection: &Connection, outcome: &mut Outcome) -> anyhow::Result<Vec<Stored>> {
    let Some(items) = connection.list_if_installed().await? else {
        outcome.notes.push("Tidegate is not installed in this cluster".to_owned());
        return Ok(Vec::new());
    };
    let mut stored = Vec::new();
    for mut item in items {
        item["apiVersion"] = format!("{}/{}", crate::store::GROUP, crate::store::VERSION).into();
        item["kind"] = crate::store::KIND.into();
        let object = Object::from_value(&ClusterName::local(), item)?;
        let name = object.key.name.clone();
        stored.push(
            application::read(&object).with_context(|| format!("failed to read the Application resource {name}"))?,
        );
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    pub(super) const APP: &str = "apiVersion: tidegate.dev/v1alpha1
kind: Application
metadata: {name: web}
spec:
  version: 1.4.0
  source: {path: m}
  destination: {namespace: shop}
";

    /// A repository with a commit that declares `web` with one ConfigMap.
    pub(super) fn repository() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        git2::Repository::init(folder.path()).unwrap();
        let base = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: base}\n";
        committed(folder.path(), &[("app.yaml", APP), ("m/base.yaml", base)]);
        folder
    }

    /// Writes files and commits everything; empty files are removed.
    pub(super) fn committed(folder: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            if text.is_empty() {
                std::fs::remove_file(&path).unwrap();
            }
        }
        let repository = git2::Repository::open(folder).unwrap();
        let mut index = repository.index().unwrap();
        index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
        index.update_all(["*"], None).unwrap();
        let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
        let author = git2::Signature::now("Ada", "ada@example.com").unwrap();
        let head = repository.head().ok().map(|head| head.peel_to_commit().unwrap());
        repository.commit(Some("HEAD"), &author, &author, "x", &tree, &head.iter().collect::<Vec<_>>()).unwrap();
    }

    #[test]
    fn a_working_tree_and_a_revision_read_alike() {
        let folder = repository();
        let tree = side::working_tree(folder.path(), None, &CheckoutArgs::default()).unwrap();
        let commit = side::revision(folder.path(), None, "HEAD", &CheckoutArgs::default()).unwrap();
        assert_eq!(tree.apps, commit.apps);
        assert!(tree.is_whole && commit.is_whole);
        assert_eq!((tree.label.as_str(), commit.label.len()), ("working tree", 7));
        // A folder that is a repository of its own within another one.
        std::fs::create_dir_all(folder.path().join("inner")).unwrap();
        committed(folder.path(), &[("inner/app.yaml", &APP.replace("path: m", "path: n")), ("inner/n/a.yaml", "a: 1")]);
        let inner = folder.path().join("inner");
        let commit = side::revision(&inner, Some(&inner), "HEAD", &CheckoutArgs::default()).unwrap();
        assert_eq!(commit.apps, side::working_tree(&inner, Some(&inner), &CheckoutArgs::default()).unwrap().apps);
        assert!(
            side::revision(&inner, None, "HEAD", &CheckoutArgs::default()).is_err(),
            "its source is not at the root"
        );
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_place() {
        let folder = repository();
        let said = |result: anyhow::Result<Side>| format!("{:#}", result.err().expect("it cannot be read"));
        let missing = said(side::revision(folder.path(), None, "nowhere", &CheckoutArgs::default()));
        assert!(missing.contains("no commit is called `nowhere`"), "{missing}");
        committed(folder.path(), &[("app.yaml", &APP.replace("1.4.0", "1.4"))]);
        for broken in [
            said(side::revision(folder.path(), None, "HEAD", &CheckoutArgs::default())),
            said(side::working_tree(folder.path(), None, &CheckoutArgs::default())),
        ] {
            assert!(broken.contains("app.yaml:5:12"), "{broken}");
        }
        let outside = said(side::revision(tempfile::tempdir().unwrap().path(), None, "HEAD", &CheckoutArgs::default()));
        assert!(outside.contains("does not lie in a Git repository"), "{outside}");
    }

    #[test]
    fn the_exit_code_is_that_of_diff() {
        let name = AppName::from("web");
        let body = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
        let object = Object::from_value(&ClusterName::local(), body).unwrap();
        let of = |differences: Vec<Difference>| code(&Outcome { differences, ..Outcome::default() });
        assert_eq!(of(Vec::new()), DONE);
        assert_eq!(of(vec![Difference::of(&name, "", None, Some(&object)).unwrap()]), NO);
        assert_eq!(of(vec![Difference::unchecked(&name, "", &object, "forbidden".to_owned())]), FAILED);
        assert_eq!(code(&Outcome { has_left: true, ..Outcome::default() }), NO);
        assert_eq!(code(&Outcome { errors: vec!["x".to_owned()], ..Outcome::default() }), FAILED);
    }
}
