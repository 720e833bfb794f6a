//! What people and machines read of an app: one internal view, and its wire formats.
//!
//! Enters: the pass's report and history. Leaves: [`AppView`], and from it the custom resource's `status`, Argo CD's
//! Application, the native rollout document and `why`. It computes nothing new: encoders can never disagree.

pub mod report;
pub mod view;

pub use report::{Blocking, Phase, Report, Resource, SyncStatus};
pub use view::AppView;
