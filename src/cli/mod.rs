//! One file per subcommand, each thin: arguments in, text and an exit code out.

pub mod schema;
pub mod validate;
