//! Apps that only some may change: what they declare goes out when one of those signed the head.
//!
//! A head vouches for the whole tree in it. What an app declares is therefore vouched for once one of those who may change
//! it has signed a head with it, and stays so under heads that others sign, for as long as it stays the same. What is rendered
//! of another repository is vouched for by who signed there: a head here says nothing of where a branch or tag over there leads.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::source::{Entered, Source, broken};
use crate::model::{AppName, AppSigners, Application, Declared, Digest, Reference, ReleaseRef, Revision};

/// What guarded apps declared when one of those who may change them last signed: a hash, by app.
pub(super) type Vouched = BTreeMap<AppName, Digest>;

/// Holds back what nobody vouched for. `before` is what the apps declared in the commit before.
pub(super) fn guard(source: &mut Source, before: &BTreeMap<AppName, Entered>, revision: &Revision) {
    let signers = &source.signers;
    source.vouched.retain(|name, _| signers.of(name).is_some());
    for (name, entered) in &mut source.apps {
        if signers.of(name).is_none() {
            continue;
        }
        let stranger = stranger(signers, name, entered, revision).cloned();
        let (may_change, stranger) = (stranger.is_none(), stranger.as_ref().unwrap_or(revision));
        let earlier = before.get(name);
        match &entered.declared {
            Declared::Ready { application, target } => {
                let declared = fingerprint(application, target);
                if may_change {
                    source.vouched.insert(name.clone(), declared);
                } else if source.vouched.get(name) != Some(&declared) {
                    *entered = broken(earlier, revision, refusal(name, stranger, signers, "what it declares"));
                }
            }
            Declared::Removed { .. } if may_change => drop(source.vouched.remove(name)),
            Declared::Removed { .. } => {
                let was_removed = matches!(earlier.map(|entered| &entered.declared), Some(Declared::Removed { .. }));
                if !was_removed {
                    *entered = broken(earlier, revision, refusal(name, stranger, signers, "that it leaves Git"));
                }
            }
            Declared::Broken { .. } => {}
        }
    }
}

/// The first commit among those that an app comes from whose signer may not change it. A commit of another repository that is
/// named by its id is what it is: whoever signed its name here vouches for it.
fn stranger<'a>(
    signers: &AppSigners,
    name: &AppName,
    entered: &'a Entered,
    revision: &'a Revision,
) -> Option<&'a Revision> {
    let followed = entered.rendered_from.iter().filter(|(other, _)| match &other.revision {
        Reference::Commit(_) => false,
        Reference::Default | Reference::Branch(_) | Reference::Tag(_) | Reference::Range(_) => true,
    });
    let all = std::iter::once(revision).chain(followed.map(|(_, commit)| commit));
    all.into_iter().find(|commit| !signers.may_change(name, commit.signer.as_deref()))
}

/// Everything that an app declares: what it renders to, and how it is to be rolled out, pruned and deleted.
fn fingerprint(application: &Application, target: &ReleaseRef) -> Digest {
    let text = format!("{application:?}\n{} {}", target.digest, target.attempt);
    Digest(Sha256::digest(text).into())
}

