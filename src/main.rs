//! The `tidegate` program: hands over to [`tidegate::cli`].

use std::process::ExitCode;

/// Objects are trees of small mappings that come and go by the thousand. glibc's allocator keeps twice their room for
/// good, and takes a third of the agent's processor time (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Two arenas, as there are seldom more busy threads; what was freed goes back to the kernel after a second.
#[expect(unsafe_code, reason = "the name under which jemalloc looks for its settings; nothing else is called so")]
#[unsafe(export_name = "_rjem_malloc_conf")]
static ALLOCATOR_SETTINGS: &[u8; 70] = b"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0,background_thread:true\0";

fn main() -> ExitCode {
    tidegate::cli::run()
}
