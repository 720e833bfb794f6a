//! The `tidegate` program: hands over to [`tidegate::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate::cli::run()
}