fn refusal(name: &AppName, revision: &Revision, signers: &AppSigners, what: &str) -> String {
    let by = revision.signer.as_deref().unwrap_or("nobody");
    let who = signers.of(name).unwrap_or_default().join(", ");
    format!(
        "commit {} is signed by {by}, and {what} is not vouched for: {name} is changed only by {who}; have one of them sign the next commit",
        revision.short()
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{
        AppSigner, CommonMetadata, Deletion, Elsewhere, PausePolicy, RollbackPolicy, SourcePath, Substitute,
        SyncPolicy, WavePlan,
    };

    fn digest(byte: u8) -> Digest {
        Digest([byte; 32])
    }

    fn application(deletion: Deletion) -> Application {
        Application {
            name: AppName::from("payments"),
            version: "1".to_owned(),
            images: Vec::new(),
            attempt: 0,
            sources: vec![SourcePath { path: "m".to_owned(), ..SourcePath::default() }],
            common: CommonMetadata::default(),
            namespace: "payments".to_owned(),
            service_account: None,
            plan: Arc::new(WavePlan::all_at_once()),
            sync: SyncPolicy::default(),
            deletion,
            rollback: RollbackPolicy::Automatic,
            pause: PausePolicy::Agent,
            health: Vec::new(),
            depends_on: Vec::new(),
            substitute: Substitute::default(),
            history_max: 10,
            declared_in: "payments.yaml".to_owned(),
            spec: serde_json::Value::Null.into(),
        }
    }

    /// The app as it is declared with a Release, and whether it deletes with it.
    fn ready(release: u8, deletion: Deletion) -> Entered {
        let application = application(deletion);
        let target =
            ReleaseRef { digest: digest(release), attempt: 0, version: "1".to_owned(), revision: Revision::default() };
        Entered::bare(Declared::Ready { application: Arc::new(application), target })
    }

    fn removed() -> Entered {
        Entered::bare(Declared::Removed { deletion: Deletion::Cascade, revision: Revision::default() })
    }

    #[test]
    fn what_comes_of_another_repository_is_vouched_for_by_who_signed_there() {
        let rule = AppSigner { pattern: "pay*".to_owned(), signers: vec!["ada".to_owned()] };
        let named = Reference::Commit("0".repeat(40));
        for (reference, here, there, expected) in [
            (Reference::Default, "ada", Some("ada"), None),
            (Reference::Default, "ada", Some("bob"), Some("commit fedcba9 is signed by bob")),
            (Reference::Default, "ada", None, Some("commit fedcba9 is signed by nobody")),
            (Reference::Default, "bob", Some("ada"), Some("commit abcdef0 is signed by bob")),
            (named.clone(), "ada", Some("bob"), None),
            (named, "bob", Some("ada"), Some("commit abcdef0 is signed by bob")),
        ] {
            let mut source = Source::default();
            source.signers = Arc::new(AppSigners { rules: vec![rule.clone()] });
            let commit = |commit: &str, signer: Option<&str>| Revision {
                commit: commit.to_owned(),
                signer: signer.map(str::to_owned),
                ..Revision::default()
            };
            let other = Elsewhere { repository: "https://git.example/x".to_owned(), revision: reference.clone() };
            let rendered_from = BTreeMap::from([(other, commit("fedcba9", there))]);
            let entered = Entered { rendered_from, ..ready(1, Deletion::Orphan) };
            source.apps = [("payments".into(), entered)].into();
            guard(&mut source, &BTreeMap::new(), &commit("abcdef0", Some(here)));
            let found = match &source.apps[&AppName::from("payments")].declared {
                Declared::Broken { reason, .. } => Some(reason.clone()),
                Declared::Ready { .. } | Declared::Removed { .. } => None,
            };
            match (found, expected) {
                (None, None) => {}
                (Some(found), Some(expected)) => assert!(found.starts_with(expected), "{found}"),
                (found, expected) => panic!("{reference} {here} {there:?}: {found:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn an_app_changes_by_those_who_may_and_stays_under_heads_of_others() {
        let rule = AppSigner { pattern: "pay*".to_owned(), signers: vec!["ada".to_owned()] };
        let mut source = Source::default();
        source.signers = Arc::new(AppSigners { rules: vec![rule] });
        let orphan = Deletion::Orphan;
        // By whom the head is signed, what it declares, whether that counts.
        for (step, (signer, declared, counts)) in [
            (Some("bob"), ready(1, orphan), false),
            (Some("ada"), ready(1, orphan), true),
            (Some("bob"), ready(1, orphan), true),
            (Some("bob"), ready(2, orphan), false),
            (None, ready(2, orphan), false),
            (Some("bob"), ready(1, Deletion::Cascade), false),
            (Some("bob"), ready(1, orphan), true),
            (Some("bob"), removed(), false),
            (Some("ada"), ready(2, orphan), true),
            (Some("ada"), removed(), true),
            (Some("bob"), removed(), true),
            (Some("bob"), ready(2, orphan), false),
        ]
        .into_iter()
        .enumerate()
        {
            let before = std::mem::take(&mut source.apps);
            let others = ready(9, orphan);
            source.apps = [("payments".into(), declared.clone()), ("web".into(), others.clone())].into();
            let revision =
                Revision { commit: "abcdef0".to_owned(), signer: signer.map(str::to_owned), ..Revision::default() };
            guard(&mut source, &before, &revision);
            let now = &source.apps[&AppName::from("payments")].declared;
            assert_eq!(*now == declared.declared, counts, "step {step}: {now:?}");
            if let Declared::Broken { reason, .. } = now {
                assert!(
                    reason.contains("is changed only by ada") && reason.contains(signer.unwrap_or("nobody")),
                    "{reason}"
                );
            }
            assert_eq!(source.apps[&AppName::from("web")].declared, others.declared, "step {step}");
        }
        assert_eq!(source.vouched, Vouched::new());
    }
}
