//! A Policy: rules over what is about to be applied, as Git declares them.

use super::GroupKind;
use crate::expression::Expression;

/// Rules under one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// The rules, in the order in which they stand; their names differ.
    pub rules: Vec<PolicyRule>,
}

/// What must hold for the objects of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyRule {
    /// Its name.
    pub name: String,
    /// The kind that it is about.
    pub kind: GroupKind,
    /// What follows when it does not hold.
    pub effect: PolicyEffect,
    /// What must hold, over [`super::HealthRule::VARIABLES`].
    pub expression: Expression,
    /// What people are told when it does not.
    pub message: String,
}

/// What follows when a rule does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyEffect {
    /// The Release is refused.
    Deny,
    /// It is told.
    Warn,
}
