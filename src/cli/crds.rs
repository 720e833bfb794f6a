//! `tidegate crds`: prints the custom resource definitions, for `kubectl apply -f -`.

use super::{DONE, output};
use crate::store::crd;

pub(super) fn run() -> anyhow::Result<u8> {
    output::print(&documents()?);
    Ok(DONE)
}

/// All definitions as one YAML stream.
fn documents() -> anyhow::Result<String> {
    crd::crds().iter().map(|crd| Ok(format!("---\n{}", output::yaml(crd)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_parses_to_what_is_meant() {
        let text = documents().unwrap();
        let parsed: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(parsed, crd::crds());
    }
}
