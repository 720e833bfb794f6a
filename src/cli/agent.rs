//! `tidegate agent`: reads the settings and hands over to the agent.

use crate::config::{self, AgentArgs};

pub(super) fn run(arguments: &AgentArgs) -> anyhow::Result<u8> {
    let config = config::load(arguments)?;
    super::install_cryptography();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(crate::agent::run(config))?;
    Ok(super::DONE)
}
