//! Whether a head may be used: signed by somebody whom the settings trust, judged on the raw bytes of its object.
//!
//! Enters: a repository, what was asked for and the commit that it led to. Leaves: who signed it, or why it is not used.

use std::path::Path;
use std::sync::Arc;

use git2::{ObjectType, Oid, Repository};

use super::resolve::Target;
use super::store::Failure;
use crate::edge::folder;
use crate::model::{AppSigners, Timestamp};
use crate::signature::{ObjectKind, RawObject, SignaturePolicy, Verdict, verify};
use crate::world::SourceError;

/// What is known of a head that may be used.
#[derive(Debug, Default)]
pub(super) struct Trusted {
    /// Who signed it; nobody when that is not looked at.
    pub(super) signer: Option<String>,
    /// Who may change which app.
    pub(super) signers: Arc<AppSigners>,
}

/// Verifies the object that `reference` of the repository leads to: an annotated tag by its own signature, else the commit.
/// Without a folder of keys everything may be used.
pub(super) fn check(
    keys: Option<&Path>,
    repository: &Repository,
    reference: &str,
    target: &Target,
) -> Result<Trusted, Failure> {
    let Some(folder) = keys else { return Ok(Trusted::default()) };
    let policy = SignaturePolicy::from_files(folder::files(folder)?)
        .map_err(|error| SourceError::Access(format!("{}: {error}", folder.display())))?;
    let (kind, id) = match tag(repository, reference, target)? {
        Some(tag) => (ObjectKind::Tag, tag),
        None => (ObjectKind::Commit, target.commit),
    };
    let odb = repository.odb()?;
    let object = odb.read(id)?;
    let verdict = verify(&RawObject { kind, bytes: object.data() }, &policy, Timestamp::now());
    let commit: String = target.commit.to_string().chars().take(7).collect();
    match verdict {
        Verdict::Good { signer, .. } => {
            tracing::info!(commit, signer, "the signature is good");
            Ok(Trusted { signer: Some(signer), signers: Arc::new(policy.applications().clone()) })
        }
        Verdict::Unsigned | Verdict::UnknownKey { .. } | Verdict::Bad { .. } => {
            let what = if kind == ObjectKind::Tag { "the tag of commit" } else { "commit" };
            Err(SourceError::Unverified(format!("{what} {commit} of {} is not applied: {verdict}", target.shown))
                .into())
        }
    }
}

/// The annotated tag that a reference leads to.
fn tag(repository: &Repository, reference: &str, target: &Target) -> Result<Option<Oid>, Failure> {
    if !target.want.starts_with("refs/tags/") {
        return Ok(None);
    }
    let Some(id) = repository.find_reference(reference)?.target() else { return Ok(None) };
    if repository.odb()?.read_header(id)?.1 != ObjectType::Tag {
        return Ok(None);
    }
    // What is verified is what is used.
    match repository.find_tag(id)?.into_object().peel_to_commit()?.id() == target.commit {
        true => Ok(Some(id)),
        false => Err(Failure::Store(format!("{reference} leads to another commit than the one that was asked for"))),
    }
}
