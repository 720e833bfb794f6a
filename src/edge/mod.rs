//! The edges: each translates between one outside service and the words of `world`, and decides nothing.

pub mod git;
