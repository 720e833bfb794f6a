//! Tidegate: an in-cluster GitOps pull agent for Kubernetes.
//!
//! The one idea: *a wave is just another desired state*. A pass over one app reads top to bottom through these modules;
//! data flows one way, and what the edges bring back enters the next pass. Read this file, then [`agent::tick`].

pub mod agent;
pub mod cli;
pub mod config;
pub mod decide;
pub mod declare;
pub mod diff;
pub mod edge;
pub mod expression;
pub mod health;
pub mod model;
pub mod mutants;
pub mod observe;
pub mod render;
pub mod signature;
pub mod sim;
pub mod sops;
pub mod stage;
pub mod status;
pub mod store;
pub mod telemetry;
pub mod world;
