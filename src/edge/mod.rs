//! The edges: I/O, no decisions. Together they implement [`crate::world::World`].

pub mod server;
