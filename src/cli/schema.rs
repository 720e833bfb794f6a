//! `tidegate schema`: the JSON Schema of what is declared, for editors that complete and lint.
//!
//! Enters: a kind, or none. Leaves: the schema on standard output.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::declare::schemas;

/// Prints the JSON Schema of a kind; without a kind, one schema that takes any of them.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Application, ApplicationBase, ApplicationSet, ApplicationVersion, Policy or WavePlan.
    pub kind: Option<String>,
}

/// Runs `tidegate schema`. Exit codes: 0 printed, 2 no such kind.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    match choose(arguments.kind.as_deref()) {
        Ok(schema) => {
            // A closed pipe is the reader's choice, and no error.
            let _ = writeln!(std::io::stdout().lock(), "{schema:#}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            let _ = writeln!(std::io::stderr().lock(), "error: {message}");
            ExitCode::from(2)
        }
    }
}

fn choose(kind: Option<&str>) -> Result<Value, String> {
    let schemas = schemas();
    let Some(kind) = kind else {
        let any: Vec<&Value> = schemas.values().collect();
        return Ok(json!({"$schema": "http://json-schema.org/draft-07/schema#", "title": "Tidegate", "oneOf": any}));
    };
    let names = schemas.keys().copied().collect::<Vec<_>>().join(", ");
    schemas
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(kind))
        .map(|(_, schema)| schema)
        .ok_or_else(|| format!("there is no kind `{kind}`; known are {names}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_in_any_case_and_an_unknown_one_is_named() {
        assert_eq!(choose(Some("waveplan")).expect("it is known")["title"], "WavePlan");
        assert_eq!(choose(None).expect("it is there")["oneOf"].as_array().map(Vec::len), Some(6));
        assert!(choose(Some("Deployment")).expect_err("it is not known").contains("Application, ApplicationBase,"));
    }
}
