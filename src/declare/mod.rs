//! Files at a Revision -> Applications, WavePlans and Policies, or Problems that say where and what to do.
//!
//! Enters: the bytes of a repository's YAML files by path. Leaves: [`Declarations`] - model values that are valid, their
//! plans resolved - and [`Problem`]s with line, column and field. It reads no file by itself and knows no cluster, no
//! Git and no clock.
//!
//! Reading order: [`parse_file`] turns one file into a [`ParsedFile`] (`tree` reads YAML with positions, `shape` says
//! which fields there are, `read` reads them, `application` and `plan` know what they mean); [`assemble()`] puts the files
//! together: `inherit` merges an Application with its base, `expand` makes those of sets, `made` remembers both from commit to
//! commit, `amend` takes an edit of one Application up without looking at the others, `edit` puts another version into a file's text. `shape` is also what [`schemas`] is made of, so that the schema cannot disagree with the parser.
//!
//! One bad file holds back only the apps that it declares.

mod amend;
mod application;
mod assemble;
mod built_in;
mod dependencies;
mod edit;
mod expand;
mod file;
mod inherit;
mod made;
mod nearest;
mod placeholders;
mod plan;
mod policy;
mod problem;
mod read;
mod rule;
mod scalar;
mod schema;
mod set;
mod shape;
mod shape_plan;
mod shape_set;
mod source;
#[cfg(test)]
mod tests;
mod tree;
mod version;

pub use amend::Edited;
pub use assemble::{Declarations, assemble};
pub use built_in::built_in_plans;
pub use edit::{CannotEdit, with_value};
pub use file::{ParsedFile, is_candidate, parse_file};
pub use made::Made;
pub use problem::Problem;
pub use schema::schemas;
pub use version::VersionPlace;

/// The API version of what is declared in Git.
pub const API_VERSION: &str = "tidegate.dev/v1alpha1";

/// One megabyte, as [`crate::world::BLOB_BYTES_MAX`]: a thousand Applications of 1 KB each in one file.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// The deepest path of ours, `spec.plan.waves[0].analysis[0]`, is 7 deep; 32 leaves room and no stack overflows.
pub const DEPTH_MAX: usize = 32;

/// Keys and values in one document, aliases expanded: an Application has about 40.
pub const NODES_MAX: usize = 50_000;

/// Bytes of text in one document, aliases expanded.
pub const TEXT_BYTES_MAX: usize = 2 * FILE_BYTES_MAX;
