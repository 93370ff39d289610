//! The command `coregister`; see [`cli`].

mod cli;

/// Keeps freed pages: every stage and scale needs buffers of the same few megabytes again, and asking the system for
/// them anew costs some 7 % of the whole run.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
