//! `tidegate agent`: reads the settings and hands over to the agent.

use crate::config::{self, AgentArgs};

pub(super) fn run(arguments: &AgentArgs) -> anyhow::Result<u8> {
    let config = config::load(arguments)?;
    super::install_cryptography();
    crate::telemetry::start_logging(config.log_format, &config.log_filter)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(crate::agent::run(config))?;
    Ok(super::DONE)
}
