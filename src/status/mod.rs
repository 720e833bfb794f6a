//! What people and machines read of an app: one internal view, and its wire formats.
//!
//! Enters: the pass's report and history. Leaves: [`AppView`], and from it the custom resource's `status`, Argo CD's
//! Application, the native rollout document and `why`. It computes nothing new: encoders can never disagree.

pub mod argocd;
#[cfg(test)]
pub(crate) mod fixture;
pub mod native;
pub mod report;
pub mod resource;
pub mod standing;
pub mod tree;
pub mod view;
mod wire;

pub use report::{Blocking, Phase, Report, Resource, SyncStatus};
pub use resource::resource_status;
pub use standing::Standing;
pub use view::{AppView, Board};
