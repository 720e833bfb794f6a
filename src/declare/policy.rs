//! The `spec` of a Policy -> [`Policy`]. Enters: an opened mapping. Leaves: the rules, whose names differ; what is wrong goes
//! to the sink. What a rule leads to is decided elsewhere.

use super::problem::{Sink, shown};
use super::read::Mapping;
use crate::expression::Expression;
use crate::model::{GroupKind, HealthRule, Policy, PolicyEffect, PolicyRule};

/// Reads a policy. What it returns is valid only when nothing was reported.
pub(super) fn read_policy(name: &str, spec: &Mapping<'_>, sink: &mut Sink<'_>) -> Policy {
    let mut rules: Vec<PolicyRule> = Vec::new();
    for rule in spec.mappings("rules", sink) {
        let name = rule.text("name", sink);
        if let (Some(name), Some(place)) = (name, rule.get("name"))
            && rules.iter().any(|earlier| earlier.name == name)
        {
            place.report(sink, format!("two rules are called `{}`", shown(name)), "give each its own name");
        }
        let matched = rule.mapping("match", sink).and_then(|matched| {
            let group = matched.text("group", sink).unwrap_or_default();
            Some(GroupKind::new(group, matched.text("kind", sink)?))
        });
        let effect = rule.word("when", &[PolicyEffect::Deny, PolicyEffect::Warn], sink);
        let expression = rule.text("expression", sink);
        let expression = expression.and_then(|source| Expression::parse(source, &HealthRule::VARIABLES).ok());
        let message = rule.text("message", sink);
        let (Some(name), Some(kind), Some(expression), Some(message)) = (name, matched, expression, message) else {
            continue;
        };
        let effect = effect.unwrap_or(PolicyEffect::Deny);
        rules.push(PolicyRule { name: name.to_owned(), kind, effect, expression, message: message.to_owned() });
    }
    Policy { name: name.to_owned(), rules }
}
