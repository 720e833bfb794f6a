//! All integration tests in one binary: it links once, and all stories share one control plane.

mod architecture;
mod cli_simulated;
mod cluster;
mod deploy;
mod documentation_links;
mod hostile;
#[path = "soak/judge/mod.rs"]
mod judge;
mod model_check;
mod rendering;
mod shipped;
mod simulation;
mod support;
mod validate;

/// Stories allocate and free small values all the time: a third of their time went into it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
