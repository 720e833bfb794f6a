//! The test harness: a real control plane, a real Git server, a real Prometheus, the agent as a child process, and an
//! observer that watches the cluster on its own. Stories (`tests/cluster`), the demo and the bench stand on it.
//!
//! Nothing in here knows the agent's insides: it reads custom resources, HTTP, logs and the cluster, as a user would.
//! Reading order: [`story`], then [`observer`] and [`log`], then the rest.
#![allow(dead_code, reason = "the stories, the demo and the bench each use their part of it")]
#![allow(clippy::print_stderr, reason = "a failing story tells what it saw; the test runner keeps it until then")]

pub(crate) mod agent;
pub(crate) mod application;
pub(crate) mod chance;
pub(crate) mod child;
pub(crate) mod fixture;
pub(crate) mod gatekeeper;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod observer;
pub(crate) mod patience;
pub(crate) mod plane;
pub(crate) mod prometheus;
pub(crate) mod racer;
pub(crate) mod registry;
pub(crate) mod renderer;
pub(crate) mod repo;
pub(crate) mod state;
pub(crate) mod story;
pub(crate) mod webhook;
