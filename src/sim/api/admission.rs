//! What stands between a write and the store: refusals, quotas and one changing rule, all switchable while the world runs.

use serde_json::{Value, json};

use super::Api;
use crate::model::{GroupKind, ObjectKey};
use crate::world::ApiError;

/// What is about to happen to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It is made, by create or apply.
    Create,
    /// It is changed, by any verb.
    Update,
    /// It is deleted.
    Delete,
}

/// A rule that refuses writes, as a webhook or policy would.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Of which kind; of any.
    pub kind: Option<GroupKind>,
    /// Which verb; any.
    pub verb: Option<Verb>,
    /// In which namespace; in any.
    pub namespace: Option<String>,
    /// How the name begins.
    pub name_prefix: String,
    /// What it says.
    pub message: String,
}

/// A rule that adds an annotation or label to what is written, as a webhook would.
#[derive(Clone, Debug)]
pub struct Mutation {
    /// To which kind.
    pub kind: GroupKind,
    /// An annotation (or a label).
    pub is_label: bool,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A limit on how many objects of a kind a namespace has.
#[derive(Clone, Debug)]
pub struct Quota {
    /// Where.
    pub namespace: String,
    /// Of what.
    pub kind: GroupKind,
    /// How many.
    pub objects_max: usize,
}

/// The rules that are in force.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Refusals; the first that fits is told.
    pub refusals: Vec<Refusal>,
    /// What is added to what is written.
    pub mutation: Option<Mutation>,
    /// Limits.
    pub quotas: Vec<Quota>,
}

impl Api {
    /// The rules in force, to change them.
    pub fn rules(&mut self) -> &mut Rules {
        &mut self.rules
    }

    /// Adds a refusal.
    pub fn refuse(&mut self, rule: Refusal) {
        self.rules.refusals.push(rule);
    }

    /// Takes all refusals back.
    pub fn refuse_nothing(&mut self) {
        self.rules.refusals.clear();
    }

    /// Sets, replaces or takes back the rule that changes what is written.
    pub fn mutate(&mut self, rule: Option<Mutation>) {
        self.rules.mutation = rule;
    }

    /// Whether rules let a write through.
    pub(super) fn admit(&self, verb: Verb, key: &ObjectKey) -> Result<(), ApiError> {
        let Rules { refusals, mutation: _, quotas } = &self.rules;
        let fits = |rule: &&Refusal| {
            rule.kind.as_ref().is_none_or(|kind| *kind == key.kind)
                && rule.verb.is_none_or(|wanted| wanted == verb)
                && rule.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
                && key.name.starts_with(&rule.name_prefix)
        };
        if let Some(rule) = refusals.iter().find(fits) {
            return Err(ApiError::Forbidden(rule.message.clone()));
        }
        if verb != Verb::Create {
            return Ok(());
        }
        for quota in quotas.iter().filter(|quota| quota.namespace == key.namespace && quota.kind == key.kind) {
            let used = self.objects(&key.kind, Some(&key.namespace)).count();
            if used >= quota.objects_max {
                let what = format!("count/{}", key.kind.kind.to_lowercase());
                return Err(ApiError::Forbidden(format!(
                    "exceeded quota, requested: {what}=1, used: {what}={used}, limited: {what}={}",
                    quota.objects_max
                )));
            }
        }
        Ok(())
    }

    /// Adds what the changing rule adds. Nobody owns that.
    pub(super) fn add_by_rule(&self, key: &ObjectKey, body: &mut Value) {
        if let Some(Mutation { kind, is_label, name, value }) = &self.rules.mutation
            && *kind == key.kind
        {
            let place = if *is_label { "labels" } else { "annotations" };
            body["metadata"][place][name] = json!(value);
        }
    }
}
