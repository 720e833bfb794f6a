//! All integration tests in one binary: it links once, and all stories share one control plane.

mod architecture;
mod cluster;
mod documentation_links;
#[path = "soak/judge/mod.rs"]
mod judge;
mod shipped;
mod support;
