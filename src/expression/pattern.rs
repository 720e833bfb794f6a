//! The patterns of `matches`: written out, so that they are compiled once, and bounded.

use regex::{Regex, RegexBuilder};

use super::Problem;

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 128;

/// Size of a compiled pattern, in bytes.
const PATTERN_COMPILED_MAX: usize = 256 << 10;

/// Compiles a pattern.
pub(super) fn compile(pattern: &str) -> Result<Regex, Problem> {
    let problem =
        |message: &str, hint: String| Problem { message: format!("the pattern of `matches` {message}"), hint };
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(problem("is too long", format!("at most {PATTERN_BYTES_MAX} bytes are read")));
    }
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(PATTERN_COMPILED_MAX).dfa_size_limit(PATTERN_COMPILED_MAX).nest_limit(16);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => problem("is too large", "repeat less".to_owned()),
        _ => problem("is no regular expression", "its syntax is that of RE2".to_owned()),
    })
}
