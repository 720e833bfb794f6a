//! Stories on a real control plane, a file per theme; each story reads from top to bottom.

mod acting;
mod checkers;
mod differential;
mod diffing;
mod drift;
mod events;
mod harness;
mod install;
mod interference;
mod leader;
mod leaving;
mod order;
mod prune;
mod quarantine;
mod reading;
mod rehearsal;
mod release;
mod restart;
mod revert;
mod rollout;
mod scaling;
mod secrets;
mod source;
mod tree;
