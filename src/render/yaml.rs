//! Manifests as kubectl reads them: YAML 1.1 booleans and octals, merge keys, several documents; with limits.

use serde_json::Value;

use super::RenderError;

/// Nodes in one file: a large CustomResourceDefinition has about 60,000.
const NODES_MAX: usize = 500_000;
/// Depth of nesting: real objects stay below 30. A level takes up to 27 KB of stack where nothing is optimised, and threads
/// have 2 MiB: at 100 levels, such a build ended instead of refusing.
const DEPTH_MAX: usize = 64;
/// Documents in one file.
const DOCUMENTS_MAX: usize = 5_000;
/// Bytes of scalars after aliases are expanded.
const SCALAR_BYTES_MAX: usize = 8 << 20;

/// Parses all documents of a file.
pub(super) fn documents(file: &str, text: &[u8]) -> Result<Vec<Value>, RenderError> {
    let broken = |line, column, message: &str| RenderError::Yaml {
        file: file.to_owned(),
        line,
        column,
        message: message.to_owned(),
    };
    let text = std::str::from_utf8(text).map_err(|_| broken(1, 1, "the file is not UTF-8"))?;
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_nodes: NODES_MAX,
            max_depth: DEPTH_MAX,
            max_documents: DOCUMENTS_MAX,
            max_events: NODES_MAX * 2,
            max_total_scalar_bytes: SCALAR_BYTES_MAX,
        },
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        // Values of a Secret must not travel in an error: the position has to do.
        let message = if text.contains("Secret") { "not valid YAML".to_owned() } else { error.to_string() };
        broken(line, column, message.lines().next().unwrap_or_default())
    })
}
