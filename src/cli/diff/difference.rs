//! One object that differs, fit to be shown. Enters: its two states. Leaves: the same without what is not compared, and with
//! nothing in it that must not be seen.

use serde_json::{Value, json};

use crate::diff::shown::{mask, normal};
use crate::model::{AppName, KeyParts, Object, ObjectKey};

/// What would happen to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// It is made.
    Added,
    /// It changes.
    Changed,
    /// It left Git, and goes from the cluster when the app prunes.
    Pruned,
    /// It is in one revision and not in the other.
    Removed,
    /// Nothing is known of it: the server refused to say.
    Unchecked,
}

impl Operation {
    /// All, in the order of the summary.
    pub(super) const ALL: [Self; 5] = [Self::Added, Self::Changed, Self::Pruned, Self::Removed, Self::Unchecked];

    /// As it is written.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Pruned => "pruned",
            Self::Removed => "removed",
            Self::Unchecked => "unchecked",
        }
    }
}

/// An object that differs. Made by [`Difference::of`] alone, which masks.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    /// Its app.
    pub(super) app: AppName,
    /// The object.
    pub(super) key: ObjectKey,
    version: String,
    /// What would happen.
    pub(super) operation: Operation,
    /// The file that declares it; empty when none does.
    pub(super) file: String,
    /// As it is.
    pub(super) before: Option<Value>,
    /// As it would be.
    pub(super) after: Option<Value>,
    /// What else is to be said.
    pub(super) notes: Vec<String>,
}

impl Difference {
    /// What separates two states of an object; `None` when nothing does.
    pub(super) fn of(app: &AppName, file: &str, before: Option<&Object>, after: Option<&Object>) -> Option<Self> {
        let object = after.or(before)?;
        let [mut old, mut new] = [before, after].map(|object| object.map(|object| normal(&object.body)));
        let operation = match (&old, &new) {
            (None, _) => Operation::Added,
            (Some(_), None) => Operation::Removed,
            (Some(old), Some(new)) if old == new => return None,
            (Some(_), Some(_)) => Operation::Changed,
        };
        mask(old.as_mut(), new.as_mut());
        Some(Self {
            app: app.clone(),
            key: object.key.clone(),
            version: object.version.clone(),
            operation,
            file: file.to_owned(),
            before: old,
            after: new,
            notes: Vec::new(),
        })
    }

    /// An object of which nothing could be found out.
    pub(super) fn unchecked(app: &AppName, file: &str, object: &Object, why: String) -> Self {
        Self {
            app: app.clone(),
            key: object.key.clone(),
            version: object.version.clone(),
            operation: Operation::Unchecked,
            file: file.to_owned(),
            before: None,
            after: None,
            notes: vec![why],
        }
    }

    /// The same, with something said of it.
    pub(super) fn noted(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The same as something that left Git.
    pub(super) fn pruned(mut self) -> Self {
        self.operation = Operation::Pruned;
        self
    }

    /// Group, kind, namespace and name.
    pub(super) fn subject(&self) -> String {
        let KeyParts { cluster: _, kind, namespace, name } = &*self.key;
        let kind = if kind.group.is_empty() { kind.kind.clone() } else { format!("{}/{}", kind.group, kind.kind) };
        if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") }
    }

    /// For machines.
    pub(super) fn document(&self) -> Value {
        let Self { app, key, version, operation, file, before, after, notes } = self;
        json!({
            "application": app.as_str(),
            "operation": operation.word(),
            "group": key.kind.group,
            "version": version,
            "kind": key.kind.kind,
            "namespace": key.namespace,
            "name": key.name,
            "file": file,
            "before": before,
            "after": after,
            "notes": notes,
        })
    }
}
