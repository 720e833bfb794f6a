//! Stories on a real control plane, a file per theme; each story reads from top to bottom.

mod harness;
