//! The simulated world: an API server with its controllers, Git, metrics and time, under a seed. Enters: the verbs of
//! [`crate::world::World`]. Leaves: what a real cluster would answer, and the faults that a story asks for.
//!
//! It runs the real agent (`agent::work`) on virtual time in one thread: faults strike *under* the real `observe` and
//! `tick`. No wall clock, no network, no chance but the seed.

pub mod api;
pub mod controllers;
