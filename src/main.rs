//! The `rhumb` program.

mod cli;

use std::process::ExitCode;

/// Many small allocations on many threads, freed on others: what the system's allocator is slowest at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
